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

type controller interface {
	AddToManager(mgr manager.Manager) error
	Declare() declaration.Declaration
}

func controllers(cfg controllermanagerconfigv1alpha1.ControllerManagerConfiguration) []controller {
	var own controllermanagerconfigv1alpha1.ControllerRegistrationControllerConfiguration
	if c := cfg.Controllers.ControllerRegistration; c != nil {
		own = *c
	}
	return []controller{
		&clusterfinalizer.Reconciler{Config: own},
		&seed.Reconciler{Config: own},
		&shoot.Reconciler{Config: own},
		&controllerregistrationfinalizer.Reconciler{Config: own},
		&extensionclusterrole.Reconciler{},
	}
}

// AddToManager adds all of them.
func AddToManager(mgr manager.Manager, cfg controllermanagerconfigv1alpha1.ControllerManagerConfiguration) error {
	for _, c := range controllers(cfg) {
		if err := c.AddToManager(mgr); err != nil {
			return fmt.Errorf("adding controller %s: %w", c.Declare().Controller, err)
		}
	}
	return nil
}

// Declarations are what each of them reads and writes.
func Declarations() []declaration.Declaration {
	var all []declaration.Declaration
	for _, c := range controllers(controllermanagerconfigv1alpha1.ControllerManagerConfiguration{}) {
		all = append(all, c.Declare())
	}
	return all
}
