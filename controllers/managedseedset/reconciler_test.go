package managedseedset_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	seedmanagementv1alpha1 "github.com/gardener/gardener/pkg/apis/seedmanagement/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/controllers/managedseedset"
	"github.com/loam-cloud/loam/garden/bootstrap"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

const config = `{"apiVersion":"gardenlet.config.gardener.cloud/v1alpha1","kind":"GardenletConfiguration","seedConfig":{"metadata":{"labels":{"kept":"replica-name"}},
"spec":{"provider":{"type":"local","region":"local"},"ingress":{"domain":"ingress.replica-name.example.org","controller":{"kind":"nginx"}},"networks":{"pods":"10.5.0.0/16","services":"10.6.0.0/16"}}}}`

// harness plays whoever looks after clusters and makes seeds of them.
type harness struct {
	*testing.T
	garden     client.WithWatch
	writes     *controllertest.Writes
	set        *seedmanagementv1alpha1.ManagedSeedSet
	reconciler *managedseedset.Reconciler
}

func newHarness(t *testing.T, replicas int32) *harness {
	t.Helper()
	controllertest.GardenProject(t)
	h := &harness{T: t}
	h.garden, h.writes = controllertest.Client(t)
	name := "s" + rand.String(5)
	labels := map[string]string{"set": name}
	domain := "replica-name.example.org"
	h.set = &seedmanagementv1alpha1.ManagedSeedSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1beta1constants.GardenNamespace, Name: name},
		Spec: seedmanagementv1alpha1.ManagedSeedSetSpec{
			Replicas: &replicas, Selector: metav1.LabelSelector{MatchLabels: labels},
			Template: seedmanagementv1alpha1.ManagedSeedTemplate{ObjectMeta: metav1.ObjectMeta{Labels: labels}},
			ShootTemplate: gardencorev1beta1.ShootTemplate{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: gardencorev1beta1.ShootSpec{
				CloudProfile: &gardencorev1beta1.CloudProfileReference{Kind: "CloudProfile", Name: "local"}, Region: "local",
				Kubernetes: gardencorev1beta1.Kubernetes{Version: gardentest.Versions()[0][1:]},
				Provider: gardencorev1beta1.Provider{Type: "local", Workers: []gardencorev1beta1.Worker{{
					Name: "pool", Minimum: 1, Maximum: 1, Machine: gardencorev1beta1.Machine{Type: "local"},
				}}},
				DNS: &gardencorev1beta1.DNS{Domain: &domain},
			}},
		},
	}
	h.set.Spec.Template.Spec.Gardenlet.Config.Raw = []byte(config)
	h.must(h.garden.Create(t.Context(), h.set))
	h.reconciler = &managedseedset.Reconciler{
		Client: h.garden, Live: h.garden, Recorder: events.NewFakeRecorder(1000),
		Clock: clocktesting.NewFakeClock(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)),
	}
	return h
}

func (h *harness) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *harness) run() error {
	result, err := h.reconciler.Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(h.set)})
	if err == nil && result.RequeueAfter != 30*time.Minute && h.exists(h.set.DeepCopy()) {
		h.Errorf("looked at again after %s", result.RequeueAfter)
	}
	return err
}

func (h *harness) reconcile() {
	h.Helper()
	h.must(h.run())
	if err := h.garden.Get(context.Background(), client.ObjectKeyFromObject(h.set), h.set); client.IgnoreNotFound(err) != nil {
		h.Fatal(err)
	}
}

func (h *harness) shoot(n int) *gardencorev1beta1.Shoot {
	return &gardencorev1beta1.Shoot{ObjectMeta: metav1.ObjectMeta{Namespace: h.set.Namespace, Name: fmt.Sprintf("%s-%d", h.set.Name, n)}}
}

func (h *harness) managed(n int) *seedmanagementv1alpha1.ManagedSeed {
	return &seedmanagementv1alpha1.ManagedSeed{ObjectMeta: h.shoot(n).ObjectMeta}
}

// exists reads an object.
func (h *harness) exists(object client.Object) bool {
	h.Helper()
	err := h.garden.Get(context.Background(), client.ObjectKeyFromObject(object), object)
	if client.IgnoreNotFound(err) != nil {
		h.Fatal(err)
	}
	return err == nil
}

