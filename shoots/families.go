package shoots

import (
	"math/big"
	"net/netip"
	"strings"

	"github.com/loam-cloud/loam/machines"
)

// Lengths of a node's subnets (the defaults of the controller manager's
// --node-cidr-mask-size-ipv4 and -ipv6).
const (
	nodeSubnetBits  = 24
	nodeSubnet6Bits = 64
)

// podRanges are those of the cluster's pods, that of the first family first; none if
// one of them is no range.
func (c *Cluster) podRanges() []netip.Prefix {
	var ranges []netip.Prefix
	for text := range strings.SplitSeq(c.PodCIDR, ",") {
		one, err := netip.ParsePrefix(text)
		if err != nil {
			return nil
		}
		ranges = append(ranges, one.Masked())
	}
	return ranges
}

// families tells which families of addresses the cluster has.
func (c *Cluster) families() (ipv4, ipv6 bool) {
	for _, r := range c.podRanges() {
		ipv4, ipv6 = ipv4 || r.Addr().Is4(), ipv6 || r.Addr().Is6()
	}
	return ipv4, ipv6
}

// addresses are those of a machine that the cluster has a use for, in the order of its
// families.
func (c *Cluster) addresses(m machines.Machine) []netip.Addr {
	var used []netip.Addr
	for _, r := range c.podRanges() {
		for _, a := range m.Addresses {
			if a.Is4() == r.Addr().Is4() {
				used = append(used, a)
				break
			}
		}
	}
	if len(used) == 0 {
		return m.Addresses
	}
	return used
}

// subnets are those of a control plane's node, by its place, one of each family: the
// ones that a controller manager might give to it too. There are none where Loam has
// no say in that.
func (c *Cluster) subnets(place int) []netip.Prefix {
	var subnets []netip.Prefix
	for _, pods := range c.podRanges() {
		bits := nodeSubnetBits
		if pods.Addr().Is6() {
			bits = nodeSubnet6Bits
		}
		parts := bits - pods.Bits()
		if !c.DefaultNetwork || parts < 0 || parts < 31 && place >= 1<<parts {
			return nil
		}
		subnets = append(subnets, part(pods, bits, place))
	}
	return subnets
}

// part is one of the parts of a range that are so many bits long.
func part(whole netip.Prefix, bits, place int) netip.Prefix {
	first := new(big.Int).SetBytes(whole.Addr().AsSlice())
	first.Add(first, new(big.Int).Lsh(big.NewInt(int64(place)), uint(whole.Addr().BitLen()-bits)))
	address, _ := netip.AddrFromSlice(first.FillBytes(whole.Addr().AsSlice())) // it is as long as before
	return netip.PrefixFrom(address, bits)
}
