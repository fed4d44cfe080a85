// Package window says when in its window a Shoot is maintained.
//
// The maintenance of Shoots calls it. It is pure: the same Shoot has the same
// moment in the same window, whoever asks when.
package window

import (
	"time"

	"github.com/gardener/gardener/pkg/apis/utils/timewindow"
	"k8s.io/apimachinery/pkg/types"

	"github.com/loam-cloud/loam/controllers/internal/spread"
)

// margin at the end of a window is for what maintenance sets off (the contract
// of the window: the last 15 minutes).
const margin = 15 * time.Minute

// Window is one occurrence of a daily window.
type Window struct{ Begin, End time.Time }

// Last is the last moment at which a maintenance may begin.
func (w Window) Last() time.Time {
	if w.End.Sub(w.Begin) <= margin {
		return w.End
	}
	return w.End.Add(-margin)
}

// Moment is when a Shoot is maintained in the window: spread over it by UID, and
// another moment on every day.
func (w Window) Moment(uid types.UID) time.Time {
	return w.Begin.Add(spread.Offset(w.Last().Sub(w.Begin), uid, w.Begin.Format(time.DateOnly)))
}

// Current is the window that a time is in; false outside of all.
func Current(daily *timewindow.MaintenanceTimeWindow, now time.Time) (Window, bool) {
	w := occurrence(daily, now, 0)
	if now.Before(w.Begin) {
		w = occurrence(daily, now, -1)
	}
	return w, !now.Before(w.Begin) && now.Before(w.End)
}

// Next is the first window that begins after a time.
func Next(daily *timewindow.MaintenanceTimeWindow, now time.Time) Window {
	w := occurrence(daily, now, 0)
	if !w.Begin.After(now) {
		w = occurrence(daily, now, 1)
	}
	return w
}

// occurrence is the window that begins some days after the day of a time.
func occurrence(daily *timewindow.MaintenanceTimeWindow, now time.Time, days int) Window {
	now = now.UTC()
	at := func(t *timewindow.MaintenanceTime) time.Time {
		return time.Date(now.Year(), now.Month(), now.Day()+days, t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
	}
	w := Window{Begin: at(daily.Begin()), End: at(daily.End())}
	if !w.End.After(w.Begin) {
		w.End = w.End.AddDate(0, 0, 1)
	}
	return w
}
