package clusterfinalizer_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/controllerregistration/clusterfinalizer"
	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

const finalizer = "core.gardener.cloud/controllerregistration"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// install puts an extension into a Seed, a Shoot, or both.
func install(t *testing.T, garden client.Client, seed *gardencorev1beta1.Seed, shoot *gardencorev1beta1.Shoot) *gardencorev1beta1.ControllerInstallation {
	t.Helper()
	registration := &gardencorev1beta1.ControllerRegistration{ObjectMeta: metav1.ObjectMeta{Name: "r" + rand.String(6)}}
	must(t, garden.Create(t.Context(), registration))
	installation := &gardencorev1beta1.ControllerInstallation{
		ObjectMeta: metav1.ObjectMeta{Name: "i" + rand.String(6)},
		Spec:       gardencorev1beta1.ControllerInstallationSpec{RegistrationRef: corev1.ObjectReference{Name: registration.Name}},
	}
	if seed != nil {
		installation.Spec.SeedRef = &corev1.ObjectReference{Name: seed.Name}
	}
	if shoot != nil {
		installation.Spec.ShootRef = &corev1.ObjectReference{Namespace: shoot.Namespace, Name: shoot.Name}
	}
	must(t, garden.Create(t.Context(), installation))
	return installation
}

func gone(t *testing.T, garden client.Client, object client.Object) error {
	if err := garden.Get(t.Context(), client.ObjectKeyFromObject(object), object); !apierrors.IsNotFound(err) {
		return errors.Join(err, errors.New("it is still there"))
	}
	return nil
}

// TestFinalizer is on Seeds and on every Shoot, as long as anything is installed
// in them.
func TestFinalizer(t *testing.T) {
	garden, writes := controllertest.Client(t)
	seed, shoot := controllertest.NewSeed(t), controllertest.NewShoot(t, gardentest.Namespace(t))
	for name, test := range map[string]struct {
		cluster client.Object
		install func() *gardencorev1beta1.ControllerInstallation
	}{
		"seed":  {seed, func() *gardencorev1beta1.ControllerInstallation { return install(t, garden, seed, nil) }},
		"shoot": {shoot, func() *gardencorev1beta1.ControllerInstallation { return install(t, garden, nil, shoot) }},
	} {
		t.Run(name, func(t *testing.T) {
			recorder := events.NewFakeRecorder(10)
			r := &clusterfinalizer.Reconciler{Client: garden, Recorder: recorder}
			look := func() {
				t.Helper()
				if result, err := r.Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(test.cluster)}); err != nil || !result.IsZero() {
					t.Fatalf("got %+v, %v", result, err)
				}
			}
			look()
			if got := controllertest.Refresh(t, test.cluster).GetFinalizers(); !slices.Equal(got, []string{finalizer}) {
				t.Errorf("got %v", got)
			}
			writes.Fail(0)
			look()
			if writes.Count() > 0 {
				t.Error("a second look wrote something")
			}
			installation := test.install()
			must(t, garden.Delete(t.Context(), test.cluster))
			look()
			controllertest.Refresh(t, test.cluster)
			if said := <-recorder.Events; !strings.Contains(said, installation.Name) {
				t.Errorf("the event is %q", said)
			}
			must(t, garden.Delete(t.Context(), installation))
			look()
			must(t, gone(t, garden, test.cluster))
		})
	}
}

// TestWatches releases a cluster when an installation goes, and when it leaves
// the Seed.
func TestWatches(t *testing.T) {
	garden, _ := controllertest.Client(t)
	seed, both := controllertest.NewSeed(t), controllertest.NewSeed(t)
	namespace := gardentest.Namespace(t)
	shoot, other := controllertest.NewShoot(t, namespace), controllertest.NewShoot(t, namespace)
	ofSeed, ofShoot, shared := install(t, garden, seed, nil), install(t, garden, nil, shoot), install(t, garden, both, other)
	controllertest.Run(t, &clusterfinalizer.Reconciler{})
	for _, cluster := range []client.Object{seed, both, shoot, other} {
		controllertest.Eventually(t, func() error {
			if got := controllertest.Refresh(t, cluster).GetFinalizers(); !slices.Contains(got, finalizer) {
				return fmt.Errorf("got %v", got)
			}
			return nil
		})
	}
	for _, cluster := range []client.Object{seed, both, shoot} {
		must(t, garden.Delete(t.Context(), cluster))
		controllertest.Refresh(t, cluster) // it waits
	}
	must(t, garden.Delete(t.Context(), ofSeed))
	must(t, garden.Delete(t.Context(), ofShoot))
	shared.Spec.SeedRef = nil
	must(t, garden.Update(t.Context(), shared))
	for _, cluster := range []client.Object{seed, both, shoot} {
		controllertest.Eventually(t, func() error { return gone(t, garden, cluster) })
	}
}
