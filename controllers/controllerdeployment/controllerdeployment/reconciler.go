// Package controllerdeployment keeps ControllerDeployments as long as
// ControllerRegistrations refer to them. app adds it to the fleet's controllers.
//
// It must not know what a deployment deploys.
package controllerdeployment

import (
	"context"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1 "github.com/gardener/gardener/pkg/apis/core/v1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/index"
	"github.com/loam-cloud/loam/controllers/internal/guard"
)

// Name is the controller's name, and with it that of its logger and its events.
const Name = "controllerdeployment"

// FinalizerName holds ControllerDeployments that are referred to.
const FinalizerName = "core.gardener.cloud/controllerdeployment"

// Reconciler guards ControllerDeployments.
type Reconciler struct {
	Client   client.Client
	Recorder events.EventRecorder
	Config   controllermanagerconfigv1alpha1.ControllerDeploymentControllerConfiguration
	// RateLimiter spaces what is tried again; nil means controller-runtime's.
	RateLimiter workqueue.TypedRateLimiter[reconcile.Request]
}

func (r *Reconciler) controller() guard.Controller {
	return guard.Controller{
		Name: Name, Guarded: &gardencorev1.ControllerDeployment{}, Resource: "controllerdeployments.core.gardener.cloud",
		Predicates: []predicate.Predicate{predicate.GenerationChangedPredicate{}},
		Referrers:  []guard.Referrer{guard.By(&gardencorev1beta1.ControllerRegistration{}, "controllerregistrations.core.gardener.cloud", deploymentsOf)},
		Syncs:      r.Config.ConcurrentSyncs, RateLimiter: r.RateLimiter,
	}
}

// Declare says what the controller reads and writes.
func (r *Reconciler) Declare() declaration.Declaration { return r.controller().Declare() }

// AddToManager adds the controller. Fields left nil are filled from the manager.
func (r *Reconciler) AddToManager(mgr manager.Manager) error {
	if r.Client == nil {
		r.Client = mgr.GetClient()
	}
	if r.Recorder == nil {
		r.Recorder = mgr.GetEventRecorder(Name + "-controller")
	}
	if err := index.EnsureRegistrationDeployment(context.Background(), mgr.GetFieldIndexer()); err != nil {
		return err
	}
	return r.controller().AddToManager(mgr, r)
}

func deploymentsOf(registration *gardencorev1beta1.ControllerRegistration) []types.NamespacedName {
	var all []types.NamespacedName
	for _, name := range index.DeploymentsOf(registration) {
		all = append(all, types.NamespacedName{Name: name})
	}
	return all
}

// Reconcile guards one ControllerDeployment against all deployment references of
// all ControllerRegistrations.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	g := guard.Reconciler[*gardencorev1.ControllerDeployment]{
		Guard: guard.Guard{Client: r.Client, Recorder: r.Recorder, Finalizer: FinalizerName},
		New:   func() *gardencorev1.ControllerDeployment { return &gardencorev1.ControllerDeployment{} },
		Blockers: func(ctx context.Context, deployment *gardencorev1.ControllerDeployment) (guard.Blockers, error) {
			return guard.List(ctx, r.Client, "ControllerRegistration", &gardencorev1beta1.ControllerRegistrationList{},
				client.MatchingFields{index.RegistrationDeployment: deployment.Name})
		},
	}
	return g.Reconcile(ctx, request)
}
