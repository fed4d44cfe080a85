package etcd

import (
	"github.com/go-logr/logr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// core hands etcd's log entries to a logr.Logger: errors as errors, everything
// else that level lets through as information.
type core struct {
	zap.AtomicLevel
	sink   logr.Logger
	fields []zapcore.Field
}

func newCore(sink logr.Logger, level zap.AtomicLevel) zapcore.Core {
	return &core{AtomicLevel: level, sink: sink}
}

func (c *core) With(fields []zapcore.Field) zapcore.Core {
	all := append(append([]zapcore.Field{}, c.fields...), fields...)
	return &core{AtomicLevel: c.AtomicLevel, sink: c.sink, fields: all}
}

func (c *core) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if !c.Enabled(entry.Level) {
		return checked
	}
	return checked.AddCore(entry, c)
}

func (c *core) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	encoder := zapcore.NewMapObjectEncoder()
	for _, list := range [][]zapcore.Field{c.fields, fields} {
		for _, field := range list {
			field.AddTo(encoder)
		}
	}
	keysAndValues := make([]any, 0, 2*len(encoder.Fields))
	for key, value := range encoder.Fields {
		keysAndValues = append(keysAndValues, key, value)
	}
	if entry.Level >= zapcore.ErrorLevel {
		c.sink.Error(nil, entry.Message, keysAndValues...)
		return nil
	}
	c.sink.Info(entry.Message, keysAndValues...)
	return nil
}

func (c *core) Sync() error { return nil }
