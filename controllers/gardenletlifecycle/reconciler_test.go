package gardenletlifecycle_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	seedmanagementv1alpha1 "github.com/gardener/gardener/pkg/apis/seedmanagement/v1alpha1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/gardenletlifecycle"
	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

const unknown = gardencorev1beta1.ConditionUnknown

type harness struct {
	*testing.T
	garden     client.Client
	writes     *controllertest.Writes
	clock      *clocktesting.FakeClock
	leases     string
	seed       *gardencorev1beta1.Seed
	reconciler *gardenletlifecycle.Reconciler
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	h := &harness{
		T: t, leases: "l" + rand.String(6), seed: controllertest.NewSeed(t),
		// Long before any other clock: nothing here may look at one.
		clock: clocktesting.NewFakeClock(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)),
	}
	h.garden, h.writes = controllertest.Client(t)
	h.must(h.garden.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: h.leases}}))
	h.reconciler = &gardenletlifecycle.Reconciler{Client: h.garden, Clock: h.clock, LeaseNamespace: h.leases}
	h.writes.Fail(0)
	return h
}

func (h *harness) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// ready is what an agent reports that lives.
func (h *harness) ready() []gardencorev1beta1.Condition {
	now := metav1.NewTime(h.clock.Now())
	return []gardencorev1beta1.Condition{{Type: gardencorev1beta1.GardenletReady, Status: gardencorev1beta1.ConditionTrue, LastTransitionTime: now, LastUpdateTime: now}}
}

// beat renews the Lease of the Seed and reports that the agent lives.
func (h *harness) beat() {
	h.Helper()
	h.renew(h.leases, h.seed.Name)
	h.seed.Status.Conditions = h.ready()
	h.must(h.garden.Status().Update(context.Background(), h.seed))
}

func (h *harness) renew(namespace, name string) {
	h.Helper()
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	if h.garden.Get(context.Background(), client.ObjectKeyFromObject(lease), lease) != nil {
		h.must(h.garden.Create(context.Background(), lease))
	}
	lease.Spec.RenewTime = &metav1.MicroTime{Time: h.clock.Now()}
	h.must(h.garden.Update(context.Background(), lease))
}

// reconcile looks at an object and wants another look as expected.
func (h *harness) reconcile(object client.Object, again time.Duration) {
	h.Helper()
	result, err := h.reconciler.Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(object)})
	h.must(err)
	if result.RequeueAfter != again {
		h.Errorf("looked at again after %s, want %s", result.RequeueAfter, again)
	}
}

func (h *harness) look() {
	h.Helper()
	h.reconcile(h.seed, 10*time.Second)
	controllertest.Refresh(h.T, h.seed)
}

func status(conditions []gardencorev1beta1.Condition, kind gardencorev1beta1.ConditionType) string {
	at := slices.IndexFunc(conditions, func(c gardencorev1beta1.Condition) bool { return c.Type == kind })
	if at < 0 {
		return ""
	}
	return fmt.Sprint(conditions[at].Status, " ", conditions[at].Reason)
}

func (h *harness) want(want string) {
	h.Helper()
	if got := status(h.seed.Status.Conditions, gardencorev1beta1.GardenletReady); got != want {
		h.Errorf("got %q, want %q", got, want)
	}
}

func TestSeedThatNeverHadAnAgent(t *testing.T) {
	h := newHarness(t)
	h.look()
	h.want("")
	if h.writes.Count() != 0 {
		t.Error("something was written")
	}
}

// TestLease wants an agent to count as stopped 40 s after it renewed its lease,
// by the injected clock.
func TestLease(t *testing.T) {
	h := newHarness(t)
	h.beat()
	h.clock.Step(40 * time.Second)
	h.look()
	h.want("True ")
	h.clock.Step(time.Second)
	h.look()
	h.want("Unknown StatusUnknown")

	before := h.writes.Count()
	h.clock.Step(10 * time.Second)
	h.look()
	if n := h.writes.Count() - before; n != 0 {
		t.Errorf("%d writes though nothing has changed", n)
	}
	// What an agent reports that is back stays.
	h.beat()
	h.look()
	h.want("True ")
}

func TestMissingLease(t *testing.T) {
	h := newHarness(t)
	h.seed.Status.Conditions = h.ready()
	h.must(h.garden.Status().Update(t.Context(), h.seed))
	h.look()
	h.want("Unknown StatusUnknown")
}

