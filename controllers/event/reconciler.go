// Package event deletes Events that are old, so that the API server can be told
// to keep all of them for long: those about clusters stay until then. app adds
// it to the fleet's controllers if it is configured.
//
// It must not know what an event means.
package event

import (
	"cmp"
	"context"
	"fmt"
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/internal/observe"
)

// Name is the controller's name.
const Name = "event"

// defaultTTL is Gardener's default of Config.TTLNonShootEvents.
const defaultTTL = time.Hour

// Reconciler deletes Events that are not about Shoots.
type Reconciler struct {
	Client client.Client
	Clock  clock.Clock
	Config controllermanagerconfigv1alpha1.EventControllerConfiguration
}

// Declare tells what the controller reads and writes.
func (r *Reconciler) Declare() declaration.Declaration {
	const events = "events.events.k8s.io"
	return declaration.Declaration{
		Controller: Name,
		Reads:      []declaration.Read{{Resource: events}},
		Writes:     []declaration.Write{{Resource: events, Verbs: []string{"delete"}}},
	}
}

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
		// What happens to one later is seen when it is due.
		For(&eventsv1.Event{}, builder.WithPredicates(predicate.Funcs{
			UpdateFunc:  func(event.UpdateEvent) bool { return false },
			DeleteFunc:  func(event.DeleteEvent) bool { return false },
			GenericFunc: func(event.GenericEvent) bool { return false },
		}, predicate.NewPredicateFuncs(mortal))).
		WithOptions(controller.Options{MaxConcurrentReconciles: ptr.Deref(r.Config.ConcurrentSyncs, controllermanagerconfigv1alpha1.DefaultControllerConcurrentSyncs)}).
		Complete(observe.Reconciler(Name, r))
}

// mortal tells whether an event is deleted when it is old: every one that is not
// about a Shoot, whatever version of the API it was seen in.
func mortal(object client.Object) bool {
	e, ok := object.(*eventsv1.Event)
	if !ok {
		return false
	}
	group, err := schema.ParseGroupVersion(e.Regarding.APIVersion)
	return err != nil || group.Group != gardencorev1beta1.GroupName || e.Regarding.Kind != "Shoot"
}

// Reconcile deletes one Event, or waits until it is old.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	e := &eventsv1.Event{}
	if err := r.Client.Get(ctx, request.NamespacedName, e); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if !mortal(e) {
		return reconcile.Result{}, nil
	}
	if left := last(e).Add(r.ttl()).Sub(r.Clock.Now()); left > 0 {
		return reconcile.Result{RequeueAfter: left}, nil
	}
	// One that happened again meanwhile lives on.
	same := client.Preconditions{UID: &e.UID, ResourceVersion: &e.ResourceVersion}
	if err := client.IgnoreNotFound(r.Client.Delete(ctx, e, same)); err != nil {
		return reconcile.Result{}, fmt.Errorf("deleting an old event: %w", err)
	}
	return reconcile.Result{}, nil
}

func (r *Reconciler) ttl() time.Duration {
	return cmp.Or(ptr.Deref(r.Config.TTLNonShootEvents, metav1.Duration{}).Duration, defaultTTL)
}

// last is when an event happened last. Events of both APIs are read as those of
// the newer; where several times are known the one of the series is the newest.
func last(e *eventsv1.Event) time.Time {
	switch {
	case e.Series != nil:
		return e.Series.LastObservedTime.Time
	case !e.EventTime.IsZero():
		return e.EventTime.Time
	case !e.DeprecatedLastTimestamp.IsZero():
		return e.DeprecatedLastTimestamp.Time
	}
	return e.CreationTimestamp.Time
}

// Trim drops what the controller does not look at from an Event that goes into a
// cache: there may be very many. It is for cache.ByObject.Transform.
func Trim(object any) (any, error) {
	if e, ok := object.(*eventsv1.Event); ok {
		e.ManagedFields, e.Labels, e.Annotations = nil, nil, nil
		e.Note, e.Reason, e.Action, e.ReportingController, e.ReportingInstance = "", "", "", "", ""
		e.Related, e.DeprecatedSource.Component, e.DeprecatedSource.Host = nil, "", ""
		e.Regarding.Name, e.Regarding.UID, e.Regarding.ResourceVersion, e.Regarding.FieldPath = "", "", "", ""
	}
	return object, nil
}
