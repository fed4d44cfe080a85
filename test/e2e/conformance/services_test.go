package conformance_test

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func serviceChecks() []check {
	return []check{
		{"pod to pod on another node", "pods reach each other over nodes, each by its own address", podToPod},
		{"pod to service on another node", "a service's address leads to a pod on another node", podToService},
		{"service spreads requests", "a service leads to all its pods", spreads},
		{"node port", "a service of type NodePort is reachable at every node", nodePort},
		{"session affinity", "a client stays with one pod where the service says so", affinity},
		{"service without selector", "endpoints that a user writes are served", manualEndpoints},
		{"hairpin", "a pod reaches itself through its own service", hairpin},
		{"host port", "a port of a pod is reachable at its node's address", hostPort},
	}
}

func podToPod(s *scope) {
	a := s.web("a", "a", onNode(s.workers[0]))
	b := s.web("b", "b", onNode(s.workers[1]))
	s.says(s.asks("a", fmt.Sprintf("http://%s:8080/", b.Status.PodIP)), "b")
	s.says(s.asks("b", fmt.Sprintf("http://%s:8080/", a.Status.PodIP)), "a")
}

func podToService(s *scope) {
	s.service("there", 80, nil)
	s.web("server", "there", onNode(s.workers[1]))
	s.running(s.pod("client", stay, onNode(s.workers[0])))
	s.says(s.asks("client", fmt.Sprintf("http://there.%s.svc.cluster.local/", s.namespace)), "server")
}

func spreads(s *scope) {
	service := s.service("many", 80, nil)
	s.web("one", "many", onNode(s.workers[0]))
	s.web("two", "many", onNode(s.workers[1]))
	s.running(s.pod("client", stay))
	url := "http://" + service.Spec.ClusterIP + "/"
	seen := map[string]bool{}
	s.until("both have answered", func() (bool, error) {
		seen[s.asks("client", url)] = true
		return seen["one"] && seen["two"], nil
	})
}

func nodePort(s *scope) {
	service := s.service("outside", 80, func(service *corev1.Service) { service.Spec.Type = corev1.ServiceTypeNodePort })
	s.web("page", "outside", onNode(s.workers[0]))
	s.running(s.pod("client", stay, onNode(s.workers[1])))
	for name, address := range s.addresses {
		if got := s.asks("client", fmt.Sprintf("http://%s:%d/", address, service.Spec.Ports[0].NodePort)); got != "page" {
			s.Errorf("node %s says %q", name, got)
		}
	}
}

func affinity(s *scope) {
	service := s.service("sticky", 80, func(service *corev1.Service) { service.Spec.SessionAffinity = corev1.ServiceAffinityClientIP })
	s.web("one", "sticky")
	s.web("two", "sticky")
	s.running(s.pod("client", stay))
	s.until("both are endpoints", func() (bool, error) { return s.endpoints("sticky") == 2, nil })
	url := "http://" + service.Spec.ClusterIP + "/"
	s.eventually(func() error {
		// The node may still learn of an endpoint.
		first := s.asks("client", url)
		for range 9 {
			if got := s.asks("client", url); got != first {
				return fmt.Errorf("%s and %s answered one client", first, got)
			}
		}
		return nil
	})
}

func manualEndpoints(s *scope) {
	page := s.web("page", "elsewhere")
	service := s.service("manual", 80, func(service *corev1.Service) { service.Spec.Selector = nil })
	_, err := s.set.DiscoveryV1().EndpointSlices(s.namespace).Create(s.ctx, &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "manual-1", Labels: map[string]string{discoveryv1.LabelServiceName: "manual"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: ptr.To("web"), Port: ptr.To(int32(8080))}},
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{page.Status.PodIP}}},
	}, metav1.CreateOptions{})
	s.must(err)
	s.running(s.pod("client", stay))
	s.says(s.asks("client", "http://"+service.Spec.ClusterIP+"/"), "page")
}

func hairpin(s *scope) {
	service := s.service("self", 80, nil)
	s.web("self", "self")
	s.says(s.asks("self", "http://"+service.Spec.ClusterIP+"/"), "self")
}

