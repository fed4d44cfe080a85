package forward

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxDatagram is the longest that UDP over IPv4 has.
	maxDatagram = 65507
	// waiting is how many datagrams of a flow wait for its connection.
	waiting = 16
)

// flows are the clients of one UDP port.
type flows struct {
	*listener
	socket *net.UDPConn

	mu    sync.Mutex
	known map[netip.AddrPort]*flow
	all   sync.WaitGroup
}

// flow is one client, by its address.
type flow struct {
	client netip.AddrPort
	queue  chan []byte
	end    context.CancelFunc
	// seen is when something passed last, in either direction (nanoseconds since
	// 1970).
	seen atomic.Int64
}

// receiveAll serves flows until the context ends, and they end with it.
func (f *flows) receiveAll(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { _ = f.socket.Close() }) // nobody is left to tell
	defer stop()
	defer f.all.Wait()
	buffer := make([]byte, maxDatagram)
	for {
		n, client, err := f.socket.ReadFromUDPAddrPort(buffer)
		if err != nil {
			select {
			case <-ctx.Done():
				return
			case <-time.After(acceptPause):
				continue
			}
		}
		if one := f.flow(ctx, client); one != nil {
			select {
			case one.queue <- append([]byte(nil), buffer[:n]...):
			default: // as a router that has no room
			}
		}
	}
}

// flow finds the flow of a client or begins one; nil when there are too many.
func (f *flows) flow(ctx context.Context, client netip.AddrPort) *flow {
	f.mu.Lock()
	defer f.mu.Unlock()
	if one := f.known[client]; one != nil {
		return one
	}
	if len(f.route.Load().backends) == 0 {
		return nil
	}
	if len(f.known) >= maxListenerFlows {
		f.endOldest()
	}
	select {
	case f.tokens <- struct{}{}:
	default:
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	one := &flow{client: client, queue: make(chan []byte, waiting), end: cancel}
	one.touch()
	f.known[client] = one
	f.all.Go(func() {
		defer func() { <-f.tokens }()
		defer cancel()
		f.carry(ctx, one)
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.known[client] == one {
			delete(f.known, client)
		}
	})
	return one
}

func (f *flows) endOldest() {
	var oldest *flow
	for _, one := range f.known {
		if oldest == nil || one.seen.Load() < oldest.seen.Load() {
			oldest = one
		}
	}
	delete(f.known, oldest.client)
	oldest.end()
}

func (o *flow) touch() { o.seen.Store(time.Now().UnixNano()) }

// silent is how long nothing has passed.
func (o *flow) silent() time.Duration { return time.Duration(time.Now().UnixNano() - o.seen.Load()) }

// carry passes datagrams of a flow on until it was silent for long, or breaks.
func (f *flows) carry(ctx context.Context, one *flow) {
	node, route, err := f.connect(ctx)
	if err != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = node.Close() }) // it has ended
	defer stop()
	var answers sync.WaitGroup
	defer answers.Wait()
	defer func() { _ = node.Close() }() // it has ended
	answers.Go(func() {
		defer cancel()
		buffer := make([]byte, maxDatagram)
		for {
			n, err := node.Read(buffer)
			if err != nil {
				if ctx.Err() == nil {
					route.failures.Add(1)
				}
				return
			}
			one.touch()
			// A client that has gone is found out by its silence.
			_, _ = f.socket.WriteToUDPAddrPort(buffer[:n], one.client)
		}
	})
	f.send(ctx, one, node)
}

// send passes on what the client says.
func (f *flows) send(ctx context.Context, one *flow, node io.Writer) {
	idle := time.NewTimer(f.idle)
	defer idle.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case datagram := <-one.queue:
			one.touch()
			if _, err := node.Write(datagram); err != nil {
				return
			}
		case <-idle.C:
			left := f.idle - one.silent()
			if left <= 0 {
				return
			}
			idle.Reset(left)
		}
	}
}
