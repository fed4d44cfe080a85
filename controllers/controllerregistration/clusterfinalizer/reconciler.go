// Package clusterfinalizer keeps a Seed, and a Shoot, as long as an extension is
// installed in it. controllerregistration adds it.
//
// It must not end an installation: who made it does.
package clusterfinalizer

import (
	"context"
	"fmt"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/index"
	"github.com/loam-cloud/loam/controllers/internal/guard"
)

const (
	// Name is the controller's name. It runs twice, once per kind.
	Name = "clusterfinalizer"

	// FinalizerName is what keeps a cluster.
	FinalizerName = "core.gardener.cloud/controllerregistration"
)

// Reconciler holds Seeds and Shoots, or lets them go.
type Reconciler struct {
	Client   client.Client
	Recorder events.EventRecorder
	Config   controllermanagerconfigv1alpha1.ControllerRegistrationControllerConfiguration
}

// controllers are one for each kind.
func (r *Reconciler) controllers() []guard.Controller {
	of := func(name string, guarded client.Object, resource string, refers func(*gardencorev1beta1.ControllerInstallation) []types.NamespacedName) guard.Controller {
		return guard.Controller{
			Name: Name + "." + name, Guarded: guarded, Resource: resource, Predicates: []predicate.Predicate{undecided()},
			Referrers: []guard.Referrer{guard.By(&gardencorev1beta1.ControllerInstallation{}, "controllerinstallations.core.gardener.cloud", refers)},
			Syncs:     r.Config.ConcurrentSyncs,
		}
	}
	return []guard.Controller{
		of("seed", &gardencorev1beta1.Seed{}, "seeds.core.gardener.cloud", seedOf),
		of("shoot", &gardencorev1beta1.Shoot{}, "shoots.core.gardener.cloud", shootOf),
	}
}

// Declare says what the controllers of both kinds read and write.
func (r *Reconciler) Declare() declaration.Declaration {
	const seeds, shoots = "seeds.core.gardener.cloud", "shoots.core.gardener.cloud"
	finalizers := []string{"metadata.finalizers"}
	return declaration.Declaration{
		Controller: Name,
		Reads:      []declaration.Read{{Resource: seeds}, {Resource: shoots}, {Resource: "controllerinstallations.core.gardener.cloud"}},
		Writes: []declaration.Write{
			{Resource: seeds, Verbs: []string{"patch"}, Fields: finalizers}, {Resource: shoots, Verbs: []string{"patch"}, Fields: finalizers}, declaration.Events(),
		},
	}
}

// AddToManager adds a controller for each kind. Fields left nil are filled from
// the manager.
func (r *Reconciler) AddToManager(mgr manager.Manager) error {
	if r.Client == nil {
		r.Client = mgr.GetClient()
	}
	if r.Recorder == nil {
		r.Recorder = mgr.GetEventRecorder(Name + "-controller")
	}
	for _, one := range r.controllers() {
		if err := one.AddToManager(mgr, r); err != nil {
			return fmt.Errorf("adding controller %s: %w", one.Name, err)
		}
	}
	return nil
}

// undecided lets clusters through that lack the finalizer, or are in deletion
// and have it: of thousands of Shoots, at a start none.
func undecided() predicate.Predicate {
	return predicate.And(predicate.Funcs{DeleteFunc: func(event.DeleteEvent) bool { return false }}, predicate.NewPredicateFuncs(func(o client.Object) bool {
		return (o.GetDeletionTimestamp() == nil) != controllerutil.ContainsFinalizer(o, FinalizerName)
	}))
}

func seedOf(installation *gardencorev1beta1.ControllerInstallation) []types.NamespacedName {
	if ref := installation.Spec.SeedRef; ref != nil {
		return []types.NamespacedName{{Name: ref.Name}}
	}
	return nil
}

func shootOf(installation *gardencorev1beta1.ControllerInstallation) []types.NamespacedName {
	if ref := installation.Spec.ShootRef; ref != nil {
		return []types.NamespacedName{{Namespace: ref.Namespace, Name: ref.Name}}
	}
	return nil
}

// Reconcile holds one Seed or, with a namespace, one Shoot, or lets it go once
// nothing is installed in it.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	fields := client.MatchingFields{index.SeedRefName: request.Name}
	empty := func() client.Object { return &gardencorev1beta1.Seed{} }
	if request.Namespace != "" {
		fields = client.MatchingFields{index.ShootRefNamespace: request.Namespace, index.ShootRefName: request.Name}
		empty = func() client.Object { return &gardencorev1beta1.Shoot{} }
	}
	return (&guard.Reconciler[client.Object]{
		Guard: guard.Guard{Client: r.Client, Recorder: r.Recorder, Finalizer: FinalizerName},
		New:   empty,
		Blockers: func(ctx context.Context, _ client.Object) (guard.Blockers, error) {
			return guard.List(ctx, r.Client, "ControllerInstallation", &gardencorev1beta1.ControllerInstallationList{}, fields)
		},
	}).Reconcile(ctx, request)
}
