package finalizer_test

import (
	"os"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/controllers/internal/finalizer"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

const one, two = "example.org/one", "example.org/two"

// TestFinalizers are put on and taken off whole objects and metadata, and
// written only if something changes.
func TestFinalizers(t *testing.T) {
	for name, read := range map[string]func() client.Object{
		"whole": func() client.Object { return &corev1.Secret{} },
		"metadata": func() client.Object {
			return &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, writes := controllertest.Client(t)
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: gardentest.Namespace(t), GenerateName: "s-", Finalizers: []string{one}}}
			must(t, c.Create(t.Context(), secret))
			object := read()
			must(t, c.Get(t.Context(), client.ObjectKeyFromObject(secret), object))
			for i, step := range []struct {
				do     func() error
				writes int
				want   []string
			}{
				{func() error { return finalizer.Add(t.Context(), c, object, one) }, 0, []string{one}},
				{func() error { return finalizer.Add(t.Context(), c, object, one, two) }, 1, []string{one, two}},
				{func() error { return finalizer.Remove(t.Context(), c, object, one, "example.org/none") }, 1, []string{two}},
				{func() error { return finalizer.Remove(t.Context(), c, object, one) }, 0, []string{two}},
			} {
				writes.Fail(0)
				must(t, step.do())
				must(t, c.Get(t.Context(), client.ObjectKeyFromObject(secret), secret))
				if !slices.Equal(secret.Finalizers, step.want) || !slices.Equal(object.GetFinalizers(), step.want) || writes.Count() != step.writes {
					t.Errorf("step %d: %v and %v after %d writes, want %v after %d", i, secret.Finalizers, object.GetFinalizers(), writes.Count(), step.want, step.writes)
				}
			}

			stale := object.DeepCopyObject().(client.Object)
			must(t, finalizer.Add(t.Context(), c, object, one))
			if err := finalizer.Remove(t.Context(), c, stale, two); !apierrors.IsConflict(err) {
				t.Errorf("over a newer object: %v", err)
			}
			must(t, finalizer.Remove(t.Context(), c, object, one))
			last := object.DeepCopyObject().(client.Object)
			must(t, c.Delete(t.Context(), secret))
			must(t, c.Get(t.Context(), client.ObjectKeyFromObject(secret), object))
			must(t, finalizer.Remove(t.Context(), c, object, two))
			must(t, finalizer.Remove(t.Context(), c, last, two))
			if err := finalizer.Add(t.Context(), c, last, one); !apierrors.IsNotFound(err) {
				t.Errorf("on one that is gone: %v", err)
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
