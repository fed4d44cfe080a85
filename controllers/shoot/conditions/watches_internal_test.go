package conditions

import (
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"
)

func TestChangedConditions(t *testing.T) {
	seed := func(version, status string) *gardencorev1beta1.Seed {
		return &gardencorev1beta1.Seed{ObjectMeta: metav1.ObjectMeta{ResourceVersion: version}, Status: gardencorev1beta1.SeedStatus{
			Conditions: []gardencorev1beta1.Condition{{Type: gardencorev1beta1.GardenletReady, Status: gardencorev1beta1.ConditionStatus(status)}}}}
	}
	for name, row := range map[string]struct {
		before, after *gardencorev1beta1.Seed
		want          bool
	}{
		"conditions changed":     {seed("1", "True"), seed("2", "False"), true},
		"something else changed": {seed("1", "True"), seed("2", "True"), false},
		"resync":                 {seed("1", "True"), seed("1", "True"), true},
	} {
		if got := changedConditions().Update(event.UpdateEvent{ObjectOld: row.before, ObjectNew: row.after}); got != row.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
