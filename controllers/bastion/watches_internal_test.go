package bastion

import (
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"
)

func TestLeaving(t *testing.T) {
	shoot := func(seed string, deleted bool) *gardencorev1beta1.Shoot {
		s := &gardencorev1beta1.Shoot{}
		if seed != "" {
			s.Spec.SeedName = &seed
		}
		if deleted {
			s.DeletionTimestamp = &metav1.Time{}
		}
		return s
	}
	for name, row := range map[string]struct {
		before, after *gardencorev1beta1.Shoot
		want          bool
	}{
		"deletion begins":   {shoot("a", false), shoot("a", true), true},
		"deletion goes on":  {shoot("a", true), shoot("a", true), false},
		"another seed":      {shoot("a", false), shoot("b", false), true},
		"its first seed":    {shoot("", false), shoot("a", false), false},
		"its seed is taken": {shoot("a", false), shoot("", false), true},
		"nothing":           {shoot("a", false), shoot("a", false), false},
	} {
		if got := leaving().Update(event.UpdateEvent{ObjectOld: row.before, ObjectNew: row.after}); got != row.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if !leaving().Delete(event.DeleteEvent{Object: shoot("a", true)}) {
		t.Error("a shoot that is gone takes its bastions along")
	}
}
