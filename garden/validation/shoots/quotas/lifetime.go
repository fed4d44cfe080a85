package quotas

import (
	"fmt"
	"time"

	"github.com/gardener/gardener/pkg/apis/core"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// extensionOfLifetime is how often the lifetime of a quota a cluster may have at
// most (the contract of the annotation: twice).
const extensionOfLifetime = 2

// ValidateLifetime bounds how far the end of a cluster may be put off.
func ValidateLifetime(shoot, old *core.Shoot, all []Quota, now time.Time) field.ErrorList {
	value, found := shoot.Annotations[v1beta1constants.ShootExpirationTimestamp]
	if !found || old != nil && old.Annotations[v1beta1constants.ShootExpirationTimestamp] == value {
		return nil
	}
	path := field.NewPath("metadata", "annotations").Key(v1beta1constants.ShootExpirationTimestamp)
	expiration, err := time.Parse(time.RFC3339, value)
	if err != nil {
		return field.ErrorList{field.Invalid(path, value, "must be a time, for example 2030-01-31T12:00:00Z")}
	}
	born := shoot.CreationTimestamp.Time
	if born.IsZero() {
		born = now
	}
	var errs field.ErrorList
	for _, quota := range all {
		if quota.Spec.ClusterLifetimeDays == nil {
			continue
		}
		latest := born.AddDate(0, 0, extensionOfLifetime*int(*quota.Spec.ClusterLifetimeDays))
		if expiration.After(latest) {
			errs = append(errs, field.Invalid(path, value, fmt.Sprintf("must not be after %s: quota %s/%s lets clusters live %d days, and at most twice as long",
				latest.UTC().Format(time.RFC3339), quota.Namespace, quota.Name, *quota.Spec.ClusterLifetimeDays)))
		}
	}
	return errs
}
