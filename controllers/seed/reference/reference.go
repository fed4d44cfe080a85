// Package reference protects what Seeds refer to. app adds it to the fleet's
// controllers.
//
// It must not know what is in a referenced object.
package reference

import (
	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/internal/references"
)

// Name is the controller's name, and with it that of its logger.
const Name = "seed.reference"

// Declare says what the controller reads and writes.
func Declare() declaration.Declaration {
	return references.Declare(Name, "seeds.core.gardener.cloud")
}

// AddToManager adds the controller. Seeds refer to objects in gardenNamespace.
func AddToManager(mgr manager.Manager, gardenNamespace string, cfg controllermanagerconfigv1alpha1.SeedReferenceControllerConfiguration) error {
	r := references.Reconciler[*gardencorev1beta1.Seed]{
		GardenNamespace: gardenNamespace,
		New:             func() *gardencorev1beta1.Seed { return &gardencorev1beta1.Seed{} },
		NewList:         func() client.ObjectList { return &gardencorev1beta1.SeedList{} },
		Of: func(seed *gardencorev1beta1.Seed) []references.Reference {
			return references.OfSeed(seed, gardenNamespace)
		},
	}
	return r.AddToManager(mgr, Name, cfg.ConcurrentSyncs)
}
