package forward

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

// acceptPause is the wait after a connection could not be accepted, as when the
// process has too many files open.
const acceptPause = 100 * time.Millisecond

// acceptAll serves connections until the context ends, and theirs end with it.
func (l *listener) acceptAll(ctx context.Context, listening *net.TCPListener) {
	stop := context.AfterFunc(ctx, func() { _ = listening.Close() }) // nobody is left to tell
	defer stop()
	var connections sync.WaitGroup
	defer connections.Wait()
	for {
		conn, err := listening.AcceptTCP()
		if err != nil {
			select {
			case <-ctx.Done():
				return
			case <-time.After(acceptPause):
				continue
			}
		}
		// Those that come when there are too many wait in the kernel's queue.
		select {
		case l.connections <- struct{}{}:
		case <-ctx.Done():
			_ = conn.Close()
			return
		}
		connections.Go(func() {
			defer func() { <-l.connections }()
			l.lead(ctx, conn)
		})
	}
}

// lead connects one client to a node until both have said all.
func (l *listener) lead(ctx context.Context, client *net.TCPConn) {
	defer func() { _ = client.Close() }() // it has ended
	node, _, err := l.connect(ctx)
	if err != nil {
		// The client is to see what it would see at a port where nobody listens.
		_ = client.SetLinger(0)
		return
	}
	defer func() { _ = node.Close() }() // it has ended
	stop := context.AfterFunc(ctx, func() {
		_ = client.Close()
		_ = node.Close()
	})
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { passOn(node, client) })
	both.Go(func() { passOn(client, node) })
	both.Wait()
}

// passOn copies until the end, and says the end. A side that breaks takes the
// other with it: there is nobody to wait for.
func passOn(to io.WriteCloser, from io.ReadCloser) {
	_, err := io.Copy(to, from)
	if half, ok := to.(interface{ CloseWrite() error }); ok && err == nil && half.CloseWrite() == nil {
		return
	}
	_ = to.Close()
	_ = from.Close()
}
