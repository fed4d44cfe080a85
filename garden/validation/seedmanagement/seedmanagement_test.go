package seedmanagement_test

import (
	"strings"
	"testing"

	gardenletconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/gardenlet/v1alpha1"
	"github.com/gardener/gardener/pkg/apis/core"
	"github.com/gardener/gardener/pkg/apis/seedmanagement"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	rules "github.com/loam-cloud/loam/garden/validation/seedmanagement"
)

func TestManagedSeedsCluster(t *testing.T) {
	seed := &seedmanagement.ManagedSeed{Spec: seedmanagement.ManagedSeedSpec{Shoot: &seedmanagement.Shoot{Name: "soil"}}}
	ending := &core.Shoot{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &metav1.Time{}}}
	for want, facts := range map[string]rules.Facts{
		"": {Shoot: &core.Shoot{}}, "Not found": {}, "is being deleted": {Shoot: ending}, `managed seed "other"`: {Shoot: &core.Shoot{}, Other: "other"},
	} {
		errs := rules.ValidateManagedSeedShoot(seed, facts)
		if want == "" && len(errs) > 0 || want != "" && (len(errs) != 1 || !strings.Contains(errs[0].Error(), want)) {
			t.Errorf("got %v, want %q", errs, want)
		}
	}
}

// TestDescribeSeed fills in what is left out, keeps what is said, and leaves the
// configuration that others share alone.
func TestDescribeSeed(t *testing.T) {
	shoot := &core.Shoot{Spec: core.ShootSpec{
		Region: "here", Provider: core.Provider{Type: "local"},
		Networking: &core.Networking{Pods: ptr.To("10.1.0.0/16"), Services: ptr.To("10.2.0.0/16"), Nodes: ptr.To("10.3.0.0/16")},
	}}
	shared := &gardenletconfigv1alpha1.GardenletConfiguration{SeedConfig: &gardenletconfigv1alpha1.SeedConfig{}}
	shared.SeedConfig.Spec.Networks.Pods = "10.9.0.0/16"
	gardenlet := &seedmanagement.GardenletConfig{Config: shared}
	rules.DescribeSeed(gardenlet, shoot)
	got := gardenlet.Config.(*gardenletconfigv1alpha1.GardenletConfiguration).SeedConfig.Spec
	if got.Provider.Type != "local" || got.Provider.Region != "here" || got.Networks.Pods != "10.9.0.0/16" || got.Networks.Services != "10.2.0.0/16" || *got.Networks.Nodes != "10.3.0.0/16" {
		t.Errorf("got %+v", got)
	}
	if shared.SeedConfig.Spec.Provider.Type != "" {
		t.Error("what others share was changed")
	}
	for _, without := range []*seedmanagement.GardenletConfig{{}, {Config: &gardenletconfigv1alpha1.GardenletConfiguration{}}} {
		rules.DescribeSeed(without, shoot)
	}
}

// TestName leaves room for the number of each seed of a set, and for what is named
// after its cluster (garden-api: "managed seed set names").
func TestName(t *testing.T) {
	for name, want := range map[string]string{
		"fields": "", strings.Repeat("a", 37): "", strings.Repeat("a", 38): "at most 37 characters", "Fields": "lower case", "a.b": "dots",
	} {
		errs := strings.Join(rules.Name(name, false), "; ")
		if want == "" && errs != "" || !strings.Contains(errs, want) {
			t.Errorf("%q: got %q, want %q", name, errs, want)
		}
	}
}
