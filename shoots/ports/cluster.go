package ports

import (
	"cmp"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/loam-cloud/loam/machines"
)

// PublishedBy are the ports of machines that the container engine leads to them.
func PublishedBy(all []machines.Machine) []Published {
	var published []Published
	for _, m := range all {
		for _, p := range m.Ports {
			published = append(published, Published{
				Hostname: m.Hostname, Host: netip.AddrPortFrom(p.HostAddress, p.HostPort), Port: p.MachinePort,
				Protocol: corev1.Protocol(cmp.Or(p.Protocol, machines.TCP)),
			})
		}
	}
	return published
}

// node is what matters of a node here.
type node struct {
	name string
	// addresses are one of each family that the cluster has, the first one first.
	addresses []netip.Addr
	ready     bool
}

// address is the node's of a family, the first one where it is no matter or where the
// node has none of that.
func (n node) address(family corev1.IPFamily) netip.Addr {
	for _, a := range n.addresses {
		if a.Is6() == (family == corev1.IPv6Protocol) && family != "" {
			return a
		}
	}
	return n.addresses[0]
}

// readNodes leaves out nodes that have no address yet.
func readNodes(all []*corev1.Node) []node {
	var nodes []node
	for _, n := range all {
		one := node{name: n.Name}
		for _, a := range n.Status.Addresses {
			if address, err := netip.ParseAddr(a.Address); err == nil && a.Type == corev1.NodeInternalIP {
				one.addresses = append(one.addresses, address)
			}
		}
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady {
				one.ready = c.Status == corev1.ConditionTrue
			}
		}
		if len(one.addresses) > 0 {
			nodes = append(nodes, one)
		}
	}
	slices.SortFunc(nodes, func(a, b node) int { return cmp.Compare(a.name, b.name) })
	return nodes
}

// endpoint is one address behind a service, with the ports that it has.
type endpoint struct {
	node  string
	ready bool
	ports []discoveryv1.EndpointPort
}

func readSlices(all []*discoveryv1.EndpointSlice) map[name][]endpoint {
	found := map[name][]endpoint{}
	for _, s := range all {
		key := name{s.Namespace, s.Labels[discoveryv1.LabelServiceName]}
		for _, e := range s.Endpoints {
			one := endpoint{ports: s.Ports, ready: e.Conditions.Ready == nil || *e.Conditions.Ready}
			if e.NodeName != nil {
				one.node = *e.NodeName
			}
			found[key] = append(found[key], one)
		}
	}
	return found
}

// readyNodes are the nodes with an endpoint that serves a port; known counts
// endpoints whether they are ready or not. A service may have endpoints outside
// of the nodes, which are at the empty name.
func readyNodes(all []endpoint, port corev1.ServicePort) (ready map[string]bool, known int) {
	ready = map[string]bool{}
	for _, e := range all {
		if !slices.ContainsFunc(e.ports, func(p discoveryv1.EndpointPort) bool {
			name, protocol := "", corev1.ProtocolTCP
			if p.Name != nil {
				name = *p.Name
			}
			if p.Protocol != nil {
				protocol = *p.Protocol
			}
			return name == port.Name && protocol == cmp.Or(port.Protocol, corev1.ProtocolTCP)
		}) {
			continue
		}
		known++
		if e.ready {
			ready[e.node] = true
		}
	}
	return ready, known
}
