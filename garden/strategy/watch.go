package strategy

import (
	"context"
	"fmt"

	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/client-go/tools/cache"
)

// ListerWatcher reads all objects of a kind, as internal types, from the memory
// that requests are answered from: a client's watch would hold each of them a
// second time. The objects are shared and must not be changed.
func (s *Stores) ListerWatcher(resource schema.GroupResource) (cache.ListerWatcher, error) {
	store, found := s.byResource[resource]
	if !found {
		return nil, fmt.Errorf("watching %s: not served here", resource)
	}
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			internal, err := internalOptions(options)
			if err != nil {
				return nil, err
			}
			return store.List(everywhere(ctx), internal)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return watchStore(ctx, store, options)
		},
	}, nil
}

func everywhere(ctx context.Context) context.Context {
	return genericapirequest.WithNamespace(ctx, metav1.NamespaceAll)
}

func internalOptions(options metav1.ListOptions) (*metainternalversion.ListOptions, error) {
	internal := &metainternalversion.ListOptions{}
	err := metainternalversion.Convert_v1_ListOptions_To_internalversion_ListOptions(&options, internal, nil)
	return internal, err
}

func watchStore(ctx context.Context, store *registry.Store, options metav1.ListOptions) (watch.Interface, error) {
	internal, err := internalOptions(options)
	if err != nil {
		return nil, err
	}
	watcher, err := store.Watch(everywhere(ctx), internal)
	if err != nil {
		return nil, err
	}
	// An event with several watchers wraps its object, so that it is encoded once
	// for all of them.
	return watch.Filter(watcher, func(event watch.Event) (watch.Event, bool) {
		if cached, ok := event.Object.(runtime.CacheableObject); ok {
			event.Object = cached.GetObject()
		}
		return event, true
	}), nil
}
