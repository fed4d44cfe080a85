package conditions

import (
	"strings"
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
)

func TestDecide(t *testing.T) {
	list := func(names string) (all []gardencorev1beta1.Condition) {
		for _, name := range strings.Fields(names) {
			kind, status, _ := strings.Cut(name, "=")
			all = append(all, gardencorev1beta1.Condition{Type: gardencorev1beta1.ConditionType(kind), Status: gardencorev1beta1.ConditionStatus(status)})
		}
		return all
	}
	const own = "APIServerAvailable=True ControlPlaneHealthy=True ObservabilityComponentsHealthy=True EveryNodeReady=False SystemComponentsHealthy=Unknown"
	for name, row := range map[string]struct{ have, seed, want string }{
		"keeps the five of the shoot":       {own, "-", own},
		"not a seed":                        {"ExtensionsReady=True " + own + " Whatever=True", "-", own},
		"adds the seed's":                   {own, "GardenletReady=True Unheard=False", own + " GardenletReady=True Unheard=False"},
		"replaces all others":               {"Former=True EveryNodeReady=True GardenletReady=True", "GardenletReady=False", "EveryNodeReady=True GardenletReady=False"},
		"the seed has none":                 {"EveryNodeReady=True GardenletReady=True", "", "EveryNodeReady=True"},
		"a seed does not speak for a shoot": {"EveryNodeReady=True", "EveryNodeReady=False", "EveryNodeReady=True"},
	} {
		var seed *gardencorev1beta1.Seed
		if row.seed != "-" {
			seed = &gardencorev1beta1.Seed{Status: gardencorev1beta1.SeedStatus{Conditions: list(row.seed)}}
		}
		var got []string
		for _, c := range decide(list(row.have), seed) {
			got = append(got, string(c.Type)+"="+string(c.Status))
		}
		if joined := strings.Join(got, " "); joined != row.want {
			t.Errorf("%s: %s, want %s", name, joined, row.want)
		}
	}
}
