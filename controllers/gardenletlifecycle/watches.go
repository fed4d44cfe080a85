package gardenletlifecycle

import (
	"cmp"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/loam-cloud/loam/controllers/internal/cluster"
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
	return builder.ControllerManagedBy(mgr).
		Named(Name).
		Watches(&gardencorev1beta1.Seed{}, &handler.EnqueueRequestForObject{}, builder.WithPredicates(created())).
		Watches(&gardencorev1beta1.Shoot{}, &handler.EnqueueRequestForObject{}, builder.WithPredicates(created(), predicate.NewPredicateFuncs(selfHosted))).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: ptr.Deref(r.Config.ConcurrentSyncs, controllermanagerconfigv1alpha1.DefaultControllerConcurrentSyncs),
			ReconciliationTimeout:   r.sync(),
		}).
		Complete(observe.Reconciler(Name, r))
}

func (r *Reconciler) leases() string {
	return cmp.Or(r.LeaseNamespace, gardencorev1beta1.GardenerSeedLeaseNamespace)
}

func created() predicate.Predicate {
	return predicate.Funcs{
		UpdateFunc:  func(event.UpdateEvent) bool { return false },
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// selfHosted tells whether a Shoot has its control plane, and with it its agent,
// on workers of its own. Where the agent of a Seed looks after it there is no
// other.
func selfHosted(object client.Object) bool {
	shoot, ok := object.(*gardencorev1beta1.Shoot)
	return ok && shoot.Spec.SeedName == nil && shoot.Status.SeedName == nil && cluster.SelfHosted(shoot)
}
