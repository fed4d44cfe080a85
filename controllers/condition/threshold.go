package condition

import (
	"slices"
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
)

// Threshold is for how long a condition that was true may be Progressing before
// it is reported as it is; 0 where none is configured.
func Threshold(thresholds []controllermanagerconfigv1alpha1.ConditionThreshold, kind gardencorev1beta1.ConditionType) time.Duration {
	for _, t := range thresholds {
		if t.Type == string(kind) {
			return t.Duration.Duration
		}
	}
	return 0
}

// Hold softens a condition that turns bad: one that was True is Progressing
// first, with the fresh reason, until that state is older than the threshold.
// What was never True, or is bad already, is reported at once. The duration is
// how long the softened state lasts from now on, 0 if fresh is returned as it is.
func Hold(old []gardencorev1beta1.Condition, fresh gardencorev1beta1.Condition, threshold time.Duration, now time.Time) (gardencorev1beta1.Condition, time.Duration) {
	at := slices.IndexFunc(old, func(c gardencorev1beta1.Condition) bool { return c.Type == fresh.Type })
	if at < 0 || threshold <= 0 || fresh.Status == gardencorev1beta1.ConditionTrue {
		return fresh, 0
	}
	left := threshold
	switch old[at].Status {
	case gardencorev1beta1.ConditionTrue:
	case gardencorev1beta1.ConditionProgressing:
		if left -= now.Sub(old[at].LastTransitionTime.Time); left < 0 {
			return fresh, 0
		}
		// Exactly at the threshold it is not older yet.
		left = max(left, time.Second)
	default:
		return fresh, 0
	}
	fresh.Status = gardencorev1beta1.ConditionProgressing
	return fresh, left
}
