package index_test

import (
	"os"
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/controllers/index"
	"github.com/loam-cloud/loam/garden/gardentest"
	"github.com/loam-cloud/loam/garden/scheme"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

// TestRegister wants lists by an index, also when it was registered before.
func TestRegister(t *testing.T) {
	ctx, namespace := t.Context(), gardentest.Namespace(t)
	objects, err := cache.New(gardentest.Start(t).RESTConfig(), cache.Options{Scheme: scheme.Client()})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := index.Register(ctx, objects); err != nil {
			t.Fatal(err)
		}
	}
	go func() {
		if err := objects.Start(ctx); err != nil {
			t.Error(err)
		}
	}()
	if !objects.WaitForCacheSync(ctx) {
		t.Fatal("not in sync")
	}
	for value, want := range map[string]int{namespace: 1, "garden-nobody": 0} {
		projects := &gardencorev1beta1.ProjectList{}
		if err := objects.List(ctx, projects, client.MatchingFields{index.ProjectNamespace: value}); err != nil {
			t.Fatal(err)
		}
		if len(projects.Items) != want {
			t.Errorf("%d projects of namespace %q, want %d", len(projects.Items), value, want)
		}
	}
	if err := index.Ensure(ctx, objects, &metav1.PartialObjectMetadata{}, "x", nil); err == nil {
		t.Error("an index of a kind that has no name is taken")
	}
}
