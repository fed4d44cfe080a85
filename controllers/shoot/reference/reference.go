// Package reference protects what Shoots refer to. app adds it to the fleet's
// controllers.
//
// It must not know what is in a referenced object.
package reference

import (
	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/internal/references"
)

// Name is the controller's name, and with it that of its logger.
const Name = "shoot.reference"

// Declare says what the controller reads and writes.
func Declare() declaration.Declaration {
	return references.Declare(Name, "shoots.core.gardener.cloud")
}

// AddToManager adds the controller.
func AddToManager(mgr manager.Manager, cfg controllermanagerconfigv1alpha1.ShootReferenceControllerConfiguration) error {
	r := references.Reconciler[*gardencorev1beta1.Shoot]{
		GardenNamespace: v1beta1constants.GardenNamespace,
		New:             func() *gardencorev1beta1.Shoot { return &gardencorev1beta1.Shoot{} },
		NewList:         func() client.ObjectList { return &gardencorev1beta1.ShootList{} },
		Of:              references.OfShoot,
	}
	return r.AddToManager(mgr, Name, cfg.ConcurrentSyncs)
}
