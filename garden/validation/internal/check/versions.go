package check

import (
	"github.com/Masterminds/semver/v3"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ParseVersion reads a full semantic version such as 1.36.3. With problems the
// version is nil.
func ParseVersion(path *field.Path, text string) (*semver.Version, field.ErrorList) {
	if text == "" {
		return nil, field.ErrorList{field.Required(path, "is a full version, for example 1.36.3")}
	}
	version, err := semver.StrictNewVersion(text)
	if err != nil {
		return nil, field.ErrorList{field.Invalid(path, text, "must be a full version, for example 1.36.3")}
	}
	return version, nil
}

// Version is ParseVersion for a caller who needs problems only.
func Version(path *field.Path, text string) field.ErrorList {
	_, errs := ParseVersion(path, text)
	return errs
}

// Constraint wants a range of versions such as ">= 1.26".
func Constraint(path *field.Path, text string) field.ErrorList {
	if _, err := semver.NewConstraint(text); err != nil {
		return field.ErrorList{field.Invalid(path, text, `must be a range of versions, for example ">= 1.26"`)}
	}
	return nil
}
