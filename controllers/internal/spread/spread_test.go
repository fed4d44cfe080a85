package spread_test

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/loam-cloud/loam/controllers/internal/spread"
)

// TestOffset wants the same answer for the same question, within the span, and
// a tenth of many objects in each tenth of it.
func TestOffset(t *testing.T) {
	const objects, span = 10000, 10 * time.Hour
	var tenths [10]int
	for i := range objects {
		uid := types.UID(fmt.Sprintf("8b1a9953-c461-4eb1-b7a8-%012d", i))
		got := spread.Offset(span, uid, "a")
		if got < 0 || got >= span || got != spread.Offset(span, uid, "a") {
			t.Fatalf("offset of %s is %s", uid, got)
		}
		if i < 100 && got == spread.Offset(span, uid, "b") {
			t.Errorf("another occasion of %s has the same offset", uid)
		}
		tenths[got/time.Hour]++
	}
	for i, n := range tenths {
		if n < objects/10*8/10 || n > objects/10*12/10 {
			t.Errorf("%d of %d objects in tenth %d of the span", n, objects, i)
		}
	}
	if got := spread.Offset(0, "x"); got != 0 {
		t.Errorf("without a span: %s", got)
	}
}

// TestUntil wants one turn per period, at the same moments whenever it is asked.
func TestUntil(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for i := range 100 {
		uid := types.UID(fmt.Sprint(i))
		turn := now.Add(spread.Until(now, time.Hour, uid))
		if wait := turn.Sub(now); wait <= 0 || wait > time.Hour {
			t.Fatalf("first turn after %s", wait)
		}
		before := turn.Add(-time.Millisecond)
		if got := before.Add(spread.Until(before, time.Hour, uid)); !got.Equal(turn) {
			t.Errorf("asked later, the turn is at %s, not %s", got, turn)
		}
		if got := turn.Add(spread.Until(turn, time.Hour, uid)); !got.Equal(turn.Add(time.Hour)) {
			t.Errorf("the turn after %s is at %s", turn, got)
		}
	}
	if got := spread.Until(now, 0, "x"); got != 0 {
		t.Errorf("without a period: %s", got)
	}
}

func TestDue(t *testing.T) {
	began := time.Date(2026, 5, 1, 12, 0, 0, 500, time.UTC)
	start := &spread.Start{}
	if got := start.Due(began.Add(-time.Hour), time.Time{}, time.Minute, "x"); !got.Equal(began.Add(-time.Hour)) {
		t.Errorf("before the start: %s", got)
	}
	if err := start.Source(clocktesting.NewFakePassiveClock(began)).Start(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		due, created time.Duration
		moved        bool
	}{
		"after the start":             {due: time.Minute, created: -time.Hour},
		"at the start":                {due: 0, created: -time.Hour},
		"missed":                      {due: -time.Minute, created: -time.Hour, moved: true},
		"of an object that is new":    {due: -time.Minute, created: time.Minute},
		"of one from the same second": {due: -time.Minute, created: -time.Nanosecond * 500},
	} {
		due := began.Add(row.due)
		got := start.Due(due, began.Add(row.created), 10*time.Minute, "x")
		if moved := !got.Equal(due); moved != row.moved {
			t.Errorf("%s: due %s, got %s", name, due, got)
		}
		if row.moved && (got.Before(began) || !got.Before(began.Add(10*time.Minute))) {
			t.Errorf("%s: moved to %s", name, got)
		}
	}
}
