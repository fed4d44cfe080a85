package ports_test

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/nodeconfig/provider"
	"github.com/loam-cloud/loam/shoots/ports"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// view has a service "web" with one endpoint on node b, of three nodes of which
// the last is not ready.
func view(change func(*ports.View)) ports.View {
	v := ports.View{
		Listen:   loopback,
		Services: []*corev1.Service{service(corev1.ServiceTypeNodePort, 30080)},
		Slices:   []*discoveryv1.EndpointSlice{slice("web", endpoint("b", true))},
		Nodes:    []*corev1.Node{node("a", "10.0.0.1", true), node("b", "10.0.0.2", true), node("c", "10.0.0.3", false)},
	}
	if change != nil {
		change(&v)
	}
	return v
}

func service(kind corev1.ServiceType, nodePort int32) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
		Spec:       corev1.ServiceSpec{Type: kind, Ports: []corev1.ServicePort{{Port: 80, NodePort: nodePort, Protocol: corev1.ProtocolTCP}}},
	}
}

func slice(service string, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		Endpoints:  endpoints, Ports: []discoveryv1.EndpointPort{{Name: ptr.To(""), Protocol: ptr.To(corev1.ProtocolTCP), Port: ptr.To[int32](8080)}},
	}
}

func endpoint(node string, ready bool) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{NodeName: &node, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}
}

func node(name, address string, ready bool) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.NodeStatus{
		Addresses:  []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: name}, {Type: corev1.NodeInternalIP, Address: address}},
		Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: map[bool]corev1.ConditionStatus{true: corev1.ConditionTrue, false: corev1.ConditionFalse}[ready]}},
	}}
}

// TestFamilyOfService has a service answer at the addresses of its first family, and
// what has none at the first of each node.
func TestFamilyOfService(t *testing.T) {
	for name, tc := range map[string]struct {
		families []corev1.IPFamily
		want     string
	}{
		"IPv4":         {[]corev1.IPFamily{corev1.IPv4Protocol}, "10.0.0.2:30080 10.0.0.1:30080"},
		"IPv6":         {[]corev1.IPFamily{corev1.IPv6Protocol}, "[fd00::2]:30080 10.0.0.1:30080"},
		"both":         {[]corev1.IPFamily{corev1.IPv6Protocol, corev1.IPv4Protocol}, "[fd00::2]:30080 10.0.0.1:30080"},
		"nothing said": {nil, "10.0.0.2:30080 10.0.0.1:30080"},
	} {
		wants := ports.Decide(view(func(v *ports.View) {
			v.Services[0].Spec.IPFamilies = tc.families
			b := &v.Nodes[1].Status
			b.Addresses = append(b.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: "fd00::2"})
		}))
		var at []string
		for _, b := range wants[0].Backends {
			at = append(at, b.Address.String())
		}
		if got := strings.Join(at, " "); got != tc.want {
			t.Errorf("%s: backends are %s, want %s", name, got, tc.want)
		}
	}
}

// text is a want in a line: kind, who, where, nodes, note.
func text(w ports.Want) string {
	at := "nowhere"
	switch {
	case w.Listen.IsValid() && w.Fixed:
		at = "exactly " + netip.AddrPortFrom(w.Listen, w.Preferred).String()
	case w.Listen.IsValid():
		at = netip.AddrPortFrom(w.Listen, w.Preferred).String()
	case w.Address.IsValid():
		at = "published " + w.Address.String() + map[bool]string{true: " reachable"}[w.Reachable]
	}
	return strings.Join([]string{string(w.Kind), w.Title(), at, strings.Join(w.Nodes, ","), w.Note}, " | ")
}

