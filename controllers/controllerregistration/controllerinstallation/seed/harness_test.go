package seed_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	gardencorev1 "github.com/gardener/gardener/pkg/apis/core/v1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/controllerregistration/controllerinstallation/seed"
	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

// harness has a Seed of a provider of its own, so that tests do not meet.
type harness struct {
	*testing.T
	garden     client.Client
	writes     *controllertest.Writes
	recorder   *events.FakeRecorder
	id         string
	seed       *gardencorev1beta1.Seed
	reconciler *seed.Reconciler
}

func newHarness(t *testing.T, change ...func(*gardencorev1beta1.Seed)) *harness {
	t.Helper()
	h := &harness{T: t, id: rand.String(5), recorder: events.NewFakeRecorder(100)}
	h.garden, h.writes = controllertest.Client(t)
	h.use(h.garden)
	h.seed = controllertest.NewSeed(t, append([]func(*gardencorev1beta1.Seed){func(s *gardencorev1beta1.Seed) {
		s.Spec.Provider.Type = h.id
		s.Spec.DNS.Internal = &gardencorev1beta1.SeedDNSProviderConfig{
			Type: "dns-" + h.id, Domain: "internal.example.org", CredentialsRef: corev1.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: "garden", Name: "dns"},
		}
	}}, change...)...)
	t.Cleanup(func() { h.remove(h.seed) })
	return h
}

func (h *harness) use(garden client.Client) {
	h.reconciler = &seed.Reconciler{Client: garden, Live: garden, Recorder: h.recorder}
}

func (h *harness) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// remove ends an object and what waits for it.
func (h *harness) remove(object client.Object) {
	h.Helper()
	h.must(client.IgnoreNotFound(h.garden.Delete(context.Background(), object)))
}

func (h *harness) run() (reconcile.Result, error) {
	return h.reconciler.Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(h.seed)})
}

func (h *harness) reconcile() {
	h.Helper()
	if result, err := h.run(); err != nil || !result.IsZero() {
		h.Fatalf("got %+v, %v", result, err)
	}
}

// offer makes a registration with a name of this test's own. The type of a
// resource is the test's unless it is given as "Kind/type".
func (h *harness) offer(name string, deployment *gardencorev1beta1.ControllerRegistrationDeployment, resources ...string) *gardencorev1beta1.ControllerRegistration {
	h.Helper()
	registration := &gardencorev1beta1.ControllerRegistration{
		ObjectMeta: metav1.ObjectMeta{Name: name + "-" + h.id}, Spec: gardencorev1beta1.ControllerRegistrationSpec{Deployment: deployment},
	}
	for _, resource := range resources {
		kind, kindType, found := strings.Cut(resource, "/")
		if !found {
			kindType = h.id
		}
		registration.Spec.Resources = append(registration.Spec.Resources, gardencorev1beta1.ControllerResource{Kind: kind, Type: kindType})
	}
	h.must(h.garden.Create(context.Background(), registration))
	h.Cleanup(func() { h.remove(registration) })
	return registration
}

func (h *harness) deployment(resources ...gardencorev1.NamedResourceReference) *gardencorev1.ControllerDeployment {
	h.Helper()
	deployment := &gardencorev1.ControllerDeployment{
		ObjectMeta: metav1.ObjectMeta{Name: "d-" + h.id}, Helm: &gardencorev1.HelmControllerDeployment{RawChart: []byte("chart")}, Resources: resources,
	}
	h.must(h.garden.Create(context.Background(), deployment))
	return deployment
}

func deployedBy(deployment *gardencorev1.ControllerDeployment) *gardencorev1beta1.ControllerRegistrationDeployment {
	return &gardencorev1beta1.ControllerRegistrationDeployment{DeploymentRefs: []gardencorev1beta1.DeploymentRef{{Name: deployment.Name}}}
}

func (h *harness) policy(policy gardencorev1beta1.ControllerDeploymentPolicy) *gardencorev1beta1.ControllerRegistrationDeployment {
	return &gardencorev1beta1.ControllerRegistrationDeployment{
		Policy: &policy, SeedSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"test": h.id}},
	}
}

// installed are the installations in the Seed, by what is installed without the
// test's own ending.
func (h *harness) installed() map[string]*gardencorev1beta1.ControllerInstallation {
	h.Helper()
	return h.list(client.MatchingFields{"spec.seedRef.name": h.seed.Name})
}

func (h *harness) list(fields client.MatchingFields) map[string]*gardencorev1beta1.ControllerInstallation {
	h.Helper()
	list := &gardencorev1beta1.ControllerInstallationList{}
	h.must(h.garden.List(context.Background(), list, fields))
	found := map[string]*gardencorev1beta1.ControllerInstallation{}
	for i := range list.Items {
		name := strings.TrimSuffix(list.Items[i].Spec.RegistrationRef.Name, "-"+h.id)
		if found[name] != nil {
			h.Errorf("%s is installed twice", name)
		}
		found[name] = &list.Items[i]
	}
	return found
}

func (h *harness) want(names ...string) {
	h.Helper()
	if err := h.has(names...); err != nil {
		h.Error(err)
	}
}

func (h *harness) has(names ...string) error {
	h.Helper()
	if got := slices.Sorted(maps.Keys(h.installed())); !slices.Equal(got, names) {
		return fmt.Errorf("installed are %v, want %v", got, names)
	}
	return nil
}

func (h *harness) eventually(names ...string) {
	h.Helper()
	controllertest.Eventually(h.T, func() error { return h.has(names...) })
}

// require sets the condition by which an installation says that it is needed.
func (h *harness) require(installation *gardencorev1beta1.ControllerInstallation, status gardencorev1beta1.ConditionStatus) {
	h.Helper()
	installation.Status.Conditions = []gardencorev1beta1.Condition{{
		Type: gardencorev1beta1.ControllerInstallationRequired, Status: status, LastTransitionTime: metav1.NewTime(time.Unix(0, 0)), LastUpdateTime: metav1.NewTime(time.Unix(0, 0)),
	}}
	h.must(h.garden.Status().Update(context.Background(), installation))
}

// gardenSecret is a Secret that a deployment names.
func (h *harness) gardenSecret() (*corev1.Secret, gardencorev1.NamedResourceReference) {
	h.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: v1beta1constants.GardenNamespace, Name: "s-" + h.id, Labels: map[string]string{v1beta1constants.GardenRole: v1beta1constants.GardenRoleResourceReference},
	}}
	h.must(h.garden.Create(context.Background(), secret))
	return secret, gardencorev1.NamedResourceReference{Name: "values", ResourceRef: reference("Secret", secret.Name)}
}

func reference(kind, name string) autoscalingv1.CrossVersionObjectReference {
	return autoscalingv1.CrossVersionObjectReference{APIVersion: "v1", Kind: kind, Name: name}
}
