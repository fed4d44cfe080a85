package conditions

import (
	"context"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	seedmanagementv1alpha1 "github.com/gardener/gardener/pkg/apis/seedmanagement/v1alpha1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/internal/observe"
)

// AddToManager adds the controller. Fields left nil are filled from the manager.
func (r *Reconciler) AddToManager(mgr manager.Manager) error {
	if r.Client == nil {
		r.Client = mgr.GetClient()
	}
	return builder.ControllerManagedBy(mgr).
		Named(Name).
		For(&gardencorev1beta1.Shoot{}, builder.WithPredicates(predicate.Funcs{
			UpdateFunc: func(event.UpdateEvent) bool { return false },
			DeleteFunc: func(event.DeleteEvent) bool { return false },
		})).
		Watches(&gardencorev1beta1.Seed{}, handler.EnqueueRequestsFromMapFunc(r.ofSeed), builder.WithPredicates(changedConditions())).
		// Which Shoot a Seed was cannot be seen any more once its managed seed is gone.
		Watches(&seedmanagementv1alpha1.ManagedSeed{}, handler.EnqueueRequestsFromMapFunc(ofManagedSeed), builder.WithPredicates(predicate.Funcs{
			UpdateFunc: func(event.UpdateEvent) bool { return false },
		})).
		WithOptions(controller.Options{MaxConcurrentReconciles: ptr.Deref(r.Config.ConcurrentSyncs, controllermanagerconfigv1alpha1.DefaultControllerConcurrentSyncs)}).
		Complete(observe.Reconciler(Name, r))
}

// changedConditions lets Seeds through whose conditions are other ones, and each
// one at a resync.
func changedConditions() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*gardencorev1beta1.Seed)
		after, also := e.ObjectNew.(*gardencorev1beta1.Seed)
		return ok && also && (before.ResourceVersion == after.ResourceVersion ||
			!equality.Semantic.DeepEqual(before.Status.Conditions, after.Status.Conditions))
	}}
}

// ofSeed finds the Shoot of a Seed through the managed seed of its name, which
// is in namespace garden (the contract of ManagedSeed).
func (r *Reconciler) ofSeed(ctx context.Context, seed client.Object) []reconcile.Request {
	managed := &seedmanagementv1alpha1.ManagedSeed{}
	if err := r.Client.Get(ctx, client.ObjectKey{Namespace: v1beta1constants.GardenNamespace, Name: seed.GetName()}, managed); err != nil {
		return nil // no managed seed; its own event comes if there will be one
	}
	return ofManagedSeed(ctx, managed)
}

func ofManagedSeed(_ context.Context, object client.Object) []reconcile.Request {
	managed, ok := object.(*seedmanagementv1alpha1.ManagedSeed)
	if !ok || managed.Spec.Shoot == nil {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: managed.Namespace, Name: managed.Spec.Shoot.Name}}}
}