// TestShoots become unknown when their agent has been so for long.
func TestShoots(t *testing.T) {
	h := newHarness(t)
	namespace := gardentest.Namespace(t)
	other := controllertest.NewSeed(t)
	shoot := func(workers bool, spec, status *string) *gardencorev1beta1.Shoot {
		s := controllertest.NewShoot(t, namespace, func(s *gardencorev1beta1.Shoot) {
			s.Spec.SeedName = spec
			if workers {
				s.Spec.Provider.Workers = []gardencorev1beta1.Worker{pool()}
			}
		})
		now := metav1.NewTime(h.clock.Now())
		s.Status.SeedName = status
		s.Status.Conditions = []gardencorev1beta1.Condition{
			{Type: gardencorev1beta1.ShootAPIServerAvailable, Status: gardencorev1beta1.ConditionTrue, LastTransitionTime: now, LastUpdateTime: now},
			{Type: "SeedsOwn", Status: gardencorev1beta1.ConditionTrue, LastTransitionTime: now, LastUpdateTime: now},
		}
		h.must(h.garden.Status().Update(t.Context(), s))
		return s
	}
	here, workerless := shoot(true, &h.seed.Name, &h.seed.Name), shoot(false, &h.seed.Name, &h.seed.Name)
	planned, elsewhere := shoot(true, &h.seed.Name, nil), shoot(true, &other.Name, &other.Name)

	h.beat()
	h.clock.Step(41 * time.Second)
	h.look()
	h.clock.Step(200 * time.Second)
	h.look()
	if got := status(controllertest.Refresh(t, here).Status.Conditions, gardencorev1beta1.ShootAPIServerAvailable); got != "True " {
		t.Errorf("too early: %q", got)
	}
	h.clock.Step(time.Second)
	h.look()
	standard := []gardencorev1beta1.ConditionType{
		gardencorev1beta1.ShootAPIServerAvailable, gardencorev1beta1.ShootControlPlaneHealthy,
		gardencorev1beta1.ShootObservabilityComponentsHealthy, gardencorev1beta1.ShootSystemComponentsHealthy,
	}
	for _, s := range []*gardencorev1beta1.Shoot{here, workerless} {
		controllertest.Refresh(t, s)
		for _, kind := range standard {
			if got := status(s.Status.Conditions, kind); got != "Unknown StatusUnknown" {
				t.Errorf("%s is %q", kind, got)
			}
		}
		for _, kind := range []gardencorev1beta1.ConditionType{gardencorev1beta1.ShootHibernationPossible, gardencorev1beta1.ShootMaintenancePreconditionsSatisfied} {
			if got := status(s.Status.Constraints, kind); got != "Unknown StatusUnknown" {
				t.Errorf("constraint %s is %q", kind, got)
			}
		}
		if got := status(s.Status.Conditions, "SeedsOwn"); got != "True " {
			t.Errorf("another condition is %q", got)
		}
	}
	if got := status(here.Status.Conditions, gardencorev1beta1.ShootEveryNodeReady); got != "Unknown StatusUnknown" {
		t.Errorf("nodes with workers: %q", got)
	}
	if got := status(workerless.Status.Conditions, gardencorev1beta1.ShootEveryNodeReady); got != "" {
		t.Errorf("nodes without workers: %q", got)
	}
	for _, s := range []*gardencorev1beta1.Shoot{planned, elsewhere} {
		if got := status(controllertest.Refresh(t, s).Status.Conditions, gardencorev1beta1.ShootAPIServerAvailable); got != "True " {
			t.Errorf("of another status: %q", got)
		}
	}

	before := h.writes.Count()
	h.clock.Step(10 * time.Second)
	h.look()
	if n := h.writes.Count() - before; n != 0 {
		t.Errorf("%d writes though nothing has changed", n)
	}
}

func pool() gardencorev1beta1.Worker {
	return gardencorev1beta1.Worker{Name: "pool", Minimum: 1, Maximum: 1, Machine: gardencorev1beta1.Machine{Type: "local"}}
}

// TestSelfHosted is a cluster with its own agent, until a seed takes it.
func TestSelfHosted(t *testing.T) {
	h := newHarness(t)
	shoot := controllertest.NewShoot(t, gardentest.Namespace(t), func(s *gardencorev1beta1.Shoot) {
		w := pool()
		w.ControlPlane = &gardencorev1beta1.WorkerControlPlane{}
		s.Spec.Provider.Workers = []gardencorev1beta1.Worker{w}
	})
	h.reconcile(shoot, 10*time.Second)
	if h.writes.Count() != 0 {
		t.Error("something was written before the agent reported anything")
	}
	shoot.Status.Conditions = h.ready()
	h.must(h.garden.Status().Update(t.Context(), shoot))
	h.renew(shoot.Namespace, "self-hosted-shoot-"+shoot.Name)
	h.clock.Step(40 * time.Second)
	h.reconcile(shoot, 10*time.Second)
	if got := status(controllertest.Refresh(t, shoot).Status.Conditions, gardencorev1beta1.GardenletReady); got != "True " {
		t.Errorf("with a lease: %q", got)
	}
	h.clock.Step(time.Second)
	h.reconcile(shoot, 10*time.Second)
	if got := status(controllertest.Refresh(t, shoot).Status.Conditions, gardencorev1beta1.GardenletReady); got != "Unknown StatusUnknown" {
		t.Errorf("without: %q", got)
	}
	shoot.Status.SeedName = &h.seed.Name
	h.must(h.garden.Status().Update(t.Context(), shoot))
	h.reconcile(shoot, 0)
}

