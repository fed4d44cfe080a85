package garden

import (
	"context"
	"errors"
	"fmt"
)

// Done is closed when the garden has ended, by Stop or by itself.
func (g *Garden) Done() <-chan struct{} { return g.done }

// Err says why the garden ended by itself; nil before Done and after Stop.
func (g *Garden) Err() error {
	select {
	case <-g.done:
		return g.err
	default:
		return nil
	}
}

// Stop ends the garden: first what PostStart started, then the API, then etcd.
// It returns when all is closed, or with an error when ctx ends before.
func (g *Garden) Stop(ctx context.Context) error {
	g.stopOnce.Do(func() { close(g.stopped) })
	select {
	case <-g.done:
		return g.err
	case <-ctx.Done():
		return fmt.Errorf("stopping the garden: %w", ctx.Err())
	}
}

// watch takes the garden down when it is told to, or when a part of it ends.
func (g *Garden) watch() {
	var cause error
	var storeStopped <-chan struct{}
	if g.store != nil {
		storeStopped = g.store.Stopped()
	}
	select {
	case <-g.stopped:
	case <-g.serverDone:
		cause = fmt.Errorf("the API server ended by itself: %w", orUnknown(g.serverErr))
	case <-storeStopped:
		cause = errors.New("etcd ended by itself")
	}
	g.closeParts()
	g.err = withUnlock(cause, g.lock)
	close(g.done)
}

func orUnknown(err error) error {
	if err == nil {
		return errors.New("no reason given")
	}
	return err
}

// closeParts ends whatever runs, in the opposite order of run.
func (g *Garden) closeParts() {
	g.klog.SetLoud(false)
	for _, cancel := range []context.CancelFunc{g.stopFleet, g.stopControllers} {
		if cancel != nil {
			cancel()
		}
	}
	if g.controllers != nil {
		g.controllers.Wait()
	}
	if g.stopServer != nil {
		g.stopServer()
		<-g.serverDone
	}
	if g.store != nil {
		g.store.Stop()
	}
	// The server closes it too, when there is one.
	_ = g.listener.Close()
}
