package app

import (
	"time"

	"k8s.io/utils/clock"
)

// calendar returns the clock of the controllers that go by hours and days: when
// clusters sleep, are maintained and end, and since when projects are unused. With
// an offset they live that much later than everybody else, whom they do not
// compare their time with. Without one it is nil, and they take the real clock.
func calendar(offset time.Duration) clock.Clock {
	if offset == 0 {
		return nil
	}
	return shifted{offset: offset}
}

// shifted is the real clock, set forward. Timers and tickers run as they do.
type shifted struct {
	clock.RealClock
	offset time.Duration
}

// Now implements clock.PassiveClock.
func (s shifted) Now() time.Time { return time.Now().Add(s.offset) }

// Since implements clock.PassiveClock.
func (s shifted) Since(t time.Time) time.Duration { return s.Now().Sub(t) }