// operate has the operation of the first Shoot end.
func (h *harness) operate(state gardencorev1beta1.LastOperationState) {
	h.Helper()
	shoot := controllertest.Refresh(h.T, h.shoot(0))
	shoot.Status.ObservedGeneration = shoot.Generation
	shoot.Status.LastOperation = &gardencorev1beta1.LastOperation{Type: gardencorev1beta1.LastOperationTypeReconcile, State: state, LastUpdateTime: metav1.Now()}
	h.must(h.garden.Status().Update(context.Background(), shoot))
	shoot.Labels[v1beta1constants.ShootStatus] = "healthy"
	h.must(h.garden.Update(context.Background(), shoot))
}

// register makes a ManagedSeed's Seed; readiness follows.
func (h *harness) register(n int) *gardencorev1beta1.Seed {
	h.Helper()
	managed := controllertest.Refresh(h.T, h.managed(n))
	managed.Status.ObservedGeneration = managed.Generation
	managed.Status.Conditions = []gardencorev1beta1.Condition{{Type: seedmanagementv1alpha1.SeedRegistered, Status: gardencorev1beta1.ConditionTrue}}
	h.must(h.garden.Status().Update(context.Background(), managed))
	seed := bootstrap.LocalSeed(managed.Name, bootstrap.Name)
	h.must(h.garden.Create(context.Background(), seed))
	return seed
}

func (h *harness) live(seed *gardencorev1beta1.Seed, status gardencorev1beta1.ConditionStatus) {
	h.Helper()
	controllertest.Refresh(h.T, seed)
	seed.Status.ObservedGeneration = seed.Generation
	seed.Status.Conditions = []gardencorev1beta1.Condition{{Type: gardencorev1beta1.GardenletReady, Status: status}}
	h.must(h.garden.Status().Update(context.Background(), seed))
}

// pending is what a set's status says.
func (h *harness) pending() string {
	p := controllertest.Refresh(h.T, h.set).Status.PendingReplica
	if p == nil {
		return ""
	}
	return strings.TrimPrefix(p.Name, h.set.Name+"-") + " " + string(p.Reason)
}

func (h *harness) want(pending string) {
	h.Helper()
	if got := h.pending(); got != pending {
		h.Fatalf("pending is %q, want %q", got, pending)
	}
}

func (h *harness) scale(n int32) {
	h.Helper()
	controllertest.Refresh(h.T, h.set).Spec.Replicas = &n
	h.must(h.garden.Update(context.Background(), h.set))
}

// TestLife follows a set from nothing to two seeds and back.
func TestLife(t *testing.T) {
	h := newHarness(t, 1)
	h.reconcile()
	if !slices.Contains(h.set.Finalizers, "gardener") || h.set.Status.NextReplicaNumber != 1 || h.set.Status.Replicas != 1 {
		t.Errorf("got %v, %+v", h.set.Finalizers, h.set.Status)
	}
	h.want("0 ShootReconciling")
	shoot := controllertest.Refresh(t, h.shoot(0))
	if want := shoot.Name + ".example.org"; *shoot.Spec.DNS.Domain != want || !metav1.IsControlledBy(shoot, h.set) || shoot.Labels["set"] != h.set.Name {
		t.Errorf("got %+v, %q", shoot.ObjectMeta, *shoot.Spec.DNS.Domain)
	}
	h.scale(2)
	h.reconcile()
	if h.exists(h.shoot(1)) {
		t.Error("a second replica while the first is pending")
	}

	h.operate(gardencorev1beta1.LastOperationStateSucceeded)
	h.reconcile()
	h.want("0 ManagedSeedPreparing")
	h.wantConfig(0)
	h.reconcile()
	h.want("0 ManagedSeedPreparing")
	seed := h.register(0)
	h.reconcile()
	h.want("0 SeedNotReady")
	h.live(seed, gardencorev1beta1.ConditionTrue)
	h.reconcile()
	h.want("1 ShootReconciling")
	if h.set.Status.ReadyReplicas != 1 || h.set.Status.Replicas != 2 || h.set.Status.NextReplicaNumber != 2 || h.set.Status.ObservedGeneration != h.set.Generation {
		t.Errorf("got %+v", h.set.Status)
	}
	h.writes.Fail(0)
	h.reconcile()
	if h.writes.Count() > 0 {
		t.Errorf("%d writes though nothing has changed", h.writes.Count())
	}

	// Too many: the one that is not ready goes.
	h.scale(1)
	h.reconcile()
	if h.exists(h.shoot(1)) {
		t.Error("the second is still there")
	}
	h.reconcile()
	h.want("")
	h.must(h.garden.Delete(t.Context(), controllertest.Refresh(t, h.set)))
	h.reconcile()
	h.want("0 ManagedSeedDeleting")
	if h.exists(h.managed(0)) {
		t.Error("the managed seed is still there")
	}
	h.reconcile()
	if h.exists(h.shoot(0)) {
		t.Error("the shoot is still there")
	}
	h.reconcile()
	if h.exists(h.set) {
		t.Error("the set is still there")
	}
	h.must(h.garden.Delete(t.Context(), seed))
}

