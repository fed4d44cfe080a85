package hibernation

import (
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/event"
)

func TestChangedSchedules(t *testing.T) {
	shoot := func(enabled bool, schedules ...string) *gardencorev1beta1.Shoot {
		return &gardencorev1beta1.Shoot{Spec: gardencorev1beta1.ShootSpec{Hibernation: &gardencorev1beta1.Hibernation{Enabled: ptr.To(enabled), Schedules: schedulesOf(schedules...)}}}
	}
	without := &gardencorev1beta1.Shoot{}
	for name, row := range map[string]struct {
		before, after *gardencorev1beta1.Shoot
		want          bool
	}{
		"a schedule at last": {without, shoot(false, "0 1 * * *"), true},
		"another schedule":   {shoot(false, "0 1 * * *"), shoot(false, "0 2 * * *"), true},
		"one more":           {shoot(false, "0 1 * * *"), shoot(false, "0 1 * * *", "0 2 * * *"), true},
		"asleep":             {shoot(false, "0 1 * * *"), shoot(true, "0 1 * * *"), false},
		"no schedule left":   {shoot(false, "0 1 * * *"), shoot(false), false},
	} {
		if got := changedSchedules().Update(event.UpdateEvent{ObjectOld: row.before, ObjectNew: row.after}); got != row.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if changedSchedules().Create(event.CreateEvent{Object: without}) || !changedSchedules().Create(event.CreateEvent{Object: shoot(false, "0 1 * * *")}) {
		t.Error("only shoots with schedules are looked at when they appear")
	}
}
