package app

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/clock"

	"github.com/loam-cloud/loam/controllers/shoot/ports"
	"github.com/loam-cloud/loam/machines/container"
	"github.com/loam-cloud/loam/shoots/doctor/collect"
	"github.com/loam-cloud/loam/shoots/forward"
)

// PortsConfig says how ports of this host lead to services of clusters.
type PortsConfig struct {
	// Address is the one of this host that ports are opened on; empty means
	// loopback.
	Address string
	// Way is how nodes are reached, one of PortWays; empty means the first.
	Way string
}

// PortWays lists the values of PortsConfig.Way.
func PortWays() []string { return forward.Ways() }

func (c PortsConfig) validate(path *field.Path) field.ErrorList {
	var problems field.ErrorList
	if address, err := netip.ParseAddr(c.Address); c.Address != "" && (err != nil || address.Zone() != "") {
		problems = append(problems, field.Invalid(path.Child("address"), c.Address, "must be an IP address of this host, or 0.0.0.0 for all"))
	}
	if c.Way != "" && !slices.Contains(PortWays(), c.Way) {
		problems = append(problems, field.NotSupported(path.Child("way"), c.Way, PortWays()))
	}
	return problems
}

// controller makes the one that keeps ports of this host open for a seed.
func (c PortsConfig) controller(seed string, driver *container.Driver) *ports.Reconciler {
	listen := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if c.Address != "" {
		listen, _ = netip.ParseAddr(c.Address) // it was validated
	}
	way := forward.WayAuto
	if c.Way != "" {
		way = forward.Way(c.Way)
	}
	return &ports.Reconciler{
		Machines: driver,
		Config:   ports.Config{SeedName: seed, Listen: listen, Advertise: advertised(listen)},
		Forward: forward.New(forward.Config{
			Dialer: &forward.Reach{Way: way, Guest: driver, Clock: clock.RealClock{}},
			Holder: func(at netip.AddrPort, protocol corev1.Protocol) string {
				// Who cannot be seen is not named.
				holder, _ := collect.Holder(at, strings.ToLower(string(protocol)))
				return holder
			},
		}),
	}
}

// advertised is the address that others take for one that is listened on.
func advertised(listen netip.Addr) netip.Addr {
	if !listen.IsUnspecified() {
		return listen
	}
	// No packet is sent: the kernel only chooses the address that it would send one
	// from (192.0.2.0/24 is for documentation, RFC 5737).
	if conn, err := net.Dial("udp4", "192.0.2.1:9"); err == nil {
		defer func() { _ = conn.Close() }() // nothing was sent
		if own, err := netip.ParseAddrPort(conn.LocalAddr().String()); err == nil {
			return own.Addr()
		}
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}
