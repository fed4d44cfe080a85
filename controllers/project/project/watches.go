package project

import (
	"context"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
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
	if r.Recorder == nil {
		r.Recorder = mgr.GetEventRecorder(Name + "-controller")
	}
	return builder.ControllerManagedBy(mgr).
		Named(Name).
		For(&gardencorev1beta1.Project{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Owns(&corev1.Namespace{}, builder.WithPredicates(deletions())).
		Owns(&rbacv1.RoleBinding{}, builder.WithPredicates(changedBindings())).
		// Whole Shoots, which other controllers of the fleet hold anyway.
		Watches(&gardencorev1beta1.Shoot{}, handler.EnqueueRequestsFromMapFunc(r.ofLastShoot), builder.WithPredicates(deletions())).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: ptr.Deref(r.Config.ConcurrentSyncs, controllermanagerconfigv1alpha1.DefaultControllerConcurrentSyncs),
			RateLimiter:             r.RateLimiter,
		}).
		Complete(observe.Reconciler(Name, r))
}

func deletions() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		UpdateFunc:  func(event.UpdateEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// changedBindings lets bindings through that are no longer as they were made,
// and each one at a resync.
func changedBindings() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok := e.ObjectOld.(*rbacv1.RoleBinding)
			after, also := e.ObjectNew.(*rbacv1.RoleBinding)
			return ok && also && (before.ResourceVersion == after.ResourceVersion ||
				!equality.Semantic.DeepEqual(before.RoleRef, after.RoleRef) || !equality.Semantic.DeepEqual(before.Subjects, after.Subjects))
		},
	}
}

// ofLastShoot wakes a Project that waits for its last Shoot to go.
func (r *Reconciler) ofLastShoot(ctx context.Context, shoot client.Object) []reconcile.Request {
	project, err := r.of(ctx, shoot.GetNamespace())
	if err != nil || project == nil || project.DeletionTimestamp == nil {
		return nil
	}
	left, err := r.hasShoots(ctx, shoot.GetNamespace())
	if err != nil || left {
		return nil // the next one that goes, or the next look, does
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: project.Name}}}
}

// of finds the Project of a namespace by its label; nil when there is none.
func (r *Reconciler) of(ctx context.Context, name string) (*gardencorev1beta1.Project, error) {
	namespace := &corev1.Namespace{}
	if err := r.Client.Get(ctx, client.ObjectKey{Name: name}, namespace); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	project := &gardencorev1beta1.Project{}
	if err := r.Client.Get(ctx, client.ObjectKey{Name: namespace.Labels[v1beta1constants.ProjectName]}, project); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	return project, nil
}

func (r *Reconciler) hasShoots(ctx context.Context, namespace string) (bool, error) {
	list := &gardencorev1beta1.ShootList{}
	err := r.Client.List(ctx, list, client.InNamespace(namespace), client.Limit(1))
	return len(list.Items) > 0, err
}
