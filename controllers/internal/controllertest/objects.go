package controllertest

import (
	"context"
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/garden/bootstrap"
	"github.com/loam-cloud/loam/garden/gardentest"
)

// NewSeed makes a Seed with a random name.
func NewSeed(tb testing.TB, change ...func(*gardencorev1beta1.Seed)) *gardencorev1beta1.Seed {
	tb.Helper()
	seed := bootstrap.LocalSeed("s"+rand.String(6), bootstrap.Name)
	return create(tb, seed, change)
}

// NewShoot makes a Shoot with a random name on the local cloud profile; it may be
// deleted.
func NewShoot(tb testing.TB, namespace string, change ...func(*gardencorev1beta1.Shoot)) *gardencorev1beta1.Shoot {
	tb.Helper()
	shoot := Shoot(namespace, "p"+rand.String(5))
	shoot.Annotations = map[string]string{v1beta1constants.ConfirmationDeletion: "true"}
	shoot.Spec.Provider.Workers = nil
	return create(tb, shoot, change)
}

// GardenProject makes namespace garden one that clusters can live in.
func GardenProject(tb testing.TB) {
	tb.Helper()
	namespace := v1beta1constants.GardenNamespace
	project := &gardencorev1beta1.Project{ObjectMeta: metav1.ObjectMeta{Name: namespace}, Spec: gardencorev1beta1.ProjectSpec{Namespace: &namespace}}
	if err := gardentest.Client(tb).Create(context.Background(), project); client.IgnoreAlreadyExists(err) != nil {
		tb.Fatalf("creating project %q: %v", namespace, err)
	}
}

func create[T client.Object](tb testing.TB, object T, change []func(T)) T {
	tb.Helper()
	for _, c := range change {
		c(object)
	}
	if err := gardentest.Client(tb).Create(context.Background(), object); err != nil {
		tb.Fatalf("creating %T %q: %v", object, object.GetName(), err)
	}
	return object
}

// Refresh reads an object again; it has to be there.
func Refresh[T client.Object](tb testing.TB, object T) T {
	tb.Helper()
	if err := gardentest.Client(tb).Get(context.Background(), client.ObjectKeyFromObject(object), object); err != nil {
		tb.Fatalf("reading %T %q: %v", object, object.GetName(), err)
	}
	return object
}