func TestDecide(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*ports.View)
		want   []string
	}{
		"node with the endpoint first, then those that pass on": {nil, []string{"Service | default/web | 127.0.0.1:30080 | b,a | "}},
		"local traffic": {func(v *ports.View) {
			v.Services[0].Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
		}, []string{"Service | default/web | 127.0.0.1:30080 | b | "}},
		"local traffic on a node that is not ready": {func(v *ports.View) {
			v.Services[0].Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
			v.Slices[0].Endpoints = []discoveryv1.Endpoint{endpoint("c", true)}
		}, []string{"Service | default/web | 127.0.0.1:30080 |  | no node that could answer is ready"}},
		"nothing ready": {func(v *ports.View) {
			v.Slices[0].Endpoints = []discoveryv1.Endpoint{endpoint("a", false), endpoint("b", false)}
		},
			[]string{"Service | default/web | 127.0.0.1:30080 |  | no endpoint is ready, of 2"}},
		"nothing behind": {func(v *ports.View) { v.Slices = nil }, []string{"Service | default/web | 127.0.0.1:30080 |  | no pod is behind it"}},
		"another port's endpoints": {func(v *ports.View) { v.Slices[0].Ports[0].Name = ptr.To("other") },
			[]string{"Service | default/web | 127.0.0.1:30080 |  | no pod is behind it"}},
		"inside only": {func(v *ports.View) { v.Services[0] = service(corev1.ServiceTypeClusterIP, 0) },
			[]string{"Service | default/web | nowhere |  | inside the cluster only: it is of type ClusterIP"}},
		"a name outside": {func(v *ports.View) {
			v.Services[0].Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "example.org"}
		}, []string{"Service | default/web | nowhere |  | it is a name for example.org, outside of the cluster"}},
		"SCTP": {func(v *ports.View) { v.Services[0].Spec.Ports[0].Protocol = corev1.ProtocolSCTP },
			[]string{"Service | default/web | nowhere |  | SCTP is not carried"}},
		"balanced, at its own port": {func(v *ports.View) { v.Services[0].Spec.Type = corev1.ServiceTypeLoadBalancer },
			[]string{"Service | default/web | 127.0.0.1:80 | b,a | "}},
		"balanced by another": {func(v *ports.View) {
			v.Services[0].Spec.Type, v.Services[0].Spec.LoadBalancerClass = corev1.ServiceTypeLoadBalancer, ptr.To("other.example/lb")
		}, []string{"Service | default/web | 127.0.0.1:30080 | b,a | "}},
		"balanced without node port": {func(v *ports.View) { v.Services[0] = service(corev1.ServiceTypeLoadBalancer, 0) },
			[]string{"Service | default/web | nowhere |  | it has no node port: allocateLoadBalancerNodePorts is false"}},
		"mappings": {func(v *ports.View) {
			v.Mappings = []ports.Mapping{{ID: "x", Listen: loopback, Host: 8080, Node: 30080}, {ID: "y", Listen: loopback, Node: 31000, Protocol: corev1.ProtocolUDP}}
		}, []string{
			"Service | default/web | 127.0.0.1:30080 | b,a | ",
			"Mapping | default/web | exactly 127.0.0.1:8080 | b,a | ",
			"Mapping | port 31000 of any node | 127.0.0.1:0 | a,b | no service has this node port: whatever listens on a node answers",
		}},
		"published at the same port": {func(v *ports.View) {
			v.Published = []ports.Published{{Hostname: "b", Host: netip.MustParseAddrPort("0.0.0.0:30080"), Port: 30080, Protocol: corev1.ProtocolTCP}}
		}, []string{
			"Service | default/web | published 127.0.0.1:30080 reachable | b,a | ",
			"Published | default/web | published 127.0.0.1:30080 reachable | b | ",
		}},
		"published elsewhere, of a node that is not ready": {func(v *ports.View) {
			v.Published = []ports.Published{{Hostname: "c", Host: netip.MustParseAddrPort("127.0.0.1:9000"), Port: 9, Protocol: corev1.ProtocolTCP}}
		}, []string{
			"Service | default/web | 127.0.0.1:30080 | b,a | ",
			"Published | port 9 of node c | published 127.0.0.1:9000 | c | node c is not ready",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, w := range ports.Decide(view(tc.change)) {
				got = append(got, text(w))
			}
			if !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tc.want, "\n"))
			}
		})
	}
}

