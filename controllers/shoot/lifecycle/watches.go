package lifecycle

import (
	"cmp"
	"context"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/loam-cloud/loam/controllers/internal/observe"
)

// Pauses before an operation that failed is tried again: the first is for a
// hiccup to pass, the last is what a user waits at most who mended the host.
const (
	firstRetry = time.Second
	lastRetry  = 2 * time.Minute
)

// AddToManager adds the controller. Fields left nil are filled from the manager.
func (r *Reconciler) AddToManager(mgr manager.Manager) error {
	if r.Client == nil {
		r.Client = mgr.GetClient()
	}
	if r.Live == nil {
		r.Live = mgr.GetAPIReader()
	}
	if r.Clock == nil {
		r.Clock = clock.RealClock{}
	}
	if r.Recorder == nil {
		r.Recorder = mgr.GetEventRecorder(Name)
	}
	again := make(chan event.GenericEvent)
	if r.Restarted != nil {
		if err := mgr.Add(manager.RunnableFunc(func(ctx context.Context) error { return r.lookAgain(ctx, again) })); err != nil {
			return err
		}
	}
	return builder.ControllerManagedBy(mgr).
		Named(Name).
		WatchesRawSource(source.Channel(again, &handler.EnqueueRequestForObject{})).
		For(&gardencorev1beta1.Shoot{}, builder.WithPredicates(r.mine(), changed())).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: cmp.Or(r.Config.ConcurrentSyncs, 5),
			ReconciliationTimeout:   -1, // none, whatever others have: each step of a flow has its own
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](firstRetry, lastRetry),
		}).
		Complete(observe.Reconciler(Name, r))
}

// lookAgain has the machines of all Shoots looked at whenever what runs them was
// restarted: it may have ended them, and does not always start them again.
func (r *Reconciler) lookAgain(ctx context.Context, again chan<- event.GenericEvent) error {
	for {
		if err := r.Restarted(ctx); err != nil {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // the error is that end
			}
			return err
		}
		r.looked.Clear()
		var all gardencorev1beta1.ShootList
		if err := r.Client.List(ctx, &all); err != nil {
			return err
		}
		for i := range all.Items {
			if seedOf(&all.Items[i]) != r.Config.SeedName {
				continue
			}
			select {
			case <-ctx.Done():
				return nil
			case again <- event.GenericEvent{Object: &all.Items[i]}:
			}
		}
	}
}

// mine keeps Shoots of other seeds, and those without one, out.
func (r *Reconciler) mine() predicate.Predicate {
	return predicate.NewPredicateFuncs(func(o client.Object) bool {
		shoot, ok := o.(*gardencorev1beta1.Shoot)
		return ok && shoot.Spec.SeedName != nil && *shoot.Spec.SeedName == r.Config.SeedName
	})
}

// changed lets updates through that may make an operation due: what this
// controller writes to the status itself does not.
func changed() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() ||
			e.ObjectOld.GetDeletionTimestamp().IsZero() != e.ObjectNew.GetDeletionTimestamp().IsZero() ||
			seedOf(e.ObjectOld) != seedOf(e.ObjectNew)
	}}
}

func seedOf(o client.Object) string {
	if shoot, ok := o.(*gardencorev1beta1.Shoot); ok && shoot.Spec.SeedName != nil {
		return *shoot.Spec.SeedName
	}
	return ""
}
