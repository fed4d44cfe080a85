// Package migration says on a Shoot that is to move to another seed whether that
// seed is ready for it. app adds it to the fleet's controllers.
//
// It must not move anything: the agents of both seeds do.
package migration

import (
	"context"
	"fmt"
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
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
const Name = "shoot.migration"

// recheck is how often a seed that is not ready is looked at.
const recheck = 5 * time.Second

// Reconciler keeps the constraint ReadyForMigration.
type Reconciler struct {
	Client client.Client
	Clock  clock.Clock
	Config controllermanagerconfigv1alpha1.ShootMigrationControllerConfiguration
}

// Declare says what the controller reads and writes.
func (r *Reconciler) Declare() declaration.Declaration {
	return declaration.Declaration{
		Controller: Name,
		Reads:      []declaration.Read{{Resource: "shoots.core.gardener.cloud"}, {Resource: "seeds.core.gardener.cloud"}},
		Writes:     []declaration.Write{{Resource: "shoots.core.gardener.cloud/status", Verbs: []string{"patch"}, Fields: []string{"status.constraints[ReadyForMigration]"}}},
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
		For(&gardencorev1beta1.Shoot{}, builder.WithPredicates(concerned())).
		WithOptions(controller.Options{MaxConcurrentReconciles: ptr.Deref(r.Config.ConcurrentSyncs, controllermanagerconfigv1alpha1.DefaultControllerConcurrentSyncs)}).
		Complete(observe.Reconciler(Name, r))
}

// concerned lets Shoots through that move, and those that say something of a
// move that is over. Those that move already wake themselves.
func concerned() predicate.Predicate {
	is := func(object client.Object) (moving, told bool, target string) {
		shoot, ok := object.(*gardencorev1beta1.Shoot)
		if !ok {
			return false, false, ""
		}
		return moves(shoot), constraint(shoot) != nil, ptr.Deref(shoot.Spec.SeedName, "")
	}
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool {
			moving, told, _ := is(e.Object)
			return moving || told
		},
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, _, from := is(e.ObjectOld)
			moving, told, to := is(e.ObjectNew)
			return moving && (!before || !told || from != to) || !moving && told
		},
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// Reconcile says of one Shoot how far the seed is that it goes to.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	shoot := &gardencorev1beta1.Shoot{}
	if err := r.Client.Get(ctx, request.NamespacedName, shoot); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	var verdict *gardencorev1beta1.Condition
	if moves(shoot) {
		source, err := r.seed(ctx, *shoot.Status.SeedName)
		if err != nil {
			return reconcile.Result{}, err
		}
		destination, err := r.seed(ctx, *shoot.Spec.SeedName)
		if err != nil {
			return reconcile.Result{}, err
		}
		verdict = ptr.To(decide(*shoot.Spec.SeedName, source, destination))
	}
	if err := r.report(ctx, shoot, verdict); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if verdict != nil && verdict.Reason == reasonUnready {
		return reconcile.Result{RequeueAfter: recheck}, nil
	}
	return reconcile.Result{}, nil
}

// seed reads a Seed; nil if it is not there.
func (r *Reconciler) seed(ctx context.Context, name string) (*gardencorev1beta1.Seed, error) {
	seed := &gardencorev1beta1.Seed{}
	err := r.Client.Get(ctx, client.ObjectKey{Name: name}, seed)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading seed %q: %w", name, err)
	}
	return seed, nil
}

// report writes the constraint when its status changes, and removes it when
// there is nothing to say.
func (r *Reconciler) report(ctx context.Context, shoot *gardencorev1beta1.Shoot, verdict *gardencorev1beta1.Condition) error {
	merged, changed := merge(shoot.Status.Constraints, verdict, r.Clock.Now())
	if !changed {
		return nil
	}
	base := shoot.DeepCopy()
	shoot.Status.Constraints = merged
	// The list is written as a whole, and agents write to it too.
	if err := r.Client.Status().Patch(ctx, shoot, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("writing the constraint %s: %w", gardencorev1beta1.ShootReadyForMigration, err)
	}
	if verdict == nil {
		log.FromContext(ctx).Info("Removed the constraint of the shoot's move, which is over")
	} else {
		log.FromContext(ctx).Info("Said whether the shoot's next seed is ready", "seed", *shoot.Spec.SeedName, "status", verdict.Status, "reason", verdict.Reason)
	}
	return nil
}
