// Package statuslabel sums up a Shoot's health in one label, so that Shoots can
// be selected by it and shown in a column. app adds it to the fleet's
// controllers.
//
// It must not judge a cluster itself: conditions and operations come from the
// agents.
package statuslabel

import (
	"context"
	"fmt"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	"github.com/loam-cloud/loam/controllers/internal/observe"
)

// Name is the controller's name, and with it that of its logger.
const Name = "shoot.statuslabel"

// Reconciler keeps one label of Shoots.
type Reconciler struct {
	Client client.Client
	Config controllermanagerconfigv1alpha1.ShootStatusLabelControllerConfiguration
}

// Declare says what the controller reads and writes.
func (r *Reconciler) Declare() declaration.Declaration {
	return declaration.Declaration{
		Controller: Name,
		Reads:      []declaration.Read{{Resource: "shoots.core.gardener.cloud"}},
		Writes:     []declaration.Write{{Resource: "shoots.core.gardener.cloud", Verbs: []string{"patch"}, Fields: []string{"metadata.labels[" + v1beta1constants.ShootStatus + "]"}}},
	}
}

// AddToManager adds the controller. Fields left nil are filled from the manager.
func (r *Reconciler) AddToManager(mgr manager.Manager) error {
	if r.Client == nil {
		r.Client = mgr.GetClient()
	}
	return builder.ControllerManagedBy(mgr).
		Named(Name).
		For(&gardencorev1beta1.Shoot{}, builder.WithPredicates(mislabelled())).
		WithOptions(controller.Options{MaxConcurrentReconciles: ptr.Deref(r.Config.ConcurrentSyncs, controllermanagerconfigv1alpha1.DefaultControllerConcurrentSyncs)}).
		Complete(observe.Reconciler(Name, r))
}

// mislabelled lets Shoots through whose label is not what their status says:
// after a start, those that changed meanwhile.
func mislabelled() predicate.Predicate {
	wrong := func(object client.Object) bool {
		shoot, ok := object.(*gardencorev1beta1.Shoot)
		return ok && shoot.Labels[v1beta1constants.ShootStatus] != decide(shoot)
	}
	return predicate.Funcs{
		CreateFunc:  func(e event.CreateEvent) bool { return wrong(e.Object) },
		UpdateFunc:  func(e event.UpdateEvent) bool { return wrong(e.ObjectNew) },
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// Reconcile labels one Shoot.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	shoot := &gardencorev1beta1.Shoot{}
	if err := r.Client.Get(ctx, request.NamespacedName, shoot); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	before, status := shoot.Labels[v1beta1constants.ShootStatus], decide(shoot)
	if before == status {
		return reconcile.Result{}, nil
	}
	base := shoot.DeepCopy()
	metav1.SetMetaDataLabel(&shoot.ObjectMeta, v1beta1constants.ShootStatus, status)
	if err := r.Client.Patch(ctx, shoot, client.MergeFrom(base)); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(fmt.Errorf("labelling the shoot with its status: %w", err))
	}
	log.FromContext(ctx).Info("Labelled the shoot with its status", "before", before, "status", status)
	return reconcile.Result{}, nil
}
