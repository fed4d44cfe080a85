// Package ports decides which ports of this host lead to the services of a
// cluster, and explains each in a line. The follower of a cluster asks it after
// every change; the command line asks it when no garden runs.
//
// It must not listen, dial or ask: what there is comes in, what there should be
// goes out.
package ports

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/loam-cloud/loam/shoots"
)

// View is what is known of a cluster.
type View struct {
	Services []*corev1.Service
	Slices   []*discoveryv1.EndpointSlice
	Nodes    []*corev1.Node
	// EndpointsUnknown says that Slices are not known: any node may answer then.
	EndpointsUnknown bool
	// Mappings are asked for beside the services.
	Mappings []Mapping
	// Published are the ports that the container engine leads to nodes.
	Published []Published
	// Listen is the address of this host that ports of services are opened on.
	Listen netip.Addr
}

// Mapping is a port of this host that is to lead to a port of any node.
type Mapping struct {
	// ID is that of its line.
	ID     string
	Listen netip.Addr
	// Host is a free port when zero.
	Host, Node uint16
	Protocol   corev1.Protocol
}

// Published is a port that leads to one node and is the container engine's.
type Published struct {
	// Hostname is the name of the node.
	Hostname string
	Host     netip.AddrPort
	Port     uint16
	Protocol corev1.Protocol
}

// Kind says why there is a line.
type Kind string

// Kinds of lines.
const (
	// KindService is a port of a service.
	KindService Kind = "Service"
	// KindMapping is a port that somebody asked for.
	KindMapping Kind = "Mapping"
	// KindPublished is a port that a node's container was made with.
	KindPublished Kind = "Published"
)

// Line explains one way from this host into a cluster, or why there is none.
type Line struct {
	// ID is the same over changes and restarts, and unique in a cluster.
	ID   string `json:"id"`
	Kind Kind   `json:"kind"`
	// Namespace and Name are those of the service; empty when none answers.
	Namespace string             `json:"namespace,omitempty"`
	Name      string             `json:"name,omitempty"`
	Type      corev1.ServiceType `json:"type,omitempty"`
	// Port is the service's, NodePort the nodes'.
	Port     uint16          `json:"port,omitempty"`
	NodePort uint16          `json:"nodePort,omitempty"`
	Protocol corev1.Protocol `json:"protocol,omitempty"`
	// Address is that on this host.
	Address   netip.AddrPort `json:"address,omitzero"`
	Reachable bool           `json:"reachable"`
	// Note is why it is not reachable, or not where one would look for it.
	Note string `json:"note,omitempty"`
	// Nodes answer, in the order in which they are tried.
	Nodes []string `json:"nodes,omitempty"`
}

// Title names what a line is about.
func (l Line) Title() string {
	switch {
	case l.Name != "":
		return l.Namespace + "/" + l.Name
	case l.Kind == KindPublished && l.NodePort == shoots.APIServerPort:
		return "API server"
	case l.Kind == KindPublished:
		return fmt.Sprintf("port %d of node %s", l.NodePort, strings.Join(l.Nodes, ","))
	}
	return fmt.Sprintf("port %d of any node", l.NodePort)
}

// Backend is a node that answers.
type Backend struct {
	Node    string
	Address netip.AddrPort
}

// Want is a line together with what is to listen for it.
type Want struct {
	Line
	// Listen is not valid when nothing is to listen.
	Listen netip.Addr
	// Preferred is the port to listen on, any when zero. Fixed says that no other
	// will do.
	Preferred uint16
	Fixed     bool
	// Kept is where it was before; it is taken again when it is free.
	Kept netip.AddrPort
	// Backends are tried in this order; without any, connections are refused.
	Backends []Backend
}

// Decide lists what there should be, services by their names before mappings
// before what the container engine publishes.
func Decide(v View) []Want {
	nodes := readNodes(v.Nodes)
	endpoints := readSlices(v.Slices)
	services := slices.SortedFunc(slices.Values(v.Services), func(a, b *corev1.Service) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	d := decision{view: v, nodes: nodes, behind: map[target]*Want{}}
	for _, s := range services {
		for _, p := range s.Spec.Ports {
			d.service(s, p, endpoints[name{s.Namespace, s.Name}])
		}
		if len(s.Spec.Ports) == 0 {
			d.add(Want{Line: Line{ID: serviceID(s, corev1.ServicePort{}), Kind: KindService, Namespace: s.Namespace, Name: s.Name, Type: s.Spec.Type, Note: outside(s)}})
		}
	}
	for _, m := range v.Mappings {
		d.mapping(m)
	}
	for _, p := range v.Published {
		d.published(p)
	}
	return d.wants
}

type name struct{ namespace, name string }

// target is what is asked of nodes.
type target struct {
	port     uint16
	protocol corev1.Protocol
}

type decision struct {
	view  View
	nodes []node
	wants []Want
	// behind are the services of node ports.
	behind map[target]*Want
}

func (d *decision) add(w Want) {
	for _, b := range w.Backends {
		w.Nodes = append(w.Nodes, b.Node)
	}
	d.wants = append(d.wants, w)
}

func serviceID(s *corev1.Service, p corev1.ServicePort) string {
	return fmt.Sprintf("service/%s/%s/%d/%s", s.Namespace, s.Name, p.Port, cmp.Or(p.Protocol, corev1.ProtocolTCP))
}

// outside says why a service without ports has none.
func outside(s *corev1.Service) string {
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		return fmt.Sprintf("it is a name for %s, outside of the cluster", s.Spec.ExternalName)
	}
	return "it has no port"
}

