package forward

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/shoots/ports"
)

// Way is how nodes are reached from this host.
type Way string

const (
	// WayAuto asks each node whether its address can be reached, and goes through
	// its machine when it cannot.
	WayAuto Way = "auto"
	// WayDirect goes to addresses of nodes only.
	WayDirect Way = "direct"
	// WayRelay goes through machines only.
	WayRelay Way = "relay"
)

// Ways lists all.
func Ways() []string { return []string{string(WayAuto), string(WayDirect), string(WayRelay)} }

const (
	// kubeletPort is where every node answers, or refuses at once.
	kubeletPort = 10250
	// probeLimit bounds the question whether an address can be reached: nodes are
	// on this host, or as near.
	probeLimit = time.Second
	// probeAgain is how long an address that could not be reached is taken not to
	// be.
	probeAgain = time.Minute
)

// Reach connects to nodes by their addresses, or by a relay inside of their
// machines where addresses do not lead to them.
type Reach struct {
	Way   Way
	Guest machines.Guest
	Clock clock.PassiveClock

	mu sync.Mutex
	// unreachable are addresses that could not be reached, with when that was;
	// reachable those that could.
	unreachable map[netip.Addr]time.Time
	reachable   map[netip.Addr]bool
}

// Dial implements Dialer.
func (r *Reach) Dial(ctx context.Context, c Cluster, protocol corev1.Protocol, to ports.Backend) (io.ReadWriteCloser, error) {
	if !r.direct(ctx, to.Address.Addr()) {
		machine, known := c.Machines[to.Node]
		if !known {
			return nil, fault.New(fault.Waiting, "node %q has no machine of cluster %q", to.Node, c.Title)
		}
		return relay(ctx, r.Guest, c.ID, machine, protocol, to.Address)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, strings.ToLower(string(protocol)), to.Address.String())
	if err != nil {
		if !errors.Is(err, syscall.ECONNREFUSED) {
			// It may have gone elsewhere: ask again the next time.
			r.forget(to.Address.Addr())
		}
		return nil, fault.Wrap(fault.Transient, err)
	}
	return conn, nil
}

// direct tells whether an address leads to its node.
func (r *Reach) direct(ctx context.Context, address netip.Addr) bool {
	if r.Way != WayAuto {
		return r.Way == WayDirect
	}
	r.mu.Lock()
	yes, since := r.reachable[address], r.unreachable[address]
	r.mu.Unlock()
	if yes || !since.IsZero() && r.Clock.Since(since) < probeAgain {
		return yes
	}
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", netip.AddrPortFrom(address, kubeletPort).String())
	if err == nil {
		_ = conn.Close()
	}
	yes = err == nil || errors.Is(err, syscall.ECONNREFUSED)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reachable == nil {
		r.reachable, r.unreachable = map[netip.Addr]bool{}, map[netip.Addr]time.Time{}
	}
	delete(r.unreachable, address)
	if yes {
		r.reachable[address] = true
	} else {
		r.unreachable[address] = r.Clock.Now()
	}
	return yes
}

func (r *Reach) forget(address netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.reachable, address)
}
