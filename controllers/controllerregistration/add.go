// Package controllerregistration adds the controllers that take care of
// extensions: what is registered, where it is installed, and what waits for it.
//
// app calls it. It must not know what any of them does.
package controllerregistration

import (
	"fmt"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/loam-cloud/loam/controllers/controllerregistration/clusterfinalizer"
	"github.com/loam-cloud/loam/controllers/controllerregistration/controllerinstallation/seed"
	"github.com/loam-cloud/loam/controllers/controllerregistration/controllerinstallation/shoot"
	"github.com/loam-cloud/loam/controllers/controllerregistration/controllerregistrationfinalizer"
	"github.com/loam-cloud/loam/controllers/controllerregistration/extensionclusterrole"
	"github.com/loam-cloud/loam/controllers/declaration"
)

// Controller is one of them.
type Controller interface {
	AddToManager(mgr manager.Manager) error
	Declare() declaration.Declaration
}

// Controllers are all of them.
func Controllers(cfg controllermanagerconfigv1alpha1.ControllerManagerConfiguration) []Controller {
	var own controllermanagerconfigv1alpha1.ControllerRegistrationControllerConfiguration
	if c := cfg.Controllers.ControllerRegistration; c != nil {
		own = *c
	}
	return []Controller{
		&clusterfinalizer.Reconciler{Config: own},
		&seed.Reconciler{Config: own},
		&shoot.Reconciler{Config: own},
		&controllerregistrationfinalizer.Reconciler{Config: own},
		&extensionclusterrole.Reconciler{},
	}
}

// AddToManager adds all of them.
func AddToManager(mgr manager.Manager, cfg controllermanagerconfigv1alpha1.ControllerManagerConfiguration) error {
	for _, c := range Controllers(cfg) {
		if err := c.AddToManager(mgr); err != nil {
			return fmt.Errorf("adding controller %s: %w", c.Declare().Controller, err)
		}
	}
	return nil
}
