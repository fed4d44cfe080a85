package heartbeat_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/seed/heartbeat"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/gardentest"
	"github.com/loam-cloud/loam/garden/scheme"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

type harness struct {
	*testing.T
	garden     client.Client
	seed       *gardencorev1beta1.Seed
	clock      *clocktesting.FakeClock
	reconciler *heartbeat.Reconciler
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	h := &harness{T: t, garden: gardentest.Client(t), clock: clocktesting.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))}
	h.seed = &gardencorev1beta1.Seed{
		ObjectMeta: metav1.ObjectMeta{Name: "s" + rand.String(6)},
		Spec: gardencorev1beta1.SeedSpec{
			Provider: gardencorev1beta1.SeedProvider{Type: "local", Region: "local"},
			Networks: gardencorev1beta1.SeedNetworks{Pods: "10.3.0.0/16", Services: "10.4.0.0/16"},
		},
	}
	h.must(h.garden.Create(t.Context(), h.seed))
	h.reconciler = &heartbeat.Reconciler{
		Client: h.garden, Clock: h.clock,
		Config: heartbeat.Config{SeedName: h.seed.Name, Identity: gardencorev1beta1.Gardener{ID: "host", Name: "agent", Version: "v1"}},
	}
	return h
}

func (h *harness) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// beat reconciles, which always asks for the next beat.
func (h *harness) beat() {
	h.Helper()
	result, err := h.reconciler.Reconcile(h.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(h.seed)})
	if err != nil || result.RequeueAfter != 10*time.Second {
		h.Errorf("got %+v, %v", result, err)
	}
	h.must(h.garden.Get(h.Context(), client.ObjectKeyFromObject(h.seed), h.seed))
}

func (h *harness) lease() *coordinationv1.Lease {
	h.Helper()
	lease := &coordinationv1.Lease{}
	h.must(h.garden.Get(h.Context(), client.ObjectKey{Namespace: "gardener-system-seed-lease", Name: h.seed.Name}, lease))
	return lease
}

// conditions are in the form "Type=Status Reason".
func (h *harness) conditions() string {
	var all []string
	for _, c := range h.seed.Status.Conditions {
		all = append(all, fmt.Sprintf("%s=%s %s", c.Type, c.Status, c.Reason))
	}
	return strings.Join(all, ", ")
}

const healthy = "GardenletReady=True GardenletReady, SeedSystemComponentsHealthy=True MachinesAvailable"

func TestBeats(t *testing.T) {
	h := newHarness(t)
	h.beat()
	lease := h.lease()
	if s := lease.Spec; *s.HolderIdentity != "agent" || *s.LeaseDurationSeconds != 40 || !s.RenewTime.Time.Equal(h.clock.Now()) {
		t.Errorf("the lease is %+v", s)
	}
	if o := lease.OwnerReferences; len(o) != 1 || o[0].UID != h.seed.UID || o[0].Kind != "Seed" {
		t.Errorf("the lease is owned by %+v", o)
	}
	if got := h.conditions(); got != healthy {
		t.Errorf("conditions are %s", got)
	}
	if s := h.seed.Status; s.Gardener.Name != "agent" || s.ObservedGeneration != h.seed.Generation || s.ClusterIdentity == nil {
		t.Errorf("status is %+v", s)
	}
	version := h.seed.ResourceVersion
	h.clock.Step(10 * time.Second)
	h.beat()
	if renewed := h.lease().Spec.RenewTime; !renewed.Time.Equal(h.clock.Now()) {
		t.Errorf("the lease was renewed at %s", renewed)
	}
	if h.seed.ResourceVersion != version {
		t.Error("a beat without news wrote the seed")
	}
}

func TestAHostThatCannotMakeMachines(t *testing.T) {
	h := newHarness(t)
	h.reconciler.Ready = func(context.Context) error { return fault.New(fault.Denied, "no rights on the socket") }
	h.beat()
	if got := h.conditions(); got != "GardenletReady=True GardenletReady, SeedSystemComponentsHealthy=False Unauthorized" {
		t.Errorf("conditions are %s", got)
	}
	if c := h.seed.Status.Conditions[1]; c.Message != "no rights on the socket" || len(c.Codes) != 1 || c.Codes[0] != gardencorev1beta1.ErrorInfraUnauthorized {
		t.Errorf("the condition is %+v", c)
	}
	h.reconciler.Ready = func(context.Context) error { return nil }
	h.beat()
	if got := h.conditions(); got != healthy {
		t.Errorf("conditions are %s", got)
	}
}

