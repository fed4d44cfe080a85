package installer

import (
	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/loam-cloud/loam/controllers/controllerregistration/internal/wanted"
	"github.com/loam-cloud/loam/controllers/declaration"
)

// Options are those of the controllers.
func Options(c controllermanagerconfigv1alpha1.ControllerRegistrationControllerConfiguration) controller.Options {
	return controller.Options{MaxConcurrentReconciles: ptr.Deref(c.ConcurrentSyncs, controllermanagerconfigv1alpha1.DefaultControllerConcurrentSyncs)}
}

// Declare tells what a controller reads and writes, beside Shoots.
func Declare(name string, more ...string) declaration.Declaration {
	d := declaration.Declaration{
		Controller: name,
		Reads:      []declaration.Read{{Resource: "secrets", MetadataOnly: true}, {Resource: "configmaps", MetadataOnly: true}},
		Writes: []declaration.Write{
			{Resource: "controllerinstallations.core.gardener.cloud", Verbs: []string{"create", "patch", "delete"}, Fields: []string{"metadata.labels", "metadata.annotations", "spec"}},
			declaration.Events(),
		},
	}
	for _, kind := range append([]string{"shoots", "controllerregistrations", "controllerdeployments", "controllerinstallations", "backupbuckets", "backupentries"}, more...) {
		d.Reads = append(d.Reads, declaration.Read{Resource: kind + ".core.gardener.cloud"})
	}
	return d
}

// changed lets updates through for which different is true, and whatever else
// happens.
func changed[T client.Object](different func(before, after T) bool) predicate.Funcs {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(T)
		after, also := e.ObjectNew.(T)
		return ok && also && different(before, after)
	}}
}

// ending tells whether a deletion has begun.
func ending(before, after client.Object) bool {
	return (before.GetDeletionTimestamp() == nil) != (after.GetDeletionTimestamp() == nil)
}

// ClusterChanged lets Seeds and Shoots through whose spec, labels or annotations
// have changed, or whose deletion has begun.
func ClusterChanged() predicate.Predicate {
	return predicate.And(changed(func(before, after client.Object) bool {
		return ending(before, after) || before.GetGeneration() != after.GetGeneration() ||
			!equality.Semantic.DeepEqual(before.GetLabels(), after.GetLabels()) || !equality.Semantic.DeepEqual(before.GetAnnotations(), after.GetAnnotations())
	}), predicate.Funcs{DeleteFunc: func(event.DeleteEvent) bool { return false }})
}

// RegistrationChanged lets registrations through that offer something else, are
// deployed in another way, or go.
func RegistrationChanged() predicate.Predicate {
	return changed(func(before, after *gardencorev1beta1.ControllerRegistration) bool {
		const enforce = v1beta1constants.AnnotationPodSecurityEnforce
		return ending(before, after) || before.Annotations[enforce] != after.Annotations[enforce] || !equality.Semantic.DeepEqual(before.Spec, after.Spec)
	})
}

// DeploymentChanged lets deployments through that came or changed.
func DeploymentChanged() predicate.Predicate {
	return predicate.And(changed(func(before, after client.Object) bool {
		return before.GetGeneration() != after.GetGeneration() || !equality.Semantic.DeepEqual(before.GetAnnotations(), after.GetAnnotations())
	}), predicate.Funcs{DeleteFunc: func(event.DeleteEvent) bool { return false }})
}

// BackupChanged lets buckets and entries through that came, went or moved.
func BackupChanged() predicate.Predicate {
	return changed(func(before, after client.Object) bool { return before.GetGeneration() != after.GetGeneration() })
}

// InstallationChanged lets installations through that came, went, moved, or are
// now required or no longer so.
func InstallationChanged() predicate.Predicate {
	return changed(func(before, after *gardencorev1beta1.ControllerInstallation) bool {
		return wanted.IsRequired(before) != wanted.IsRequired(after) ||
			wanted.OnlySeed(before) != wanted.OnlySeed(after) ||
			(before.Spec.SeedRef == nil) != (after.Spec.SeedRef == nil)
	})
}

// ResourceChanged lets Secrets and ConfigMaps of the garden through that
// deployments may name, or that say which domains there are.
func ResourceChanged() predicate.Predicate {
	counts := func(o client.Object) bool {
		if o.GetNamespace() != v1beta1constants.GardenNamespace {
			return false
		}
		switch o.GetLabels()[v1beta1constants.GardenRole] {
		case v1beta1constants.GardenRoleResourceReference, v1beta1constants.GardenRoleInternalDomain, v1beta1constants.GardenRoleDefaultDomain:
			return true
		}
		return false
	}
	return predicate.Funcs{
		// At a start every cluster is looked at anyway.
		CreateFunc: func(e event.CreateEvent) bool { return !e.IsInInitialList && counts(e.Object) },
		UpdateFunc: func(e event.UpdateEvent) bool {
			return e.ObjectOld.GetResourceVersion() != e.ObjectNew.GetResourceVersion() && (counts(e.ObjectOld) || counts(e.ObjectNew))
		},
		DeleteFunc: func(e event.DeleteEvent) bool { return counts(e.Object) },
	}
}

// ShootChanged lets Shoots through of which a Seed needs something else: another
// Seed, workers, extensions, names, network or provider.
func ShootChanged() predicate.Predicate {
	return changed(func(before, after *gardencorev1beta1.Shoot) bool {
		needs := func(s *gardencorev1beta1.Shoot) []any {
			network := ""
			if s.Spec.Networking != nil {
				network = ptr.Deref(s.Spec.Networking.Type, "")
			}
			return []any{s.Spec.SeedName, s.Status.SeedName, s.Spec.Provider.Type, s.Spec.Provider.Workers, s.Spec.Extensions, s.Spec.DNS, network}
		}
		return ending(before, after) || !equality.Semantic.DeepEqual(needs(before), needs(after))
	})
}
