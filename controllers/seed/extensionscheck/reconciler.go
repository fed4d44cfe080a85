// Package extensionscheck says in the condition ExtensionsReady of a Seed
// whether its extensions are installed and healthy. app adds it to the fleet's
// controllers.
//
// It must not know what an extension does: its ControllerInstallation tells how
// it is.
package extensionscheck

import (
	"context"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/index"
	"github.com/loam-cloud/loam/controllers/seed/internal/check"
)

// Name is the controller's name.
const Name = "seed.extensionscheck"

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
	return r.check().AddToManager(mgr, Name, check.Watch{Judged: &gardencorev1beta1.ControllerInstallation{}, SeedOf: seedOf, Changed: changed()}, r)
}

func (r *Reconciler) check() check.Check {
	return check.Check{
		Client: r.Client, Clock: r.Clock,
		Syncs: r.Config.ConcurrentSyncs, Period: r.Config.SyncPeriod, Thresholds: r.Config.ConditionThresholds,
	}
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

func seedOf(object client.Object) string {
	if installation, ok := object.(*gardencorev1beta1.ControllerInstallation); ok {
		return seedName(installation)
	}
	return ""
}

// Reconcile judges one Seed.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	list := &gardencorev1beta1.ControllerInstallationList{}
	return r.check().Judge(ctx, request.Name, gardencorev1beta1.SeedExtensionsReady, list, index.SeedRefName, func() gardencorev1beta1.Condition { return decide(list.Items) })
}
