// Package seedmanagement has the rules of ManagedSeeds, ManagedSeedSets, and
// Gardenlets: how clusters become seeds, and what runs there.
//
// Package kinds calls it. It is pure and must not know where objects are kept.
package seedmanagement

import (
	"fmt"

	gardenletconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/gardenlet/v1alpha1"
	"github.com/gardener/gardener/pkg/apis/core"
	corev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	"github.com/gardener/gardener/pkg/apis/seedmanagement"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/validation/internal/check"
	"github.com/loam-cloud/loam/garden/validation/seeds"
)

// Facts are what other objects say of a ManagedSeed's cluster.
type Facts struct {
	// Shoot is nil if there is none of that name.
	Shoot *core.Shoot
	// Other is another ManagedSeed of the same cluster, if any.
	Other string
}

// ValidateManagedSeed returns every problem of a ManagedSeed; old is nil on
// create.
func ValidateManagedSeed(seed, old *seedmanagement.ManagedSeed) field.ErrorList {
	path := field.NewPath("spec")
	errs := inGarden(seed.Namespace)
	name := ""
	if seed.Spec.Shoot != nil {
		name = seed.Spec.Shoot.Name
	}
	errs = append(errs, check.Required(path.Child("shoot", "name"), name, "names the cluster that becomes a seed")...)
	var before *seedmanagement.GardenletConfig
	if old != nil {
		before = &old.Spec.Gardenlet
		if old.Spec.Shoot != nil {
			errs = append(errs, check.Immutable(path.Child("shoot", "name"), name, old.Spec.Shoot.Name)...)
		}
	}
	return append(errs, gardenlet(path.Child("gardenlet"), &seed.Spec.Gardenlet, before)...)
}

// ValidateManagedSeedShoot wants a cluster that can become a seed.
func ValidateManagedSeedShoot(seed *seedmanagement.ManagedSeed, facts Facts) field.ErrorList {
	path := field.NewPath("spec", "shoot", "name")
	if seed.Spec.Shoot == nil || seed.Spec.Shoot.Name == "" {
		return nil
	}
	name := seed.Spec.Shoot.Name
	switch {
	case facts.Shoot == nil:
		return field.ErrorList{field.NotFound(path, name)}
	case facts.Other != "":
		return field.ErrorList{field.Invalid(path, name, fmt.Sprintf("is the cluster of managed seed %q", facts.Other))}
	case facts.Shoot.DeletionTimestamp != nil:
		return field.ErrorList{field.Invalid(path, name, "is being deleted")}
	}
	return nil
}

// inGarden wants what makes seeds to be out of the reach of projects.
func inGarden(namespace string) field.ErrorList {
	if namespace == v1beta1constants.GardenNamespace {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("metadata", "namespace"), namespace, fmt.Sprintf("must be %q", v1beta1constants.GardenNamespace))}
}

func gardenlet(path *field.Path, config, old *seedmanagement.GardenletConfig) field.ErrorList {
	var errs field.ErrorList
	if config.Deployment != nil {
		errs = append(errs, deployment(path.Child("deployment"), config.Deployment)...)
	}
	if config.Bootstrap != nil {
		errs = append(errs, check.OneOf(path.Child("bootstrap"), *config.Bootstrap, seedmanagement.BootstrapServiceAccount, seedmanagement.BootstrapToken, seedmanagement.BootstrapNone)...)
	}
	var before runtime.Object
	if old != nil {
		before = old.Config
		errs = append(errs, check.ImmutableOnceSet(path.Child("bootstrap"), config.Bootstrap, old.Bootstrap)...)
		errs = append(errs, check.ImmutableOnceSet(path.Child("mergeWithParent"), config.MergeWithParent, old.MergeWithParent)...)
	}
	errs = append(errs, configuration(path.Child("config"), config.Config, before)...)
	return append(errs, connection(path, config)...)
}

// connection wants a way to the garden where none is made by bootstrapping or
// taken from the parent.
func connection(path *field.Path, config *seedmanagement.GardenletConfig) field.ErrorList {
	none := config.Bootstrap != nil && *config.Bootstrap == seedmanagement.BootstrapNone
	merged := config.MergeWithParent == nil || *config.MergeWithParent
	own, ok := config.Config.(*gardenletconfigv1alpha1.GardenletConfiguration)
	if !none || merged || !ok || own.GardenClientConnection != nil && own.GardenClientConnection.Kubeconfig != "" {
		return nil
	}
	return field.ErrorList{field.Required(path.Child("config", "gardenClientConnection", "kubeconfig"), "with bootstrap None and without merging, it is the only way to the garden")}
}

// configuration checks the seed that an agent's configuration describes. Old is
// nil when there was none.
func configuration(path *field.Path, object, old runtime.Object) field.ErrorList {
	config, ok := object.(*gardenletconfigv1alpha1.GardenletConfiguration)
	if !ok {
		return field.ErrorList{field.Required(path, "is a GardenletConfiguration of "+gardenletconfigv1alpha1.SchemeGroupVersion.String())}
	}
	path = path.Child("seedConfig")
	if config.SeedConfig == nil {
		return field.ErrorList{field.Required(path, "describes the seed")}
	}
	template, err := internalTemplate(config)
	if err != nil {
		return field.ErrorList{field.Invalid(path, "", err.Error())}
	}
	var before *core.SeedTemplate
	if previous, ok := old.(*gardenletconfigv1alpha1.GardenletConfiguration); ok && previous.SeedConfig != nil {
		// What was stored can be read: without an error there is nothing to keep.
		before, _ = internalTemplate(previous)
	}
	return seeds.ValidateTemplate(path, template, before)
}

func internalTemplate(config *gardenletconfigv1alpha1.GardenletConfiguration) (*core.SeedTemplate, error) {
	template := &core.SeedTemplate{}
	// The conversion shares memory with what it reads.
	err := corev1beta1.Convert_v1beta1_SeedTemplate_To_core_SeedTemplate(config.SeedConfig.SeedTemplate.DeepCopy(), template, nil)
	return template, err
}
