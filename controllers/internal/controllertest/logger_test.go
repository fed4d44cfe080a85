package controllertest

import "testing"

// recorded is a test that can be ended by hand.
type recorded struct {
	testing.TB

	lines int
	end   func()
}

func (r *recorded) Log(...any)       { r.lines++ }
func (r *recorded) Cleanup(f func()) { r.end = f }

// TestNoLogAfterTheEnd wants a test's lines while it runs, and none later: the
// testing package panics for those.
func TestNoLogAfterTheEnd(t *testing.T) {
	ended := &recorded{TB: t}
	logger := untilTheEnd(ended)
	logger.Info("running")
	if ended.lines != 1 {
		t.Errorf("%d lines while the test runs, want 1", ended.lines)
	}
	ended.end()
	logger.Info("over")
	if ended.lines != 1 {
		t.Errorf("%d lines once the test is over, want still 1", ended.lines)
	}
}