// TestEndedCertificate wants a new agent asked for, in each round.
func TestEndedCertificate(t *testing.T) {
	h := newHarness(t)
	controllertest.GardenProject(t)
	shoot := controllertest.NewShoot(t, v1beta1constants.GardenNamespace, func(s *gardencorev1beta1.Shoot) {
		s.Name = h.seed.Name
		s.Spec.SeedName = nil
		s.Spec.Provider.Workers = []gardencorev1beta1.Worker{pool()}
	})
	managed := &seedmanagementv1alpha1.ManagedSeed{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1beta1constants.GardenNamespace, Name: h.seed.Name},
		Spec:       seedmanagementv1alpha1.ManagedSeedSpec{Shoot: &seedmanagementv1alpha1.Shoot{Name: shoot.Name}},
	}
	managed.Spec.Gardenlet.Config.Raw = []byte(`{"apiVersion":"gardenlet.config.gardener.cloud/v1alpha1","kind":"GardenletConfiguration","seedConfig":{"metadata":{},"spec":{"provider":{"type":"local","region":"local"},"ingress":{"domain":"ingress.example.org","controller":{"kind":"nginx"}},"networks":{"pods":"10.5.0.0/16","services":"10.6.0.0/16"}}}}`)
	h.must(h.garden.Create(t.Context(), managed))
	h.beat()
	expiry := metav1.NewTime(h.clock.Now().Add(time.Minute))
	h.seed.Status.ClientCertificateExpirationTimestamp = &expiry
	h.must(h.garden.Status().Update(t.Context(), h.seed))
	asked := func() bool {
		return controllertest.Refresh(t, managed).Annotations[v1beta1constants.GardenerOperation] == v1beta1constants.GardenerOperationReconcile
	}
	h.clock.Step(50 * time.Second)
	h.look()
	h.want("Unknown StatusUnknown")
	if asked() {
		t.Error("asked for though the certificate is valid")
	}
	for range 2 {
		h.clock.Step(10 * time.Second)
		h.look()
		if !asked() {
			t.Error("not asked for")
		}
		delete(managed.Annotations, v1beta1constants.GardenerOperation)
		h.must(h.garden.Update(t.Context(), managed))
	}
	h.beat()
	h.look()
	if asked() {
		t.Error("asked for though the agent is back")
	}
}

func TestInterrupted(t *testing.T) {
	garden, writes := controllertest.Client(t)
	var h *harness
	var shoots []*gardencorev1beta1.Shoot
	controllertest.Interrupted(t, writes, func(t *testing.T) {
		h, shoots = newHarness(t), nil
		h.garden, h.reconciler.Client = garden, garden
		namespace := gardentest.Namespace(t)
		for range 2 {
			s := controllertest.NewShoot(t, namespace, func(s *gardencorev1beta1.Shoot) { s.Spec.SeedName = &h.seed.Name })
			s.Status.SeedName = &h.seed.Name
			h.must(garden.Status().Update(t.Context(), s))
			shoots = append(shoots, s)
		}
		h.seed.Status.Conditions = h.ready()
		h.must(garden.Status().Update(t.Context(), h.seed))
	}, func() error {
		// Long enough for both steps, also when the first of them failed before.
		var err error
		for range 2 {
			_, err = h.reconciler.Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(h.seed)})
			h.clock.Step(201 * time.Second)
		}
		return err
	}, func(t *testing.T) {
		for _, s := range shoots {
			if got := status(controllertest.Refresh(t, s).Status.Conditions, gardencorev1beta1.ShootAPIServerAvailable); got != string(unknown)+" StatusUnknown" {
				t.Errorf("got %q", got)
			}
		}
	})
}

// TestWatches has a manager find Seeds and clusters that look after themselves.
func TestWatches(t *testing.T) {
	h := newHarness(t)
	controllertest.Run(t, &gardenletlifecycle.Reconciler{LeaseNamespace: h.leases, Clock: h.clock})
	stopped := controllertest.NewSeed(t)
	stopped.Status.Conditions = h.ready()
	h.must(h.garden.Status().Update(t.Context(), stopped))
	controllertest.Eventually(t, func() error {
		if got := status(controllertest.Refresh(t, stopped).Status.Conditions, gardencorev1beta1.GardenletReady); got != "Unknown StatusUnknown" {
			return fmt.Errorf("got %q", got)
		}
		return nil
	})
}
