// Package reference protects what ControllerDeployments refer to. app adds it to the fleet's
// controllers.
//
// It must not know what is in a referenced object.
package reference

import (
	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1 "github.com/gardener/gardener/pkg/apis/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/internal/references"
)

// Name is the controller's name, and with it that of its logger.
const Name = "controllerdeployment.reference"

// Declare says what the controller reads and writes.
func Declare() declaration.Declaration {
	return references.Declare(Name, "controllerdeployments.core.gardener.cloud")
}

// AddToManager adds the controller. ControllerDeployments refer to objects in
// gardenNamespace.
func AddToManager(mgr manager.Manager, gardenNamespace string, cfg controllermanagerconfigv1alpha1.ControllerDeploymentReferenceControllerConfiguration) error {
	r := references.Reconciler[*gardencorev1.ControllerDeployment]{
		GardenNamespace: gardenNamespace,
		New:             func() *gardencorev1.ControllerDeployment { return &gardencorev1.ControllerDeployment{} },
		NewList:         func() client.ObjectList { return &gardencorev1.ControllerDeploymentList{} },
		Of: func(deployment *gardencorev1.ControllerDeployment) []references.Reference {
			return references.OfDeployment(deployment, gardenNamespace)
		},
	}
	return r.AddToManager(mgr, Name, cfg.ConcurrentSyncs)
}
