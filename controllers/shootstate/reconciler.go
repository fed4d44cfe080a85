// Package shootstate holds the ShootState of a Shoot that moves between seeds
// until it has arrived. app adds it to the fleet's controllers.
//
//	Migrate -> held -> Restore -> succeeded, or Reconcile -> released
//
// It must not know what is in a ShootState, and reads only its metadata.
package shootstate

import (
	"context"
	"fmt"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/internal/guard"
	"github.com/loam-cloud/loam/controllers/internal/observe"
	"github.com/loam-cloud/loam/fault"
)

// Name is the controller's name, and with it that of its logger.
const Name = "shootstate"

// FinalizerName holds the states of Shoots that move.
const FinalizerName = "core.gardener.cloud/shootstate"

// Reconciler holds ShootStates.
type Reconciler struct {
	Client client.Client
	Config controllermanagerconfigv1alpha1.ShootStateControllerConfiguration
}

// Declare says what the controller reads and writes.
func (*Reconciler) Declare() declaration.Declaration {
	return declaration.Declaration{
		Controller: Name,
		Reads:      []declaration.Read{{Resource: "shootstates.core.gardener.cloud", MetadataOnly: true}, {Resource: "shoots.core.gardener.cloud"}},
		Writes:     []declaration.Write{{Resource: "shootstates.core.gardener.cloud", Verbs: []string{"patch"}, Fields: []string{"metadata.finalizers"}}},
	}
}

// AddToManager adds the controller. Fields left nil are filled from the manager.
func (r *Reconciler) AddToManager(mgr manager.Manager) error {
	if r.Client == nil {
		r.Client = mgr.GetClient()
	}
	return builder.ControllerManagedBy(mgr).
		Named(Name).
		For(metadata()).
		// A ShootState has the name of its Shoot.
		Watches(&gardencorev1beta1.Shoot{}, &handler.EnqueueRequestForObject{}, builder.WithPredicates(moved())).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: ptr.Deref(r.Config.ConcurrentSyncs, controllermanagerconfigv1alpha1.DefaultControllerConcurrentSyncs),
			ReconciliationTimeout:   -1, // none, whatever others have
		}).
		Complete(observe.Reconciler(Name, r))
}

func metadata() *metav1.PartialObjectMetadata {
	state := &metav1.PartialObjectMetadata{}
	state.SetGroupVersionKind(gardencorev1beta1.SchemeGroupVersion.WithKind("ShootState"))
	return state
}

// moved lets a Shoot through whose operation matters, and one that is gone. At a
// start the ShootStates themselves are looked at.
func moved() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok := e.ObjectOld.(*gardencorev1beta1.Shoot)
			after, also := e.ObjectNew.(*gardencorev1beta1.Shoot)
			return ok && also && matters(before.Status.LastOperation, after.Status.LastOperation)
		},
	}
}

// Reconcile holds one ShootState or lets it go.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	state := metadata()
	if err := r.Client.Get(ctx, request.NamespacedName, state); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	g := guard.Guard{Client: r.Client, Finalizer: FinalizerName}
	shoot := &gardencorev1beta1.Shoot{}
	if err := r.Client.Get(ctx, request.NamespacedName, shoot); err != nil {
		if apierrors.IsNotFound(err) {
			return reconcile.Result{}, g.Release(ctx, state) // nobody will be restored from it
		}
		return reconcile.Result{}, fmt.Errorf("reading the Shoot: %w", err)
	}
	if shoot.Status.LastOperation == nil {
		return reconcile.Result{}, fault.New(fault.Waiting, "the Shoot has a state and no last operation")
	}
	switch decide(*shoot.Status.LastOperation) {
	case hold:
		if state.DeletionTimestamp != nil {
			return reconcile.Result{}, nil // too late to hold it, or held already
		}
		return reconcile.Result{}, g.Hold(ctx, state)
	case release:
		return reconcile.Result{}, g.Release(ctx, state)
	default:
		return reconcile.Result{}, nil
	}
}
