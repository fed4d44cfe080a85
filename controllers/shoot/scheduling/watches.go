package scheduling

import (
	"context"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/internal/observe"
)

// Declare says what the controller reads and writes.
func (r *Reconciler) Declare() declaration.Declaration {
	return declaration.Declaration{
		Controller: Name,
		Reads: []declaration.Read{
			{Resource: "shoots.core.gardener.cloud"}, {Resource: "seeds.core.gardener.cloud"}, {Resource: "cloudprofiles.core.gardener.cloud"},
			{Resource: "namespacedcloudprofiles.core.gardener.cloud"}, {Resource: "exposureclasses.core.gardener.cloud"},
			{Resource: "projects.core.gardener.cloud"}, {Resource: "configmaps"},
		},
		Writes: []declaration.Write{
			{Resource: "shoots.core.gardener.cloud/binding", Verbs: []string{"patch"}, Fields: []string{"spec.seedName"}},
			{Resource: "shoots.core.gardener.cloud/status", Verbs: []string{"patch"}, Fields: []string{"lastOperation"}},
			declaration.Events(),
		},
	}
}

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
	unscheduled := handler.EnqueueRequestsFromMapFunc(r.unscheduled)
	return builder.ControllerManagedBy(mgr).
		Named(Name).
		For(&gardencorev1beta1.Shoot{}, builder.WithPredicates(becameWaiting())).
		// Room on a seed comes back when a Shoot leaves it.
		Watches(&gardencorev1beta1.Shoot{}, unscheduled, builder.WithPredicates(left())).
		Watches(&gardencorev1beta1.Seed{}, unscheduled, builder.WithPredicates(seedChanged())).
		Watches(&gardencorev1beta1.CloudProfile{}, unscheduled, builder.WithPredicates(predicate.ResourceVersionChangedPredicate{})).
		Watches(&gardencorev1beta1.NamespacedCloudProfile{}, unscheduled, builder.WithPredicates(predicate.ResourceVersionChangedPredicate{})).
		Watches(&gardencorev1beta1.ExposureClass{}, unscheduled, builder.WithPredicates(predicate.ResourceVersionChangedPredicate{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: 1}).
		Complete(observe.Reconciler(Name, r))
}

// unscheduled lists the Shoots that wait for a seed.
func (r *Reconciler) unscheduled(ctx context.Context, _ client.Object) []reconcile.Request {
	var all gardencorev1beta1.ShootList
	if err := r.Client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return nil // from memory: it fails only when the process ends
	}
	var requests []reconcile.Request
	for i := range all.Items {
		if shoot := &all.Items[i]; waiting(shoot) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(shoot)})
		}
	}
	return requests
}

// becameWaiting lets through what may make a decision due or another one: what
// this controller writes to the status does not.
func becameWaiting() predicate.Predicate {
	is := func(o client.Object) bool {
		shoot, ok := o.(*gardencorev1beta1.Shoot)
		return ok && waiting(shoot)
	}
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return is(e.Object) },
		UpdateFunc: func(e event.UpdateEvent) bool {
			return is(e.ObjectNew) && (!is(e.ObjectOld) || e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration())
		},
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

func left() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok := e.ObjectOld.(*gardencorev1beta1.Shoot)
			after, too := e.ObjectNew.(*gardencorev1beta1.Shoot)
			return ok && too && before.Status.SeedName != nil && !equality.Semantic.DeepEqual(before.Status.SeedName, after.Status.SeedName)
		},
		DeleteFunc:  func(event.DeleteEvent) bool { return true },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// seedChanged keeps heartbeats out: of a status only what decisions look at.
func seedChanged() predicate.Predicate {
	return predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok := e.ObjectOld.(*gardencorev1beta1.Seed)
			after, too := e.ObjectNew.(*gardencorev1beta1.Seed)
			return ok && too && (!equality.Semantic.DeepEqual(before.Spec, after.Spec) ||
				!equality.Semantic.DeepEqual(before.Labels, after.Labels) ||
				!equality.Semantic.DeepEqual(before.Status.Allocatable, after.Status.Allocatable) ||
				notReady(before) != notReady(after))
		},
		DeleteFunc: func(event.DeleteEvent) bool { return false },
	}
}
