package bastion_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	operationsv1alpha1 "github.com/gardener/gardener/pkg/apis/operations/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/bastion"
	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

// key is a valid SSH key of nobody.
const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGhd5RtHUmVoMAsqUZdL8OtcGJGUgvPUL1SyOZyPFcNe test"

// setting has a seed and a Shoot on it.
func setting(t *testing.T, c client.Client) *gardencorev1beta1.Shoot {
	t.Helper()
	namespace := gardentest.Namespace(t)
	seed := controllertest.Movable("seed-" + namespace)
	shoot := controllertest.Shoot(namespace, "demo")
	shoot.Spec.SeedName = &seed.Name
	shoot.Finalizers = []string{"example.org/test"}
	controllertest.Create(t, c, seed, shoot)
	return shoot
}

func newBastion(shoot *gardencorev1beta1.Shoot, name string) *operationsv1alpha1.Bastion {
	return &operationsv1alpha1.Bastion{
		ObjectMeta: metav1.ObjectMeta{Namespace: shoot.Namespace, Name: name},
		Spec: operationsv1alpha1.BastionSpec{
			ShootRef: corev1.LocalObjectReference{Name: shoot.Name}, SSHPublicKey: key,
			Ingress: []operationsv1alpha1.BastionIngressPolicy{{IPBlock: networkingv1.IPBlock{CIDR: "127.0.0.0/8"}}},
		},
	}
}

// TestTime wants a Bastion to go when it expires, on the injected clock.
func TestTime(t *testing.T) {
	c, _ := controllertest.Client(t)
	shoot := setting(t, c)
	b := newBastion(shoot, "b")
	controllertest.Create(t, c, b)
	if b.Status.ExpirationTimestamp == nil || ptr.Deref(b.Spec.SeedName, "") != *shoot.Spec.SeedName {
		t.Fatalf("made without an end or a seed: %+v", b)
	}
	clock := clocktesting.NewFakeClock(b.Status.ExpirationTimestamp.Add(-time.Minute))
	r := &bastion.Reconciler{Client: c, Clock: clock}
	reconciled := func() reconcile.Result {
		result, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(b)})
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
	if result := reconciled(); result.RequeueAfter != time.Minute {
		t.Errorf("looks again after %s", result.RequeueAfter)
	}
	clock.Step(time.Minute)
	reconciled()
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(b), b); !apierrors.IsNotFound(err) && b.DeletionTimestamp == nil {
		t.Errorf("not deleted: %v", err)
	}
	if result := reconciled(); result.RequeueAfter != 0 {
		t.Errorf("looks again for one that is gone after %s", result.RequeueAfter)
	}
}

// TestShootGoes wants the bastions of a Shoot to go with it, and those of others
// to stay.
func TestShootGoes(t *testing.T) {
	c, _ := controllertest.Client(t)
	shoot := setting(t, c)
	other := controllertest.Shoot(shoot.Namespace, "other")
	other.Spec.SeedName = shoot.Spec.SeedName
	controllertest.Create(t, c, other)
	goes, stays := newBastion(shoot, "goes"), newBastion(other, "stays")
	controllertest.Create(t, c, goes, stays)
	controllertest.Run(t, &bastion.Reconciler{})
	controllertest.Change(t, c, shoot, func(s *gardencorev1beta1.Shoot) {
		metav1.SetMetaDataAnnotation(&s.ObjectMeta, "confirmation.gardener.cloud/deletion", "true")
	})
	if err := c.Delete(t.Context(), shoot); err != nil {
		t.Fatal(err)
	}
	controllertest.Eventually(t, func() error {
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(goes), goes); apierrors.IsNotFound(err) || goes.DeletionTimestamp != nil {
			return nil
		}
		return fmt.Errorf("it is still there")
	})
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(stays), stays); err != nil || stays.DeletionTimestamp != nil {
		t.Errorf("another shoot's bastion went: %v", err)
	}
}

// TestShootMoves wants the bastions of a Shoot that gets another seed to go.
func TestShootMoves(t *testing.T) {
	c, _ := controllertest.Client(t)
	shoot := setting(t, c)
	b := newBastion(shoot, "b")
	controllertest.Create(t, c, b)
	controllertest.Run(t, &bastion.Reconciler{})
	target := controllertest.Movable("target-" + shoot.Namespace)
	controllertest.Create(t, c, target)
	controllertest.Bind(t, c, shoot, target.Name)
	controllertest.Eventually(t, func() error {
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(b), b); apierrors.IsNotFound(err) || b.DeletionTimestamp != nil {
			return nil
		}
		return fmt.Errorf("it is still there")
	})
}
