package references

import (
	"context"
	"fmt"
	"slices"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/index"
	"github.com/loam-cloud/loam/controllers/internal/observe"
)

const (
	// protected is the index of what has the finalizer; its only value is yes.
	protected = "metadata.finalizers.referenceProtection"
	yes       = "true"

	// referring is the index of who refers to something, by the reference's text.
	referring = "references"
)

// EnsureIndexes registers the indexes by which the reconciler lists.
func EnsureIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	for _, kind := range kinds() {
		if err := index.Ensure(ctx, indexer, metadata(kind), protected, func(object client.Object) []string {
			if controllerutil.ContainsFinalizer(object, finalizerName) {
				return []string{yes}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// Declare says what the controller of a kind, like "seeds.core.gardener.cloud",
// reads and writes.
func Declare(name, resource string) declaration.Declaration {
	d := declaration.Declaration{
		Controller: name,
		Reads: []declaration.Read{
			{Resource: "shoots.core.gardener.cloud"}, {Resource: "seeds.core.gardener.cloud"}, {Resource: "controllerdeployments.core.gardener.cloud"},
		},
		Writes: []declaration.Write{{Resource: resource, Verbs: []string{"patch"}, Fields: []string{"metadata.finalizers"}}},
	}
	for _, protected := range []string{"secrets", "configmaps", "workloadidentities.security.gardener.cloud"} {
		d.Reads = append(d.Reads, declaration.Read{Resource: protected, MetadataOnly: true})
		d.Writes = append(d.Writes, declaration.Write{Resource: protected, Verbs: []string{"patch"}, Fields: []string{"metadata.finalizers"}})
	}
	return d
}

// AddToManager adds the controller under a name; syncs is how many objects are
// worked on at a time, nil means the default.
func (r *Reconciler[T]) AddToManager(mgr manager.Manager, name string, syncs *int) error {
	if r.Client == nil {
		r.Client = mgr.GetClient()
	}
	ctx, indexer := context.Background(), mgr.GetFieldIndexer()
	if err := EnsureIndexes(ctx, indexer); err != nil {
		return err
	}
	if err := index.Ensure(ctx, indexer, r.New(), referring, r.keys); err != nil {
		return err
	}
	b := builder.ControllerManagedBy(mgr).
		Named(name).
		For(r.New(), builder.WithPredicates(r.changed())).
		WithOptions(controller.Options{MaxConcurrentReconciles: ptr.Deref(syncs, controllermanagerconfigv1alpha1.DefaultControllerConcurrentSyncs)})
	for _, kind := range kinds() {
		b = b.Watches(metadata(kind), handler.EnqueueRequestsFromMapFunc(r.referrers(kind)), builder.WithPredicates(unprotected()))
	}
	if err := b.Complete(observe.Reconciler(name, r)); err != nil {
		return fmt.Errorf("adding controller %s: %w", name, err)
	}
	return nil
}

func (r *Reconciler[T]) keys(object client.Object) []string {
	typed, ok := object.(T)
	if !ok {
		return nil
	}
	var keys []string
	for _, ref := range r.Of(typed) {
		keys = append(keys, ref.String())
	}
	return keys
}

// unprotected lets through what came without the finalizer, or lost it.
func unprotected() predicate.Predicate {
	lacks := func(object client.Object) bool {
		return object.GetDeletionTimestamp() == nil && !controllerutil.ContainsFinalizer(object, finalizerName)
	}
	return predicate.Funcs{
		CreateFunc:  func(e event.CreateEvent) bool { return lacks(e.Object) },
		UpdateFunc:  func(e event.UpdateEvent) bool { return lacks(e.ObjectNew) && !lacks(e.ObjectOld) },
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// referrers wakes who refers to something that came later than they.
func (r *Reconciler[T]) referrers(kind schema.GroupVersionKind) handler.MapFunc {
	return func(ctx context.Context, object client.Object) []reconcile.Request {
		list := r.NewList()
		ref := Reference{kind, client.ObjectKeyFromObject(object)}
		if err := r.Client.List(ctx, list, client.MatchingFields{referring: ref.String()}, client.UnsafeDisableDeepCopy); err != nil {
			log.FromContext(ctx).Error(err, "Looking for who refers to an object", "reference", ref.String())
			return nil
		}
		var requests []reconcile.Request
		if err := meta.EachListItem(list, func(item runtime.Object) error {
			referrer, err := meta.Accessor(item)
			if err == nil {
				requests = append(requests, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: referrer.GetNamespace(), Name: referrer.GetName()}})
			}
			return err
		}); err != nil {
			log.FromContext(ctx).Error(err, "Looking for who refers to an object", "reference", ref.String())
		}
		return requests
	}
}

// changed lets objects through that are new, refer to others than before, are
// done but for this finalizer, or lost it.
func (r *Reconciler[T]) changed() predicate.Predicate {
	return predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok := e.ObjectOld.(T)
			after, also := e.ObjectNew.(T)
			if !ok || !also {
				return false
			}
			refs := r.Of(after)
			return !refers(after) || !slices.Equal(r.Of(before), refs) || controllerutil.ContainsFinalizer(after, finalizerName) != (len(refs) > 0)
		},
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}