// wantConfig wants the replica's name in the configuration that was stored.
func (h *harness) wantConfig(n int) {
	h.Helper()
	managed := controllertest.Refresh(h.T, h.managed(n))
	if managed.Spec.Shoot == nil || managed.Spec.Shoot.Name != managed.Name || !metav1.IsControlledBy(managed, h.set) {
		h.Errorf("got %+v", managed)
	}
	var stored struct {
		SeedConfig struct {
			Metadata metav1.ObjectMeta          `json:"metadata"`
			Spec     gardencorev1beta1.SeedSpec `json:"spec"`
		} `json:"seedConfig"`
	}
	h.must(json.Unmarshal(managed.Spec.Gardenlet.Config.Raw, &stored))
	if got := stored.SeedConfig.Spec.Ingress.Domain; got != "ingress."+managed.Name+".example.org" {
		h.Errorf("the stored ingress domain is %q", got)
	}
	if got := stored.SeedConfig.Metadata.Labels["kept"]; got != "replica-name" {
		h.Errorf("another value is %q", got)
	}
}

// TestRetries has a Shoot fail more often than it is tried again.
func TestRetries(t *testing.T) {
	h := newHarness(t, 1)
	h.reconcile()
	for n := int32(1); n <= 3; n++ {
		h.operate(gardencorev1beta1.LastOperationStateFailed)
		before := controllertest.Refresh(t, h.shoot(0))
		h.reconcile()
		h.want("0 ShootReconciling")
		if got := ptr.Deref(h.set.Status.PendingReplica.Retries, 0); got != n {
			t.Errorf("%d retries, want %d", got, n)
		}
		after := controllertest.Refresh(t, h.shoot(0))
		if after.Generation == before.Generation && after.Annotations[v1beta1constants.GardenerOperation] != "retry" {
			t.Error("the shoot is not tried again")
		}
		h.reconcile() // not twice for one failure
		if got := ptr.Deref(h.set.Status.PendingReplica.Retries, 0); got != n {
			t.Errorf("%d retries after one failure more, want %d", got, n)
		}
	}
	h.operate(gardencorev1beta1.LastOperationStateFailed)
	h.reconcile()
	h.want("0 ShootReconcileFailed")
	h.operate(gardencorev1beta1.LastOperationStateSucceeded)
	h.reconcile()
	h.want("0 ManagedSeedPreparing")
}

// TestForeignShoots that a selector finds are nobody's replicas, and are never
// deleted.
func TestForeignShoots(t *testing.T) {
	h := newHarness(t, 0)
	foreign := controllertest.NewShoot(t, v1beta1constants.GardenNamespace, func(s *gardencorev1beta1.Shoot) {
		s.Labels = map[string]string{"set": h.set.Name}
		s.Name = h.set.Name + "-0"
	})
	h.reconcile()
	if h.set.Status.Replicas != 0 || !h.exists(foreign) {
		t.Errorf("got %+v", h.set.Status)
	}
	// Its name is taken: the number is left out.
	h.scale(1)
	if err := h.run(); !apierrors.IsAlreadyExists(err) {
		t.Errorf("got %v", err)
	}
	h.reconcile()
	if !h.exists(h.shoot(1)) {
		t.Error("there is no replica")
	}
}

// lagging is a cache that knows no Shoots yet.
type lagging struct{ client.Client }

func (l lagging) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	if _, ok := list.(*gardencorev1beta1.ShootList); ok {
		return nil
	}
	return l.Client.List(ctx, list, opts...)
}

