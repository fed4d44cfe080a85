package app

import (
	"testing"
	"time"
)

func TestCalendar(t *testing.T) {
	if c := calendar(0); c != nil {
		t.Errorf("without an offset there is %v, want what controllers take by themselves", c)
	}
	const offset = 48 * time.Hour
	c := calendar(offset)
	if ahead := time.Until(c.Now()); ahead < offset-time.Minute || ahead > offset+time.Minute {
		t.Errorf("the clock is %s ahead, want %s", ahead, offset)
	}
	if since := c.Since(time.Now()); since < offset || since > offset+time.Minute {
		t.Errorf("since now it says %s, want %s", since, offset)
	}
}
