package secrets

import (
	"context"
	"strings"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
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
	return builder.ControllerManagedBy(mgr).
		Named(Name).
		For(&gardencorev1beta1.Seed{}, builder.WithPredicates(predicate.Funcs{
			UpdateFunc: func(event.UpdateEvent) bool { return false },
			DeleteFunc: func(event.DeleteEvent) bool { return false },
		})).
		// A namespace that goes is made anew: also that of a former seed of this name.
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(seedOf), builder.WithPredicates(gone())).
		WatchesMetadata(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.seeds), builder.WithPredicates(r.changed())).
		WithOptions(controller.Options{MaxConcurrentReconciles: controllermanagerconfigv1alpha1.DefaultControllerConcurrentSyncs}).
		Complete(observe.Reconciler(Name, r))
}

// seedOf is the Seed whose namespace this is.
func seedOf(_ context.Context, namespace client.Object) []reconcile.Request {
	return seedWith(namespace.GetName())
}

// seedWith is the Seed with a namespace of this name, nil for other namespaces.
func seedWith(namespace string) []reconcile.Request {
	name, found := strings.CutPrefix(namespace, namespacePrefix)
	if !found {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: name}}}
}

func gone() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		UpdateFunc:  func(event.UpdateEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// changed lets Secrets through that are or were shared, and copies that somebody
// else has changed. At a start every Seed is looked at anyway.
func (r *Reconciler) changed() predicate.Predicate {
	selector := shared()
	mine := func(o client.Object) bool {
		return (o.GetNamespace() == r.garden() || strings.HasPrefix(o.GetNamespace(), namespacePrefix)) &&
			selector.Matches(labels.Set(o.GetLabels()))
	}
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool {
			return !e.IsInInitialList && e.Object.GetNamespace() == r.garden() && mine(e.Object)
		},
		UpdateFunc: func(e event.UpdateEvent) bool {
			return e.ObjectOld.GetResourceVersion() != e.ObjectNew.GetResourceVersion() && (mine(e.ObjectOld) || mine(e.ObjectNew))
		},
		DeleteFunc: func(e event.DeleteEvent) bool { return mine(e.Object) },
	}
}

// seeds are those whose copies a Secret concerns: all, or the one whose copy it is.
func (r *Reconciler) seeds(ctx context.Context, secret client.Object) []reconcile.Request {
	if one := seedWith(secret.GetNamespace()); one != nil {
		return one
	}
	list := &gardencorev1beta1.SeedList{}
	if err := r.Client.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "Cannot list the seeds of a secret")
		return nil
	}
	requests := make([]reconcile.Request, 0, len(list.Items))
	for i := range list.Items {
		requests = append(requests, reconcile.Request{NamespacedName: types.NamespacedName{Name: list.Items[i].Name}})
	}
	return requests
}