func TestExplain(t *testing.T) {
	want := ports.Decide(view(nil))[0]
	idle := want
	idle.Backends, idle.Note = nil, "no pod is behind it"
	at, other := netip.MustParseAddrPort("127.0.0.1:30080"), netip.MustParseAddrPort("127.0.0.1:20001")
	for name, tc := range map[string]struct {
		want      ports.Want
		outcome   ports.Outcome
		reachable bool
		note      string
	}{
		"where it should be":  {want, ports.Outcome{Address: at}, true, ""},
		"elsewhere":           {want, ports.Outcome{Address: other, Holder: "nginx (process 7)"}, true, "port 30080 of this host is taken by nginx (process 7)"},
		"nowhere":             {want, ports.Outcome{Problem: "this host has no address 10.9.9.9"}, false, "this host has no address 10.9.9.9"},
		"nobody answers":      {idle, ports.Outcome{Address: at}, false, "no pod is behind it"},
		"nobody, elsewhere":   {idle, ports.Outcome{Address: other, Holder: "nginx"}, false, "no pod is behind it"},
		"nobody, and nowhere": {idle, ports.Outcome{Holder: "nginx"}, false, "port 30080 of this host is taken by nginx"},
	} {
		line := tc.want.Explain(tc.outcome)
		if line.Reachable != tc.reachable || line.Note != tc.note || line.Address != tc.outcome.Address {
			t.Errorf("%s: %+v", name, line)
		}
	}
}

func TestIngress(t *testing.T) {
	line := func(port uint16, address string) ports.Line {
		l := ports.Line{Port: port, Protocol: corev1.ProtocolTCP}
		if address != "" {
			l.Address = netip.MustParseAddrPort(address)
		}
		return l
	}
	got := ports.Ingress([]ports.Line{line(80, "127.0.0.1:80"), line(81, "127.0.0.1:20000"), line(82, "")}, loopback)
	if len(got) != 1 || got[0].IP != "127.0.0.1" || *got[0].IPMode != corev1.LoadBalancerIPModeProxy || len(got[0].Ports) != 3 {
		t.Fatalf("the ingress is %+v", got)
	}
	for i, want := range []string{"", ports.ReasonOtherPort, ports.ReasonNotServed} {
		if reason := ptr.Deref(got[0].Ports[i].Error, ""); reason != want {
			t.Errorf("port %d says %q, want %q", i, reason, want)
		}
	}
	if got := ports.Ingress([]ports.Line{line(82, "")}, loopback); got != nil {
		t.Errorf("what is not served has ingress %+v", got)
	}
	s := service(corev1.ServiceTypeLoadBalancer, 30080)
	s.Status.LoadBalancer.Ingress = got
	if !ports.Ours(s) {
		t.Error("a service is not ours after we gave it an address")
	}
	s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "10.0.0.9"}}
	if ports.Ours(s) {
		t.Error("a service is ours that another gave an address")
	}
}

func TestMappingsAreToldApart(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range ports.MappingsOf([]provider.Port{
		{Container: 80, Protocol: "TCP"}, {Container: 80, Protocol: "TCP"}, {Container: 80, Protocol: "UDP"}, {Host: 8080, Container: 80, Protocol: "TCP"},
	}) {
		if seen[m.ID] || m.Listen != loopback {
			t.Errorf("%+v", m)
		}
		seen[m.ID] = true
	}
}

func TestRecord(t *testing.T) {
	lines := []ports.Line{{ID: "a", Kind: ports.KindService, Address: netip.MustParseAddrPort("[::1]:80"), Reachable: true}, {ID: "b", Note: "why"}}
	data, err := ports.Write(lines)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ports.Read(data); err != nil || !reflect.DeepEqual(got, lines) {
		t.Errorf("read %+v, %v", got, err)
	}
	if _, err := ports.Read(map[string]string{"ports.json": "{"}); err == nil {
		t.Error("what is broken is read")
	}
}

func TestUnattended(t *testing.T) {
	lines := ports.Unattended(view(func(v *ports.View) {
		v.Slices = nil
		v.Published = []ports.Published{{Hostname: "b", Host: netip.MustParseAddrPort("127.0.0.1:9000"), Port: 30080, Protocol: corev1.ProtocolTCP}}
	}), "nobody listens")
	if len(lines) != 2 || lines[0].Note != "nobody listens" || lines[0].Reachable || !lines[1].Reachable || lines[1].Name != "web" {
		t.Errorf("lines are %+v", lines)
	}
}