// TestSetGoesWhileAReplicaIsMade wants no replica of a set that is deleted in that
// moment, or gone although it was to wait, or made anew.
func TestSetGoesWhileAReplicaIsMade(t *testing.T) {
	remove := func(h *harness) {
		h.must(h.garden.Get(t.Context(), client.ObjectKeyFromObject(h.set), h.set))
		h.set.Finalizers = nil
		h.must(h.garden.Update(t.Context(), h.set))
		h.must(h.garden.Delete(t.Context(), h.set))
	}
	for name, meanwhile := range map[string]func(*harness){
		"deleted": func(h *harness) { h.must(h.garden.Delete(t.Context(), h.set)) },
		"gone":    remove,
		"made anew": func(h *harness) {
			remove(h)
			h.set.ResourceVersion, h.set.UID = "", ""
			h.must(h.garden.Create(t.Context(), h.set))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, 1)
			h.reconciler.Client = interceptor.NewClient(h.garden, interceptor.Funcs{
				SubResourcePatch: func(ctx context.Context, c client.Client, subresource string, object client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
					meanwhile(h)
					return c.SubResource(subresource).Patch(ctx, object, patch, opts...)
				},
			})
			if err := h.run(); err != nil && !apierrors.IsConflict(err) {
				t.Error(err)
			}
			if h.exists(h.shoot(0)) {
				t.Error("a replica was made")
			}
			h.reconciler.Client = h.garden
			h.reconcile()
			if name != "made anew" && h.exists(h.set) {
				t.Error("the set is still there")
			}
		})
	}
}

// TestLaggingCache must not make a replica that is there.
func TestLaggingCache(t *testing.T) {
	h := newHarness(t, 1)
	h.reconcile()
	h.reconciler.Client = lagging{h.garden}
	if err := h.run(); err == nil || !strings.Contains(err.Error(), "0 shoots of the set are known, there are 1") {
		t.Errorf("got %v", err)
	}
	if h.exists(h.shoot(1)) {
		t.Error("there are two replicas")
	}
}

// TestInterrupted ends the same whichever write fails: no replica is made twice,
// and none more than is wanted.
func TestInterrupted(t *testing.T) {
	garden, writes := controllertest.Client(t)
	var h *harness
	controllertest.Interrupted(t, writes, func(t *testing.T) {
		h = newHarness(t, 1)
		h.reconcile()
		h.operate(gardencorev1beta1.LastOperationStateSucceeded)
		h.scale(0)
		h.must(h.garden.Delete(t.Context(), controllertest.Refresh(t, h.set)))
		h.reconciler.Client, h.reconciler.Live = garden, garden
	}, func() error {
		for range 3 {
			if err := h.run(); err != nil {
				return err
			}
		}
		return nil
	}, func(*testing.T) {
		if h.exists(h.shoot(0)) || h.exists(h.set) {
			t.Error("something is left")
		}
	})
	controllertest.Interrupted(t, writes, func(t *testing.T) {
		h = newHarness(t, 1)
		h.reconciler.Client, h.reconciler.Live = garden, garden
	}, func() error { return h.run() }, func(*testing.T) {
		list := &gardencorev1beta1.ShootList{}
		h.must(h.garden.List(context.Background(), list, client.MatchingLabels{"set": h.set.Name}))
		if len(list.Items) != 1 {
			t.Errorf("%d replicas", len(list.Items))
		}
	})
}

// TestWatches has a manager go on whenever what a set waits for ends.
func TestWatches(t *testing.T) {
	h := newHarness(t, 1)
	controllertest.Run(t, controllertest.Func(func(mgr manager.Manager) error {
		return (&managedseedset.Reconciler{}).AddToManager(t.Context(), mgr)
	}))
	eventually := func(pending string) {
		t.Helper()
		controllertest.Eventually(t, func() error {
			if got := h.pending(); got != pending {
				return fmt.Errorf("pending is %q, want %q", got, pending)
			}
			return nil
		})
	}
	there := func(object client.Object) {
		t.Helper()
		controllertest.Eventually(t, func() error {
			if !h.exists(object) {
				return fmt.Errorf("%T %s is not there", object, object.GetName())
			}
			return nil
		})
	}
	// What is waited for is written down before it is made.
	eventually("0 ShootReconciling")
	there(h.shoot(0))
	h.operate(gardencorev1beta1.LastOperationStateSucceeded)
	eventually("0 ManagedSeedPreparing")
	there(h.managed(0))
	seed := h.register(0)
	eventually("0 SeedNotReady")
	// The Seed alone wakes its set, in both directions.
	h.live(seed, gardencorev1beta1.ConditionTrue)
	eventually("")
	h.live(seed, gardencorev1beta1.ConditionUnknown)
	eventually("0 SeedNotReady")
	h.live(seed, gardencorev1beta1.ConditionTrue)
	eventually("")
	h.scale(0)
	controllertest.Eventually(t, func() error {
		if h.exists(h.managed(0)) || h.exists(h.shoot(0)) {
			return fmt.Errorf("pending is %q", h.pending())
		}
		return nil
	})
	eventually("")
	h.must(h.garden.Delete(t.Context(), seed))
}
