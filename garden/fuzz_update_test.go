package garden_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"

	"github.com/loam-cloud/loam/garden/gardentest"
)

// FuzzUpdate mutates a valid object of a kind at random, creates it and updates
// it with another mutation. The server must never answer with an error of its
// own, as a panic is, and what it stores it has to read back: in a get, in a list,
// as a table, and in an update that changes nothing.
func FuzzUpdate(f *testing.F) {
	all := samples()
	for i := range all {
		for seed := range uint64(20) {
			f.Add(i, seed)
		}
	}
	namespace := gardentest.Namespace(f)
	f.Fuzz(func(t *testing.T, index int, seed uint64) {
		if index < 0 || index >= len(all) {
			t.Skip()
		}
		s := all[index]
		c, name := s.client(t, namespace), fmt.Sprintf("fuzz-%d-%d", index, seed)
		random := rand.New(rand.NewPCG(seed, uint64(index)))
		object := s.object(t, namespace, name)
		whole := richer(s, object)
		mutated := mutate(random, whole)
		if !accepted(t, c, "create", mutated) {
			// Nothing is stored yet: updates need something to begin with.
			if !accepted(t, c, "create", object) {
				t.Fatalf("%s: the sample itself was refused", s.kind)
			}
		}
		defer remove(t, c, name)
		stored := wantReadable(t, s, c, namespace, name)
		if accepted(t, c, "update", mutate(random, stored)) {
			wantReadable(t, s, c, namespace, name)
		}
	})
}

// richer has the content of the kind's change as well.
func richer(s sample, object *unstructured.Unstructured) *unstructured.Unstructured {
	result := object.DeepCopy()
	for field, value := range s.change {
		content, isMap := value.(map[string]any)
		target, there := result.Object[field].(map[string]any)
		if !isMap || !there {
			result.Object[field] = runtime.DeepCopyJSONValue(value)
			continue
		}
		maps.Copy(target, runtime.DeepCopyJSON(content))
	}
	return result
}

// accepted writes and tells whether the server took it.
func accepted(t *testing.T, c dynamic.ResourceInterface, verb string, object *unstructured.Unstructured) bool {
	t.Helper()
	ctx, err := context.Background(), error(nil)
	if verb == "create" {
		_, err = c.Create(ctx, object, metav1.CreateOptions{})
	} else {
		_, err = c.Update(ctx, object, metav1.UpdateOptions{})
	}
	if err == nil {
		return true
	}
	if reason := apierrors.ReasonForError(err); reason == metav1.StatusReasonInternalError || reason == metav1.StatusReasonUnknown {
		t.Errorf("%s: %v\nof %s", verb, err, marshal(t, object.Object))
	}
	return false
}

// wantReadable wants what is stored to come back everywhere, and to be as valid
// as when it was written.
func wantReadable(t *testing.T, s sample, c dynamic.ResourceInterface, namespace, name string) *unstructured.Unstructured {
	t.Helper()
	ctx := context.Background()
	stored, err := c.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	if list, err := c.List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name}); err != nil || len(list.Items) != 1 {
		t.Fatalf("list: %d, %v", len(list.Items), err)
	}
	if table := getTable(t, s, namespace, name); len(table.Rows) != 1 {
		t.Errorf("%d rows", len(table.Rows))
	}
	same, err := c.Update(ctx, stored.DeepCopy(), metav1.UpdateOptions{})
	if err != nil {
		t.Fatalf("an update without change: %v\nof %s", err, marshal(t, stored.Object))
	}
	if same.GetResourceVersion() != stored.GetResourceVersion() {
		t.Errorf("an update without change wrote\n%s\nover\n%s", marshal(t, same.Object), marshal(t, stored.Object))
	}
	return stored
}

func remove(t *testing.T, c dynamic.ResourceInterface, name string) {
	t.Helper()
	ctx := context.Background()
	stored, err := c.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stored.SetFinalizers(nil)
	stored.SetAnnotations(map[string]string{"confirmation.gardener.cloud/deletion": "true"})
	if _, err := c.Update(ctx, stored, metav1.UpdateOptions{}); err != nil {
		t.Fatalf("making it deletable: %v", err)
	}
	if err := c.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// mutate changes up to three values of everything but name and kind.
func mutate(random *rand.Rand, object *unstructured.Unstructured) *unstructured.Unstructured {
	result := object.DeepCopy()
	for range 1 + random.IntN(3) {
		content := slices.DeleteFunc(slices.Sorted(maps.Keys(result.Object)), func(field string) bool {
			return field == "apiVersion" || field == "kind" || field == "metadata" || field == "status"
		})
		if len(content) == 0 {
			return result
		}
		field := content[random.IntN(len(content))]
		if value := mutateValue(random, result.Object[field], 0); value != nil {
			result.Object[field] = value
		}
	}
	return result
}

// mutateValue goes down a random path and changes what is at its end. Nil takes
// the value out.
func mutateValue(random *rand.Rand, value any, depth int) any {
	if depth > 0 && random.IntN(6) == 0 {
		return nil
	}
	switch value := value.(type) {
	case map[string]any:
		keys := slices.Sorted(maps.Keys(value))
		if len(keys) == 0 {
			return value
		}
		key := keys[random.IntN(len(keys))]
		if changed := mutateValue(random, value[key], depth+1); changed != nil {
			value[key] = changed
		} else {
			delete(value, key)
		}
		return value
	case []any:
		switch {
		case len(value) == 0:
			return value
		case random.IntN(4) == 0:
			return append(value, runtime.DeepCopyJSONValue(value[0]))
		case random.IntN(4) == 0:
			return value[:len(value)-1]
		}
		at := random.IntN(len(value))
		if changed := mutateValue(random, value[at], depth+1); changed != nil {
			value[at] = changed
		}
		return value
	case string:
		return []any{"", "x", value + "-x", "10.0.0.0/8", "::/0", "1.36.3", "*", "-1", "A B", "2026-01-01T00:00:00Z", "\x00", "garden-local", string(make([]byte, 300))}[random.IntN(13)]
	case int64, float64:
		return []any{int64(0), int64(-1), int64(1), int64(1 << 31), int64(1 << 40)}[random.IntN(5)]
	case bool:
		return !value
	default:
		return value
	}
}
