package capability_test

import (
	"context"
	"net"
	"path/filepath"
	"reflect"
	"runtime"
	"testing"

	"github.com/loam-cloud/loam/machines/container/internal/capability"
)

func TestMissing(t *testing.T) {
	tests := map[string]struct {
		status, last string
		want         []string
		fails        bool
	}{
		"everything":         {"Name:\tx\nCapBnd:\t000001ffffffffff\n", "40\n", nil, false},
		"no SYS_RESOURCE":    {"CapBnd:\t000001fffeffffff\nCapAmb:\t0\n", "40\n", []string{"SYS_RESOURCE"}, false},
		"older kernel":       {"CapBnd:\t0000003fffffffff\n", "37\n", nil, false},
		"newer kernel":       {"CapBnd:\t000003ffffffffff\n", "41\n", nil, false},
		"no line":            {"Name:\tx\n", "40\n", nil, true},
		"not hexadecimal":    {"CapBnd:\tzz\n", "40\n", nil, true},
		"no last capability": {"CapBnd:\t0\n", "", nil, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := capability.Missing(test.status, test.last)
			if (err != nil) != test.fails {
				t.Fatalf("error %v, want one: %v", err, test.fails)
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func FuzzMissing(f *testing.F) {
	f.Add("CapBnd:\t000001fffeffffff\n", "40\n")
	f.Fuzz(func(t *testing.T, status, last string) {
		missing, err := capability.Missing(status, last)
		if err != nil && missing != nil {
			t.Errorf("both an error and %v", missing)
		}
	})
}

func TestMissingFromPeer(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells who listens on a socket")
	}
	socket := filepath.Join(t.TempDir(), "socket")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if _, err := capability.MissingFromPeer(context.Background(), socket); err != nil {
		t.Errorf("this process listens itself, got %v", err)
	}
	if _, err := capability.MissingFromPeer(context.Background(), socket+"x"); err == nil {
		t.Error("no error for a socket that nobody listens on")
	}
}
