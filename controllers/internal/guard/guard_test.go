package guard_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/controllers/internal/guard"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

// TestBlockers wants the first three named, and all counted.
func TestBlockers(t *testing.T) {
	for want, names := range map[string][]string{
		"1 Shoot: a/b":                        {"a/b"},
		"3 Shoots: a/b, a/c, a/d":             {"a/b", "a/c", "a/d"},
		"5 Shoots: a/b, a/c, a/d, ...":        {"a/b", "a/c", "a/d", "a/e", "a/f"},
		"4 Shoots: cluster, wide, three, ...": {"cluster", "wide", "three", "four"},
	} {
		if got := (guard.Blockers{Kind: "Shoot", Names: names}).String(); got != want {
			t.Errorf("%v: %q, want %q", names, got, want)
		}
	}
}

// TestReconcile has ConfigMaps guarded against Secrets of the same namespace.
func TestReconcile(t *testing.T) {
	ctx, namespace := t.Context(), gardentest.Namespace(t)
	c, writes := controllertest.Client(t)
	recorder := events.NewFakeRecorder(10)
	r := &guard.Reconciler[*corev1.ConfigMap]{
		Guard: guard.Guard{Client: c, Recorder: recorder, Finalizer: "example.org/guard", EventType: corev1.EventTypeWarning},
		New:   func() *corev1.ConfigMap { return &corev1.ConfigMap{} },
		Blockers: func(ctx context.Context, object *corev1.ConfigMap) (guard.Blockers, error) {
			return guard.List(ctx, c, "Secret", &corev1.SecretList{}, client.InNamespace(object.Namespace))
		},
	}
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "guarded"}}
	key := client.ObjectKeyFromObject(object)
	run := func() {
		t.Helper()
		if result, err := r.Reconcile(ctx, reconcile.Request{NamespacedName: key}); err != nil || !result.IsZero() {
			t.Fatalf("%+v, %v", result, err)
		}
	}
	run() // not there yet
	must(t, c.Create(ctx, object))
	run()
	must(t, c.Get(ctx, key, object))
	if !slices.Equal(object.Finalizers, []string{"example.org/guard"}) {
		t.Errorf("finalizers are %v", object.Finalizers)
	}
	writes.Fail(0)
	run()
	if writes.Count() > 0 {
		t.Error("a second look wrote something")
	}

	blocker := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "blocker"}}
	must(t, c.Create(ctx, blocker))
	must(t, c.Delete(ctx, object))
	run()
	must(t, c.Get(ctx, key, object))
	if said := <-recorder.Events; !strings.HasPrefix(said, "Warning ResourceReferenced") || !strings.Contains(said, "1 Secret: "+namespace+"/blocker") {
		t.Errorf("the event is %q", said)
	}
	must(t, c.Delete(ctx, blocker))
	run()
	if err := c.Get(ctx, key, object); !apierrors.IsNotFound(err) {
		t.Errorf("without blockers it is still there: %v", err)
	}
}

// TestReferrers wants objects woken that are no longer referred to, and no others.
func TestReferrers(t *testing.T) {
	of := func(names ...string) *gardencorev1beta1.Seed {
		return &gardencorev1beta1.Seed{ObjectMeta: metav1.ObjectMeta{Finalizers: names}}
	}
	handler := guard.Referrers(func(seed *gardencorev1beta1.Seed) []types.NamespacedName {
		var all []types.NamespacedName
		for _, name := range seed.Finalizers {
			all = append(all, types.NamespacedName{Name: name})
		}
		return all
	})
	for name, test := range map[string]struct {
		happen func(workqueue.TypedRateLimitingInterface[reconcile.Request])
		want   []string
	}{
		"created": {func(q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			handler.Create(t.Context(), event.CreateEvent{Object: of("a")}, q)
		}, nil},
		"unchanged": {func(q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			handler.Update(t.Context(), event.UpdateEvent{ObjectOld: of("a", "b"), ObjectNew: of("b", "a")}, q)
		}, nil},
		"turned": {func(q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			handler.Update(t.Context(), event.UpdateEvent{ObjectOld: of("a", "b"), ObjectNew: of("b", "c")}, q)
		}, []string{"a"}},
		"gone": {func(q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			handler.Delete(t.Context(), event.DeleteEvent{Object: of("a", "b")}, q)
		}, []string{"a", "b"}},
		"another kind": {func(q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			handler.Delete(t.Context(), event.DeleteEvent{Object: &corev1.Secret{}}, q)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
			defer queue.ShutDown()
			test.happen(queue)
			var got []string
			for queue.Len() > 0 {
				request, _ := queue.Get()
				got = append(got, request.Name)
			}
			slices.Sort(got)
			if !slices.Equal(got, test.want) {
				t.Errorf("woken are %v, want %v", got, test.want)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
