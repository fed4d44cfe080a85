package cli

import (
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/utils/ptr"
)

func TestPower(t *testing.T) {
	shoot := func(asleep *bool) *gardencorev1beta1.Shoot {
		s := &gardencorev1beta1.Shoot{}
		if asleep != nil {
			s.Spec.Hibernation = &gardencorev1beta1.Hibernation{Enabled: asleep}
		}
		return s
	}
	const again = "metadata.annotations.gardener.cloud/operation: reconcile"
	for name, tc := range map[string]struct {
		on    bool
		shoot *gardencorev1beta1.Shoot
		want  string
	}{
		"start of one that is asleep": {true, shoot(ptr.To(true)), "spec.hibernation.enabled: true -> false"},
		"start of one that is awake":  {true, shoot(ptr.To(false)), again},
		"start of one that never was": {true, shoot(nil), again},
		"stop of one that is awake":   {false, shoot(ptr.To(false)), "spec.hibernation.enabled: false -> true"},
		"stop of one that never was":  {false, shoot(nil), "spec.hibernation.enabled: false -> true"},
		"stop of one that is asleep":  {false, shoot(ptr.To(true)), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := (&powerOptions{on: tc.on}).change(tc.shoot)
			if got != tc.want {
				t.Errorf("changes %q, want %q", got, tc.want)
			}
			enabled := tc.shoot.Spec.Hibernation != nil && ptr.Deref(tc.shoot.Spec.Hibernation.Enabled, false)
			if enabled == tc.on {
				t.Errorf("the shoot sleeps: %v", enabled)
			}
			if marked := tc.shoot.Annotations["gardener.cloud/operation"] == "reconcile"; marked != (tc.want == again) {
				t.Errorf("the annotations are %v", tc.shoot.Annotations)
			}
		})
	}
}
