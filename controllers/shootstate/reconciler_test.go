package shootstate_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/controllers/shootstate"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

func newState(t *testing.T, c client.Client, namespace, name string) *gardencorev1beta1.ShootState {
	t.Helper()
	state := &gardencorev1beta1.ShootState{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: name, Annotations: map[string]string{"confirmation.gardener.cloud/deletion": "true"},
	}}
	controllertest.Create(t, c, state)
	return state
}

// TestAMove follows a Shoot from one seed to another.
func TestAMove(t *testing.T) {
	c, _ := controllertest.Client(t)
	controllertest.Run(t, &shootstate.Reconciler{})
	shoot := controllertest.NewShoot(t, gardentest.Namespace(t))
	become := func(kind gardencorev1beta1.LastOperationType, state gardencorev1beta1.LastOperationState) {
		t.Helper()
		controllertest.SetStatus(t, c, shoot, func(s *gardencorev1beta1.ShootStatus) {
			s.LastOperation = controllertest.LastOperation(kind, state, time.Now())
		})
	}
	become("Reconcile", "Succeeded")
	state := newState(t, c, shoot.Namespace, shoot.Name)
	held := func(want bool) {
		t.Helper()
		controllertest.Eventually(t, func() error {
			if got := strings.Join(controllertest.Refresh(t, state).Finalizers, " "); got == "core.gardener.cloud/shootstate" != want {
				return fmt.Errorf("finalizers are %q, held should be %v", got, want)
			}
			return nil
		})
	}
	become("Migrate", "Processing")
	held(true)
	become("Migrate", "Succeeded")
	become("Restore", "Processing")
	held(true)
	become("Restore", "Succeeded")
	held(false)
	become("Migrate", "Processing")
	held(true)
	become("Restore", "Failed")
	become("Reconcile", "Processing")
	held(false)

	become("Migrate", "Processing")
	held(true)
	for _, object := range []client.Object{state, shoot} {
		if err := c.Delete(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	controllertest.Gone(t, c, state) // with the Shoot, nobody needs it any more
}

func TestAShootWithoutAnOperationIsAnError(t *testing.T) {
	c, writes := controllertest.Client(t)
	r := &shootstate.Reconciler{Client: c}
	shoot := controllertest.NewShoot(t, gardentest.Namespace(t))
	look := func(name string) error {
		_, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKey{Namespace: shoot.Namespace, Name: name}})
		return err
	}
	if err := look("nobody"); err != nil {
		t.Error(err)
	}
	newState(t, c, shoot.Namespace, shoot.Name)
	if err := look(shoot.Name); !errors.Is(err, fault.Waiting) || !strings.Contains(err.Error(), "no last operation") {
		t.Errorf("got %v", err)
	}
	controllertest.SetStatus(t, c, shoot, func(s *gardencorev1beta1.ShootStatus) {
		s.LastOperation = controllertest.LastOperation("Create", "Processing", time.Now())
	})
	writes.Fail(0)
	if err := look(shoot.Name); err != nil || writes.Count() > 0 {
		t.Errorf("another operation: %v, %d writes", err, writes.Count())
	}
}
