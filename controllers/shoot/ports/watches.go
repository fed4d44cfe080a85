package ports

import (
	"cmp"
	"reflect"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/loam-cloud/loam/controllers/internal/observe"
)

// AddToManager adds the controller. Fields left nil are filled from the manager.
func (r *Reconciler) AddToManager(mgr manager.Manager) error {
	if r.Client == nil {
		r.Client = mgr.GetClient()
	}
	if r.Clock == nil {
		r.Clock = clock.RealClock{}
	}
	if err := mgr.Add(r); err != nil {
		return err
	}
	return builder.ControllerManagedBy(mgr).
		Named(Name).
		For(&gardencorev1beta1.Shoot{}, builder.WithPredicates(changed())).
		WithOptions(controller.Options{MaxConcurrentReconciles: cmp.Or(r.Config.ConcurrentSyncs, 5)}).
		Complete(observe.Reconciler(Name, r))
}

// changed lets updates through that may change who is followed, and which ports
// are asked for.
func changed() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*gardencorev1beta1.Shoot)
		after, ok2 := e.ObjectNew.(*gardencorev1beta1.Shoot)
		return ok && ok2 && (before.Generation != after.Generation ||
			before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero() ||
			before.Status.IsHibernated != after.Status.IsHibernated ||
			!reflect.DeepEqual(before.Spec.SeedName, after.Spec.SeedName) ||
			!reflect.DeepEqual(before.Status.AdvertisedAddresses, after.Status.AdvertisedAddresses))
	}}
}
