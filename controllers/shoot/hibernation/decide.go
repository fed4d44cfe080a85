package hibernation

import (
	"fmt"
	"strings"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"github.com/robfig/cron/v3"

	"github.com/loam-cloud/loam/fault"
)

// oldest is how far back a schedule is looked for when no deadline is set.
const oldest = 7 * 24 * time.Hour

// trigger is one edge of a schedule: when clusters go to sleep or wake.
type trigger struct {
	at       cron.Schedule
	location *time.Location
	sleep    bool
}

// next is the first time after another at which the trigger fires; zero if
// there is none within five years.
func (t trigger) next(after time.Time) time.Time { return t.at.Next(after.In(t.location)) }

// parse reads the schedules of a Shoot. Faults: Invalid, with every problem.
func parse(schedules []gardencorev1beta1.HibernationSchedule) ([]trigger, error) {
	var triggers []trigger
	var problems []string
	for i, schedule := range schedules {
		location := time.UTC
		if schedule.Location != nil {
			var err error
			if location, err = time.LoadLocation(*schedule.Location); err != nil {
				problems = append(problems, fmt.Sprintf("spec.hibernation.schedules[%d].location: %q is no time zone", i, *schedule.Location))
				continue
			}
		}
		for _, edge := range []struct {
			name  string
			text  *string
			sleep bool
		}{{"start", schedule.Start, true}, {"end", schedule.End, false}} {
			if edge.text == nil {
				continue
			}
			at, err := parseCron(*edge.text)
			if err != nil {
				problems = append(problems, fmt.Sprintf("spec.hibernation.schedules[%d].%s: %q: %v", i, edge.name, *edge.text, err))
				continue
			}
			triggers = append(triggers, trigger{at, location, edge.sleep})
		}
	}
	if len(problems) > 0 {
		return nil, fault.New(fault.Invalid, "%s", strings.Join(problems, "; "))
	}
	return triggers, nil
}

// parseCron takes five fields. A zone before them, which the library would take
// and can trip over, would contradict the schedule's location.
func parseCron(text string) (cron.Schedule, error) {
	if strings.Contains(text, "=") {
		return nil, fault.New(fault.Invalid, "must be five fields of cron; the zone goes into location")
	}
	return cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow).Parse(text)
}

// fired is the last time at which a schedule was due.
type fired struct {
	at    time.Time
	sleep bool
}

// latest is the last time after one and not after another at which any trigger
// fired; false if none did. Of two at the same time waking up wins: a cluster
// that runs for nothing costs less than one that is missing.
func latest(triggers []trigger, after, until time.Time) (fired, bool) {
	var last fired
	found := false
	for _, t := range triggers {
		for at := t.next(after); !at.IsZero() && !at.After(until); at = t.next(at) {
			if !found || at.After(last.at) || at.Equal(last.at) && !t.sleep {
				last, found = fired{at, t.sleep}, true
			}
		}
	}
	return last, found
}

// next is the first time after another at which any trigger fires; zero if none
// does.
func next(triggers []trigger, after time.Time) time.Time {
	var first time.Time
	for _, t := range triggers {
		if at := t.next(after); !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

// since is from when on schedules count: what was before the last trigger or the
// Shoot is done, and what is older than the deadline is missed for good.
func since(shoot *gardencorev1beta1.Shoot, deadline time.Duration, now time.Time) time.Time {
	from := shoot.CreationTimestamp.Time
	if last := shoot.Status.LastHibernationTriggerTime; last != nil {
		from = last.Time
	}
	if deadline <= 0 {
		deadline = oldest
	}
	if earliest := now.Add(-deadline); from.Before(earliest) {
		return earliest
	}
	return from
}

// stuck tells whether a Shoot failed as it is: changing it would hide why.
func stuck(shoot *gardencorev1beta1.Shoot) bool {
	last := shoot.Status.LastOperation
	return last != nil && last.State == gardencorev1beta1.LastOperationStateFailed && shoot.Status.ObservedGeneration == shoot.Generation
}
