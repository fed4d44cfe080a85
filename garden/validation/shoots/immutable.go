package shoots

import (
	"slices"

	"github.com/gardener/gardener/pkg/apis/core"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/validation/internal/check"
	"github.com/loam-cloud/loam/garden/validation/shoots/schedules"
)

// validateImmutable checks what a cluster keeps for its life.
func validateImmutable(shoot, old *core.Shoot, path *field.Path) field.ErrorList {
	errs := check.Immutable(path.Child("provider", "type"), shoot.Spec.Provider.Type, old.Spec.Provider.Type)
	errs = append(errs, check.Immutable(path.Child("region"), shoot.Spec.Region, old.Spec.Region)...)
	errs = append(errs, check.ImmutableOnceSet(path.Child("schedulerName"), shoot.Spec.SchedulerName, old.Spec.SchedulerName)...)
	errs = append(errs, check.Immutable(path.Child("exposureClassName"), shoot.Spec.ExposureClassName, old.Spec.ExposureClassName)...)
	return append(errs, validateControlPlaneChange(shoot.Spec.ControlPlane, old.Spec.ControlPlane, path.Child("controlPlane"))...)
}

// failureTolerances are in the order in which a control plane can be raised.
func failureTolerances() []core.FailureToleranceType {
	return []core.FailureToleranceType{"", core.FailureToleranceTypeNode, core.FailureToleranceTypeZone}
}

func failureTolerance(controlPlane *core.ControlPlane) core.FailureToleranceType {
	if controlPlane == nil || controlPlane.HighAvailability == nil {
		return ""
	}
	return controlPlane.HighAvailability.FailureTolerance.Type
}

func validateControlPlaneChange(controlPlane, old *core.ControlPlane, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	now, was := failureTolerance(controlPlane), failureTolerance(old)
	order := failureTolerances()
	if slices.Contains(order, now) && slices.Index(order, now) < slices.Index(order, was) {
		errs = append(errs, field.Invalid(path.Child("highAvailability", "failureTolerance", "type"), now,
			`cannot be lowered, it is "`+string(was)+`"`))
	}
	if old == nil || len(old.Zones) == 0 {
		return errs
	}
	var zones []string
	if controlPlane != nil {
		zones = controlPlane.Zones
	}
	return append(errs, check.Immutable(path.Child("zones"), zones, old.Zones)...)
}

// validateManagedSeed keeps a cluster awake that is a seed for others.
func validateManagedSeed(shoot, old *core.Shoot, path *field.Path, facts Facts) field.ErrorList {
	if facts.ManagedSeed == "" || !schedules.Hibernates(shoot) || schedules.Hibernates(old) {
		return nil
	}
	return field.ErrorList{field.Forbidden(path.Child("hibernation", "enabled"),
		"the cluster is seed "+facts.ManagedSeed+", on which other clusters depend")}
}
