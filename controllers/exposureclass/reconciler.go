// Package exposureclass keeps ExposureClasses as long as Shoots use them. app
// adds it to the fleet's controllers.
//
// It must not know what a class does to a Shoot.
package exposureclass

import (
	"context"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/index"
	"github.com/loam-cloud/loam/controllers/internal/guard"
)

// Name is the controller's name, and with it that of its logger and its events.
const Name = "exposureclass"

// Reconciler guards ExposureClasses.
type Reconciler struct {
	Client   client.Client
	Recorder events.EventRecorder
	Config   controllermanagerconfigv1alpha1.ExposureClassControllerConfiguration
	// RateLimiter spaces what is tried again; nil means controller-runtime's.
	RateLimiter workqueue.TypedRateLimiter[reconcile.Request]
}

func (r *Reconciler) controller() guard.Controller {
	return guard.Controller{
		Name: Name, Guarded: &gardencorev1beta1.ExposureClass{}, Resource: "exposureclasses.core.gardener.cloud",
		Referrers: []guard.Referrer{guard.By(&gardencorev1beta1.Shoot{}, "shoots.core.gardener.cloud", classOf)},
		Syncs:     r.Config.ConcurrentSyncs, RateLimiter: r.RateLimiter,
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
	if err := index.EnsureShootExposureClass(context.Background(), mgr.GetFieldIndexer()); err != nil {
		return err
	}
	return r.controller().AddToManager(mgr, r)
}

func classOf(shoot *gardencorev1beta1.Shoot) []types.NamespacedName {
	if name := ptr.Deref(shoot.Spec.ExposureClassName, ""); name != "" {
		return []types.NamespacedName{{Name: name}}
	}
	return nil
}

// Reconcile guards one ExposureClass against the Shoots of all namespaces.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	g := guard.Reconciler[*gardencorev1beta1.ExposureClass]{
		Guard: guard.Guard{Client: r.Client, Recorder: r.Recorder},
		New:   func() *gardencorev1beta1.ExposureClass { return &gardencorev1beta1.ExposureClass{} },
		Blockers: func(ctx context.Context, class *gardencorev1beta1.ExposureClass) (guard.Blockers, error) {
			return guard.List(ctx, r.Client, "Shoot", &gardencorev1beta1.ShootList{}, client.MatchingFields{index.ShootExposureClass: class.Name})
		},
	}
	return g.Reconcile(ctx, request)
}