func TestAHostThatHangs(t *testing.T) {
	h := newHarness(t)
	h.reconciler.Ready = func(ctx context.Context) error {
		end, bounded := ctx.Deadline()
		if left := time.Until(end); !bounded || left > 5*time.Second {
			t.Errorf("the host has %s to answer, bounded: %v", left, bounded)
		}
		return nil
	}
	h.beat()
	if h.lease().Spec.RenewTime == nil {
		t.Error("the lease waits for the host")
	}
}

func TestAGardenThatHiccups(t *testing.T) {
	h := newHarness(t)
	garden, err := client.NewWithWatch(gardentest.Start(t).RESTConfig(), client.Options{Scheme: scheme.Client()})
	h.must(err)
	cut := func() error { return errors.New("the connection was cut") }
	h.reconciler.Client = interceptor.NewClient(garden, interceptor.Funcs{
		Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error { return cut() },
		Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
			return cut()
		},
	})
	// The next beat comes in time, and what can be told is told.
	h.beat()
	if got := h.conditions(); got != healthy {
		t.Errorf("conditions are %s", got)
	}
	h.reconciler.Client = h.garden
	h.beat()
	h.lease()
}

func TestASeedThatIsGone(t *testing.T) {
	h := newHarness(t)
	h.must(h.garden.Delete(t.Context(), h.seed))
	if result, err := h.reconciler.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(h.seed)}); err != nil || !result.IsZero() {
		t.Errorf("got %+v, %v", result, err)
	}
}

// TestWatches has a manager beat for one seed of two.
func TestWatches(t *testing.T) {
	h, other := newHarness(t), newHarness(t)
	mgr, err := manager.New(gardentest.Start(t).RESTConfig(), manager.Options{
		Scheme: scheme.Client(), Metrics: server.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
		Controller: config.Controller{SkipNameValidation: ptr.To(true)},
	})
	h.must(err)
	h.must((&heartbeat.Reconciler{Config: h.reconciler.Config}).AddToManager(mgr))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		h.must(<-ended)
	})
	for end := time.Now().Add(30 * time.Second); len(h.seed.Status.Conditions) == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("there was no beat")
		}
		h.must(h.garden.Get(t.Context(), client.ObjectKeyFromObject(h.seed), h.seed))
	}
	h.lease()
	h.must(h.garden.Get(t.Context(), client.ObjectKeyFromObject(other.seed), other.seed))
	if len(other.seed.Status.Conditions) > 0 {
		t.Errorf("another seed was reported on: %+v", other.seed.Status.Conditions)
	}
}

// TestAnotherWriter has the fleet report a condition between the agent's look and
// its own report: it must stay.
func TestAnotherWriter(t *testing.T) {
	h := newHarness(t)
	stale := h.seed.DeepCopy()
	h.seed.Status.Conditions = []gardencorev1beta1.Condition{{Type: gardencorev1beta1.SeedExtensionsReady, Status: gardencorev1beta1.ConditionTrue}}
	h.must(h.garden.Status().Update(t.Context(), h.seed))
	admin := gardentest.ClientFor(t, gardentest.Start(t).RESTConfig())
	h.reconciler.Client = interceptor.NewClient(admin, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
			if seed, ok := object.(*gardencorev1beta1.Seed); ok {
				stale.DeepCopyInto(seed)
				return nil
			}
			return c.Get(ctx, key, object, opts...)
		},
	})
	h.beat()
	if len(h.seed.Status.Conditions) != 1 {
		t.Errorf("over what was not read: %v", h.seed.Status.Conditions)
	}
	h.reconciler.Client = h.garden
	h.beat()
	if len(h.seed.Status.Conditions) != 3 {
		t.Errorf("at the next beat: %v", h.seed.Status.Conditions)
	}
}
