package guard

import (
	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/internal/observe"
)

// Controller is a controller that does nothing but guard objects of one kind.
type Controller struct {
	Name string
	// Guarded is an empty object of the kind, Resource what an API server calls it.
	Guarded  client.Object
	Resource string
	// Referrers are the kinds that may refer to it.
	Referrers []Referrer
	// Predicates say which events of guarded objects matter; all when empty.
	Predicates []predicate.Predicate
	// Syncs is the number of workers; nil means Gardener's default.
	Syncs *int
	// RateLimiter spaces what is tried again; nil means controller-runtime's.
	RateLimiter workqueue.TypedRateLimiter[reconcile.Request]
}

// Referrer is a kind of objects that refer to others.
type Referrer struct {
	object   client.Object
	resource string
	handler  handler.EventHandler
}

// By makes a Referrer of a kind, of which an empty object is given, and what an
// API server calls it. refers tells to what one refers.
func By[T client.Object](empty T, resource string, refers func(T) []types.NamespacedName) Referrer {
	return Referrer{empty, resource, Referrers(refers)}
}

// Declare says what the controller reads and writes.
func (c Controller) Declare() declaration.Declaration {
	d := declaration.Declaration{
		Controller: c.Name,
		Reads:      []declaration.Read{{Resource: c.Resource}},
		Writes:     []declaration.Write{{Resource: c.Resource, Verbs: []string{"patch"}, Fields: []string{"metadata.finalizers"}}, declaration.Events()},
	}
	for _, referrer := range c.Referrers {
		d.Reads = append(d.Reads, declaration.Read{Resource: referrer.resource})
	}
	return d
}

// AddToManager has r look at guarded objects, also when they lose a referrer.
func (c Controller) AddToManager(mgr manager.Manager, r reconcile.Reconciler) error {
	b := builder.ControllerManagedBy(mgr).
		Named(c.Name).
		For(c.Guarded, builder.WithPredicates(c.Predicates...)).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: ptr.Deref(c.Syncs, controllermanagerconfigv1alpha1.DefaultControllerConcurrentSyncs),
			RateLimiter:             c.RateLimiter,
		})
	for _, referrer := range c.Referrers {
		b = b.Watches(referrer.object, referrer.handler)
	}
	return b.Complete(observe.Reconciler(c.Name, r))
}
