package hibernation_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/controllers/shoot/hibernation"
	"github.com/loam-cloud/loam/garden/gardentest"
	"github.com/loam-cloud/loam/garden/scheme"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

type harness struct {
	*testing.T
	client.WithWatch
	writes     *controllertest.Writes
	clock      *clocktesting.FakeClock
	events     *events.FakeRecorder
	reconciler *hibernation.Reconciler
	shoot      *gardencorev1beta1.Shoot
	namespace  string
}

// newHarness has a Shoot that sleeps at 20:00 and wakes at 06:00 UTC, and a clock
// that stands at noon of a day after its creation.
func newHarness(t *testing.T) *harness {
	t.Helper()
	h := &harness{T: t, events: events.NewFakeRecorder(10), namespace: gardentest.Namespace(t)}
	h.WithWatch, h.writes = controllertest.Client(t)
	h.clock = clocktesting.NewFakeClock(noon())
	h.reconciler = &hibernation.Reconciler{Client: h, Clock: h.clock, Recorder: h.events}
	controllermanagerconfigv1alpha1.SetDefaults_ShootHibernationControllerConfiguration(&h.reconciler.Config)
	h.fresh()
	return h
}

func noon() time.Time {
	return time.Now().UTC().Truncate(24 * time.Hour).Add(48*time.Hour + 12*time.Hour)
}

func (h *harness) fresh() {
	h.Helper()
	h.shoot = controllertest.Shoot(h.namespace, fmt.Sprintf("s%d", time.Now().UnixNano()%1e9))
	h.shoot.Spec.Hibernation = &gardencorev1beta1.Hibernation{Schedules: []gardencorev1beta1.HibernationSchedule{{Start: ptr.To("0 20 * * *"), End: ptr.To("0 6 * * *")}}}
	controllertest.Create(h.T, h, h.shoot)
}

func (h *harness) run() (reconcile.Result, error) {
	return h.reconciler.Reconcile(h.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(h.shoot)})
}

// reconcile tells when the Shoot is looked at again.
func (h *harness) reconcile() time.Time {
	h.Helper()
	result, err := h.run()
	if err != nil {
		h.Fatal(err)
	}
	h.read()
	return h.clock.Now().Add(result.RequeueAfter)
}

func (h *harness) read() {
	h.Helper()
	if err := h.Get(h.Context(), client.ObjectKeyFromObject(h.shoot), h.shoot); err != nil {
		h.Fatal(err)
	}
}

func (h *harness) asleep() bool { return ptr.Deref(h.shoot.Spec.Hibernation.Enabled, false) }

func (h *harness) event() string {
	select {
	case event := <-h.events.Events:
		return event
	default:
		return ""
	}
}

// TestDay follows a Shoot through a day: nothing at noon, asleep in the evening,
// awake in the morning, each with an event and the time that it was done at.
func TestDay(t *testing.T) {
	h := newHarness(t)
	evening := h.clock.Now().Add(8 * time.Hour)
	h.writes.Fail(0)
	if again := h.reconcile(); !again.Equal(evening.Add(100*time.Millisecond)) || h.writes.Count() != 0 {
		t.Errorf("at noon: looks again at %s after %d writes", again, h.writes.Count())
	}
	h.clock.SetTime(evening)
	if again := h.reconcile(); !again.Equal(evening.Add(10*time.Hour+100*time.Millisecond)) || !h.asleep() {
		t.Errorf("in the evening: asleep %t, looks again at %s", h.asleep(), again)
	}
	if got := h.shoot.Status.LastHibernationTriggerTime; got == nil || !got.Time.Equal(evening) {
		t.Errorf("triggered at %v, want %s", got, evening)
	}
	if event := h.event(); !strings.HasPrefix(event, "Normal Hibernated ") || strings.Contains(event, "caught up") {
		t.Errorf("event %q", event)
	}
	h.writes.Fail(0)
	if h.reconcile(); h.writes.Count() != 0 || h.event() != "" {
		t.Errorf("%d writes when it is done", h.writes.Count())
	}
	h.clock.SetTime(evening.Add(10 * time.Hour))
	h.reconcile()
	if event := h.event(); h.asleep() || !strings.HasPrefix(event, "Normal WokenUp ") {
		t.Errorf("in the morning: asleep %t, event %q", h.asleep(), event)
	}
}

