// Package hostport chooses and checks ports of the host that machines are
// published at. The container driver calls it while it creates a machine. It
// must not know containers: who holds which port is told to it.
package hostport

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
)

// Chosen ports lie below the range from which kernels take ports for outgoing
// connections (32768 and up on Linux): a connection of the host must not sit
// on the port of a machine that is switched off.
const (
	first = 20000
	count = 10000
)

// Binding is a port of the host that somebody holds.
type Binding struct {
	Address  netip.Addr
	Port     uint16
	Protocol machines.Protocol
	// Holder is who holds it, as a user would say it.
	Holder string
}

// overlaps tells whether both cannot be bound at once.
func (b Binding) overlaps(address netip.Addr, port uint16, protocol machines.Protocol) bool {
	if b.Port != port || b.Protocol != protocol {
		return false
	}
	return b.Address == address || b.Address.IsUnspecified() || address.IsUnspecified()
}

// Choose fills in what a machine's ports leave open: loopback as the address,
// TCP as the protocol, and a free port where none is named. Local says that the
// host is this one, so that other processes' ports can be tried. Faults:
// Invalid when a named port is taken, its address is not the host's or the
// kernel does not speak the protocol, Exhausted when no port is free.
func Choose(wanted []machines.Port, held []Binding, local bool) ([]machines.Port, error) {
	var chosen []machines.Port
	for _, port := range wanted {
		if !port.HostAddress.IsValid() {
			port.HostAddress = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
		if port.Protocol == "" {
			port.Protocol = machines.TCP
		}
		chosen = append(chosen, port)
	}
	// Named ports come first, so that none of the chosen ones takes theirs.
	var problems []error
	for _, port := range chosen {
		if local && port.Protocol == machines.SCTP && !speaksSCTP() {
			problems = append(problems, fmt.Errorf("port %d/SCTP cannot be published: this host's kernel does not speak SCTP (module sctp)", port.MachinePort))
			continue
		}
		if port.HostPort == 0 {
			continue
		}
		if err := check(port, held, local); err != nil {
			problems = append(problems, err)
		}
		held = append(held, binding(port))
	}
	if len(problems) > 0 {
		return nil, fault.Wrap(fault.Invalid, errors.Join(problems...))
	}
	for i, port := range chosen {
		if port.HostPort != 0 {
			continue
		}
		free, err := pick(port, held, local)
		if err != nil {
			return nil, err
		}
		chosen[i].HostPort = free
		held = append(held, binding(chosen[i]))
	}
	return chosen, nil
}

func binding(port machines.Port) Binding {
	return Binding{Address: port.HostAddress, Port: port.HostPort, Protocol: port.Protocol, Holder: "this machine itself"}
}

func check(port machines.Port, held []Binding, local bool) error {
	for _, b := range held {
		if b.overlaps(port.HostAddress, port.HostPort, port.Protocol) {
			return fmt.Errorf("host port %s is held by %s", text(port), b.Holder)
		}
	}
	if !local {
		return nil
	}
	err := try(port)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("host port %s is held by another process of this host: `ss -lnp` names it", text(port))
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("host port %s: this host has no address %s", text(port), port.HostAddress)
	}
	// Any other failure, as one of missing rights, says nothing about the
	// daemon's own chance.
	return nil
}

func pick(port machines.Port, held []Binding, local bool) (uint16, error) {
	// A random beginning keeps two processes from choosing the same.
	begin := rand.IntN(count)
	for i := range count {
		port.HostPort = uint16(first + (begin+i)%count)
		if check(port, held, local) == nil {
			return port.HostPort, nil
		}
	}
	return 0, fault.New(fault.Exhausted, "no port from %d to %d is free on %s", first, first+count-1, port.HostAddress)
}

// protocolSCTP is its number (IANA, protocol numbers).
const protocolSCTP = 132

// speaksSCTP asks the kernel: the container engine would only find out when the
// machine starts.
func speaksSCTP() bool {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, protocolSCTP)
	if err == nil {
		_ = syscall.Close(socket) // nothing was sent
	}
	return !errors.Is(err, syscall.EPROTONOSUPPORT)
}

// try binds the port for a moment. SCTP cannot be tried and counts as free.
func try(port machines.Port) error {
	address := net.JoinHostPort(port.HostAddress.String(), strconv.Itoa(int(port.HostPort)))
	switch port.Protocol {
	case machines.TCP:
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		return listener.Close()
	case machines.UDP:
		conn, err := net.ListenPacket("udp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	}
	return nil
}

func text(port machines.Port) string {
	return fmt.Sprintf("%s/%s", netip.AddrPortFrom(port.HostAddress, port.HostPort), port.Protocol)
}
