package garden_test

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

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

func TestStatusIsolation(t *testing.T) {
	namespace := gardentest.Namespace(t)
	conditions := map[string]any{"status": map[string]any{"conditions": []any{map[string]any{
		"type": "Good", "status": "True", "reason": "r", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z", "lastUpdateTime": "2026-01-01T00:00:00Z",
	}}}}
	withConditions := []string{"Shoot", "Seed", "Project", "ControllerInstallation", "ManagedSeed", "ManagedSeedSet", "Gardenlet", "Bastion"}
	for _, s := range samples() {
		if !slices.Contains(withConditions, s.kind) {
			continue
		}
		t.Run(s.kind, func(t *testing.T) {
			ctx, c, name := context.Background(), s.client(t, namespace), "status-"+rand.String(5)
			object := s.object(t, namespace, name)
			object.Object["status"] = conditions["status"]
			created, err := c.Create(ctx, object, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			wantConditions(t, "create", created, 0)
			patched, err := c.Patch(ctx, name, types.MergePatchType, marshal(t, conditions), metav1.PatchOptions{})
			if err != nil {
				t.Fatal(err)
			}
			wantConditions(t, "ordinary patch", patched, 0)

			both := map[string]any{"status": conditions["status"], "spec": s.change["spec"]}
			reported, err := c.Patch(ctx, name, types.MergePatchType, marshal(t, both), metav1.PatchOptions{}, "status")
			if err != nil {
				t.Fatal(err)
			}
			wantConditions(t, "status patch", reported, 1)
			wantGeneration(t, "status patch", reported, s, 1)
			before, _ := json.Marshal(created.Object["spec"])
			after, _ := json.Marshal(reported.Object["spec"])
			if string(before) != string(after) {
				t.Errorf("a status patch changed the spec:\nbefore %s\nafter  %s", before, after)
			}
		})
	}
}

func wantConditions(t *testing.T, step string, object *unstructured.Unstructured, want int) {
	t.Helper()
	conditions, _, err := unstructured.NestedSlice(object.Object, "status", "conditions")
	if err != nil || len(conditions) != want {
		t.Errorf("conditions after %s: got %v (%v), want %d", step, conditions, err, want)
	}
}

// TestTables checks that every kind shows more than its name and age.
func TestTables(t *testing.T) {
	namespace := gardentest.Namespace(t)
	for _, s := range samples() {
		t.Run(s.resource.Version+" "+s.kind, func(t *testing.T) {
			name := "table-" + rand.String(5)
			if _, err := s.client(t, namespace).Create(context.Background(), s.object(t, namespace, name), metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			table := getTable(t, s, namespace, name)
			if len(table.ColumnDefinitions) < 3 {
				t.Errorf("columns: %v", table.ColumnDefinitions)
			}
			if len(table.Rows) != 1 || len(table.Rows[0].Cells) != len(table.ColumnDefinitions) || table.Rows[0].Cells[0] != name {
				t.Errorf("rows do not fit %d columns: %v", len(table.ColumnDefinitions), table.Rows)
			}
		})
	}
}

func unmarshal(tb testing.TB, text []byte, into any) {
	tb.Helper()
	if err := json.Unmarshal(text, into); err != nil {
		tb.Fatal(err)
	}
}
