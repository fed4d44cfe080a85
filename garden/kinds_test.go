package garden_test

import (
	"context"
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/discovery"

	"github.com/loam-cloud/loam/garden/gardentest"
)

// TestSamplesCoverEveryServedKind fails when a kind is served that no test knows.
func TestSamplesCoverEveryServedKind(t *testing.T) {
	known := map[schema.GroupVersionResource]bool{}
	for _, s := range samples() {
		known[s.resource] = s.status
	}
	client := discovery.NewDiscoveryClientForConfigOrDie(gardentest.Start(t).RESTConfig())
	_, lists, err := client.ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	served := map[schema.GroupVersionResource]bool{}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(gv.Group, ".gardener.cloud") && gv.Group != "loam.dev" {
			continue
		}
		for _, resource := range list.APIResources {
			name, subresource, isSub := strings.Cut(resource.Name, "/")
			served[gv.WithResource(name)] = served[gv.WithResource(name)] || isSub && subresource == "status"
		}
	}
	if !maps.Equal(known, served) {
		t.Errorf("kinds and whether they have a status subresource:\nsamples %v\nserved  %v", known, served)
	}
}

func TestEveryKind(t *testing.T) {
	namespace := gardentest.Namespace(t)
	for _, s := range samples() {
		t.Run("garden-api: Kinds/"+s.resource.GroupVersion().String()+"/"+s.kind, func(t *testing.T) {
			ctx, c, name := context.Background(), s.client(t, namespace), "kind-"+rand.String(5)
			created, err := c.Create(ctx, s.object(t, namespace, name), metav1.CreateOptions{FieldValidation: "Strict"})
			if err != nil {
				t.Fatalf("create: %v", err)
			}
			wantGeneration(t, "create", created, s, 1)
			if _, err := c.Create(ctx, s.object(t, namespace, name), metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
				t.Errorf("second create: got %v, want AlreadyExists", err)
			}

			got, err := c.Get(ctx, name, metav1.GetOptions{})
			if err != nil || got.GetUID() != created.GetUID() {
				t.Fatalf("get: %v, %v", got, err)
			}
			list, err := c.List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
			if err != nil || len(list.Items) != 1 {
				t.Errorf("list by name: %d items, %v", len(list.Items), err)
			}

			same, err := c.Update(ctx, got.DeepCopy(), metav1.UpdateOptions{})
			if err != nil {
				t.Fatalf("update without change: %v", err)
			}
			if same.GetResourceVersion() != got.GetResourceVersion() {
				t.Error("an update without change wrote something")
			}
			generation := int64(1)
			if s.change != nil {
				generation = 2
				changed, err := c.Patch(ctx, name, types.MergePatchType, marshal(t, s.change), metav1.PatchOptions{})
				if err != nil {
					t.Fatalf("patch: %v", err)
				}
				if changed.GetResourceVersion() == got.GetResourceVersion() {
					t.Error("a patch that changes the content wrote nothing")
				}
				wantGeneration(t, "change", changed, s, generation)
			}
			labelled, err := c.Patch(ctx, name, types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`), metav1.PatchOptions{})
			if err != nil {
				t.Fatalf("label: %v", err)
			}
			wantGeneration(t, "label", labelled, s, generation)

			if _, err := c.Patch(ctx, name, types.MergePatchType, []byte(`{"metadata":{"uid":"00000000-0000-0000-0000-000000000000"}}`), metav1.PatchOptions{}); err == nil {
				t.Error("the UID could be changed")
			}
			if err := c.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
				t.Fatalf("delete: %v", err)
			}
			if _, err := c.Get(ctx, name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				t.Errorf("get after delete: got %v, want NotFound", err)
			}
		})
	}
}

func wantGeneration(t *testing.T, step string, object *unstructured.Unstructured, s sample, want int64) {
	t.Helper()
	if !s.generation {
		want = 0
	}
	if got := object.GetGeneration(); got != want {
		t.Errorf("generation after %s: got %d, want %d", step, got, want)
	}
}

func marshal(tb testing.TB, value any) []byte {
	tb.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// TestStatusIsolation wants the status of every kind that has one to be written
// by its subresource alone, which writes nothing else.
func TestStatusIsolation(t *testing.T) { statusIsolation(t, server{}) }

func statusIsolation(t *testing.T, server server) {
	namespace := server.namespace(t)
	conditions := map[string]any{"conditions": []any{map[string]any{
		"type": "Good", "status": "True", "reason": "r", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z", "lastUpdateTime": "2026-01-01T00:00:00Z",
	}}}
	// Kinds without conditions have something else that can be told apart.
	others := map[string]map[string]any{
		"CloudProfile":           {"kubernetes": map[string]any{"versions": []any{map[string]any{"version": "1.36.3", "classification": "supported"}}}},
		"NamespacedCloudProfile": {"observedGeneration": int64(7)}, "BackupBucket": {"observedGeneration": int64(7)}, "BackupEntry": {"observedGeneration": int64(7)},
		"Machine": {"state": "Running"}, "WorkloadIdentity": {"sub": "a-lie"},
	}
	for _, s := range server.samples() {
		if !s.status {
			continue
		}
		t.Run(s.kind, func(t *testing.T) {
			status := conditions
			if other, found := others[s.kind]; found {
				status = other
			}
			ctx, c, name := context.Background(), s.client(t, namespace), "status-"+rand.String(5)
			object := s.object(t, namespace, name)
			object.Object["status"] = status
			created, err := c.Create(ctx, object, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			wantStatus(t, "create", created, status, false)
			patched, err := c.Patch(ctx, name, types.MergePatchType, marshal(t, map[string]any{"status": status}), metav1.PatchOptions{})
			if err != nil {
				t.Fatal(err)
			}
			wantStatus(t, "ordinary patch", patched, status, false)

			both := map[string]any{"status": status, "spec": s.change["spec"]}
			reported, err := c.Patch(ctx, name, types.MergePatchType, marshal(t, both), metav1.PatchOptions{}, "status")
			if s.kind == "WorkloadIdentity" {
				if !apierrors.IsInvalid(err) {
					t.Errorf("another subject than the garden gave: got %v, want Invalid", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wantStatus(t, "status patch", reported, status, true)
			wantGeneration(t, "status patch", reported, s, 1)
			before, _ := json.Marshal(created.Object["spec"])
			after, _ := json.Marshal(reported.Object["spec"])
			if string(before) != string(after) {
				t.Errorf("a status patch changed the spec:\nbefore %s\nafter  %s", before, after)
			}
		})
	}
}

// wantStatus wants all of the fields in an object's status, or none.
func wantStatus(t *testing.T, step string, object *unstructured.Unstructured, fields map[string]any, want bool) {
	t.Helper()
	status, _, err := unstructured.NestedMap(object.Object, "status")
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range fields {
		if got := equality.Semantic.DeepEqual(status[name], value); got != want {
			t.Errorf("status.%s after %s: got %v, want that it is %v: %v", name, step, status[name], value, want)
		}
	}
}

func unmarshal(tb testing.TB, text []byte, into any) {
	tb.Helper()
	if err := json.Unmarshal(text, into); err != nil {
		tb.Fatal(err)
	}
}
