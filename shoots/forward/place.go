package forward

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"

	corev1 "k8s.io/api/core/v1"

	"github.com/loam-cloud/loam/shoots/ports"
)

// Free ports lie below the range from which kernels take ports for outgoing
// connections (32768 and up on Linux), and are not node ports (30000 to 32767):
// the same range as of ports that machines are published at.
const (
	firstFree = 20000
	freeCount = 10000
)

var errNobody = errors.New("no node answers")

// place finds the port of a listener and opens it: where it was before, else
// where it should be, else a free one.
func (f *Forwarder) place(l *listener, reserved []Binding, w ports.Want) ports.Outcome {
	preferred := netip.AddrPortFrom(w.Listen, w.Preferred)
	if w.Kept.IsValid() && w.Kept.Addr() == w.Listen && w.Kept != preferred && !w.Fixed && f.try(l, w.Kept, reserved) == nil {
		o := ports.Outcome{Address: w.Kept}
		if w.Preferred != 0 {
			o.Problem = fmt.Sprintf("port %d of this host was taken when this one was chosen", w.Preferred)
		}
		return o
	}
	var o ports.Outcome
	if w.Preferred != 0 {
		err := f.try(l, preferred, reserved)
		if err == nil {
			return ports.Outcome{Address: preferred}
		}
		o = f.refused(preferred, l.protocol, err)
	}
	if w.Fixed {
		return o
	}
	// A random beginning keeps two processes from choosing the same.
	for i, begin := 0, rand.IntN(freeCount); i < freeCount; i++ {
		at := netip.AddrPortFrom(w.Listen, uint16(firstFree+(begin+i)%freeCount))
		err := f.try(l, at, reserved)
		if err == nil {
			o.Address = at
			return o
		}
		if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EMFILE) {
			return f.refused(at, l.protocol, err) // no other port will do better
		}
	}
	if o.Holder == "" && o.Problem == "" {
		o.Problem = fmt.Sprintf("no port from %d to %d of %s is free", firstFree, firstFree+freeCount-1, w.Listen)
	}
	return o
}

// heldError says who has a port.
type heldError struct{ holder string }

func (e heldError) Error() string { return "held by " + e.holder }

// try opens a port, and begins to serve it.
func (f *Forwarder) try(l *listener, at netip.AddrPort, reserved []Binding) error {
	for _, other := range f.open {
		if b := (Binding{other.address, other.protocol, other.holder}); b.overlaps(at, l.protocol) {
			return heldError{b.Holder}
		}
	}
	for _, b := range reserved {
		if b.overlaps(at, l.protocol) {
			return heldError{b.Holder}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var err error
	if l.protocol == corev1.ProtocolUDP {
		err = l.listenUDP(ctx, at)
	} else {
		err = l.listenTCP(ctx, at)
	}
	if err != nil {
		cancel()
		return err
	}
	l.address, l.cancel = at, cancel
	return nil
}

// refused says why a port could not be opened.
func (f *Forwarder) refused(at netip.AddrPort, protocol corev1.Protocol, err error) ports.Outcome {
	var held heldError
	switch {
	case errors.As(err, &held):
		return ports.Outcome{Holder: held.holder}
	case errors.Is(err, syscall.EADDRINUSE):
		holder := ""
		if f.config.Holder != nil {
			holder = f.config.Holder(at, protocol)
		}
		if holder == "" {
			holder = "another program"
		}
		return ports.Outcome{Holder: holder}
	case errors.Is(err, syscall.EACCES):
		return ports.Outcome{Problem: fmt.Sprintf("the garden's user may not listen on port %d", at.Port())}
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return ports.Outcome{Problem: fmt.Sprintf("this host has no address %s", at.Addr())}
	}
	return ports.Outcome{Problem: err.Error()}
}

// family is the network of an address, by its name in package net: an address
// that stands for all of its family would else stand for both.
func family(protocol string, at netip.AddrPort) string {
	if at.Addr().Is4() {
		return protocol + "4"
	}
	return protocol + "6"
}

func (l *listener) listenTCP(ctx context.Context, at netip.AddrPort) error {
	listening, err := net.ListenTCP(family("tcp", at), net.TCPAddrFromAddrPort(at))
	if err != nil {
		return err
	}
	l.done.Go(func() { l.acceptAll(ctx, listening) })
	return nil
}

func (l *listener) listenUDP(ctx context.Context, at netip.AddrPort) error {
	listening, err := net.ListenUDP(family("udp", at), net.UDPAddrFromAddrPort(at))
	if err != nil {
		return err
	}
	l.done.Go(func() { (&flows{listener: l, socket: listening, known: map[netip.AddrPort]*flow{}}).receiveAll(ctx) })
	return nil
}
