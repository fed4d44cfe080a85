// Package resourcequota keeps the ResourceQuotas of projects high enough for the
// Secrets and ConfigMaps that come with every Shoot. app adds it to the fleet's
// controllers.
//
// It must not know which limits a project starts with: controllers/project/project
// does.
package resourcequota

import (
	"context"
	"fmt"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/index"
	"github.com/loam-cloud/loam/controllers/internal/observe"
)

// Name is the controller's name, and with it that of its logger.
const Name = "project.resourcequota"

// Reconciler raises limits.
type Reconciler struct {
	Client client.Client
	Config controllermanagerconfigv1alpha1.ProjectControllerConfiguration
}

// Declare says what the controller reads and writes.
func (*Reconciler) Declare() declaration.Declaration {
	return declaration.Declaration{
		Controller: Name,
		Reads:      []declaration.Read{{Resource: "resourcequotas"}, {Resource: "projects.core.gardener.cloud"}, {Resource: "shoots.core.gardener.cloud"}},
		Writes:     []declaration.Write{{Resource: "resourcequotas", Verbs: []string{"patch"}, Fields: []string{"metadata.annotations", "spec.hard"}}},
	}
}

// AddToManager adds the controller. Fields left nil are filled from the manager.
func (r *Reconciler) AddToManager(_ context.Context, mgr manager.Manager) error {
	if r.Client == nil {
		r.Client = mgr.GetClient()
	}
	return builder.ControllerManagedBy(mgr).
		Named(Name).
		For(&corev1.ResourceQuota{}, builder.WithPredicates(changed())).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: ptr.Deref(r.Config.ConcurrentSyncs, controllermanagerconfigv1alpha1.DefaultControllerConcurrentSyncs),
		}).
		Complete(observe.Reconciler(Name, r))
}

// changed lets quotas through that are new or that somebody changed: not those
// whose use is counted anew.
func changed() predicate.Predicate {
	return predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok := e.ObjectOld.(*corev1.ResourceQuota)
			after, also := e.ObjectNew.(*corev1.ResourceQuota)
			return ok && also && (!equality.Semantic.DeepEqual(before.Spec.Hard, after.Spec.Hard) || !equality.Semantic.DeepEqual(before.Annotations, after.Annotations))
		},
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// Reconcile raises the limits of one ResourceQuota.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	quota := &corev1.ResourceQuota{}
	if err := r.Client.Get(ctx, request.NamespacedName, quota); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	projects := &gardencorev1beta1.ProjectList{}
	if err := r.Client.List(ctx, projects, client.MatchingFields{index.ProjectNamespace: quota.Namespace}, client.UnsafeDisableDeepCopy); err != nil {
		return reconcile.Result{}, fmt.Errorf("looking for the project of namespace %q: %w", quota.Namespace, err)
	}
	if len(projects.Items) == 0 || quota.DeletionTimestamp != nil {
		return reconcile.Result{}, nil
	}
	shoots := &gardencorev1beta1.ShootList{}
	if err := r.Client.List(ctx, shoots, client.InNamespace(quota.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return reconcile.Result{}, fmt.Errorf("counting the Shoots of namespace %q: %w", quota.Namespace, err)
	}
	base := quota.DeepCopy()
	decide(quota, int64(len(shoots.Items)))
	if equality.Semantic.DeepEqual(base, quota) {
		return reconcile.Result{}, nil
	}
	log.FromContext(ctx).Info("Raising the limits of a project for what comes with its Shoots", "before", base.Spec.Hard, "after", quota.Spec.Hard)
	// The limits were read: what somebody sets meanwhile must not be lost.
	if err := client.IgnoreNotFound(r.Client.Patch(ctx, quota, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))); err != nil {
		return reconcile.Result{}, fmt.Errorf("raising the limits: %w", err)
	}
	return reconcile.Result{}, nil
}
