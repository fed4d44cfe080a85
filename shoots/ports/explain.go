package ports

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
)

// Outcome is what became of a wanted listener.
type Outcome struct {
	// Address is where it listens; not valid when it does not.
	Address netip.AddrPort
	// Holder has the preferred port instead, as a user would say it.
	Holder string
	// Problem is why it does not listen anywhere, or not where it should, if nobody
	// holds the port.
	Problem string
}

// Explain completes a line by what became of it.
func (w Want) Explain(o Outcome) Line {
	line := w.Line
	if !w.Listen.IsValid() {
		return line
	}
	why := o.Problem
	if o.Holder != "" {
		why = fmt.Sprintf("port %d of this host is taken by %s", w.Preferred, o.Holder)
	}
	line.Address = o.Address
	line.Reachable = o.Address.IsValid() && len(w.Backends) > 0
	if why != "" && (line.Reachable || !o.Address.IsValid()) {
		line.Note = why
	}
	return line
}

// Ours tells whether a service of type LoadBalancer is Loam's to serve. One with
// a class is another's, and so is one that another has given an address.
func Ours(s *corev1.Service) bool {
	if s.Spec.Type != corev1.ServiceTypeLoadBalancer || s.Spec.LoadBalancerClass != nil {
		return false
	}
	have := s.Status.LoadBalancer.Ingress
	return len(have) == 0 || len(have) == 1 && have[0].IPMode != nil && *have[0].IPMode == corev1.LoadBalancerIPModeProxy
}

// Reasons in the status of a service's ports (the form that Kubernetes asks of
// providers: a domain and a word).
const (
	// ReasonOtherPort says that another port of the host leads to it.
	ReasonOtherPort = "loam.dev/OtherPort"
	// ReasonNotServed says that none does.
	ReasonNotServed = "loam.dev/NotServed"
)

// Ingress is what the status of a service of ours should say, given its lines
// and the address of this host that users take.
func Ingress(lines []Line, advertise netip.Addr) []corev1.LoadBalancerIngress {
	mode := corev1.LoadBalancerIPModeProxy
	entry := corev1.LoadBalancerIngress{IP: advertise.String(), IPMode: &mode}
	served := false
	for _, l := range lines {
		status := corev1.PortStatus{Port: int32(l.Port), Protocol: l.Protocol}
		var reason string
		switch {
		case !l.Address.IsValid():
			reason = ReasonNotServed
		case l.Address.Port() != l.Port:
			reason = ReasonOtherPort
		}
		if reason != "" {
			status.Error = &reason
		}
		served = served || l.Address.IsValid()
		entry.Ports = append(entry.Ports, status)
	}
	if !served {
		return nil
	}
	return []corev1.LoadBalancerIngress{entry}
}
