package scheduling_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/controllers/shoot/scheduling"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/bootstrap"
	"github.com/loam-cloud/loam/garden/gardentest"
	"github.com/loam-cloud/loam/garden/scheme"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

// start runs the controller until the test ends.
func start(t *testing.T) client.Client {
	t.Helper()
	mgr, err := manager.New(gardentest.Start(t).RESTConfig(), manager.Options{
		Scheme: scheme.Client(), Metrics: server.Options{BindAddress: "0"}, Controller: config.Controller{SkipNameValidation: ptr.To(true)},
	})
	if err == nil {
		err = (&scheduling.Reconciler{}).AddToManager(mgr)
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if err := mgr.Start(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	return gardentest.Client(t)
}

// newSeed makes a seed whose agent answers, for shoots that select its name.
func newSeed(t *testing.T, c client.Client, room string) *gardencorev1beta1.Seed {
	t.Helper()
	seed := bootstrap.LocalSeed("s"+rand.String(6), "local")
	seed.Labels = map[string]string{"only": t.Name()}
	if err := c.Create(t.Context(), seed); err != nil {
		t.Fatal(err)
	}
	ready(t, c, seed, gardencorev1beta1.ConditionTrue)
	if room != "" {
		seed.Status.Allocatable = corev1.ResourceList{gardencorev1beta1.ResourceShoots: resource.MustParse(room)}
		if err := c.Status().Update(t.Context(), seed); err != nil {
			t.Fatal(err)
		}
	}
	return seed
}

func ready(t *testing.T, c client.Client, seed *gardencorev1beta1.Seed, status gardencorev1beta1.ConditionStatus) {
	t.Helper()
	seed.Status.Conditions = []gardencorev1beta1.Condition{{Type: gardencorev1beta1.GardenletReady, Status: status, LastTransitionTime: metav1.Now(), LastUpdateTime: metav1.Now(), Reason: "Test", Message: "It is so."}}
	if err := c.Status().Update(t.Context(), seed); err != nil {
		t.Fatal(err)
	}
}

func newShoot(t *testing.T, c client.Client, namespace string, change ...func(*gardencorev1beta1.Shoot)) *gardencorev1beta1.Shoot {
	t.Helper()
	shoot := &gardencorev1beta1.Shoot{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "s" + rand.String(6)},
		Spec: gardencorev1beta1.ShootSpec{
			CloudProfile: &gardencorev1beta1.CloudProfileReference{Name: "local"}, Region: "local",
			Kubernetes:   gardencorev1beta1.Kubernetes{Version: "1.36.3"},
			Provider:     gardencorev1beta1.Provider{Type: "local", Workers: []gardencorev1beta1.Worker{{Name: "worker", Minimum: 1, Maximum: 1, Machine: gardencorev1beta1.Machine{Type: "local"}}}},
			SeedSelector: &gardencorev1beta1.SeedSelector{LabelSelector: metav1.LabelSelector{MatchLabels: map[string]string{"only": t.Name()}}},
		},
	}
	for _, do := range change {
		do(shoot)
	}
	if err := c.Create(t.Context(), shoot); err != nil {
		t.Fatal(err)
	}
	return shoot
}

func eventually(t *testing.T, c client.Client, shoot *gardencorev1beta1.Shoot, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(shoot), shoot); err != nil {
			t.Fatal(err)
		}
		if is() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after 30s still not: %s; last operation: %+v", what, shoot.Status.LastOperation)
		}
	}
}

func seedOf(shoot *gardencorev1beta1.Shoot) string { return ptr.Deref(shoot.Spec.SeedName, "") }

func operation(shoot *gardencorev1beta1.Shoot) string {
	if shoot.Status.LastOperation == nil {
		return ""
	}
	return shoot.Status.LastOperation.Description
}

// TestRoomIsNeverExceeded gives two seeds room for three shoots each, and asks
// for seven at once.
func TestRoomIsNeverExceeded(t *testing.T) {
	c := start(t)
	one, two := newSeed(t, c, "3"), newSeed(t, c, "3")
	namespace := gardentest.Namespace(t)
	var all []*gardencorev1beta1.Shoot
	for range 7 {
		all = append(all, newShoot(t, c, namespace))
	}
	count := map[string]int{}
	for _, shoot := range all {
		eventually(t, c, shoot, "it is bound or refused", func() bool { return seedOf(shoot) != "" || operation(shoot) != "" })
		count[seedOf(shoot)]++
	}
	if count[one.Name] != 3 || count[two.Name] != 3 || count[""] != 1 {
		t.Errorf("got %v, want three on each seed and one left over", count)
	}
}

