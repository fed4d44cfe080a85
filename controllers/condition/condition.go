// Package condition builds Gardener's conditions and merges them into a status
// without touching the times of those that did not change. Reconcilers that
// report conditions use it.
//
// It must not know what a condition is about.
package condition

import (
	"slices"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// New returns a condition without times; Merge fills them.
func New(kind gardencorev1beta1.ConditionType, status gardencorev1beta1.ConditionStatus, reason, message string, codes ...gardencorev1beta1.ErrorCode) gardencorev1beta1.Condition {
	return gardencorev1beta1.Condition{Type: kind, Status: status, Reason: reason, Message: message, Codes: codes}
}

// Merge replaces the conditions of the same types in old and keeps the others.
// The transition time moves with the status, the update time with any change,
// so that merging the same conditions again gives equal output.
func Merge(old []gardencorev1beta1.Condition, now time.Time, fresh ...gardencorev1beta1.Condition) []gardencorev1beta1.Condition {
	merged := slices.Clone(old)
	for _, f := range fresh {
		f.LastTransitionTime, f.LastUpdateTime = metav1.NewTime(now), metav1.NewTime(now)
		i := slices.IndexFunc(merged, func(c gardencorev1beta1.Condition) bool { return c.Type == f.Type })
		if i < 0 {
			merged = append(merged, f)
			continue
		}
		have := merged[i]
		if have.Status == f.Status {
			f.LastTransitionTime = have.LastTransitionTime
			if have.Reason == f.Reason && have.Message == f.Message && slices.Equal(have.Codes, f.Codes) {
				f.LastUpdateTime = have.LastUpdateTime
			}
		}
		merged[i] = f
	}
	return merged
}
