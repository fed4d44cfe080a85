package controllertest

import (
	"testing"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/garden/bootstrap"
	"github.com/loam-cloud/loam/garden/gardentest"
)

// Shoot is one that the garden of a test takes, with one pool of workers and
// without a seed. It is not created.
func Shoot(namespace, name string) *gardencorev1beta1.Shoot {
	return &gardencorev1beta1.Shoot{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: gardencorev1beta1.ShootSpec{
			CloudProfile: &gardencorev1beta1.CloudProfileReference{Kind: v1beta1constants.CloudProfileReferenceKindCloudProfile, Name: bootstrap.Name},
			Region:       bootstrap.Name,
			Provider: gardencorev1beta1.Provider{Type: bootstrap.Name, Workers: []gardencorev1beta1.Worker{{
				Name: "workers", Minimum: 1, Maximum: 1, Machine: gardencorev1beta1.Machine{Type: bootstrap.Name},
			}}},
			Kubernetes: gardencorev1beta1.Kubernetes{Version: gardentest.Versions()[0][1:]},
		},
	}
}

// Create makes objects. Nothing removes them but the end of the garden.
func Create(tb testing.TB, c client.Client, objects ...client.Object) {
	tb.Helper()
	for _, object := range objects {
		if err := c.Create(tb.Context(), object); err != nil {
			tb.Fatalf("creating %T %q: %v", object, object.GetName(), err)
		}
	}
}

// SetStatus changes the status of a Shoot.
func SetStatus(tb testing.TB, c client.Client, shoot *gardencorev1beta1.Shoot, change func(*gardencorev1beta1.ShootStatus)) {
	tb.Helper()
	base := shoot.DeepCopy()
	change(&shoot.Status)
	if err := c.Status().Patch(tb.Context(), shoot, client.MergeFrom(base)); err != nil {
		tb.Fatalf("changing the status of shoot %q: %v", shoot.Name, err)
	}
}

// Change patches an object with what change does to it.
func Change[T client.Object](tb testing.TB, c client.Client, object T, change func(T)) {
	tb.Helper()
	base, ok := object.DeepCopyObject().(T)
	if !ok {
		tb.Fatalf("the copy of a %T is none", object)
	}
	change(object)
	if err := c.Patch(tb.Context(), object, client.MergeFrom(base)); err != nil {
		tb.Fatalf("changing %T %q: %v", object, object.GetName(), err)
	}
}

// LastOperation is one of a type and in a state that was reported at a time.
func LastOperation(kind gardencorev1beta1.LastOperationType, state gardencorev1beta1.LastOperationState, at time.Time) *gardencorev1beta1.LastOperation {
	return ptr.To(gardencorev1beta1.LastOperation{Type: kind, State: state, LastUpdateTime: metav1.NewTime(at)})
}

// Movable is a seed to and from which the garden of a test lets control planes
// move. It is not created.
func Movable(name string) *gardencorev1beta1.Seed {
	seed := bootstrap.LocalSeed(name, bootstrap.Name)
	seed.Spec.Backup = &gardencorev1beta1.Backup{
		Provider:       bootstrap.Name,
		CredentialsRef: &corev1.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: "garden", Name: "backup"},
	}
	return seed
}

// Bind gives a Shoot a seed, or another one.
func Bind(tb testing.TB, c client.Client, shoot *gardencorev1beta1.Shoot, seed string) {
	tb.Helper()
	shoot.Spec.SeedName = &seed
	if err := c.SubResource("binding").Update(tb.Context(), shoot); err != nil {
		tb.Fatalf("binding shoot %q to seed %q: %v", shoot.Name, seed, err)
	}
}
