package hostport_test

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/machines/container/internal/hostport"
)

var loopback = netip.MustParseAddr("127.0.0.1")

func TestChooseFillsIn(t *testing.T) {
	ports, err := hostport.Choose([]machines.Port{
		{MachinePort: 80}, {MachinePort: 53, Protocol: machines.UDP}, {MachinePort: 81},
	}, nil, true)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[uint16]bool{}
	for i, port := range ports {
		if port.HostAddress != loopback || port.HostPort < 20000 || port.HostPort > 29999 {
			t.Errorf("ports[%d] = %+v, want loopback and a port below the outgoing range", i, port)
		}
		if port.Protocol == machines.TCP && seen[port.HostPort] {
			t.Errorf("ports[%d] = %+v was given away already", i, port)
		}
		seen[port.HostPort] = port.Protocol == machines.TCP
	}
	if ports[0].Protocol != machines.TCP || ports[1].Protocol != machines.UDP {
		t.Errorf("protocols of %+v", ports)
	}
}

// TestChooseSCTP accepts what the kernel can: one without SCTP is named at once.
func TestChooseSCTP(t *testing.T) {
	wanted := []machines.Port{{MachinePort: 9, Protocol: machines.SCTP}}
	if ports, err := hostport.Choose(wanted, nil, false); err != nil || ports[0].HostPort == 0 {
		t.Errorf("of another host's kernel nothing is known, and it gives %v, %v", ports, err)
	}
	ports, err := hostport.Choose(wanted, nil, true)
	switch {
	case err == nil && ports[0].HostPort == 0:
		t.Errorf("ports are %v", ports)
	case err != nil && (!errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "does not speak SCTP")):
		t.Errorf("error is %v", err)
	}
}

func TestChooseSparesHeldPorts(t *testing.T) {
	var held []hostport.Binding
	for port := 20000; port < 30000; port++ {
		if port != 23456 {
			held = append(held, hostport.Binding{Address: netip.IPv4Unspecified(), Port: uint16(port), Protocol: machines.TCP})
		}
	}
	ports, err := hostport.Choose([]machines.Port{{MachinePort: 80}}, held, false)
	if err != nil || ports[0].HostPort != 23456 {
		t.Errorf("got %+v, %v, want the one free port 23456", ports, err)
	}
	_, err = hostport.Choose([]machines.Port{{MachinePort: 80}, {MachinePort: 81}}, held, false)
	if !errors.Is(err, fault.Exhausted) {
		t.Errorf("got %v, want Exhausted", err)
	}
}

func TestChooseRefusesTakenPorts(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	busy := uint16(listener.Addr().(*net.TCPAddr).Port)
	held := []hostport.Binding{{Address: netip.IPv4Unspecified(), Port: 6443, Protocol: machines.TCP, Holder: `container "web"`}}
	tests := map[string]struct {
		port  machines.Port
		local bool
		want  string
	}{
		"container":        {machines.Port{HostPort: 6443}, true, `127.0.0.1:6443/TCP is held by container "web"`},
		"process":          {machines.Port{HostPort: busy}, true, "held by another process"},
		"process, remote":  {machines.Port{HostPort: busy}, false, ""},
		"other protocol":   {machines.Port{HostPort: 6443, Protocol: machines.UDP}, false, ""},
		"unknown address":  {machines.Port{HostPort: 6444, HostAddress: netip.MustParseAddr("203.0.113.1")}, true, "no address 203.0.113.1"},
		"all addresses":    {machines.Port{HostPort: 6443, HostAddress: netip.IPv4Unspecified()}, false, `0.0.0.0:6443/TCP is held`},
		"another v6 world": {machines.Port{HostPort: 6445, HostAddress: netip.IPv6Loopback()}, false, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := hostport.Choose([]machines.Port{test.port}, held, test.local)
			if test.want == "" {
				if err != nil {
					t.Errorf("got %v, want no error", err)
				}
				return
			}
			if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want Invalid with %q", err, test.want)
			}
		})
	}
}

func TestChooseReportsEveryPort(t *testing.T) {
	held := []hostport.Binding{
		{Address: loopback, Port: 1, Protocol: machines.TCP, Holder: "a"},
		{Address: loopback, Port: 2, Protocol: machines.TCP, Holder: "b"},
	}
	_, err := hostport.Choose([]machines.Port{{HostPort: 1}, {HostPort: 2}}, held, false)
	if err == nil || !strings.Contains(err.Error(), "held by a") || !strings.Contains(err.Error(), "held by b") {
		t.Errorf("got %v, want both ports named", err)
	}
}
