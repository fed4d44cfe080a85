// Package klogs brings what the Kubernetes code in this process logs into the
// garden's own log.
//
// The garden is its caller. It must not know what the lines mean.
package klogs

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
)

// Writer hands klog's warnings and errors on to a logger. Its lines look
// like "E1120 09:00:00.000000  1 file.go:1] text".
type Writer struct {
	logger logr.Logger
	// loud is set while the garden is ready. Before and after that the code inside
	// complains, in every good start and stop, about everything that is not there
	// yet or no longer; what is wrong with a bad one is in Start's error.
	loud atomic.Bool
}

// Route sends warnings and errors of the Kubernetes code in this process to
// logger, and drops everything below. klog is one per process: with a second
// garden in it, the logger of the last one that was started gets all.
func Route(logger logr.Logger) (*Writer, error) {
	flags := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(flags)
	for name, value := range map[string]string{"logtostderr": "false", "alsologtostderr": "false", "stderrthreshold": "FATAL"} {
		if err := flags.Set(name, value); err != nil {
			return nil, fmt.Errorf("setting klog's flag %s: %w", name, err)
		}
	}
	writer := &Writer{logger: logger}
	// klog copies every entry to the outputs of all lower severities.
	klog.SetOutputBySeverity("INFO", io.Discard)
	klog.SetOutputBySeverity("WARNING", writer)
	klog.SetOutputBySeverity("ERROR", io.Discard)
	klog.SetOutputBySeverity("FATAL", io.Discard)
	return writer, nil
}

// SetLoud is for when a garden becomes ready, and when it no longer is.
func (w *Writer) SetLoud(loud bool) { w.loud.Store(loud) }

// Write implements io.Writer.
func (w *Writer) Write(line []byte) (int, error) {
	head, text, found := bytes.Cut(line, []byte("] "))
	if !found {
		head, text = nil, line
	}
	message := string(bytes.TrimSpace(text))
	switch {
	case !w.loud.Load():
		w.logger.V(1).Info(message, "source", "kubernetes")
	case len(head) > 0 && head[0] == 'E':
		w.logger.Error(nil, message, "source", "kubernetes")
	default:
		w.logger.Info(message, "source", "kubernetes")
	}
	return len(line), nil
}
