package wanted_test

import (
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/loam-cloud/loam/controllers/controllerregistration/internal/wanted"
)

func deployed(name string, policy gardencorev1beta1.ControllerDeploymentPolicy, selector map[string]string) gardencorev1beta1.ControllerRegistration {
	r := offers(name)[0]
	r.Spec.Deployment = &gardencorev1beta1.ControllerRegistrationDeployment{Policy: &policy}
	if selector != nil {
		r.Spec.Deployment.SeedSelector = &metav1.LabelSelector{MatchLabels: selector}
	}
	return r
}

func required(name string, status gardencorev1beta1.ConditionStatus) gardencorev1beta1.ControllerInstallation {
	return gardencorev1beta1.ControllerInstallation{
		Spec:   gardencorev1beta1.ControllerInstallationSpec{RegistrationRef: corev1.ObjectReference{Name: name}},
		Status: gardencorev1beta1.ControllerInstallationStatus{Conditions: []gardencorev1beta1.Condition{{Type: gardencorev1beta1.ControllerInstallationRequired, Status: status}}},
	}
}

// TestPolicies wants registrations that nobody asks for, as their policy says.
func TestPolicies(t *testing.T) {
	const (
		demand = gardencorev1beta1.ControllerDeploymentPolicyOnDemand
		always = gardencorev1beta1.ControllerDeploymentPolicyAlways
		shoots = gardencorev1beta1.ControllerDeploymentPolicyAlwaysExceptNoShoots
	)
	ending := deployed("Extension/ending", always, nil)
	ending.DeletionTimestamp = &metav1.Time{}
	endingShoots := deployed("Extension/ending-shoots", shoots, nil)
	endingShoots.DeletionTimestamp = &metav1.Time{}
	registrations := []gardencorev1beta1.ControllerRegistration{
		deployed("Extension/demand", demand, nil), deployed("Extension/always", always, nil), deployed("Extension/shoots", shoots, nil), ending, endingShoots,
		deployed("Extension/here", always, map[string]string{"place": "here"}), deployed("Extension/there", always, map[string]string{"place": "there"}),
		deployed("ControlPlane/seed", demand, map[string]string{"place": "there"}), offers("Infrastructure/seed")[0], offers("Worker/seed")[0],
	}
	own := []string{"Infrastructure/seed", "Worker/seed"}
	one := []*gardencorev1beta1.Shoot{{}}
	for name, test := range map[string]struct {
		ending        bool
		shoots        []*gardencorev1beta1.Shoot
		installations []gardencorev1beta1.ControllerInstallation
		elsewhere     bool
		want          []string
	}{
		"a seed":                        {want: append(own, "Extension/always", "Extension/here")},
		"with shoots":                   {shoots: one, want: append(own, "Extension/always", "Extension/here", "Extension/shoots")},
		"in deletion":                   {ending: true},
		"in deletion, with shoots":      {ending: true, shoots: one, want: []string{"Extension/shoots"}},
		"required":                      {installations: []gardencorev1beta1.ControllerInstallation{required("Extension/demand", "True")}, want: append(own, "Extension/always", "Extension/here", "Extension/demand")},
		"required in deletion":          {ending: true, installations: []gardencorev1beta1.ControllerInstallation{required("Extension/ending", "True")}, want: []string{"Extension/ending"}},
		"no longer required":            {ending: true, installations: []gardencorev1beta1.ControllerInstallation{required("Extension/demand", "False")}},
		"required but not meant for it": {ending: true, installations: []gardencorev1beta1.ControllerInstallation{required("Extension/there", "True")}},
		"the shoot's policies":          {elsewhere: true, shoots: one, want: own},
	} {
		t.Run(name, func(t *testing.T) {
			s := seed()
			s.Labels, s.Spec.Backup = map[string]string{"place": "here"}, nil
			if test.ending {
				s.DeletionTimestamp = &metav1.Time{}
			}
			got := wanted.ForSeed(wanted.SeedFacts{
				Seed: s, Shoots: test.shoots, Registrations: registrations, Installations: test.installations, PoliciesElsewhere: test.elsewhere,
			})
			if want := sets.New(test.want...); !got.Registrations.Equal(want) {
				t.Errorf("got %v, want %v", sets.List(got.Registrations), sets.List(want))
			}
		})
	}

	t.Run("a shoot", func(t *testing.T) {
		shoot := selfHosted()
		facts := wanted.ShootFacts{Shoot: shoot, Registrations: registrations}
		// Seed selectors do not concern it.
		if got := wanted.ForShoot(facts).Registrations; !got.Equal(sets.New("Extension/always", "Extension/shoots", "Extension/here", "Extension/there")) {
			t.Errorf("got %v", sets.List(got))
		}
		shoot.DeletionTimestamp = &metav1.Time{}
		facts.Installations = []gardencorev1beta1.ControllerInstallation{required("Extension/demand", "True")}
		if got := wanted.ForShoot(facts).Registrations; !got.Equal(sets.New("Extension/demand")) {
			t.Errorf("in deletion: %v", sets.List(got))
		}
	})
}

func TestUnreadableSelector(t *testing.T) {
	broken := deployed("Worker/seed", gardencorev1beta1.ControllerDeploymentPolicyOnDemand, nil)
	broken.Spec.Deployment.SeedSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Perhaps"}}}
	got := wanted.ForSeed(wanted.SeedFacts{Seed: seed(), Registrations: append(offers("ControlPlane/seed"), broken)})
	if !got.Registrations.Equal(sets.New("ControlPlane/seed")) || len(got.Problems) != 1 {
		t.Errorf("got %v, %v", sets.List(got.Registrations), got.Problems)
	}
}

// BenchmarkForSeed decides for a Seed with ten thousand Shoots.
func BenchmarkForSeed(b *testing.B) {
	facts := wanted.SeedFacts{Seed: seed(), Domains: domains(), Registrations: everything()}
	for range 10000 {
		facts.Shoots = append(facts.Shoots, hosted())
	}
	for b.Loop() {
		if len(wanted.ForSeed(facts).Registrations) == 0 {
			b.Fatal("nothing is wanted")
		}
	}
}
