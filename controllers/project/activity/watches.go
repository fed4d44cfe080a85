package activity

import (
	"context"
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/index"
	"github.com/loam-cloud/loam/controllers/internal/observe"
)

// youth is until when an object that is seen for the first time was made just
// now: what is older was there before this process.
const youth = time.Hour

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
		Watches(&gardencorev1beta1.Shoot{}, r.touches(), builder.WithPredicates(specChanged())).
		Watches(&gardencorev1beta1.BackupEntry{}, r.touches(), builder.WithPredicates(specChanged())).
		Watches(&gardencorev1beta1.Quota{}, r.touches(), builder.WithPredicates(bound())).
		Watches(metadata(corev1.SchemeGroupVersion.WithKind("Secret")), r.touches(), builder.WithPredicates(bound())).
		Watches(metadata(gardencorev1beta1.SchemeGroupVersion.WithKind("InternalSecret")), r.touches(), builder.WithPredicates(bound())).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: ptr.Deref(r.Config.ConcurrentSyncs, controllermanagerconfigv1alpha1.DefaultControllerConcurrentSyncs),
		}).
		Complete(observe.Reconciler(Name, r))
}

func metadata(kind schema.GroupVersionKind) client.Object {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(kind)
	return object
}

// specChanged lets through what users change: not what is reported about it.
func specChanged() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration()
	}}
}

// bound lets through what a binding refers to, or did before.
func bound() predicate.Predicate {
	labelled := func(object client.Object) bool {
		labels := object.GetLabels()
		return labels[v1beta1constants.LabelSecretBindingReference] == "true" || labels[v1beta1constants.LabelCredentialsBindingReference] == "true"
	}
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return labelled(e.Object) },
		DeleteFunc: func(e event.DeleteEvent) bool { return labelled(e.Object) },
		UpdateFunc: func(e event.UpdateEvent) bool {
			return e.ObjectOld.GetResourceVersion() != e.ObjectNew.GetResourceVersion() && (labelled(e.ObjectOld) || labelled(e.ObjectNew))
		},
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// touches wakes the Project of an object's namespace.
func (r *Reconciler) touches() handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) {
			made := e.Object.GetCreationTimestamp()
			if r.Clock.Since(made.Time) >= youth {
				return
			}
			// A start shows every object for the first time. What was noted before
			// is not noted again.
			project := r.projectOf(ctx, e.Object)
			if project != nil && (project.Status.LastActivityTimestamp == nil || project.Status.LastActivityTimestamp.Before(&made)) {
				q.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(project)})
			}
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) { r.touch(ctx, e.ObjectNew, q) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) { r.touch(ctx, e.Object, q) },
	}
}

func (r *Reconciler) touch(ctx context.Context, object client.Object, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
	if project := r.projectOf(ctx, object); project != nil {
		q.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(project)})
	}
}

func (r *Reconciler) projectOf(ctx context.Context, object client.Object) *gardencorev1beta1.Project {
	projects := &gardencorev1beta1.ProjectList{}
	if err := r.Client.List(ctx, projects, client.MatchingFields{index.ProjectNamespace: object.GetNamespace()}, client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "Looking for the project of a namespace", "namespace", object.GetNamespace())
	}
	if len(projects.Items) == 0 {
		return nil
	}
	return &projects.Items[0]
}
