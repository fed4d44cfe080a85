// Package extensionscheck says in the condition ExtensionsReady of a Seed
// whether its extensions are installed and healthy. app adds it to the fleet's
// controllers.
//
// It must not know what an extension does: its ControllerInstallation tells how
// it is.
package extensionscheck

import (
	"cmp"
	"context"
	"fmt"
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
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
	"github.com/loam-cloud/loam/controllers/index"
	"github.com/loam-cloud/loam/controllers/internal/observe"
	"github.com/loam-cloud/loam/controllers/seed/internal/check"
)

// Name is the controller's name.
const Name = "seed.extensionscheck"

// defaultPeriod is Gardener's default of Config.SyncPeriod.
const defaultPeriod = 30 * time.Second

// Reconciler judges Seeds by their ControllerInstallations.
type Reconciler struct {
	Client client.Client
	Clock  clock.Clock
	Config controllermanagerconfigv1alpha1.SeedExtensionsCheckControllerConfiguration
}

// Declare tells what the controller reads and writes.
func (r *Reconciler) Declare() declaration.Declaration {
	return declaration.Declaration{
		Controller: Name,
		Reads:      []declaration.Read{{Resource: "seeds.core.gardener.cloud"}, {Resource: "controllerinstallations.core.gardener.cloud"}},
		Writes: []declaration.Write{{
			Resource: "seeds.core.gardener.cloud/status", Verbs: []string{"patch"}, Fields: []string{"status.conditions[ExtensionsReady]"},
		}},
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
		// The last installation may have gone while nothing ran.
		For(&gardencorev1beta1.Seed{}, builder.WithPredicates(predicate.Funcs{
			UpdateFunc: func(event.UpdateEvent) bool { return false },
			DeleteFunc: func(event.DeleteEvent) bool { return false },
		})).
		Watches(&gardencorev1beta1.ControllerInstallation{}, handler.EnqueueRequestsFromMapFunc(seedOf), builder.WithPredicates(changed())).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: ptr.Deref(r.Config.ConcurrentSyncs, controllermanagerconfigv1alpha1.DefaultControllerConcurrentSyncs),
			ReconciliationTimeout:   r.period(),
		}).
		Complete(observe.Reconciler(Name, r))
}

// changed lets installations through that came, went, moved, or are judged in
// another way.
func changed() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*gardencorev1beta1.ControllerInstallation)
		after, also := e.ObjectNew.(*gardencorev1beta1.ControllerInstallation)
		if !ok || !also {
			return false
		}
		if seedName(before) != seedName(after) {
			return true
		}
		for _, kind := range judged() {
			if find(before, kind) != find(after, kind) {
				return true
			}
		}
		return false
	}}
}

func seedName(installation *gardencorev1beta1.ControllerInstallation) string {
	if installation.Spec.SeedRef == nil {
		return ""
	}
	return installation.Spec.SeedRef.Name
}

func seedOf(_ context.Context, object client.Object) []reconcile.Request {
	installation, ok := object.(*gardencorev1beta1.ControllerInstallation)
	if !ok || seedName(installation) == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: seedName(installation)}}}
}

func (r *Reconciler) period() time.Duration {
	return cmp.Or(ptr.Deref(r.Config.SyncPeriod, metav1.Duration{}).Duration, defaultPeriod)
}

// Reconcile judges one Seed.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	seed := &gardencorev1beta1.Seed{}
	if err := r.Client.Get(ctx, request.NamespacedName, seed); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	list := &gardencorev1beta1.ControllerInstallationList{}
	if err := r.Client.List(ctx, list, client.MatchingFields{index.SeedRefName: seed.Name}); err != nil {
		return reconcile.Result{}, fmt.Errorf("listing controller installations of seed %q: %w", seed.Name, err)
	}
	if len(list.Items) == 0 && !check.Has(seed, gardencorev1beta1.SeedExtensionsReady) {
		return reconcile.Result{}, nil // the first installation wakes it
	}
	return check.Reporter{
		Client: r.Client, Clock: r.Clock, Thresholds: r.Config.ConditionThresholds, Period: r.period(),
	}.Report(ctx, seed, decide(list.Items))
}
