package upstream

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/loam-cloud/loam/fault"
)

// watchdog gives a connection up on which nothing comes for too long. It runs
// only while something is waited for: that whoever takes the bytes is slow is
// not the upstream's fault.
type watchdog struct {
	cancel context.CancelCauseFunc
	after  time.Duration
	clock  clock.WithDelayedExecution
	once   sync.Once
	timer  clock.Timer
}

func (w *watchdog) start() {
	w.once.Do(func() {
		w.timer = w.clock.AfterFunc(w.after, func() { w.cancel(errStalled) })
	})
	w.timer.Reset(w.after)
}

func (w *watchdog) stop() { w.timer.Stop() }

// body is that of an answer: its errors say whose they are.
type body struct {
	c      *Client
	from   io.ReadCloser
	watch  *watchdog
	ctx    context.Context
	cancel context.CancelCauseFunc
}

func (b *body) Read(p []byte) (int, error) {
	b.watch.start()
	n, err := b.from.Read(p)
	b.watch.stop()
	b.c.count(0, int64(n))
	if err == nil || errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return n, err
	}
	switch cause := context.Cause(b.ctx); {
	case errors.Is(cause, errStalled):
		err = fault.New(fault.Transient, "%s: %w (%s)", b.c.o.Name, errStalled, b.c.o.Stall)
	case cause != nil:
		err = cause
	default:
		err = fault.New(fault.Transient, "%s cut the connection: %w", b.c.o.Name, err)
	}
	return n, err
}

func (b *body) Close() error {
	b.cancel(nil)
	b.watch.stop()
	return b.from.Close()
}
