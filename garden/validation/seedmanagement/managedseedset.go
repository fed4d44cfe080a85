package seedmanagement

import (
	"fmt"

	"github.com/gardener/gardener/pkg/apis/seedmanagement"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/validation/internal/check"
	"github.com/loam-cloud/loam/garden/validation/shoots"
)

// Name returns what is wrong with the name of a ManagedSeedSet: its seeds and their
// clusters are called by it and a number, and each name that is made of those has
// to fit.
func Name(name string, prefix bool) []string {
	errs := apivalidation.NameIsDNSLabel(name, prefix)
	const number = "-2147483647" // the highest that status.nextReplicaNumber can hold
	if limit := validation.DNS1123LabelMaxLength - len(shoots.TechnicalID(gardenProject, number)); len(name) > limit {
		errs = append(errs, fmt.Sprintf("must have at most %d characters, so that the names of its clusters, <name>-<number>, fit", limit))
	}
	return errs
}

// gardenProject owns the namespace in which managed seeds are.
const gardenProject = "garden"

// ValidateManagedSeedSet returns every problem of a ManagedSeedSet; old is nil
// on create. What its shoot template says is checked when Shoots are made of it.
func ValidateManagedSeedSet(set, old *seedmanagement.ManagedSeedSet) field.ErrorList {
	path, spec := field.NewPath("spec"), &set.Spec
	errs := inGarden(set.Namespace)
	if spec.Replicas != nil {
		errs = append(errs, check.AtLeast(path.Child("replicas"), *spec.Replicas, 0)...)
	}
	if limit := spec.RevisionHistoryLimit; limit != nil {
		errs = append(errs, check.AtLeast(path.Child("revisionHistoryLimit"), *limit, 0)...)
	}
	errs = append(errs, selector(path, spec)...)
	template := path.Child("template")
	if spec.Template.Spec.Shoot != nil {
		errs = append(errs, field.Forbidden(template.Child("spec", "shoot"), "each seed of the set gets a cluster of its own"))
	}
	var before *seedmanagement.GardenletConfig
	if old != nil {
		before = &old.Spec.Template.Spec.Gardenlet
	}
	errs = append(errs, gardenlet(template.Child("spec", "gardenlet"), &spec.Template.Spec.Gardenlet, before)...)
	errs = append(errs, updateStrategy(path.Child("updateStrategy"), spec.UpdateStrategy)...)
	if old != nil {
		errs = append(errs, check.Immutable(path.Child("selector"), spec.Selector, old.Spec.Selector)...)
		errs = append(errs, check.ImmutableOnceSet(path.Child("revisionHistoryLimit"), spec.RevisionHistoryLimit, old.Spec.RevisionHistoryLimit)...)
	}
	return errs
}

// selector wants a set to find what it makes, and nothing of everything else.
func selector(path *field.Path, spec *seedmanagement.ManagedSeedSetSpec) field.ErrorList {
	at := path.Child("selector")
	errs := check.Selector(at, &spec.Selector)
	parsed, err := metav1.LabelSelectorAsSelector(&spec.Selector)
	if err != nil {
		return errs
	}
	if parsed.Empty() {
		return append(errs, field.Required(at, "finds the seeds and clusters of the set by their labels"))
	}
	for _, made := range []struct {
		template string
		labels   labels.Set
	}{{"template", spec.Template.Labels}, {"shootTemplate", spec.ShootTemplate.Labels}} {
		at := path.Child(made.template, "metadata", "labels")
		errs = append(errs, check.Labels(at, made.labels)...)
		if !parsed.Matches(made.labels) {
			errs = append(errs, field.Invalid(at, made.labels.String(), "must match spec.selector, which is "+parsed.String()))
		}
	}
	return errs
}

func updateStrategy(path *field.Path, strategy *seedmanagement.UpdateStrategy) field.ErrorList {
	if strategy == nil {
		return nil
	}
	var errs field.ErrorList
	if strategy.Type != nil {
		errs = append(errs, check.OneOf(path.Child("type"), *strategy.Type, seedmanagement.RollingUpdateStrategyType)...)
	}
	if rolling := strategy.RollingUpdate; rolling != nil && rolling.Partition != nil {
		errs = append(errs, check.AtLeast(path.Child("rollingUpdate", "partition"), *rolling.Partition, 0)...)
	}
	return errs
}
