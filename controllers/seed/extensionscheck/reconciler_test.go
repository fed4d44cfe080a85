package extensionscheck_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/controllers/seed/extensionscheck"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

type harness struct {
	*testing.T
	garden       client.Client
	writes       *controllertest.Writes
	clock        *clocktesting.FakeClock
	seed         *gardencorev1beta1.Seed
	registration *gardencorev1beta1.ControllerRegistration
	reconciler   *extensionscheck.Reconciler
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	h := &harness{T: t, seed: controllertest.NewSeed(t), clock: clocktesting.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))}
	h.garden, h.writes = controllertest.Client(t)
	h.registration = &gardencorev1beta1.ControllerRegistration{ObjectMeta: metav1.ObjectMeta{Name: "r" + rand.String(6)}}
	h.must(h.garden.Create(t.Context(), h.registration))
	h.reconciler = &extensionscheck.Reconciler{Client: h.garden, Clock: h.clock}
	return h
}

func (h *harness) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *harness) reconcile() time.Duration {
	h.Helper()
	result, err := h.reconciler.Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(h.seed)})
	h.must(err)
	return result.RequeueAfter
}

func (h *harness) is(status gardencorev1beta1.ConditionStatus, reason string) error {
	for _, c := range controllertest.Refresh(h.T, h.seed).Status.Conditions {
		if c.Type == gardencorev1beta1.SeedExtensionsReady {
			if c.Status != status || c.Reason != reason {
				return fmt.Errorf("got %+v, want %s, %s", c, status, reason)
			}
			return nil
		}
	}
	if status != "" {
		return errors.New("there is no condition")
	}
	return nil
}

func (h *harness) want(status gardencorev1beta1.ConditionStatus, reason string) {
	h.Helper()
	if err := h.is(status, reason); err != nil {
		h.Error(err)
	}
}

func (h *harness) installation() *gardencorev1beta1.ControllerInstallation {
	h.Helper()
	installation := &gardencorev1beta1.ControllerInstallation{
		ObjectMeta: metav1.ObjectMeta{Name: "i" + rand.String(6)},
		Spec: gardencorev1beta1.ControllerInstallationSpec{
			RegistrationRef: corev1.ObjectReference{Name: h.registration.Name}, SeedRef: &corev1.ObjectReference{Name: h.seed.Name},
		},
	}
	h.must(h.garden.Create(context.Background(), installation))
	return installation
}

// tell sets the conditions that count; healthy is that of Healthy.
func (h *harness) tell(installation *gardencorev1beta1.ControllerInstallation, healthy gardencorev1beta1.ConditionStatus) {
	h.Helper()
	installation.Status.Conditions = nil
	for kind, status := range map[gardencorev1beta1.ConditionType]gardencorev1beta1.ConditionStatus{
		gardencorev1beta1.ControllerInstallationValid: "True", gardencorev1beta1.ControllerInstallationInstalled: "True",
		gardencorev1beta1.ControllerInstallationHealthy: healthy, gardencorev1beta1.ControllerInstallationProgressing: "False",
	} {
		installation.Status.Conditions = append(installation.Status.Conditions, gardencorev1beta1.Condition{Type: kind, Status: status})
	}
	h.must(h.garden.Status().Update(context.Background(), installation))
}

func TestSeedWithoutExtensions(t *testing.T) {
	h := newHarness(t)
	if after := h.reconcile(); after != 0 {
		t.Errorf("looked at again after %s", after)
	}
	h.want("", "")
}

func TestExtensions(t *testing.T) {
	h := newHarness(t)
	installation := h.installation()
	if after := h.reconcile(); after != 30*time.Second {
		t.Errorf("looked at again after %s", after)
	}
	h.want(gardencorev1beta1.ConditionFalse, "NotAllExtensionsInstalled")
	h.tell(installation, "True")
	h.reconcile()
	h.want(gardencorev1beta1.ConditionTrue, "AllExtensionsReady")
	before := h.writes.Count()
	h.reconcile()
	if n := h.writes.Count() - before; n != 0 {
		t.Errorf("%d writes though nothing has changed", n)
	}
}

// TestThreshold has a condition that was true fall slowly, by the injected clock.
func TestThreshold(t *testing.T) {
	h := newHarness(t)
	h.reconciler.Config.ConditionThresholds = []controllermanagerconfigv1alpha1.ConditionThreshold{
		{Type: string(gardencorev1beta1.SeedExtensionsReady), Duration: metav1.Duration{Duration: time.Minute}},
	}
	installation := h.installation()
	h.tell(installation, "True")
	h.reconcile()
	h.tell(installation, "False")
	h.reconcile()
	h.want(gardencorev1beta1.ConditionProgressing, "NotAllExtensionsHealthy")
	h.clock.Step(time.Minute + time.Second)
	h.reconcile()
	h.want(gardencorev1beta1.ConditionFalse, "NotAllExtensionsHealthy")
}

// TestWatches has a manager see installations come, change and go, long before
// the next look is due.
func TestWatches(t *testing.T) {
	h := newHarness(t)
	controllertest.Run(t, &extensionscheck.Reconciler{})
	eventually := func(status gardencorev1beta1.ConditionStatus, reason string) {
		t.Helper()
		controllertest.Eventually(t, func() error { return h.is(status, reason) })
	}
	installation := h.installation()
	eventually(gardencorev1beta1.ConditionFalse, "NotAllExtensionsInstalled")
	h.tell(installation, "True")
	eventually(gardencorev1beta1.ConditionTrue, "AllExtensionsReady")
	h.tell(installation, "False")
	eventually(gardencorev1beta1.ConditionFalse, "NotAllExtensionsHealthy")
	h.must(h.garden.Delete(t.Context(), installation))
	eventually(gardencorev1beta1.ConditionTrue, "AllExtensionsReady")
}
