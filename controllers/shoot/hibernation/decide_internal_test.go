package hibernation

import (
	"errors"
	"strings"
	"testing"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/fault"
)

// schedule is written "start|end|location"; what is empty is left out.
func schedule(text string) gardencorev1beta1.HibernationSchedule {
	var s gardencorev1beta1.HibernationSchedule
	parts := strings.Split(text, "|")
	for i, field := range []**string{&s.Start, &s.End, &s.Location} {
		if i < len(parts) && parts[i] != "" {
			*field = &parts[i]
		}
	}
	return s
}

func schedulesOf(texts ...string) (all []gardencorev1beta1.HibernationSchedule) {
	for _, text := range texts {
		all = append(all, schedule(text))
	}
	return all
}

func at(t *testing.T, text string) time.Time {
	t.Helper()
	parsed, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestLatest(t *testing.T) {
	for name, row := range map[string]struct {
		schedules    []gardencorev1beta1.HibernationSchedule
		after, until string
		want         string
		sleep, found bool
		next         string
	}{
		"sleeps in the evening":           {schedulesOf("0 20 * * *|0 6 * * *"), "2026-05-04T07:00:00Z", "2026-05-04T20:00:00Z", "2026-05-04T20:00:00Z", true, true, "2026-05-05T06:00:00Z"},
		"the last trigger itself is done": {schedulesOf("0 20 * * *|0 6 * * *"), "2026-05-04T20:00:00Z", "2026-05-04T21:00:00Z", "", false, false, "2026-05-05T06:00:00Z"},
		"the latest of all schedules":     {schedulesOf("0 20 * * *", "|0 6 * * *", "0 21 * * *"), "2026-05-04T05:00:00Z", "2026-05-04T22:00:00Z", "2026-05-04T21:00:00Z", true, true, "2026-05-05T06:00:00Z"},
		"waking wins at the same time":    {schedulesOf("0 20 * * *", "|0 20 * * *"), "2026-05-04T05:00:00Z", "2026-05-04T22:00:00Z", "2026-05-04T20:00:00Z", false, true, "2026-05-05T20:00:00Z"},
		"waking wins in any order":        {schedulesOf("|0 20 * * *", "0 20 * * *"), "2026-05-04T05:00:00Z", "2026-05-04T22:00:00Z", "2026-05-04T20:00:00Z", false, true, "2026-05-05T20:00:00Z"},
		"in a time zone":                  {schedulesOf("0 20 * * *||Asia/Kolkata"), "2026-05-04T10:00:00Z", "2026-05-04T15:00:00Z", "2026-05-04T14:30:00Z", true, true, "2026-05-05T14:30:00Z"},
		"when clocks go forward":          {schedulesOf("0 20 * * *||Europe/Berlin"), "2026-03-29T10:00:00Z", "2026-03-29T18:30:00Z", "2026-03-29T18:00:00Z", true, true, "2026-03-30T18:00:00Z"},
		"never":                           {schedulesOf("0 0 30 2 *"), "2026-05-04T05:00:00Z", "2026-05-04T22:00:00Z", "", false, false, ""},
		"only on working days":            {schedulesOf("0 20 * * 1-5"), "2026-05-09T00:00:00Z", "2026-05-10T23:00:00Z", "", false, false, "2026-05-11T20:00:00Z"},
		"exactly now counts":              {schedulesOf("*/5 * * * *"), "2026-05-04T05:00:00Z", "2026-05-04T05:10:00Z", "2026-05-04T05:10:00Z", true, true, "2026-05-04T05:15:00Z"},
	} {
		triggers, err := parse(row.schedules)
		if err != nil {
			t.Fatal(err)
		}
		until := at(t, row.until)
		got, found := latest(triggers, at(t, row.after), until)
		if found != row.found || found && (!got.at.Equal(at(t, row.want)) || got.sleep != row.sleep) {
			t.Errorf("%s: got %+v %t", name, got, found)
		}
		var upcoming time.Time
		if row.next != "" {
			upcoming = at(t, row.next)
		}
		if got := next(triggers, until); !got.Equal(upcoming) {
			t.Errorf("%s: next at %s, want %s", name, got, upcoming)
		}
	}
}

func TestSince(t *testing.T) {
	now := at(t, "2026-05-04T12:00:00Z")
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for name, row := range map[string]struct {
		created, triggered time.Duration
		deadline           time.Duration
		want               time.Duration
	}{
		"since it was made":              {time.Hour, 0, 2 * time.Hour, time.Hour},
		"since the last trigger":         {30 * 24 * time.Hour, time.Hour, 2 * time.Hour, time.Hour},
		"not longer than the deadline":   {30 * 24 * time.Hour, 3 * time.Hour, 2 * time.Hour, 2 * time.Hour},
		"without a deadline, seven days": {30 * 24 * time.Hour, 0, 0, 7 * 24 * time.Hour},
	} {
		shoot := &gardencorev1beta1.Shoot{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(ago(row.created))}}
		if row.triggered > 0 {
			shoot.Status.LastHibernationTriggerTime = ptr.To(metav1.NewTime(ago(row.triggered)))
		}
		if got := since(shoot, row.deadline, now); !got.Equal(ago(row.want)) {
			t.Errorf("%s: %s ago", name, now.Sub(got))
		}
	}
}

// TestParse wants every problem named with its field.
func TestParse(t *testing.T) {
	_, err := parse(schedulesOf("0 20 * * *|noon", "|* * * * *|Nowhere/Town", "TZ=UTC 0 20 * * *", "TZ=0", "0 0 20 * * *"))
	if !errors.Is(err, fault.Invalid) {
		t.Fatal(err)
	}
	for _, want := range []string{`schedules[0].end: "noon"`, `schedules[1].location: "Nowhere/Town"`, `schedules[2].start: "TZ=UTC`, `schedules[3].start: "TZ=0"`, `schedules[4].start: "0 0 20`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}

// FuzzParse reads what other API servers let pass, and wants an answer whose
// times go forward.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"0 20 * * *|0 6 * * *|Europe/Berlin", "TZ=0|", "CRON_TZ=", "*/0 * * * *", "1-0 * * * *", "@every 1s", "@daily", "99999999999999999999 * * * *|a|b"} {
		f.Add(text)
	}
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		triggers, err := parse(schedulesOf(text))
		if err != nil {
			return
		}
		if got := next(triggers, now); !got.IsZero() && !got.After(now) {
			t.Errorf("%q: next after %s is %s", text, now, got)
		}
		if got, found := latest(triggers, now.Add(-2*time.Hour), now); found && (got.at.After(now) || !got.at.After(now.Add(-2*time.Hour))) {
			t.Errorf("%q: latest is %s", text, got.at)
		}
	})
}

func TestStuck(t *testing.T) {
	shoot := &gardencorev1beta1.Shoot{}
	if stuck(shoot) {
		t.Error("stuck without an operation")
	}
	shoot.Status.LastOperation = &gardencorev1beta1.LastOperation{State: gardencorev1beta1.LastOperationStateFailed}
	if !stuck(shoot) {
		t.Error("not stuck when failed")
	}
	shoot.Generation = 2
	if stuck(shoot) {
		t.Error("stuck although it was changed since")
	}
}