// TestCaughtUp wants a schedule that fell due while nobody looked to be kept
// within its deadline, and said so; after the deadline it is missed.
func TestCaughtUp(t *testing.T) {
	h := newHarness(t)
	due := h.clock.Now().Add(8 * time.Hour)
	h.clock.SetTime(due.Add(119 * time.Minute))
	h.reconcile()
	if event := h.event(); !h.asleep() || !strings.Contains(event, "was due at "+due.Format(time.RFC3339)+" and is caught up 1h59m0s later") {
		t.Errorf("asleep %t, event %q", h.asleep(), event)
	}
	h.fresh()
	h.clock.SetTime(due.Add(121 * time.Minute))
	if again := h.reconcile(); h.asleep() || h.event() != "" || !again.Equal(due.Add(10*time.Hour+100*time.Millisecond)) {
		t.Errorf("after the deadline: asleep %t, looks again at %s", h.asleep(), again)
	}
}

// TestFailedShootWaits skips a Shoot that failed as it is until the next time.
func TestFailedShootWaits(t *testing.T) {
	h := newHarness(t)
	controllertest.SetStatus(t, h, h.shoot, func(s *gardencorev1beta1.ShootStatus) {
		s.ObservedGeneration = h.shoot.Generation
		s.LastOperation = controllertest.LastOperation(gardencorev1beta1.LastOperationTypeReconcile, gardencorev1beta1.LastOperationStateFailed, time.Now())
	})
	evening := h.clock.Now().Add(8 * time.Hour)
	h.clock.SetTime(evening)
	if again := h.reconcile(); h.asleep() || h.shoot.Status.LastHibernationTriggerTime != nil || !again.Equal(evening.Add(10*time.Hour+100*time.Millisecond)) {
		t.Errorf("asleep %t, triggered %v, looks again at %s", h.asleep(), h.shoot.Status.LastHibernationTriggerTime, again)
	}
}

// TestBadScheduleStops wants no error and no other look at a schedule that only
// a user can mend. Loam's API refuses such; others might not.
func TestBadScheduleStops(t *testing.T) {
	shoot := controllertest.Shoot("garden-p", "demo")
	shoot.Spec.Hibernation = &gardencorev1beta1.Hibernation{Schedules: []gardencorev1beta1.HibernationSchedule{{Start: ptr.To("tomorrow")}}}
	r := &hibernation.Reconciler{Client: fake.NewClientBuilder().WithScheme(scheme.Client()).WithObjects(shoot).Build(), Clock: clocktesting.NewFakeClock(noon()), Recorder: events.NewFakeRecorder(1)}
	if result, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(shoot)}); err != nil || result.RequeueAfter != 0 {
		t.Errorf("%+v, %v", result, err)
	}
}

func TestInterrupted(t *testing.T) {
	h := newHarness(t)
	h.clock.SetTime(h.clock.Now().Add(8 * time.Hour))
	controllertest.Interrupted(t, h.writes, func(*testing.T) { h.fresh() }, func() error { _, err := h.run(); return err }, func(t *testing.T) {
		if h.read(); !h.asleep() || h.shoot.Status.LastHibernationTriggerTime == nil {
			t.Errorf("asleep %t, triggered %v", h.asleep(), h.shoot.Status.LastHibernationTriggerTime)
		}
	})
}

// TestController wants a Shoot to be looked at when its schedules change, and
// what was missed before a start to be caught up a while after it, not at once.
func TestController(t *testing.T) {
	h := newHarness(t)
	controllertest.Change(t, h, h.shoot, func(s *gardencorev1beta1.Shoot) { s.Spec.Hibernation.Schedules = nil })
	end := controllertest.Run(t, &hibernation.Reconciler{Clock: h.clock, Config: h.reconciler.Config})
	controllertest.Change(t, h, h.shoot, func(s *gardencorev1beta1.Shoot) {
		s.Spec.Hibernation.Schedules = []gardencorev1beta1.HibernationSchedule{{Start: ptr.To("0 12 * * *")}}
	})
	slept := func() error {
		h.read()
		if !h.asleep() || h.shoot.Status.LastHibernationTriggerTime == nil {
			return errors.New("awake")
		}
		return nil
	}
	controllertest.Eventually(t, slept)
	end()

	h.fresh()
	controllertest.Change(t, h, h.shoot, func(s *gardencorev1beta1.Shoot) {
		s.Spec.Hibernation.Schedules = []gardencorev1beta1.HibernationSchedule{{Start: ptr.To("0 12 * * *")}}
	})
	// A start ten minutes after the schedule fired: the Shoot was there before.
	h.clock.Step(24*time.Hour + 10*time.Minute)
	controllertest.Run(t, &hibernation.Reconciler{Clock: h.clock, Config: h.reconciler.Config})
	time.Sleep(time.Second)
	h.read()
	if slept() == nil {
		t.Error("caught up at once")
	}
}
