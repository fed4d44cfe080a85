package cloudprofiles

import (
	"fmt"
	"slices"
	"time"

	"github.com/gardener/gardener/pkg/apis/core"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

// stages returns every classification in the order in which a version goes
// through them.
func stages() []core.VersionClassification {
	return []core.VersionClassification{
		core.ClassificationUnavailable, core.ClassificationPreview, core.ClassificationSupported,
		core.ClassificationDeprecated, core.ClassificationExpired,
	}
}

func expirableVersions(path *field.Path, versions []core.ExpirableVersion) field.ErrorList {
	var errs field.ErrorList
	for i := range versions {
		errs = append(errs, expirableVersion(path.Index(i), &versions[i])...)
	}
	return append(errs, check.Unique(path, "version", versions, func(v core.ExpirableVersion) string { return v.Version })...)
}

func expirableVersion(path *field.Path, version *core.ExpirableVersion) field.ErrorList {
	errs := check.Version(path.Child("version"), version.Version)
	if len(version.Lifecycle) == 0 {
		if classification := version.Classification; classification != nil {
			// The other stages need a time, which only a lifecycle has.
			errs = append(errs, check.OneOf(path.Child("classification"), *classification,
				core.ClassificationPreview, core.ClassificationSupported, core.ClassificationDeprecated)...)
		}
		return errs
	}
	if version.Classification != nil {
		errs = append(errs, field.Forbidden(path.Child("classification"), "cannot be set beside lifecycle, which replaces it"))
	}
	if version.ExpirationDate != nil {
		errs = append(errs, field.Forbidden(path.Child("expirationDate"), "cannot be set beside lifecycle, which replaces it"))
	}
	return append(errs, lifecycle(path.Child("lifecycle"), version.Lifecycle)...)
}

// lifecycle wants stages in their order, each beginning after the one before.
func lifecycle(path *field.Path, lifecycle []core.LifecycleStage) field.ErrorList {
	var errs field.ErrorList
	var latest *core.LifecycleStage
	order := stages()
	for i := range lifecycle {
		path, stage := path.Index(i), &lifecycle[i]
		errs = append(errs, check.OneOf(path.Child("classification"), stage.Classification, order...)...)
		if i > 0 {
			before := lifecycle[i-1].Classification
			known := slices.Contains(order, stage.Classification) && slices.Contains(order, before)
			if known && slices.Index(order, stage.Classification) <= slices.Index(order, before) {
				errs = append(errs, field.Invalid(path.Child("classification"), stage.Classification, fmt.Sprintf("cannot come after %q: stages follow each other as unavailable, preview, supported, deprecated, expired", before)))
			}
		}
		switch {
		case stage.StartTime == nil && i > 0:
			errs = append(errs, field.Required(path.Child("startTime"), "only the first stage begins without a time"))
		case stage.StartTime != nil && latest != nil && !stage.StartTime.After(latest.StartTime.Time):
			errs = append(errs, field.Invalid(path.Child("startTime"), stage.StartTime.Format(time.RFC3339), fmt.Sprintf("must be after %s, when stage %q begins", latest.StartTime.Format(time.RFC3339), latest.Classification)))
		}
		if stage.StartTime != nil {
			latest = stage
		}
	}
	return errs
}

// end is when a version expires, nil if never.
func end(version core.ExpirableVersion) *time.Time {
	if version.ExpirationDate != nil {
		return &version.ExpirationDate.Time
	}
	for _, stage := range version.Lifecycle {
		if stage.Classification == core.ClassificationExpired {
			if stage.StartTime == nil {
				return &time.Time{}
			}
			return &stage.StartTime.Time
		}
	}
	return nil
}
