package shoot_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	gardencorev1 "github.com/gardener/gardener/pkg/apis/core/v1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/controllerregistration/controllerinstallation/shoot"
	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

type harness struct {
	*testing.T
	garden client.Client
	writes *controllertest.Writes
	id     string
	shoot  *gardencorev1beta1.Shoot
}

func newHarness(t *testing.T, selfHosted bool) *harness {
	t.Helper()
	h := &harness{T: t, id: rand.String(5)}
	h.garden, h.writes = controllertest.Client(t)
	h.shoot = controllertest.NewShoot(t, gardentest.Namespace(t), func(s *gardencorev1beta1.Shoot) {
		pool := gardencorev1beta1.Worker{Name: "pool", Minimum: 1, Maximum: 1, Machine: gardencorev1beta1.Machine{Type: "local"}}
		if selfHosted {
			pool.ControlPlane = &gardencorev1beta1.WorkerControlPlane{}
		}
		s.Spec.Provider.Workers = []gardencorev1beta1.Worker{pool}
		s.Spec.Extensions = []gardencorev1beta1.Extension{{Type: h.id}}
	})
	return h
}

func (h *harness) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *harness) offer(name, deployment string) *gardencorev1beta1.ControllerRegistration {
	h.Helper()
	registration := &gardencorev1beta1.ControllerRegistration{
		ObjectMeta: metav1.ObjectMeta{Name: name + "-" + h.id},
		Spec:       gardencorev1beta1.ControllerRegistrationSpec{Resources: []gardencorev1beta1.ControllerResource{{Kind: "Extension", Type: h.id}}},
	}
	if deployment != "" {
		registration.Spec.Deployment = &gardencorev1beta1.ControllerRegistrationDeployment{DeploymentRefs: []gardencorev1beta1.DeploymentRef{{Name: deployment}}}
	}
	h.must(h.garden.Create(context.Background(), registration))
	h.Cleanup(func() { h.must(client.IgnoreNotFound(h.garden.Delete(context.Background(), registration))) })
	return registration
}

func (h *harness) installed() map[string]*gardencorev1beta1.ControllerInstallation {
	h.Helper()
	list := &gardencorev1beta1.ControllerInstallationList{}
	h.must(h.garden.List(context.Background(), list, client.MatchingFields{"spec.shootRef.name": h.shoot.Name, "spec.shootRef.namespace": h.shoot.Namespace}))
	found := map[string]*gardencorev1beta1.ControllerInstallation{}
	for i := range list.Items {
		found[strings.TrimSuffix(list.Items[i].Spec.RegistrationRef.Name, "-"+h.id)] = &list.Items[i]
	}
	return found
}

func (h *harness) has(names ...string) error {
	if got := slices.Sorted(maps.Keys(h.installed())); !slices.Equal(got, names) {
		return fmt.Errorf("installed are %v, want %v", got, names)
	}
	return nil
}

func (h *harness) reconcile() {
	h.Helper()
	r := &shoot.Reconciler{Client: h.garden, Live: h.garden, Recorder: events.NewFakeRecorder(100)}
	if result, err := r.Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(h.shoot)}); err != nil || !result.IsZero() {
		h.Fatalf("got %+v, %v", result, err)
	}
}

// TestShoots wants extensions in those that look after themselves, and in no
// others.
func TestShoots(t *testing.T) {
	for name, test := range map[string]struct {
		selfHosted bool
		want       []string
	}{"self-hosted": {true, []string{"ext"}}, "hosted": {false, nil}} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, test.selfHosted)
			h.offer("ext", "")
			h.reconcile()
			if err := h.has(test.want...); err != nil {
				t.Fatal(err)
			}
			for _, i := range h.installed() {
				if ref := i.Spec.ShootRef; ref.Name != h.shoot.Name || ref.Namespace != h.shoot.Namespace || ref.ResourceVersion == "" || i.Spec.SeedRef != nil || len(i.Labels["shoot-spec-hash"]) != 16 {
					t.Errorf("got %+v", i)
				}
			}
			h.writes.Fail(0)
			h.reconcile()
			if h.writes.Count() > 0 {
				t.Errorf("%d writes though nothing has changed", h.writes.Count())
			}
		})
	}
}

// TestInDeletion wants nothing, but what is still required.
func TestInDeletion(t *testing.T) {
	h := newHarness(t, true)
	h.offer("ext", "")
	h.reconcile()
	controllertest.Refresh(t, h.shoot)
	h.shoot.Finalizers = []string{"example.org/test"}
	h.must(h.garden.Update(t.Context(), h.shoot))
	h.must(h.garden.Delete(t.Context(), h.shoot))
	i := h.installed()["ext"]
	i.Status.Conditions = []gardencorev1beta1.Condition{{Type: gardencorev1beta1.ControllerInstallationRequired, Status: gardencorev1beta1.ConditionTrue}}
	h.must(h.garden.Status().Update(t.Context(), i))
	h.reconcile()
	if err := h.has("ext"); err != nil {
		t.Error(err)
	}
	i.Status.Conditions = nil
	h.must(h.garden.Status().Update(t.Context(), i))
	h.reconcile()
	if err := h.has(); err != nil {
		t.Error(err)
	}
}

// TestRegistrationsWakeShoots wants registrations and deployments that come or
// change after a Shoot to reach it.
func TestRegistrationsWakeShoots(t *testing.T) {
	h := newHarness(t, true)
	controllertest.Run(t, &shoot.Reconciler{})
	deployment := &gardencorev1.ControllerDeployment{ObjectMeta: metav1.ObjectMeta{Name: "d-" + h.id}, Helm: &gardencorev1.HelmControllerDeployment{RawChart: []byte("chart")}}
	h.must(h.garden.Create(t.Context(), deployment))
	registration := h.offer("ext", deployment.Name)
	controllertest.Eventually(t, func() error { return h.has("ext") })
	before := h.installed()["ext"]
	deployment.Helm.RawChart = []byte("another")
	h.must(h.garden.Update(t.Context(), deployment))
	controllertest.Eventually(t, func() error {
		if h.installed()["ext"].Labels["deployment-hash"] == before.Labels["deployment-hash"] {
			return fmt.Errorf("the deployment is the old one")
		}
		return nil
	})
	registration.Spec.Resources[0].Type += "-other"
	h.must(h.garden.Update(t.Context(), registration))
	controllertest.Eventually(t, func() error { return h.has() })
	h.shoot.Spec.Extensions = append(controllertest.Refresh(t, h.shoot).Spec.Extensions, gardencorev1beta1.Extension{Type: registration.Spec.Resources[0].Type})
	h.must(h.garden.Update(t.Context(), h.shoot))
	controllertest.Eventually(t, func() error { return h.has("ext") })
}
