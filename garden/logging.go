package garden

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
)

// klogWriter hands klog's warnings and errors on to a logger. Its lines look
// like "E1120 09:00:00.000000  1 file.go:1] text".
type klogWriter struct {
	logger logr.Logger
	// loud is set while the garden is ready. Before and after that the code inside
	// complains, in every good start and stop, about everything that is not there
	// yet or no longer; what is wrong with a bad one is in Start's error.
	loud atomic.Bool
}

// routeKlog sends warnings and errors of the Kubernetes code in this process to
// logger, and drops everything below. klog is one per process: with a second
// garden in it, the logger of the last one that was started gets all.
func routeKlog(logger logr.Logger) (*klogWriter, error) {
	flags := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(flags)
	for name, value := range map[string]string{"logtostderr": "false", "alsologtostderr": "false", "stderrthreshold": "FATAL"} {
		if err := flags.Set(name, value); err != nil {
			return nil, fmt.Errorf("setting klog's flag %s: %w", name, err)
		}
	}
	writer := &klogWriter{logger: logger}
	// klog copies every entry to the outputs of all lower severities.
	klog.SetOutputBySeverity("INFO", io.Discard)
	klog.SetOutputBySeverity("WARNING", writer)
	klog.SetOutputBySeverity("ERROR", io.Discard)
	klog.SetOutputBySeverity("FATAL", io.Discard)
	return writer, nil
}

// Write implements io.Writer.
func (w *klogWriter) Write(line []byte) (int, error) {
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
