package extensionclusterrole

import (
	"context"
	"maps"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
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
		For(&rbacv1.ClusterRole{}, builder.OnlyMetadata, builder.WithPredicates(changedRoles())).
		Owns(&rbacv1.ClusterRoleBinding{}, builder.WithPredicates(changedBindings())).
		WatchesMetadata(&corev1.ServiceAccount{}, handler.EnqueueRequestsFromMapFunc(r.roles), builder.WithPredicates(changedAccounts())).
		WithOptions(controller.Options{MaxConcurrentReconciles: controllermanagerconfigv1alpha1.DefaultControllerConcurrentSyncs}).
		Complete(observe.Reconciler(Name, r))
}

// changedRoles lets roles through that are or were meant for extensions.
func changedRoles() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return isMarked(e.Object) },
		UpdateFunc: func(e event.UpdateEvent) bool {
			return (isMarked(e.ObjectOld) || isMarked(e.ObjectNew)) &&
				(!maps.Equal(e.ObjectOld.GetLabels(), e.ObjectNew.GetLabels()) || !maps.Equal(e.ObjectOld.GetAnnotations(), e.ObjectNew.GetAnnotations()))
		},
		DeleteFunc: func(event.DeleteEvent) bool { return false },
	}
}

// changedBindings lets bindings through that somebody else has changed.
func changedBindings() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok := e.ObjectOld.(*rbacv1.ClusterRoleBinding)
			after, also := e.ObjectNew.(*rbacv1.ClusterRoleBinding)
			return ok && also && !equality.Semantic.DeepEqual(before.Subjects, after.Subjects)
		},
	}
}

// changedAccounts lets accounts of extensions through that came, went, or have
// other labels. At a start every role is looked at anyway.
func changedAccounts() predicate.Predicate {
	return predicate.And(predicate.NewPredicateFuncs(func(o client.Object) bool { return counts(o.GetNamespace(), o.GetName()) }), predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return !e.IsInInitialList },
		UpdateFunc: func(e event.UpdateEvent) bool { return !maps.Equal(e.ObjectOld.GetLabels(), e.ObjectNew.GetLabels()) },
	})
}

// roles are those that an account has or should have. It is asked about the
// account as it was and as it is, so that one that stops matching loses a role
// at once.
func (r *Reconciler) roles(ctx context.Context, account client.Object) []reconcile.Request {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(rbacv1.SchemeGroupVersion.WithKind("ClusterRoleList"))
	if err := r.Client.List(ctx, list, client.MatchingLabels{v1beta1constants.LabelAuthorizationCustomExtensionsPermissions: "true"}, client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "Cannot list the cluster roles of a service account")
		return nil
	}
	var requests []reconcile.Request
	for i := range list.Items {
		selector, err := selectorOf(&list.Items[i])
		if err == nil && selector.Matches(labels.Set(account.GetLabels())) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return requests
}
