package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/loam-cloud/loam/fault"
)

func TestOnlyTestsSetTheClock(t *testing.T) {
	for name, test := range map[string]struct {
		variable string
		offset   time.Duration
		want     string
	}{
		"a user":             {"", time.Hour, "LOAM_TESTING"},
		"a test":             {"1", time.Hour, ""},
		"a test, back":       {"1", -time.Hour, "must not be negative"},
		"nobody asks for it": {"", 0, ""},
	} {
		t.Setenv("LOAM_TESTING", test.variable)
		err := checkClockOffset(test.offset)
		if (err == nil) != (test.want == "") || err != nil && (fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
	for _, cmd := range [][]string{{"up"}, {"controller-manager"}} {
		found, _, err := New().Find(cmd)
		if err != nil {
			t.Fatal(err)
		}
		if flag := found.Flags().Lookup("clock-offset"); flag == nil || !flag.Hidden {
			t.Errorf("%v: the flag is %+v, want it hidden", cmd, flag)
		}
	}
}
