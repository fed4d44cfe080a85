package condition_test

import (
	"reflect"
	"testing"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"

	"github.com/loam-cloud/loam/controllers/condition"
)

func TestMerge(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	later := start.Add(time.Hour)
	up := condition.New("Up", gardencorev1beta1.ConditionTrue, "Fine", "all is well")
	first := condition.Merge(nil, start, up, condition.New("Other", gardencorev1beta1.ConditionTrue, "Kept", ""))

	if again := condition.Merge(first, later, up); !reflect.DeepEqual(again, first) {
		t.Errorf("merging the same again changed %v to %v", first, again)
	}
	said := condition.Merge(first, later, condition.New("Up", gardencorev1beta1.ConditionTrue, "Fine", "still well"))
	if !said[0].LastTransitionTime.Time.Equal(start) || !said[0].LastUpdateTime.Time.Equal(later) {
		t.Errorf("a new message gives times %v and %v", said[0].LastTransitionTime, said[0].LastUpdateTime)
	}
	down := condition.Merge(first, later, condition.New("Up", gardencorev1beta1.ConditionFalse, "Down", ""))
	if !down[0].LastTransitionTime.Time.Equal(later) || len(down) != 2 || down[1].Type != "Other" {
		t.Errorf("a new status gives %v", down)
	}
	if first[0].Status != gardencorev1beta1.ConditionTrue {
		t.Error("the old conditions were written to")
	}
}
