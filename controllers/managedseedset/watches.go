package managedseedset

import (
	"cmp"
	"context"
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	seedmanagementv1alpha1 "github.com/gardener/gardener/pkg/apis/seedmanagement/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
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

// defaultPeriod is Gardener's default of Config.SyncPeriod.
const defaultPeriod = 30 * time.Minute

func (r *Reconciler) period() time.Duration {
	return cmp.Or(r.Config.SyncPeriod.Duration, defaultPeriod)
}

// AddToManager adds the controller. Fields left nil are filled from the manager.
func (r *Reconciler) AddToManager(_ context.Context, mgr manager.Manager) error {
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
		r.Recorder = mgr.GetEventRecorder(Name + "-controller")
	}
	return builder.ControllerManagedBy(mgr).
		Named(Name).
		For(&seedmanagementv1alpha1.ManagedSeedSet{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&gardencorev1beta1.Shoot{}, handler.EnqueueRequestsFromMapFunc(r.ofReplica), builder.WithPredicates(predicate.NewPredicateFuncs(isReplica), turned(shootState))).
		Watches(&seedmanagementv1alpha1.ManagedSeed{}, handler.EnqueueRequestsFromMapFunc(r.ofReplica), builder.WithPredicates(predicate.NewPredicateFuncs(isReplica), turned(managedState))).
		Watches(&gardencorev1beta1.Seed{}, handler.EnqueueRequestsFromMapFunc(r.ofSeed), builder.WithPredicates(turned(seedReady))).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: ptr.Deref(r.Config.ConcurrentSyncs, controllermanagerconfigv1alpha1.DefaultControllerConcurrentSyncs),
			ReconciliationTimeout:   r.period(),
		}).
		Complete(observe.Reconciler(Name, r))
}

// isReplica tells whether a set made an object.
func isReplica(object client.Object) bool { return owner(object) != nil }

func owner(object client.Object) *metav1.OwnerReference {
	if ref := metav1.GetControllerOf(object); ref != nil && ref.Kind == "ManagedSeedSet" {
		return ref
	}
	return nil
}

// turned lets objects through that went from one state into another, which is
// what may end that a set waits for them. At a start every set is looked at
// anyway.
func turned[T client.Object, S comparable](state func(T) S) predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return !e.IsInInitialList },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok := e.ObjectOld.(T)
			after, also := e.ObjectNew.(T)
			return ok && also && state(before) != state(after)
		},
	}
}

// ofReplica finds the set of a Shoot or ManagedSeed. While it waits for another
// replica it is left alone.
func (r *Reconciler) ofReplica(ctx context.Context, object client.Object) []reconcile.Request {
	ref := owner(object)
	if ref == nil {
		return nil
	}
	key := client.ObjectKey{Namespace: object.GetNamespace(), Name: ref.Name}
	set := &seedmanagementv1alpha1.ManagedSeedSet{}
	if err := r.Client.Get(ctx, key, set); err != nil {
		return nil
	}
	if pending := set.Status.PendingReplica; pending != nil && pending.Name != object.GetName() {
		return nil
	}
	return []reconcile.Request{{NamespacedName: key}}
}

// ofSeed finds the set of a Seed by the ManagedSeed of the same name: all of them
// are in the garden's namespace.
func (r *Reconciler) ofSeed(ctx context.Context, object client.Object) []reconcile.Request {
	managed := &seedmanagementv1alpha1.ManagedSeed{}
	if err := r.Client.Get(ctx, client.ObjectKey{Namespace: v1beta1constants.GardenNamespace, Name: object.GetName()}, managed); err != nil {
		return nil
	}
	return r.ofReplica(ctx, managed)
}
