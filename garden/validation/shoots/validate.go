package shoots

import (
	"github.com/gardener/gardener/pkg/apis/core"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/validation/shoots/components"
	"github.com/loam-cloud/loam/garden/validation/shoots/networks"
	"github.com/loam-cloud/loam/garden/validation/shoots/operations"
	"github.com/loam-cloud/loam/garden/validation/shoots/quotas"
	"github.com/loam-cloud/loam/garden/validation/shoots/schedules"
	"github.com/loam-cloud/loam/garden/validation/shoots/workers"
)

// Validate returns every problem of a Shoot; old is nil for a new one.
//
// What did not change is not looked at again where a rule is about what is on
// offer or what others own: a cluster that runs is not refused because the
// world moved on. One that is being deleted can change nothing but metadata,
// and is refused nothing else.
func Validate(shoot, old *core.Shoot, facts Facts) field.ErrorList {
	spec := field.NewPath("spec")
	errs := operations.Validate(shoot, old)
	errs = append(errs, quotas.ValidateLifetime(shoot, old, facts.Quotas, facts.Now)...)
	if old != nil {
		same := apiequality.Semantic.DeepEqual(shoot.Spec, old.Spec)
		switch {
		case same:
			return errs
		case shoot.DeletionTimestamp != nil:
			return append(errs, field.Forbidden(spec, "cannot be changed while the cluster is being deleted"))
		case facts.Binds:
			return append(errs, validateSeed(shoot, old, facts)...)
		}
	}
	errs = append(errs, validateSpec(shoot, spec)...)
	if old != nil {
		errs = append(errs, validateChange(shoot, old, spec, facts)...)
	} else {
		errs = append(errs, validateProject(shoot, facts.Project)...)
	}
	errs = append(errs, validateSeed(shoot, old, facts)...)
	errs = append(errs, validateProfile(shoot, old, spec, facts)...)
	errs = append(errs, validateBinding(shoot, old, spec, facts)...)
	errs = append(errs, validateTolerated(shoot, old, spec, facts.Project)...)
	before := quotas.Consumer{Profile: facts.Profile}
	if old != nil && sameBinding(shoot, old) {
		before.Shoot = old
	}
	errs = append(errs, quotas.Validate(quotas.Consumer{Shoot: shoot, Profile: facts.Profile}, before, facts.Quotas)...)
	return once(errs)
}

// validateSpec checks a Shoot alone.
func validateSpec(shoot *core.Shoot, spec *field.Path) field.ErrorList {
	errs := validateGeneral(shoot, spec)
	errs = append(errs, components.Validate(shoot, spec.Child("kubernetes"))...)
	errs = append(errs, networks.Validate(shoot, spec)...)
	errs = append(errs, workers.Validate(shoot, spec.Child("provider", "workers"))...)
	errs = append(errs, schedules.Maintenance(shoot.Spec.Maintenance, spec.Child("maintenance"))...)
	errs = append(errs, schedules.Hibernation(shoot, spec.Child("hibernation"))...)
	return append(errs, validateLocal(shoot, spec)...)
}

// validateChange compares a Shoot with what it was.
func validateChange(shoot, old *core.Shoot, spec *field.Path, facts Facts) field.ErrorList {
	errs := validateImmutable(shoot, old, spec)
	errs = append(errs, components.ValidateUpdate(shoot, old, spec.Child("kubernetes"))...)
	errs = append(errs, networks.ValidateUpdate(shoot, old, spec)...)
	errs = append(errs, workers.ValidateUpdate(shoot, old, spec.Child("provider", "workers"))...)
	errs = append(errs, validateLocalChange(shoot, old, spec)...)
	errs = append(errs, validateLocalMembers(shoot, old, spec.Child("provider", "workers"))...)
	errs = append(errs, validateLocalFamilies(shoot, old, spec.Child("networking", "ipFamilies"))...)
	errs = append(errs, validateProviderConfigChange(shoot, old, spec)...)
	return append(errs, validateManagedSeed(shoot, old, spec, facts)...)
}

// once drops problems that two rules have found in the same words.
func once(errs field.ErrorList) field.ErrorList {
	seen := make(map[string]bool, len(errs))
	var kept field.ErrorList
	for _, err := range errs {
		if text := err.Error(); !seen[text] {
			seen[text] = true
			kept = append(kept, err)
		}
	}
	return kept
}
