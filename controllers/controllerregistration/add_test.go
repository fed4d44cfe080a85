package controllerregistration_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/loam-cloud/loam/controllers/controllerregistration"
	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

// TestTogether has all controllers bring an extension into a Seed, and let both
// go in the right order.
func TestTogether(t *testing.T) {
	garden, _ := controllertest.Client(t)
	controllertest.Run(t, controllertest.Func(func(mgr manager.Manager) error {
		return controllerregistration.AddToManager(mgr, controllermanagerconfigv1alpha1.ControllerManagerConfiguration{})
	}))
	kindType := rand.String(6)
	seed := controllertest.NewSeed(t, func(s *gardencorev1beta1.Seed) { s.Spec.Provider.Type = kindType })
	registration := &gardencorev1beta1.ControllerRegistration{
		ObjectMeta: metav1.ObjectMeta{Name: "r" + kindType},
		Spec:       gardencorev1beta1.ControllerRegistrationSpec{Resources: []gardencorev1beta1.ControllerResource{{Kind: "ControlPlane", Type: kindType}}},
	}
	if err := garden.Create(t.Context(), registration); err != nil {
		t.Fatal(err)
	}
	const finalizer = "core.gardener.cloud/controllerregistration"
	installed := func() int {
		list := &gardencorev1beta1.ControllerInstallationList{}
		if err := garden.List(context.Background(), list, client.MatchingFields{"spec.seedRef.name": seed.Name}); err != nil {
			t.Fatal(err)
		}
		return len(list.Items)
	}
	controllertest.Eventually(t, func() error {
		for _, object := range []client.Object{seed, registration} {
			if !slices.Contains(controllertest.Refresh(t, object).GetFinalizers(), finalizer) {
				return fmt.Errorf("%T may go", object)
			}
		}
		if n := installed(); n != 1 {
			return fmt.Errorf("%d installations", n)
		}
		return nil
	})

	// The Seed still needs it: the registration waits, and goes with the Seed.
	if err := garden.Delete(t.Context(), registration); err != nil {
		t.Fatal(err)
	}
	if n := installed(); n != 1 {
		t.Errorf("%d installations of a registration in deletion that is needed", n)
	}
	if err := garden.Delete(t.Context(), seed); err != nil {
		t.Fatal(err)
	}
	controllertest.Eventually(t, func() error {
		for _, object := range []client.Object{seed, registration} {
			if err := garden.Get(t.Context(), client.ObjectKeyFromObject(object), object); !apierrors.IsNotFound(err) {
				return fmt.Errorf("%T is still there: %w", object, err)
			}
		}
		return nil
	})
}

// TestDeclarations wants each controller to say what it writes.
func TestDeclarations(t *testing.T) {
	names := map[string]bool{}
	for _, d := range controllerregistration.Declarations() {
		if d.Controller == "" || names[d.Controller] || len(d.Reads) == 0 || len(d.Writes) == 0 {
			t.Errorf("got %+v", d)
		}
		names[d.Controller] = true
	}
	if len(names) != 5 {
		t.Errorf("%d controllers", len(names))
	}
}
