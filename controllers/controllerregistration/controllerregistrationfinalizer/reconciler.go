// Package controllerregistrationfinalizer keeps a ControllerRegistration as long
// as it is installed anywhere. controllerregistration adds it.
//
// It must not end an installation: who made it does.
package controllerregistrationfinalizer

import (
	"context"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/index"
	"github.com/loam-cloud/loam/controllers/internal/guard"
)

const (
	// Name is the controller's name.
	Name = "controllerregistrationfinalizer"

	// FinalizerName is what keeps a registration.
	FinalizerName = "core.gardener.cloud/controllerregistration"
)

// Reconciler holds ControllerRegistrations, or lets them go.
type Reconciler struct {
	Client   client.Client
	Recorder events.EventRecorder
	Config   controllermanagerconfigv1alpha1.ControllerRegistrationControllerConfiguration
}

func (r *Reconciler) controller() guard.Controller {
	return guard.Controller{
		Name: Name, Guarded: &gardencorev1beta1.ControllerRegistration{}, Resource: "controllerregistrations.core.gardener.cloud",
		Referrers: []guard.Referrer{guard.By(&gardencorev1beta1.ControllerInstallation{}, "controllerinstallations.core.gardener.cloud", registrationOf)},
		Syncs:     r.Config.ConcurrentSyncs,
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
	return r.controller().AddToManager(mgr, r)
}

func registrationOf(installation *gardencorev1beta1.ControllerInstallation) []types.NamespacedName {
	return []types.NamespacedName{{Name: installation.Spec.RegistrationRef.Name}}
}

// Reconcile holds one registration, or lets it go once nothing of it is installed.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	return (&guard.Reconciler[*gardencorev1beta1.ControllerRegistration]{
		Guard: guard.Guard{Client: r.Client, Recorder: r.Recorder, Finalizer: FinalizerName},
		New:   func() *gardencorev1beta1.ControllerRegistration { return &gardencorev1beta1.ControllerRegistration{} },
		Blockers: func(ctx context.Context, registration *gardencorev1beta1.ControllerRegistration) (guard.Blockers, error) {
			return guard.List(ctx, r.Client, "ControllerInstallation", &gardencorev1beta1.ControllerInstallationList{}, client.MatchingFields{index.RegistrationRefName: registration.Name})
		},
	}).Reconcile(ctx, request)
}
