package seed_test

import (
	"context"
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/controllerregistration/controllerinstallation/shoot"
	"github.com/loam-cloud/loam/controllers/controllerregistration/internal/wanted"
	"github.com/loam-cloud/loam/controllers/internal/controllertest"
)

// both is a cluster that is a Seed and a Shoot at once.
type both struct {
	*harness
	shoot  *gardencorev1beta1.Shoot
	shoots *shoot.Reconciler
}

func newBoth(t *testing.T) *both {
	t.Helper()
	controllertest.GardenProject(t)
	b := &both{harness: newHarness(t, func(s *gardencorev1beta1.Seed) {
		s.Labels = map[string]string{v1beta1constants.LabelSelfHostedShootCluster: "true"}
	})}
	b.shoot = controllertest.NewShoot(t, v1beta1constants.GardenNamespace, func(s *gardencorev1beta1.Shoot) {
		s.Name = b.seed.Name
		s.Spec.Provider.Workers = []gardencorev1beta1.Worker{{
			Name: "plane", Minimum: 1, Maximum: 1, Machine: gardencorev1beta1.Machine{Type: "local"}, ControlPlane: &gardencorev1beta1.WorkerControlPlane{},
		}}
	})
	t.Cleanup(func() { b.remove(b.shoot) })
	b.shoots = &shoot.Reconciler{Client: b.garden, Live: b.garden, Recorder: b.recorder}
	return b
}

// settle has each controller look as often as their watches would wake them.
func (b *both) settle() {
	b.Helper()
	for range 2 {
		b.reconcileShoot()
		b.reconcile()
	}
}

func (b *both) reconcileShoot() {
	b.Helper()
	if result, err := b.shoots.Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(b.shoot)}); err != nil || !result.IsZero() {
		b.Fatalf("got %+v, %v", result, err)
	}
}

// state of installations in the Shoot: whose they are.
func (b *both) wantState(want map[string]string) {
	b.Helper()
	got := map[string]string{}
	for name, i := range b.list(client.MatchingFields{"spec.shootRef.name": b.shoot.Name, "spec.shootRef.namespace": b.shoot.Namespace}) {
		switch only := i.Labels[wanted.SeedRefName]; {
		case only == b.seed.Name && i.Spec.SeedRef != nil && i.Labels["seed-spec-hash"] != "" && i.Labels["shoot-spec-hash"] == "":
			got[name] = "seed"
		case only == "" && i.Spec.SeedRef != nil && i.Spec.SeedRef.Name == b.seed.Name && i.Labels["shoot-spec-hash"] != "":
			got[name] = "shared"
		case only == "" && i.Spec.SeedRef == nil && i.Labels["shoot-spec-hash"] != "":
			got[name] = "shoot"
		default:
			b.Errorf("%s: labels %v, spec %+v", name, i.Labels, i.Spec)
		}
	}
	if len(got) != len(want) {
		b.Errorf("got %v, want %v", got, want)
	}
	for name := range want {
		if got[name] != want[name] {
			b.Errorf("got %v, want %v", got, want)
			return
		}
	}
	before := b.writes.Count()
	b.settle()
	if n := b.writes.Count() - before; n > 0 {
		b.Errorf("%d writes though nothing has changed", n)
	}
}

func (b *both) enable(seed, shoot bool) {
	b.Helper()
	controllertest.Refresh(b.T, b.seed)
	controllertest.Refresh(b.T, b.shoot)
	b.seed.Spec.Extensions, b.shoot.Spec.Extensions = nil, nil
	if seed {
		b.seed.Spec.Extensions = []gardencorev1beta1.Extension{{Type: b.id}}
	}
	if shoot {
		b.shoot.Spec.Extensions = []gardencorev1beta1.Extension{{Type: b.id}}
	}
	b.must(b.garden.Update(b.Context(), b.seed))
	b.must(b.garden.Update(b.Context(), b.shoot))
}

// TestSelfHosted has an extension needed by the one, by the other, by both and by
// none, in all orders, without one being made twice or made anew on its way.
func TestSelfHosted(t *testing.T) {
	b := newBoth(t)
	b.offer("plane", nil, "ControlPlane", "Worker", "Infrastructure")
	b.offer("ext", nil, "Extension")
	b.offer("always", &gardencorev1beta1.ControllerRegistrationDeployment{
		Policy:       policyOf(gardencorev1beta1.ControllerDeploymentPolicyAlways),
		SeedSelector: &metav1.LabelSelector{MatchLabels: map[string]string{v1beta1constants.LabelSelfHostedShootCluster: "true"}},
	}, "Network/n-"+b.id)
	with := func(ext string) map[string]string {
		// The policy belongs to the Shoot's side.
		state := map[string]string{"plane": "seed", "always": "shoot"}
		if ext != "" {
			state["ext"] = ext
		}
		return state
	}
	b.settle()
	b.wantState(with(""))
	name := ""
	for _, step := range []struct {
		seed, shoot bool
		want        string
	}{
		{false, true, "shoot"}, {true, true, "shared"}, {true, false, "seed"}, {true, true, "shared"}, {false, true, "shoot"}, {false, false, ""},
		{true, false, "seed"}, {false, false, ""}, {true, true, "shared"}, {false, false, ""}, {true, false, "seed"}, {false, true, "shoot"},
	} {
		b.enable(step.seed, step.shoot)
		b.settle()
		b.wantState(with(step.want))
		i := b.list(client.MatchingFields{"spec.shootRef.name": b.shoot.Name, "spec.shootRef.namespace": b.shoot.Namespace})["ext"]
		switch {
		case i == nil:
			name = ""
		case name == "":
			name = i.Name
		case name != i.Name && step.want != "shoot": // only the seed's own may be made anew when both change at once
			t.Errorf("%v: made anew", step)
		}
	}
}

// TestBecomesSelfHosted leaves nothing behind of the time before, in either
// direction.
func TestBecomesSelfHosted(t *testing.T) {
	b := newBoth(t)
	b.offer("plane", nil, "ControlPlane", "Worker", "Infrastructure")
	b.offer("ext", nil, "Extension")
	b.enable(true, true)
	label := func(labels map[string]string) {
		controllertest.Refresh(t, b.seed)
		b.seed.Labels = labels
		b.must(b.garden.Update(t.Context(), b.seed))
		b.settle()
	}
	b.settle()
	label(nil)
	b.wantState(map[string]string{"ext": "shoot"})
	b.want("ext", "plane")
	label(map[string]string{v1beta1constants.LabelSelfHostedShootCluster: "true"})
	b.wantState(map[string]string{"plane": "seed", "ext": "shared"})
	b.want("ext", "plane")
}

// TestSelfHostedInterrupted ends the same whichever write fails.
func TestSelfHostedInterrupted(t *testing.T) {
	garden, writes := controllertest.Client(t)
	var b *both
	controllertest.Interrupted(t, writes, func(t *testing.T) {
		b = newBoth(t)
		b.use(garden)
		b.shoots.Client, b.shoots.Live = garden, garden
		b.offer("plane", nil, "ControlPlane", "Worker", "Infrastructure")
		b.offer("ext", nil, "Extension")
		b.enable(true, true)
	}, func() error {
		var err error
		for range 2 {
			if _, err = b.shoots.Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(b.shoot)}); err != nil {
				return err
			}
			if _, err = b.run(); err != nil {
				return err
			}
		}
		return nil
	}, func(*testing.T) { b.wantState(map[string]string{"plane": "seed", "ext": "shared"}) })
}
