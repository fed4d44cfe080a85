package cli

import (
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/loam-cloud/loam/fault"
)

const (
	clockOffset = "clock-offset"
	// testingVariable is that without which nobody sets a clock: clusters would be
	// deleted before their time.
	testingVariable = "LOAM_TESTING"
)

// clockOffsetFlag adds a flag for tests, which is not shown.
func clockOffsetFlag(f *pflag.FlagSet, offset *time.Duration) {
	f.DurationVar(offset, clockOffset, 0, "set the clock forward by which clusters sleep, are maintained and end")
	// The flag exists: it was made in the line above.
	_ = f.MarkHidden(clockOffset)
}

// checkClockOffset lets only tests set the clock.
func checkClockOffset(offset time.Duration) error {
	switch {
	case offset == 0:
		return nil
	case os.Getenv(testingVariable) == "":
		return fault.New(fault.Invalid, "--%s: is for tests only, which set %s=1: clusters would be deleted before their time", clockOffset, testingVariable)
	case offset < 0:
		return fault.New(fault.Invalid, "--%s: %s must not be negative: what was done already would be done again", clockOffset, offset)
	}
	return nil
}
