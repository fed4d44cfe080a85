package seeds

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/loam-cloud/loam/garden/authorization/graph"
	"github.com/loam-cloud/loam/garden/strategy"
)

// Source is where objects of one kind are read and watched.
type Source struct {
	// Name is for log lines.
	Name string
	// Objects lists and watches them; of Gardener's groups the internal types.
	Objects cache.ListerWatcher
}

// Sources are all that the graph is made of: the garden's own groups, read from
// the memory of the server that has them, and Kubernetes' certificate requests,
// read with a client that has all rights.
func Sources(stores *strategy.Stores, kube kubernetes.Interface) ([]Source, error) {
	sources := []Source{CertificateRequests(kube)}
	for _, resource := range resources() {
		objects, err := stores.ListerWatcher(resource)
		if err != nil {
			return nil, fmt.Errorf("preparing the authorizer of agents: %w", err)
		}
		sources = append(sources, Source{Name: resource.String(), Objects: objects})
	}
	return sources, nil
}

// resources are those of the garden's own groups that the graph is made of.
func resources() []schema.GroupResource {
	in := func(group string, resources ...string) []schema.GroupResource {
		var all []schema.GroupResource
		for _, resource := range resources {
			all = append(all, schema.GroupResource{Group: group, Resource: resource})
		}
		return all
	}
	return slices.Concat(
		in("core.gardener.cloud", "shoots", "seeds", "projects", "namespacedcloudprofiles", "backupbuckets", "backupentries",
			"controllerinstallations", "controllerregistrations", "controllerdeployments", "secretbindings"),
		in("security.gardener.cloud", "credentialsbindings"),
		in("operations.gardener.cloud", "bastions"),
		in("seedmanagement.gardener.cloud", "managedseeds", "gardenlets"),
		in("loam.dev", "machines"),
	)
}

// CertificateRequests is the one source that is Kubernetes' own. The client has
// all rights.
func CertificateRequests(client kubernetes.Interface) Source {
	return Source{
		Name:    "certificatesigningrequests",
		Objects: cache.NewListWatchFromClient(client.CertificatesV1().RESTClient(), "certificatesigningrequests", metav1.NamespaceAll, fields.Everything()),
	}
}

// Keep fills the graph from the sources until ctx ends, and returns when all of
// them were read once, or with an error when ctx ends before.
func (a *Authorizer) Keep(ctx context.Context, sources []Source) error {
	var unread sync.WaitGroup
	for _, source := range sources {
		unread.Add(1)
		store := &feed{graph: &a.graph, keys: map[graph.Key]bool{}, first: sync.OnceFunc(unread.Done)}
		reflector := cache.NewReflectorWithOptions(source.Objects, nil, store, cache.ReflectorOptions{
			Name: "seed authorizer: " + source.Name, TypeDescription: source.Name,
		})
		go reflector.RunWithContext(ctx)
	}
	read := make(chan struct{})
	go func() {
		unread.Wait()
		close(read)
	}()
	select {
	case <-read:
		close(a.synced)
		return nil
	case <-ctx.Done():
		return fmt.Errorf("reading what belongs to seeds: %w", ctx.Err())
	}
}

// feed brings one kind's objects into the graph. It keeps their names only: a
// store of the objects themselves would double the garden's memory.
type feed struct {
	graph *graph.Graph
	keys  map[graph.Key]bool
	first func()
}

var _ cache.ReflectorStore = (*feed)(nil)

// errUnknown is a defect: a source of a kind that says nothing.
var errUnknown = errors.New("the graph does not know this kind")

func known(obj any) (graph.Key, graph.Facts, error) {
	if object, ok := obj.(runtime.Object); ok {
		if key, facts, found := graph.Of(object); found {
			return key, facts, nil
		}
	}
	return graph.Key{}, graph.Facts{}, errUnknown
}

// Add implements cache.ReflectorStore.
func (f *feed) Add(obj any) error {
	key, facts, err := known(obj)
	if err != nil {
		return err
	}
	f.graph.Set(key, facts)
	f.keys[key] = true
	return nil
}

// Update implements cache.ReflectorStore.
func (f *feed) Update(obj any) error { return f.Add(obj) }

// Delete implements cache.ReflectorStore.
func (f *feed) Delete(obj any) error {
	key, _, err := known(obj)
	if err != nil {
		return err
	}
	f.graph.Remove(key)
	delete(f.keys, key)
	return nil
}

// Replace implements cache.ReflectorStore: what is not in the list has gone
// while nobody watched.
func (f *feed) Replace(objects []any, _ string) error {
	before := f.keys
	f.keys = make(map[graph.Key]bool, len(objects))
	for _, obj := range objects {
		if err := f.Add(obj); err != nil {
			return err
		}
	}
	for key := range before {
		if !f.keys[key] {
			f.graph.Remove(key)
		}
	}
	f.first()
	return nil
}

// Resync implements cache.ReflectorStore.
func (f *feed) Resync() error { return nil }