func (d *decision) service(s *corev1.Service, p corev1.ServicePort, all []endpoint) {
	w := Want{Line: Line{
		ID: serviceID(s, p), Kind: KindService, Namespace: s.Namespace, Name: s.Name, Type: s.Spec.Type,
		Port: uint16(p.Port), NodePort: uint16(p.NodePort), Protocol: cmp.Or(p.Protocol, corev1.ProtocolTCP),
	}}
	defer func() { d.add(w) }()
	switch {
	case s.Spec.Type == corev1.ServiceTypeExternalName:
		w.Note = outside(s)
		return
	case s.Spec.Type != corev1.ServiceTypeNodePort && s.Spec.Type != corev1.ServiceTypeLoadBalancer:
		w.Note = "inside the cluster only: it is of type ClusterIP"
		return
	case p.NodePort == 0:
		w.Note = "it has no node port: allocateLoadBalancerNodePorts is false"
		return
	case w.Protocol == corev1.ProtocolSCTP:
		w.Note = "SCTP is not carried"
		return
	}
	w.Listen, w.Preferred = d.view.Listen, w.NodePort
	if Ours(s) {
		w.Preferred = w.Port
	}
	local := s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
	ready, known := readyNodes(all, p)
	w.Backends = d.backends(w.NodePort, familyOf(s), func(n node) bool { return ready[n.name] }, local)
	switch {
	case d.view.EndpointsUnknown:
	case known == 0:
		w.Note = "no pod is behind it"
	case len(ready) == 0:
		w.Note = fmt.Sprintf("no endpoint is ready, of %d", known)
	case len(w.Backends) == 0:
		w.Note = "no node that could answer is ready"
	}
	if len(ready) == 0 && !d.view.EndpointsUnknown {
		w.Backends = nil
	}
	d.behind[target{w.NodePort, w.Protocol}] = &w
	for _, published := range d.view.Published {
		if published.Port == w.NodePort && published.Protocol == w.Protocol && published.Host.Port() == w.Preferred && covers(published.Host.Addr(), w.Listen) {
			// The engine listens there already.
			w.Listen, w.Address, w.Reachable = netip.Addr{}, reachAt(published.Host), len(w.Backends) > 0
		}
	}
}

// familyOf is the one that nodes answer for a service in: a service of one family is
// not at the addresses of the other.
func familyOf(s *corev1.Service) corev1.IPFamily {
	if len(s.Spec.IPFamilies) == 0 {
		return ""
	}
	return s.Spec.IPFamilies[0]
}

// backends lists nodes that answer a port: those with an endpoint first, since
// others pass on to them.
func (d *decision) backends(port uint16, family corev1.IPFamily, has func(node) bool, local bool) []Backend {
	var first, then []Backend
	for _, n := range d.nodes {
		b := Backend{Node: n.name, Address: netip.AddrPortFrom(n.address(family), port)}
		switch {
		case !n.ready:
		case has(n):
			first = append(first, b)
		case !local:
			then = append(then, b)
		}
	}
	return append(first, then...)
}

func (d *decision) mapping(m Mapping) {
	protocol := cmp.Or(m.Protocol, corev1.ProtocolTCP)
	w := Want{
		Line:   Line{ID: m.ID, Kind: KindMapping, NodePort: m.Node, Protocol: protocol},
		Listen: m.Listen, Preferred: m.Host, Fixed: m.Host != 0,
	}
	switch behind := d.behind[target{m.Node, protocol}]; {
	case protocol == corev1.ProtocolSCTP:
		w.Listen, w.Note = netip.Addr{}, "SCTP is not carried"
	case behind != nil:
		w.Namespace, w.Name, w.Type, w.Port = behind.Namespace, behind.Name, behind.Type, behind.Port
		w.Backends, w.Note = behind.Backends, behind.Note
	default:
		// A pod may have the port on a node without any service.
		w.Backends = d.backends(m.Node, "", func(node) bool { return true }, false)
		w.Note = "no service has this node port: whatever listens on a node answers"
	}
	d.add(w)
}

func (d *decision) published(p Published) {
	line := Line{
		ID: fmt.Sprintf("published/%s/%s/%s", p.Hostname, p.Host, p.Protocol), Kind: KindPublished,
		NodePort: p.Port, Protocol: p.Protocol, Address: reachAt(p.Host), Nodes: []string{p.Hostname},
	}
	at := slices.IndexFunc(d.nodes, func(n node) bool { return n.name == p.Hostname })
	line.Reachable = at >= 0 && d.nodes[at].ready
	if !line.Reachable {
		line.Note = fmt.Sprintf("node %s is not ready", p.Hostname)
	}
	if behind := d.behind[target{p.Port, p.Protocol}]; behind != nil {
		line.Namespace, line.Name, line.Type, line.Port = behind.Namespace, behind.Name, behind.Type, behind.Port
		if len(behind.Backends) == 0 {
			line.Reachable, line.Note = false, behind.Note
		}
	}
	d.wants = append(d.wants, Want{Line: line})
}

// covers tells whether who listens at an address answers at the other.
func covers(listening, asked netip.Addr) bool {
	return listening == asked || listening.IsUnspecified()
}

// reachAt is where this host itself reaches what listens at an address.
func reachAt(a netip.AddrPort) netip.AddrPort {
	switch {
	case !a.Addr().IsUnspecified():
		return a
	case a.Addr().Is4():
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), a.Port())
	}
	return netip.AddrPortFrom(netip.IPv6Loopback(), a.Port())
}
