package check

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/releases"
)

// Gone refuses a field that clusters from a Kubernetes version on may not have.
func Gone(path *field.Path, set bool, version string, what releases.Field) field.ErrorList {
	if !set || !what.Gone(version) {
		return nil
	}
	message := fmt.Sprintf("is not there from Kubernetes %s on, and this cluster has %s: %s", what.Since, version, what.Instead)
	return field.ErrorList{field.Forbidden(path, message)}
}

// NonNegativeDuration wants a time span of 0 or more, if there is one.
func NonNegativeDuration(path *field.Path, value *metav1.Duration) field.ErrorList {
	if value == nil || value.Duration >= 0 {
		return nil
	}
	return field.ErrorList{field.Invalid(path, value.Duration.String(), "must be 0 or more")}
}

// PositiveDuration wants a time span above 0, if there is one.
func PositiveDuration(path *field.Path, value *metav1.Duration) field.ErrorList {
	if value == nil || value.Duration > 0 {
		return nil
	}
	return field.ErrorList{field.Invalid(path, value.Duration.String(), "must be more than 0")}
}

// DurationWithin wants a time span between two, if there is one.
func DurationWithin(path *field.Path, value *metav1.Duration, low, high time.Duration) field.ErrorList {
	if value == nil || value.Duration >= low && value.Duration <= high {
		return nil
	}
	return field.ErrorList{field.Invalid(path, value.Duration.String(), fmt.Sprintf("must be between %s and %s", low, high))}
}

// Fraction wants a number between 0 and 1, if there is one.
func Fraction(path *field.Path, value *float64) field.ErrorList {
	if value == nil || *value >= 0 && *value <= 1 {
		return nil
	}
	return field.ErrorList{field.Invalid(path, *value, "must be between 0 and 1")}
}
