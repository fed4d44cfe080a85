package window_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/gardener/gardener/pkg/apis/utils/timewindow"
	"k8s.io/apimachinery/pkg/types"

	"github.com/loam-cloud/loam/controllers/shoot/maintenance/internal/window"
)

func parse(t *testing.T, begin, end string) *timewindow.MaintenanceTimeWindow {
	t.Helper()
	w, err := timewindow.ParseMaintenanceTimeWindow(begin, end)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestWindows(t *testing.T) {
	for name, row := range map[string]struct {
		begin, end, now string
		current, next   string
	}{
		"before":                  {"120000+0000", "140000+0000", "2026-05-04T11:59:59Z", "", "2026-05-04T12:00:00Z"},
		"at the beginning":        {"120000+0000", "140000+0000", "2026-05-04T12:00:00Z", "2026-05-04T12:00:00Z 2h0m0s", "2026-05-05T12:00:00Z"},
		"inside":                  {"120000+0000", "140000+0000", "2026-05-04T13:59:59Z", "2026-05-04T12:00:00Z 2h0m0s", "2026-05-05T12:00:00Z"},
		"at the end":              {"120000+0000", "140000+0000", "2026-05-04T14:00:00Z", "", "2026-05-05T12:00:00Z"},
		"over midnight, evening":  {"230000+0000", "010000+0000", "2026-05-04T23:30:00Z", "2026-05-04T23:00:00Z 2h0m0s", "2026-05-05T23:00:00Z"},
		"over midnight, morning":  {"230000+0000", "010000+0000", "2026-05-05T00:30:00Z", "2026-05-04T23:00:00Z 2h0m0s", "2026-05-05T23:00:00Z"},
		"in a zone":               {"220000+0200", "230000+0200", "2026-05-04T20:30:00Z", "2026-05-04T20:00:00Z 1h0m0s", "2026-05-05T20:00:00Z"},
		"over the end of a month": {"230000+0000", "010000+0000", "2026-02-28T23:30:00Z", "2026-02-28T23:00:00Z 2h0m0s", "2026-03-01T23:00:00Z"},
		"seen from another zone":  {"120000+0000", "140000+0000", "2026-05-05T01:00:00+12:00", "2026-05-04T12:00:00Z 2h0m0s", "2026-05-05T12:00:00Z"},
	} {
		now, err := time.Parse(time.RFC3339, row.now)
		if err != nil {
			t.Fatal(err)
		}
		daily := parse(t, row.begin, row.end)
		got := ""
		if w, inside := window.Current(daily, now); inside {
			got = fmt.Sprintf("%s %s", w.Begin.Format(time.RFC3339), w.End.Sub(w.Begin))
		}
		if got != row.current {
			t.Errorf("%s: current %q, want %q", name, got, row.current)
		}
		if next := window.Next(daily, now).Begin.Format(time.RFC3339); next != row.next {
			t.Errorf("%s: next %s, want %s", name, next, row.next)
		}
	}
}

// TestMoment wants moments of many Shoots all over the window but its last
// quarter of an hour, and that of one to differ between days.
func TestMoment(t *testing.T) {
	daily := parse(t, "220000+0000", "000000+0000")
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	today, tomorrow := window.Next(daily, now), window.Next(daily, now.AddDate(0, 0, 1))
	var quarters [7]int
	same := 0
	for i := range 1000 {
		uid := types.UID(fmt.Sprint("uid-", i))
		moment := today.Moment(uid)
		if moment.Before(today.Begin) || moment.After(today.Last()) {
			t.Fatalf("moment %s", moment)
		}
		quarters[moment.Sub(today.Begin)/(15*time.Minute)]++
		if tomorrow.Moment(uid).Sub(tomorrow.Begin) == moment.Sub(today.Begin) {
			same++
		}
	}
	for i, n := range quarters {
		if n < 100 || n > 190 {
			t.Errorf("%d of 1000 in quarter %d", n, i)
		}
	}
	if same > 5 {
		t.Errorf("%d have the same moment every day", same)
	}
	if short := (window.Window{Begin: now, End: now.Add(10 * time.Minute)}); !short.Last().Equal(short.End) {
		t.Errorf("the last moment of a short window is %s", short.Last())
	}
}
