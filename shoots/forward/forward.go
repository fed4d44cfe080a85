// Package forward listens on this host and leads what comes to the nodes of
// clusters: TCP connections and UDP flows. One Forwarder serves all clusters of a
// process, so that it can say which of them has a port already; the followers of
// clusters tell it what there should be.
//
// It must not know services: what to listen on and who answers is told to it by
// package ports.
package forward

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/loam-cloud/loam/shoots/ports"
)

// Bounds of what a forwarder holds at once. A connection costs two goroutines
// and, where the kernel cannot pass bytes on by itself, 64 KiB; a flow costs 64
// KiB. Whoever comes beyond them waits (TCP) or is dropped (UDP).
const (
	maxConnections   = 2048
	maxFlows         = 512
	maxListenerFlows = 128
	// DefaultIdle ends UDP flows that were silent for so long: more than the 30 s
	// after which kernels forget them.
	DefaultIdle = time.Minute
)

// Cluster is whose ports are served.
type Cluster struct {
	// ID is the cluster's name on the machine driver.
	ID string
	// Title is what users call it.
	Title string
	// Machines are the driver's names of nodes, by the nodes' own names.
	Machines map[string]string
	// Reserved are ports of the host that somebody has who does not listen now.
	Reserved []Binding
}

// Binding is a port of the host that somebody has.
type Binding struct {
	Address  netip.AddrPort
	Protocol corev1.Protocol
	// Holder is who has it, as a user would say it.
	Holder string
}

func (b Binding) overlaps(at netip.AddrPort, protocol corev1.Protocol) bool {
	if b.Address.Port() != at.Port() || b.Protocol != protocol {
		return false
	}
	return b.Address.Addr() == at.Addr() || b.Address.Addr().IsUnspecified() || at.Addr().IsUnspecified()
}

// Dialer connects to a node. What is read from and written to the connection of
// a UDP flow are whole datagrams.
type Dialer interface {
	Dial(ctx context.Context, c Cluster, protocol corev1.Protocol, to ports.Backend) (io.ReadWriteCloser, error)
}

// Config is what a forwarder is told once.
type Config struct {
	Dialer Dialer
	// Holder names the program that has a port of this host; empty when that
	// cannot be seen. It may be nil.
	Holder func(at netip.AddrPort, protocol corev1.Protocol) string
	// Idle is how long a UDP flow may be silent; zero means DefaultIdle.
	Idle time.Duration
}

// Forwarder listens for clusters.
type Forwarder struct {
	config      Config
	connections chan struct{}
	tokens      chan struct{} // of UDP flows

	mu     sync.Mutex
	open   map[key]*listener
	closed bool
}

// key identifies a listener.
type key struct{ cluster, id string }

// New makes a forwarder that listens on nothing yet. Whoever made it closes it.
func New(c Config) *Forwarder {
	if c.Idle == 0 {
		c.Idle = DefaultIdle
	}
	return &Forwarder{
		config: c, open: map[key]*listener{},
		connections: make(chan struct{}, maxConnections), tokens: make(chan struct{}, maxFlows),
	}
}

// listener is one port that is open.
type listener struct {
	holder   string
	address  netip.AddrPort
	protocol corev1.Protocol
	// outcome is what its maker was told.
	outcome ports.Outcome
	route   atomic.Pointer[route]
	cancel  context.CancelFunc
	// idle is how long flows may be silent.
	idle time.Duration
	// done waits for all goroutines of it.
	done sync.WaitGroup
	*Forwarder
}

// route is who answers.
type route struct {
	cluster  Cluster
	backends []ports.Backend
	// failures move those that did not answer behind the others.
	failures atomic.Uint32
}

// Serve listens on what a cluster should have and on nothing else of it, and
// tells by the ids of lines what became of each. Ports that are open stay open,
// with their connections, and get the new backends.
func (f *Forwarder) Serve(c Cluster, wants []ports.Want) map[string]ports.Outcome {
	f.mu.Lock()
	defer f.mu.Unlock()
	outcomes := map[string]ports.Outcome{}
	if f.closed {
		return outcomes
	}
	wanted := map[key]bool{}
	for _, w := range wants {
		k := key{c.ID, w.ID}
		if l := f.open[k]; w.Listen.IsValid() && (l == nil || l.suits(w)) {
			wanted[k] = true
		}
	}
	// What goes makes room for what comes.
	f.closeAll(func(k key) bool { return k.cluster == c.ID && !wanted[k] })
	// Those that had a port have it again, then come those that can have one only.
	for _, turn := range []func(ports.Want) bool{
		func(w ports.Want) bool { return w.Kept.IsValid() },
		func(w ports.Want) bool { return !w.Kept.IsValid() && w.Fixed },
		func(w ports.Want) bool { return !w.Kept.IsValid() && !w.Fixed },
	} {
		for _, w := range wants {
			if w.Listen.IsValid() && turn(w) {
				outcomes[w.ID] = f.serve(c, w)
			}
		}
	}
	return outcomes
}

func (l *listener) suits(w ports.Want) bool {
	return l.protocol == w.Protocol && l.address.Addr() == w.Listen && (!w.Fixed || l.address.Port() == w.Preferred)
}

// serve opens one listener or leads the one that is open elsewhere.
func (f *Forwarder) serve(c Cluster, w ports.Want) ports.Outcome {
	k := key{c.ID, w.ID}
	l := f.open[k]
	if l == nil {
		l = &listener{
			holder: fmt.Sprintf("%s of cluster %q", w.Title(), c.Title), protocol: w.Protocol, idle: f.config.Idle, Forwarder: f,
		}
		l.route.Store(&route{cluster: c, backends: w.Backends})
		if l.outcome = f.place(l, c.Reserved, w); !l.outcome.Address.IsValid() {
			return l.outcome
		}
		f.open[k] = l
	}
	l.route.Store(&route{cluster: c, backends: w.Backends})
	return l.outcome
}

// Drop closes everything of a cluster.
func (f *Forwarder) Drop(cluster string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closeAll(func(k key) bool { return k.cluster == cluster })
}

// Close closes everything, and returns when nothing of it runs any more.
func (f *Forwarder) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.closeAll(func(key) bool { return true })
}

func (f *Forwarder) closeAll(which func(key) bool) {
	var closing []*listener
	maps.DeleteFunc(f.open, func(k key, l *listener) bool {
		if which(k) {
			closing = append(closing, l)
			l.cancel()
			return true
		}
		return false
	})
	for _, l := range closing {
		l.done.Wait()
	}
}

// connect asks the backends one after the other.
func (l *listener) connect(ctx context.Context) (io.ReadWriteCloser, *route, error) {
	r := l.route.Load()
	if len(r.backends) == 0 {
		return nil, r, errNobody
	}
	var problem error
	begin := int(r.failures.Load())
	for i := range r.backends {
		to := r.backends[(begin+i)%len(r.backends)]
		attempt, cancel := context.WithTimeout(ctx, dialLimit)
		conn, err := l.config.Dialer.Dial(attempt, r.cluster, l.protocol, to)
		cancel()
		if err == nil {
			return conn, r, nil
		}
		problem = err
		if ctx.Err() != nil {
			break
		}
		r.failures.Add(1)
	}
	return nil, r, problem
}

// dialLimit bounds the connection to one node.
const dialLimit = 5 * time.Second
