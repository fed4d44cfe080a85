package maintenance

import (
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"
)

func TestConcerned(t *testing.T) {
	shoot := func(operation, begin string) *gardencorev1beta1.Shoot {
		s := &gardencorev1beta1.Shoot{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"gardener.cloud/operation": operation}}}
		if begin != "" {
			s.Spec.Maintenance = &gardencorev1beta1.Maintenance{TimeWindow: &gardencorev1beta1.MaintenanceTimeWindow{Begin: begin, End: "140000+0000"}}
		}
		return s
	}
	for name, row := range map[string]struct {
		before, after *gardencorev1beta1.Shoot
		want          bool
	}{
		"asked now":                {shoot("", "1"), shoot("maintain", "1"), true},
		"asked with others":        {shoot("retry", "1"), shoot("retry; maintain", "1"), true},
		"was asked before":         {shoot("maintain", "1"), shoot("maintain", "1"), false},
		"asked for something else": {shoot("", "1"), shoot("reconcile", "1"), false},
		"not asked any more":       {shoot("maintain", "1"), shoot("", "1"), false},
		"another window":           {shoot("", "1"), shoot("", "2"), true},
		"a window at last":         {shoot("", ""), shoot("", "2"), true},
		"nothing":                  {shoot("", "1"), shoot("", "1"), false},
	} {
		if got := concerned().Update(event.UpdateEvent{ObjectOld: row.before, ObjectNew: row.after}); got != row.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if !concerned().Create(event.CreateEvent{Object: shoot("", "")}) || concerned().Delete(event.DeleteEvent{Object: shoot("", "")}) {
		t.Error("shoots are looked at when they appear, not when they go")
	}
}
