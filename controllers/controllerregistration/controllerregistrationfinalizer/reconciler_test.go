package controllerregistrationfinalizer_test

import (
	"context"
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

	"github.com/loam-cloud/loam/controllers/controllerregistration/controllerregistrationfinalizer"
	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func install(t *testing.T, garden client.Client, registration, seed string) *gardencorev1beta1.ControllerInstallation {
	t.Helper()
	installation := &gardencorev1beta1.ControllerInstallation{
		ObjectMeta: metav1.ObjectMeta{Name: "i" + rand.String(6)},
		Spec: gardencorev1beta1.ControllerInstallationSpec{
			RegistrationRef: corev1.ObjectReference{Name: registration}, SeedRef: &corev1.ObjectReference{Name: seed},
		},
	}
	must(t, garden.Create(t.Context(), installation))
	return installation
}

func registered(t *testing.T, garden client.Client) *gardencorev1beta1.ControllerRegistration {
	t.Helper()
	registration := &gardencorev1beta1.ControllerRegistration{ObjectMeta: metav1.ObjectMeta{Name: "r" + rand.String(6)}}
	must(t, garden.Create(t.Context(), registration))
	return registration
}

// TestFinalizer is there as long as the registration is installed anywhere.
func TestFinalizer(t *testing.T) {
	garden, writes := controllertest.Client(t)
	recorder := events.NewFakeRecorder(10)
	registration, seed := registered(t, garden), controllertest.NewSeed(t)
	r := &controllerregistrationfinalizer.Reconciler{Client: garden, Recorder: recorder}
	look := func() {
		t.Helper()
		if result, err := r.Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(registration)}); err != nil || !result.IsZero() {
			t.Fatalf("got %+v, %v", result, err)
		}
	}
	look()
	if got := controllertest.Refresh(t, registration).Finalizers; !slices.Equal(got, []string{"core.gardener.cloud/controllerregistration"}) {
		t.Errorf("got %v", got)
	}
	writes.Fail(0)
	look()
	if writes.Count() > 0 {
		t.Error("a second look wrote something")
	}
	installation := install(t, garden, registration.Name, seed.Name)
	must(t, garden.Delete(t.Context(), registration))
	look()
	controllertest.Refresh(t, registration)
	if said := <-recorder.Events; !strings.Contains(said, "ResourceReferenced") || !strings.Contains(said, "1 ControllerInstallation: "+installation.Name) {
		t.Errorf("the event is %q", said)
	}
	must(t, garden.Delete(t.Context(), installation))
	look()
	if err := garden.Get(t.Context(), client.ObjectKeyFromObject(registration), registration); !apierrors.IsNotFound(err) {
		t.Errorf("still there: %v", err)
	}
}

// TestReleasesAtOnce when the last installation goes: it is watched.
func TestReleasesAtOnce(t *testing.T) {
	garden, _ := controllertest.Client(t)
	registration, seed := registered(t, garden), controllertest.NewSeed(t)
	installation := install(t, garden, registration.Name, seed.Name)
	controllertest.Run(t, &controllerregistrationfinalizer.Reconciler{})
	controllertest.Eventually(t, func() error {
		if len(controllertest.Refresh(t, registration).Finalizers) == 0 {
			return fmt.Errorf("no finalizer")
		}
		return nil
	})
	must(t, garden.Delete(t.Context(), registration))
	must(t, garden.Delete(t.Context(), installation))
	controllertest.Eventually(t, func() error {
		if err := garden.Get(t.Context(), client.ObjectKeyFromObject(registration), registration); !apierrors.IsNotFound(err) {
			return fmt.Errorf("still there: %w", err)
		}
		return nil
	})
}