func hostPort(s *scope) {
	s.web("front", "front", onNode(s.workers[0]), func(p *corev1.Pod) {
		p.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 8080, HostPort: 18181}}
	})
	s.running(s.pod("client", stay, onNode(s.workers[1])))
	s.says(s.asks("client", fmt.Sprintf("http://%s:18181/", s.addresses[s.workers[0]])), "front")
}

func nameChecks() []check {
	return []check{
		{"name of a service", "a service resolves to its address, by its short and its full name", serviceName},
		{"headless service", "a service without address resolves to the addresses of its pods", headless},
		{"name of a pod", "a pod with a hostname and a subdomain has a record", podName},
		{"SRV record", "a named port has a record with its number", srvRecord},
		{"PTR record", "a service's address resolves to its name", ptrRecord},
		{"external name", "a service of type ExternalName is another name for a name", externalName},
		{"names over TCP and UDP", "the cluster's resolver answers over both", overTCP},
	}
}

// lookup asks the cluster's resolver until the answer holds all that is wanted.
func (s *scope) lookup(pod, what string, want ...string) {
	s.Helper()
	s.eventually(func() error {
		out, err := s.exec(pod, "main", "nslookup "+what)
		for _, w := range want {
			if err == nil && !strings.Contains(out, w) {
				err = fmt.Errorf("%q does not hold %q", out, w)
			}
		}
		return err
	})
}

func (s *scope) full(name string) string { return name + "." + s.namespace + ".svc.cluster.local" }

func serviceName(s *scope) {
	service := s.service("named", 80, nil)
	s.web("page", "named")
	s.running(s.pod("client", stay))
	s.lookup("client", s.full("named"), service.Spec.ClusterIP)
	for _, name := range []string{"named", "named." + s.namespace} {
		s.says(s.asks("client", "http://"+name+"/"), "page")
	}
}

func headless(s *scope) {
	s.service("heads", 80, func(service *corev1.Service) { service.Spec.ClusterIP = corev1.ClusterIPNone })
	one, two := s.web("one", "heads"), s.web("two", "heads")
	s.lookup("one", s.full("heads"), one.Status.PodIP, two.Status.PodIP)
}

func podName(s *scope) {
	s.service("sub", 80, func(service *corev1.Service) { service.Spec.ClusterIP = corev1.ClusterIPNone })
	p := s.web("page", "sub", func(p *corev1.Pod) { p.Spec.Hostname, p.Spec.Subdomain = "me", "sub" })
	s.lookup("page", "me."+s.full("sub"), p.Status.PodIP)
	s.says(s.sh("page", "hostname -f"), "me."+s.full("sub"))
}

func srvRecord(s *scope) {
	s.service("ports", 4321, nil)
	s.running(s.pod("client", stay))
	s.lookup("client", "-type=srv _web._tcp."+s.full("ports"), "4321", s.full("ports"))
}

func ptrRecord(s *scope) {
	service := s.service("back", 80, nil)
	s.running(s.pod("client", stay))
	s.lookup("client", service.Spec.ClusterIP, s.full("back"))
}

func externalName(s *scope) {
	s.service("alias", 80, func(service *corev1.Service) {
		service.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "kubernetes.default.svc.cluster.local"}
	})
	s.running(s.pod("client", stay))
	s.lookup("client", s.full("alias"), "kubernetes.default.svc.cluster.local")
}

func overTCP(s *scope) {
	dns, err := s.set.CoreV1().Services("kube-system").Get(s.ctx, "kube-dns", metav1.GetOptions{})
	s.must(err)
	var protocols []string
	for _, p := range dns.Spec.Ports {
		if p.Port == 53 {
			protocols = append(protocols, string(p.Protocol))
		}
	}
	slices.Sort(protocols)
	if strings.Join(protocols, " ") != "TCP UDP" {
		s.Fatalf("the resolver is at %v", protocols)
	}
	s.running(s.pod("client", stay))
	s.lookup("client", "kubernetes.default.svc.cluster.local", "Address")
	// A question over TCP has its length before it: for kubernetes.default.svc.cluster.local, type A.
	question := `\0\066\0\1\1\0\0\1\0\0\0\0\0\0\012kubernetes\007default\003svc\007cluster\005local\0\0\1\0\1`
	s.sh("client", fmt.Sprintf(`printf '%s' | timeout 5 nc -w 3 %s 53 | wc -c | grep -vx 0`, question, dns.Spec.ClusterIP))
}
