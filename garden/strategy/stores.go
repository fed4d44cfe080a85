package strategy

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/generic/registry"
)

// Stores reads objects of served kinds from within the server, past
// authentication and authorization: validation of one kind looks at others.
// It is filled while the groups are installed and only read afterwards.
type Stores struct {
	byResource map[schema.GroupResource]*registry.Store
}

func (s *Stores) add(resource schema.GroupResource, store *registry.Store) {
	if s.byResource == nil {
		s.byResource = map[schema.GroupResource]*registry.Store{}
	}
	s.byResource[resource] = store
}

// Freshness says what a read may answer from.
type Freshness bool

const (
	// Cached may be a moment behind: it is answered from memory.
	Cached Freshness = false
	// Current sees every write that was acknowledged before the read.
	Current Freshness = true
)

func (f Freshness) resourceVersion() string {
	if f == Cached {
		return "0"
	}
	return ""
}

// Get reads one object; its error is an API status error. The result is shared:
// it must not be changed.
func (s *Stores) Get(ctx context.Context, resource schema.GroupResource, namespace, name string, freshness Freshness) (runtime.Object, error) {
	store, found := s.byResource[resource]
	if !found {
		return nil, fmt.Errorf("reading %s %q: not served here", resource, name)
	}
	ctx = genericapirequest.WithNamespace(ctx, namespace)
	return store.Get(ctx, name, &metav1.GetOptions{ResourceVersion: freshness.resourceVersion()})
}

// List reads the objects of all namespaces whose selectable field has a value,
// or all if field is empty.
// The result is shared: it must not be changed.
func (s *Stores) List(ctx context.Context, resource schema.GroupResource, field, value string, freshness Freshness) ([]runtime.Object, error) {
	store, found := s.byResource[resource]
	if !found {
		return nil, fmt.Errorf("listing %s: not served here", resource)
	}
	ctx = genericapirequest.WithNamespace(ctx, metav1.NamespaceAll)
	selector := fields.Everything()
	if field != "" {
		selector = fields.OneTermEqualSelector(field, value)
	}
	list, err := store.List(ctx, &metainternalversion.ListOptions{
		FieldSelector:   selector,
		ResourceVersion: freshness.resourceVersion(),
	})
	if err != nil {
		return nil, err
	}
	return meta.ExtractList(list)
}
