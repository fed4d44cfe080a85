package garden_test

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/loam-cloud/loam/garden/gardentest"
)

// TestStrategicMergePatch merges lists by the keys that the types name: a
// worker that the patch does not name stays as it is.
func TestStrategicMergePatch(t *testing.T) {
	namespace := gardentest.Namespace(t)
	shoot := newShoot(namespace, "merged")
	second := *shoot.Spec.Provider.Workers[0].DeepCopy()
	second.Name, second.Maximum = "second", 3
	shoot.Spec.Provider.Workers = append(shoot.Spec.Provider.Workers, second)
	create(t, shoot)
	c := sampleOf(t, "Shoot").client(t, namespace)
	for _, step := range []struct {
		name, patch string
		want        map[string]int64
	}{
		{"one is changed", `{"spec":{"provider":{"workers":[{"name":"second","maximum":5}]}}}`, map[string]int64{"worker": 1, "second": 5}},
		{"one is added", `{"spec":{"provider":{"workers":[{"name":"third","minimum":1,"maximum":2,"machine":{"type":"local"}}]}}}`, map[string]int64{"worker": 1, "second": 5, "third": 2}},
		{"one is removed", `{"spec":{"provider":{"workers":[{"name":"second","$patch":"delete"}]}}}`, map[string]int64{"worker": 1, "third": 2}},
		{"all are replaced", `{"spec":{"provider":{"workers":[{"$patch":"replace"},{"name":"only","minimum":1,"maximum":4,"machine":{"type":"local"}}]}}}`, map[string]int64{"only": 4}},
	} {
		patched, err := c.Patch(context.Background(), shoot.Name, types.StrategicMergePatchType, []byte(step.patch), metav1.PatchOptions{})
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		workers, _, err := unstructured.NestedSlice(patched.Object, "spec", "provider", "workers")
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]int64{}
		for _, worker := range workers {
			worker := worker.(map[string]any)
			got[worker["name"].(string)] = worker["maximum"].(int64)
			if kind := worker["machine"].(map[string]any)["type"]; kind != "local" {
				t.Errorf("%s: worker %v lost its machine: %v", step.name, worker["name"], kind)
			}
		}
		if !maps.Equal(got, step.want) {
			t.Errorf("%s: workers and their maximum: got %v, want %v", step.name, got, step.want)
		}
	}
}

// TestWatchBookmarks wants the end of what was there before to be told, and the
// version to go on from, to who asks for it.
func TestWatchBookmarks(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, kind := range []string{"Shoot", "CloudProfile", "InternalSecret", "Machine"} {
		t.Run(kind, func(t *testing.T) {
			s, namespace, name := sampleOf(t, kind), gardentest.Namespace(t), "mark-"+rand.String(5)
			c := s.client(t, namespace)
			created, err := c.Create(ctx, s.object(t, namespace, name), metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			all := true
			watcher, err := c.Watch(ctx, metav1.ListOptions{
				AllowWatchBookmarks: true, SendInitialEvents: &all, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan, FieldSelector: "metadata.name=" + name,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer watcher.Stop()
			added, bookmark := nextEvent(t, watcher), nextEvent(t, watcher)
			if added.Type != watch.Added || objectOf(t, added).GetUID() != created.GetUID() {
				t.Fatalf("first %v %v", added.Type, added.Object)
			}
			mark := objectOf(t, bookmark)
			if bookmark.Type != watch.Bookmark || mark.GetAnnotations()[metav1.InitialEventsAnnotationKey] != "true" || mark.GetResourceVersion() == "" || mark.GetKind() != s.kind {
				t.Fatalf("then %v %v", bookmark.Type, bookmark.Object)
			}

			later, err := c.Watch(ctx, metav1.ListOptions{ResourceVersion: mark.GetResourceVersion(), FieldSelector: "metadata.name=" + name})
			if err != nil {
				t.Fatal(err)
			}
			defer later.Stop()
			if _, err := c.Patch(ctx, name, types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`), metav1.PatchOptions{}); err != nil {
				t.Fatal(err)
			}
			if event := nextEvent(t, later); event.Type != watch.Modified || objectOf(t, event).GetLabels()["a"] != "b" {
				t.Errorf("from the bookmark on: %v %v", event.Type, event.Object)
			}
		})
	}
}

func nextEvent(t *testing.T, watcher watch.Interface) watch.Event {
	t.Helper()
	select {
	case event := <-watcher.ResultChan():
		return event
	case <-time.After(patience):
		t.Fatal("no event")
		return watch.Event{}
	}
}

func objectOf(t *testing.T, event watch.Event) *unstructured.Unstructured {
	t.Helper()
	object, ok := event.Object.(*unstructured.Unstructured)
	if !ok {
		t.Fatalf("%v of %T", event.Type, event.Object)
	}
	return object
}

// TestKindsInPages reads kinds with and without namespace in pages, from the
// moment of the first page, whatever is written in between.
func TestKindsInPages(t *testing.T) {
	ctx, namespace, label := context.Background(), gardentest.Namespace(t), "l"+rand.String(5)
	for _, kind := range []string{"Project", "CloudProfile", "Quota", "InternalSecret", "ControllerDeployment", "WorkloadIdentity", "Machine"} {
		t.Run(kind, func(t *testing.T) {
			s := sampleOf(t, kind)
			c := s.client(t, namespace)
			add := func() string {
				object := s.object(t, namespace, "p"+rand.String(8))
				object.SetLabels(map[string]string{"page": label})
				if _, err := c.Create(ctx, object, metav1.CreateOptions{}); err != nil {
					t.Fatal(err)
				}
				return object.GetName()
			}
			var want, got []string
			for range 5 {
				want = append(want, add())
			}
			slices.Sort(want)
			options := metav1.ListOptions{LabelSelector: "page=" + label, Limit: 2}
			var sizes []int
			for more := true; more; more = options.Continue != "" {
				list, err := c.List(ctx, options)
				if err != nil {
					t.Fatal(err)
				}
				if len(sizes) == 0 {
					add()
				}
				for i := range list.Items {
					got = append(got, list.Items[i].GetName())
				}
				sizes = append(sizes, len(list.Items))
				options.Continue = list.GetContinue()
			}
			if !slices.Equal(got, want) || !slices.Equal(sizes, []int{2, 2, 1}) {
				t.Errorf("pages of %v: got %v, want %v in pages of 2", sizes, got, want)
			}
			options.Continue = "nonsense"
			if _, err := c.List(ctx, options); !apierrors.IsBadRequest(err) {
				t.Errorf("a continuation that is none: got %v, want BadRequest", err)
			}
		})
	}
}
