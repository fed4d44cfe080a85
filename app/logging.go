package app

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"

	gardenerconfig "github.com/gardener/gardener/pkg/apis/config"
	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// newLogger writes lines of key=value to out, for Loam and for the libraries
// inside it, of which only warnings and errors are let through.
func newLogger(out io.Writer) logr.Logger {
	return useLogger(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// fleetLogger is as newLogger, in the format and from the level on that a
// configuration of Gardener's names.
func fleetLogger(out io.Writer, format, level string) logr.Logger {
	options := &slog.HandlerOptions{Level: map[string]slog.Level{
		gardenerconfig.LogLevelDebug: slog.LevelDebug, gardenerconfig.LogLevelInfo: slog.LevelInfo, gardenerconfig.LogLevelError: slog.LevelError,
	}[level]}
	if format == gardenerconfig.LogFormatJSON {
		return useLogger(slog.NewJSONHandler(out, options))
	}
	return useLogger(slog.NewTextHandler(out, options))
}

func useLogger(handler slog.Handler) logr.Logger {
	logger := logr.FromSlogHandler(withoutAborts{handler})
	log.SetLogger(logger)
	klog.SetLogger(logger.WithName("kubernetes").V(1))
	return logger
}

// withoutAborts drops what Kubernetes' server code calls an error when a client
// ends a request that it made: the cluster beside an aggregated server asks it
// several times at once whether it is there, and takes the first answer.
type withoutAborts struct{ slog.Handler }

// Handle implements slog.Handler.
func (h withoutAborts) Handle(ctx context.Context, record slog.Record) error {
	if aborted(record) {
		return nil
	}
	return h.Handler.Handle(ctx, record)
}

// WithAttrs implements slog.Handler.
func (h withoutAborts) WithAttrs(attrs []slog.Attr) slog.Handler {
	return withoutAborts{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h withoutAborts) WithGroup(name string) slog.Handler {
	return withoutAborts{h.Handler.WithGroup(name)}
}

func aborted(record slog.Record) bool {
	if slices.Contains([]string{"Timeout or abort while handling", "Post-timeout activity"}, record.Message) {
		return true
	}
	if record.Message != "Unhandled Error" {
		return false
	}
	found := false
	record.Attrs(func(attr slog.Attr) bool {
		text := attr.Value.String()
		found = attr.Key == "err" && (strings.Contains(text, "http: Handler timeout") || strings.Contains(text, "http2: stream closed") || strings.Contains(text, "context canceled"))
		return !found
	})
	return found
}
