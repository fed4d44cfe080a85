package app

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// TestLoggerDropsAborts wants only what a client did by itself left out.
func TestLoggerDropsAborts(t *testing.T) {
	var out bytes.Buffer
	logger := newLogger(&out).WithName("kubernetes")
	logger.Error(errors.New("apiserver was unable to write a JSON response: http: Handler timeout"), "Unhandled Error")
	logger.Error(nil, "Timeout or abort while handling", "method", "GET")
	logger.WithValues("a", "b").Error(nil, "Post-timeout activity")
	if out.Len() > 0 {
		t.Errorf("logged: %s", out.String())
	}
	logger.Error(errors.New("disk full"), "Unhandled Error")
	logger.Info("fine")
	if got := out.String(); !strings.Contains(got, "disk full") || !strings.Contains(got, "fine") {
		t.Errorf("left out: %s", got)
	}
}
