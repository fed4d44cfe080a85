package container

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/loam-cloud/loam/fault"
)

// labelWithout6 is that of a network which was to have IPv6 and could not: it holds
// the daemon's reason.
const labelWithout6 = "loam.dev/without-ipv6"

// createBridge makes the network with IPv6, and where daemon or kernel have none
// without: clusters of IPv4 need none.
func (d *Driver) createBridge(ctx context.Context, subnet, subnet6 netip.Prefix) error {
	labels := map[string]string{LabelInstance: d.instance}
	options := client.NetworkCreateOptions{
		Driver: "bridge", EnableIPv6: new(true), IPAM: &network.IPAM{Config: []network.IPAMConfig{pool(subnet), pool(subnet6)}}, Labels: labels,
	}
	_, with := d.client.NetworkCreate(ctx, d.instance, options)
	// A conflict is with another process, and a range of IPv4 that is taken stays so.
	if with == nil || errdefs.IsConflict(with) || errdefs.IsPermissionDenied(with) || client.IsErrConnectionFailed(with) || ctx.Err() != nil {
		return with
	}
	options.EnableIPv6, options.IPAM.Config = nil, options.IPAM.Config[:1]
	labels[labelWithout6] = with.Error()
	_, err := d.client.NetworkCreate(ctx, d.instance, options)
	return err
}

// pool has the daemon give containers that ask for no address one of a part where no
// machine has any: machines have theirs from below, and find them free when they come
// back.
func pool(subnet netip.Prefix) network.IPAMConfig {
	return network.IPAMConfig{Subnet: subnet, Gateway: subnet.Addr().Next(), IPRange: others(subnet)}
}

// others is the upper half of a range of IPv4. Of one of IPv6 it is what comes after as
// many addresses as there are of IPv4: some daemons cannot count to the upper half.
func others(subnet netip.Prefix) netip.Prefix {
	bit := subnet.Bits()
	if subnet.Addr().Is6() {
		bit = 95
	}
	first := subnet.Masked().Addr().AsSlice()
	first[bit/8] |= 0x80 >> (bit % 8)
	address, _ := netip.AddrFromSlice(first)
	return netip.PrefixFrom(address, bit+1)
}

// localRange is a range of addresses that nobody else is likely to have: 40 bits of
// chance after fd, as RFC 4193 (section 3.2) wants them.
func (d *Driver) localRange() netip.Prefix {
	chance := sha256.Sum256([]byte(d.instance + rand.Text()))
	first := [16]byte{0: 0xfd}
	copy(first[1:6], chance[:])
	return netip.PrefixFrom(netip.AddrFrom16(first), 64)
}

// withoutIPv6 is the fault of a machine that needs what its network has not got.
func (d *Driver) withoutIPv6(net bridge) error {
	if net.without6 != "" {
		return fault.New(fault.Invalid, "its network %q has no IPv6, since the container engine could not make one that has (%s): "+
			"give the kernel IPv6, delete all clusters of this host, with which the network goes, and create this one again; or make it a cluster of IPv4", d.instance, net.without6)
	}
	return fault.New(fault.Invalid, "its network %q has no IPv6, as it was made before Loam gave networks any: "+
		"delete all clusters of this host, with which the network goes, and create this one again; or make it a cluster of IPv4", d.instance)
}

// beside is the IPv6 address that goes with an IPv4 one: it has the same place in its
// range. It is not valid on a network without IPv6.
func (b bridge) beside(address netip.Addr) netip.Addr {
	if !b.subnet6.IsValid() {
		return netip.Addr{}
	}
	own, first := address.As4(), b.subnet.Masked().Addr().As4()
	place := binary.BigEndian.Uint32(own[:]) - binary.BigEndian.Uint32(first[:])
	beside := b.subnet6.Masked().Addr().As16()
	binary.BigEndian.PutUint32(beside[12:], place)
	return netip.AddrFrom16(beside)
}

// has tells whether an address is one of the network's.
func (b bridge) has(address netip.Addr) bool {
	return b.subnet.Contains(address) || b.subnet6.IsValid() && b.subnet6.Contains(address)
}

// ranges names those of the network.
func (b bridge) ranges() string {
	if !b.subnet6.IsValid() {
		return b.subnet.String() + " and no IPv6"
	}
	return b.subnet.String() + " and " + b.subnet6.String()
}

// endpoint asks the daemon for the addresses of a machine.
func (p *placement) endpoint() *network.EndpointIPAMConfig {
	return &network.EndpointIPAMConfig{IPv4Address: p.address, IPv6Address: p.address6}
}
