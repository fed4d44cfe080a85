package garden

import (
	"bytes"
	"io"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
)

// routeKlog sends warnings and errors of the Kubernetes code in this process to
// logger, and drops everything below. klog is one per process: a second garden
// in it logs to the logger of the last one that was started.
func routeKlog(logger logr.Logger) {
	klog.LogToStderr(false)
	// klog copies every entry to the outputs of all lower severities.
	klog.SetOutputBySeverity("INFO", io.Discard)
	klog.SetOutputBySeverity("WARNING", klogWriter{logger})
	klog.SetOutputBySeverity("ERROR", io.Discard)
	klog.SetOutputBySeverity("FATAL", io.Discard)
}

// klogWriter hands klog's lines on: "E1120 09:00:00.000000  1 file.go:1] text".
type klogWriter struct{ logger logr.Logger }

func (w klogWriter) Write(line []byte) (int, error) {
	head, text, found := bytes.Cut(line, []byte("] "))
	if !found {
		head, text = nil, line
	}
	message := string(bytes.TrimSpace(text))
	if len(head) > 0 && head[0] == 'E' {
		w.logger.Error(nil, message, "source", "kubernetes")
	} else {
		w.logger.Info(message, "source", "kubernetes")
	}
	return len(line), nil
}
