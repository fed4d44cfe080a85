package bastion

import (
	"testing"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	operationsv1alpha1 "github.com/gardener/gardener/pkg/apis/operations/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func TestDecide(t *testing.T) {
	born := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	const lifetime = 24 * time.Hour
	seed := func(name string) *gardencorev1beta1.Shoot {
		return &gardencorev1beta1.Shoot{Spec: gardencorev1beta1.ShootSpec{SeedName: ptr.To(name)}}
	}
	ending := seed("b")
	ending.DeletionTimestamp = &metav1.Time{Time: born}
	for name, row := range map[string]struct {
		shoot       *gardencorev1beta1.Shoot
		seed        string
		age, expiry time.Duration
		want        decision
	}{
		"stays until it expires":                    {seed("a"), "a", time.Hour, 2 * time.Hour, decision{after: time.Hour}},
		"stays until it is too old":                 {seed("a"), "a", time.Hour, 48 * time.Hour, decision{after: 23 * time.Hour}},
		"without expiry":                            {seed("a"), "a", time.Hour, 0, decision{after: 23 * time.Hour}},
		"not made on a seed yet":                    {seed("a"), "", time.Hour, 2 * time.Hour, decision{after: time.Hour}},
		"shoot gone comes before all":               {nil, "a", 48 * time.Hour, time.Hour, decision{message: "Deleting bastion because its shoot is gone"}},
		"shoot in deletion comes before the seed":   {ending, "a", 48 * time.Hour, time.Hour, decision{message: "Deleting bastion because its shoot is being deleted"}},
		"other seed comes before time":              {seed("b"), "a", 48 * time.Hour, time.Hour, decision{message: "Deleting bastion because its shoot has another seed"}},
		"shoot without a seed":                      {&gardencorev1beta1.Shoot{}, "a", time.Hour, 2 * time.Hour, decision{message: "Deleting bastion because its shoot has another seed"}},
		"expired comes before too old":              {seed("a"), "a", 48 * time.Hour, time.Hour, decision{message: "Deleting expired bastion"}},
		"expires at the moment":                     {seed("a"), "a", time.Hour, time.Hour, decision{message: "Deleting expired bastion"}},
		"too old however often its end was put off": {seed("a"), "a", lifetime, 48 * time.Hour, decision{message: "Deleting bastion because it reached its maximum lifetime"}},
	} {
		bastion := &operationsv1alpha1.Bastion{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(born)}}
		if row.seed != "" {
			bastion.Spec.SeedName = &row.seed
		}
		if row.expiry != 0 {
			bastion.Status.ExpirationTimestamp = ptr.To(metav1.NewTime(born.Add(row.expiry)))
		}
		if got := decide(bastion, row.shoot, lifetime, born.Add(row.age)); got != row.want {
			t.Errorf("%s: %+v, want %+v", name, got, row.want)
		}
	}
}
