package guard

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Reconciler is the whole of a controller that does nothing but guard.
type Reconciler[T client.Object] struct {
	Guard
	// New returns an empty object to read into.
	New func() T
	// Blockers lists who refers to an object in deletion.
	Blockers func(ctx context.Context, object T) (Blockers, error)
}

// Reconcile holds one object, or lets it go.
func (r *Reconciler[T]) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	object := r.New()
	if err := r.Client.Get(ctx, request.NamespacedName, object); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if object.GetDeletionTimestamp() == nil {
		return reconcile.Result{}, r.Hold(ctx, object)
	}
	if !r.Holds(object) {
		return reconcile.Result{}, nil
	}
	blockers, err := r.Blockers(ctx, object)
	if err != nil || r.Blocked(ctx, object, blockers) {
		return reconcile.Result{}, err
	}
	return reconcile.Result{}, r.Release(ctx, object)
}

// Referrers wakes the objects that lost a referrer: it is gone, or refers to
// others now. Thereby a deletion goes on at once.
func Referrers[T client.Object](refers func(T) []types.NamespacedName) handler.EventHandler {
	of := func(object client.Object) []types.NamespacedName {
		typed, ok := object.(T)
		if !ok {
			return nil
		}
		return refers(typed)
	}
	return handler.Funcs{
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			now := of(e.ObjectNew)
			for _, name := range of(e.ObjectOld) {
				if !slices.Contains(now, name) {
					queue.Add(reconcile.Request{NamespacedName: name})
				}
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			for _, name := range of(e.Object) {
				queue.Add(reconcile.Request{NamespacedName: name})
			}
		},
	}
}