// TestRefusalIsToldAndMended wants a reason, and the shoot bound as soon as the
// reason is gone.
func TestRefusalIsToldAndMended(t *testing.T) {
	c := start(t)
	seed := newSeed(t, c, "")
	ready(t, c, seed, gardencorev1beta1.ConditionUnknown)
	shoot := newShoot(t, c, gardentest.Namespace(t))
	want := fmt.Sprintf("%s is not ready: its agent does not answer", seed.Name)
	eventually(t, c, shoot, "the refusal is told", func() bool { return strings.Contains(operation(shoot), want) })
	if last := shoot.Status.LastOperation; last.State != gardencorev1beta1.LastOperationStatePending || last.Type != gardencorev1beta1.LastOperationTypeCreate {
		t.Errorf("the last operation is %+v", last)
	}
	eventually(t, c, shoot, "an event tells it too", func() bool {
		var all eventsv1.EventList
		if err := c.List(t.Context(), &all, client.InNamespace(shoot.Namespace)); err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(all.Items, func(e eventsv1.Event) bool {
			return e.Regarding.Name == shoot.Name && e.Type == corev1.EventTypeWarning && e.Reason == "SchedulingFailed" && strings.Contains(e.Note, want)
		})
	})
	generation := shoot.Generation

	ready(t, c, seed, gardencorev1beta1.ConditionTrue)
	eventually(t, c, shoot, "it is bound", func() bool { return seedOf(shoot) == seed.Name })
	if shoot.Generation != generation+1 {
		t.Errorf("generation %d, want %d", shoot.Generation, generation+1)
	}
}

// TestRefusalIsToldThoughTheShootChanges wants it told at once, not at the next
// look, when somebody labels the shoot between the look and the report.
func TestRefusalIsToldThoughTheShootChanges(t *testing.T) {
	c := gardentest.Client(t)
	shoot := newShoot(t, c, gardentest.Namespace(t))
	labelled := false
	between := interceptor.NewClient(gardentest.ClientFor(t, gardentest.Start(t).RESTConfig()), interceptor.Funcs{
		SubResourcePatch: func(ctx context.Context, inner client.Client, subresource string, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			if !labelled {
				labelled = true
				controllertest.Change(t, c, shoot, func(s *gardencorev1beta1.Shoot) { s.Labels = map[string]string{"somebody": "was-here"} })
			}
			return inner.SubResource(subresource).Patch(ctx, o, patch, opts...)
		},
	})
	recorder := events.NewFakeRecorder(10)
	r := &scheduling.Reconciler{Client: between, Live: between, Clock: clock.RealClock{}, Recorder: recorder}
	request := reconcile.Request{NamespacedName: client.ObjectKeyFromObject(shoot)}
	if _, err := r.Reconcile(t.Context(), request); !apierrors.IsConflict(err) || fault.KindOf(err) != fault.Transient {
		t.Fatalf("the first attempt ended with %v, want a conflict, to be tried again at once", err)
	}
	if len(recorder.Events) > 0 {
		t.Errorf("an event tells what the status does not: %s", <-recorder.Events)
	}
	if result, err := r.Reconcile(t.Context(), request); err != nil || result.RequeueAfter == 0 {
		t.Errorf("the second attempt ended with %+v, %v", result, err)
	}
	if controllertest.Refresh(t, shoot); operation(shoot) == "" || len(recorder.Events) != 1 {
		t.Errorf("last operation %q and %d events, want the refusal and one", operation(shoot), len(recorder.Events))
	}
}

// TestWhatAShootNamesMayBeGone wants the reason told, not only logged, and the
// shoot bound when it is back.
func TestWhatAShootNamesMayBeGone(t *testing.T) {
	c := start(t)
	seed := newSeed(t, c, "")
	local := &gardencorev1beta1.CloudProfile{}
	if err := c.Get(t.Context(), client.ObjectKey{Name: "local"}, local); err != nil {
		t.Fatal(err)
	}
	name := "p" + rand.String(6)
	profile := func() *gardencorev1beta1.CloudProfile {
		return &gardencorev1beta1.CloudProfile{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: *local.Spec.DeepCopy()}
	}
	if err := c.Create(t.Context(), profile()); err != nil {
		t.Fatal(err)
	}
	ready(t, c, seed, gardencorev1beta1.ConditionUnknown)
	shoot := newShoot(t, c, gardentest.Namespace(t), func(s *gardencorev1beta1.Shoot) { s.Spec.CloudProfile.Name = name })
	eventually(t, c, shoot, "it waits for the seed", func() bool { return operation(shoot) != "" })
	if err := c.Delete(t.Context(), profile()); err != nil {
		t.Fatal(err)
	}
	eventually(t, c, shoot, "what is missing is named", func() bool {
		return operation(shoot) == fmt.Sprintf("No seed can be chosen: cloud profile %q is not there.", name)
	})
	ready(t, c, seed, gardencorev1beta1.ConditionTrue)
	if err := c.Create(t.Context(), profile()); err != nil {
		t.Fatal(err)
	}
	eventually(t, c, shoot, "it is bound", func() bool { return seedOf(shoot) == seed.Name })
}

// TestOthersAreLeftAlone wants shoots of another scheduler unbound.
func TestOthersAreLeftAlone(t *testing.T) {
	c := start(t)
	newSeed(t, c, "")
	namespace := gardentest.Namespace(t)
	other := newShoot(t, c, namespace)
	foreign := &gardencorev1beta1.Shoot{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "foreign"}, Spec: *other.Spec.DeepCopy()}
	foreign.Spec.SeedName, foreign.Spec.SchedulerName = nil, ptr.To("another")
	if err := c.Create(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	marker := newShoot(t, c, namespace)
	eventually(t, c, marker, "one that came later is bound", func() bool { return seedOf(marker) != "" })
	eventually(t, c, foreign, "it is there", func() bool { return true })
	if seedOf(foreign) != "" || operation(foreign) != "" {
		t.Errorf("a shoot of another scheduler was bound to %q: %s", seedOf(foreign), operation(foreign))
	}
}
