package migration

import (
	"strings"
	"testing"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/loam-cloud/loam/controllers/condition"
)

func seed(change func(*gardencorev1beta1.Seed)) *gardencorev1beta1.Seed {
	s := &gardencorev1beta1.Seed{ObjectMeta: metav1.ObjectMeta{Generation: 2}, Status: gardencorev1beta1.SeedStatus{
		ObservedGeneration: 2, Gardener: &gardencorev1beta1.Gardener{Version: "v1"},
		Conditions: []gardencorev1beta1.Condition{
			{Type: gardencorev1beta1.GardenletReady, Status: gardencorev1beta1.ConditionTrue},
			{Type: gardencorev1beta1.SeedExtensionsReady, Status: gardencorev1beta1.ConditionTrue},
		},
	}}
	if change != nil {
		change(s)
	}
	return s
}

func TestDecide(t *testing.T) {
	for name, row := range map[string]struct {
		destination *gardencorev1beta1.Seed
		want        string
	}{
		"ready":                        {seed(nil), "True DestinationSeedReady"},
		"in deletion":                  {seed(func(s *gardencorev1beta1.Seed) { s.DeletionTimestamp = &metav1.Time{}; s.Status.Gardener = nil }), "False DestinationSeedInDeletion"},
		"gone":                         {nil, "False DestinationSeedUnready"},
		"no agent":                     {seed(func(s *gardencorev1beta1.Seed) { s.Status.Gardener = nil }), "False DestinationSeedUnready"},
		"another version of the agent": {seed(func(s *gardencorev1beta1.Seed) { s.Status.Gardener.Version = "v2" }), "False DestinationSeedUnready"},
		"generation not seen":          {seed(func(s *gardencorev1beta1.Seed) { s.Generation++ }), "False DestinationSeedUnready"},
		"agent silent":                 {seed(func(s *gardencorev1beta1.Seed) { s.Status.Conditions[0].Status = gardencorev1beta1.ConditionUnknown }), "False DestinationSeedUnready"},
		"extensions not ready": {seed(func(s *gardencorev1beta1.Seed) {
			s.Status.Conditions[1].Status = gardencorev1beta1.ConditionProgressing
		}), "False DestinationSeedUnready"},
		"no conditions": {seed(func(s *gardencorev1beta1.Seed) { s.Status.Conditions = nil }), "False DestinationSeedUnready"},
		"other conditions do not count": {seed(func(s *gardencorev1beta1.Seed) {
			s.Status.Conditions = append(s.Status.Conditions, gardencorev1beta1.Condition{Type: "Whatever", Status: gardencorev1beta1.ConditionFalse})
		}), "True DestinationSeedReady"},
	} {
		got := decide("b", seed(nil), row.destination)
		if text := string(got.Status) + " " + got.Reason; text != row.want || !strings.Contains(got.Message, `"b"`) {
			t.Errorf("%s: %s (%s), want %s", name, text, got.Message, row.want)
		}
	}
	if got := decide("b", nil, seed(nil)); got.Reason != reasonReady {
		t.Errorf("the source is gone: %s", got.Message)
	}
}

// TestMerge wants a write only when the status changes.
func TestMerge(t *testing.T) {
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	verdict := func(status gardencorev1beta1.ConditionStatus, message string) *gardencorev1beta1.Condition {
		c := condition.New(gardencorev1beta1.ShootReadyForMigration, status, "R", message)
		return &c
	}
	other := gardencorev1beta1.Condition{Type: gardencorev1beta1.ShootHibernationPossible}
	merged, changed := merge([]gardencorev1beta1.Condition{other}, verdict("False", "a"), now)
	if !changed || len(merged) != 2 || merged[1].Message != "a" || !merged[1].LastTransitionTime.Time.Equal(now) {
		t.Fatalf("%t %+v", changed, merged)
	}
	if _, changed := merge(merged, verdict("False", "b"), now); changed {
		t.Error("another message is a change")
	}
	if merged, changed := merge(merged, verdict("True", "c"), now); !changed || merged[1].Message != "c" {
		t.Errorf("%t %+v", changed, merged)
	}
	if merged, changed := merge(merged, nil, now); !changed || len(merged) != 1 || merged[0].Type != other.Type {
		t.Errorf("%t %+v", changed, merged)
	}
	if _, changed := merge([]gardencorev1beta1.Condition{other}, nil, now); changed {
		t.Error("nothing to remove is a change")
	}
}

// TestConcerned wants Shoots looked at that move, and those that still say
// something of a move that is over.
func TestConcerned(t *testing.T) {
	shoot := func(is, wanted string, told bool) *gardencorev1beta1.Shoot {
		s := &gardencorev1beta1.Shoot{}
		s.Status.SeedName, s.Spec.SeedName = &is, &wanted
		if told {
			s.Status.Constraints = []gardencorev1beta1.Condition{{Type: gardencorev1beta1.ShootReadyForMigration}}
		}
		return s
	}
	for name, row := range map[string]struct {
		before, after *gardencorev1beta1.Shoot
		want          bool
	}{
		"begins to move":   {shoot("a", "a", false), shoot("a", "b", false), true},
		"told by itself":   {shoot("a", "b", false), shoot("a", "b", true), false},
		"constraint taken": {shoot("a", "b", true), shoot("a", "b", false), true},
		"somewhere else":   {shoot("a", "b", true), shoot("a", "c", true), true},
		"is there":         {shoot("a", "b", true), shoot("b", "b", true), true},
		"does not move":    {shoot("a", "a", false), shoot("a", "a", false), false},
	} {
		if got := concerned().Update(event.UpdateEvent{ObjectOld: row.before, ObjectNew: row.after}); got != row.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if concerned().Create(event.CreateEvent{Object: shoot("a", "a", false)}) || !concerned().Create(event.CreateEvent{Object: shoot("a", "a", true)}) {
		t.Error("at a start, only what moves or has moved is looked at")
	}
}
