package condition_test

import (
	"testing"
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/loam-cloud/loam/controllers/condition"
)

func TestThreshold(t *testing.T) {
	thresholds := []controllermanagerconfigv1alpha1.ConditionThreshold{{Type: "A", Duration: metav1.Duration{Duration: time.Minute}}}
	if got := condition.Threshold(thresholds, "A"); got != time.Minute {
		t.Errorf("got %s", got)
	}
	if got := condition.Threshold(thresholds, "B"); got != 0 {
		t.Errorf("got %s for a type without one", got)
	}
}

func TestHold(t *testing.T) {
	const (
		isTrue      = gardencorev1beta1.ConditionTrue
		isFalse     = gardencorev1beta1.ConditionFalse
		unknown     = gardencorev1beta1.ConditionUnknown
		progressing = gardencorev1beta1.ConditionProgressing
	)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		old       gardencorev1beta1.ConditionStatus // empty means that there is none
		age       time.Duration
		fresh     gardencorev1beta1.ConditionStatus
		threshold time.Duration
		want      gardencorev1beta1.ConditionStatus
		left      time.Duration
	}{
		"true stays true":                       {isTrue, time.Hour, isTrue, time.Minute, isTrue, 0},
		"true goes to progressing first":        {isTrue, time.Hour, isFalse, time.Minute, progressing, time.Minute},
		"also before unknown":                   {isTrue, time.Hour, unknown, time.Minute, progressing, time.Minute},
		"not without a threshold":               {isTrue, time.Hour, isFalse, 0, isFalse, 0},
		"progressing within the threshold":      {progressing, 20 * time.Second, isFalse, time.Minute, progressing, 40 * time.Second},
		"progressing as old as the threshold":   {progressing, time.Minute, isFalse, time.Minute, progressing, time.Second},
		"progressing older than the threshold":  {progressing, time.Minute + 1, isFalse, time.Minute, isFalse, 0},
		"progressing recovers":                  {progressing, time.Second, isTrue, time.Minute, isTrue, 0},
		"progressing without a threshold":       {progressing, time.Second, isFalse, 0, isFalse, 0},
		"an initial unknown goes to the result": {unknown, time.Second, isFalse, time.Minute, isFalse, 0},
		"false stays false":                     {isFalse, time.Second, isFalse, time.Minute, isFalse, 0},
		"the first one":                         {"", 0, isFalse, time.Minute, isFalse, 0},
	} {
		t.Run(name, func(t *testing.T) {
			old := []gardencorev1beta1.Condition{{Type: "Other", Status: isTrue}}
			if test.old != "" {
				old = append(old, gardencorev1beta1.Condition{Type: "A", Status: test.old, LastTransitionTime: metav1.NewTime(now.Add(-test.age))})
			}
			got, left := condition.Hold(old, condition.New("A", test.fresh, "Why", "because"), test.threshold, now)
			if got.Status != test.want || left != test.left || got.Reason != "Why" || got.Message != "because" {
				t.Errorf("got %+v for another %s, want %s for %s", got, left, test.want, test.left)
			}
		})
	}
}
