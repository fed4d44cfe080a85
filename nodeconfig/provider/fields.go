package provider

import (
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/api/v1alpha1"
)

// Port is one port of a machine that is published.
type Port struct {
	// Address is not valid when none is given.
	Address         netip.Addr
	Host, Container uint16
	Protocol        string
	// Path is that of the field which decided the port of the host.
	Path *field.Path
}

// Overlaps tells whether both ports of the host cannot be listened on at once. No
// address is loopback.
func (p Port) Overlaps(other Port) bool {
	if p.Host == 0 || p.Host != other.Host || p.Protocol != other.Protocol {
		return false
	}
	a, b := p.listens(), other.listens()
	return a == b || a.Is4() == b.Is4() && (a.IsUnspecified() || b.IsUnspecified())
}

func (p Port) listens() netip.Addr {
	if p.Address.IsValid() {
		return p.Address
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// largestRange bounds a range of ports: the container engine runs a process for
// each.
const largestRange = 1024

// Ports takes mappings apart into single ports.
func Ports(mappings []v1alpha1.PortMapping, path *field.Path) ([]Port, field.ErrorList) {
	var all []Port
	var errs field.ErrorList
	seen := map[uint16][]Port{}
	for i, m := range mappings {
		ports, problems := mapping(m, path.Index(i))
		errs = append(errs, problems...)
		for _, p := range ports {
			if slices.ContainsFunc(seen[p.Host], p.Overlaps) {
				errs = append(errs, field.Duplicate(p.Path, p.Host))
			}
			if p.Host != 0 {
				seen[p.Host] = append(seen[p.Host], p)
			}
			all = append(all, p)
		}
	}
	return all, errs
}

func mapping(m v1alpha1.PortMapping, path *field.Path) ([]Port, field.ErrorList) {
	listen, errs := address(m.ListenAddress, path.Child("listenAddress"))
	protocol := strings.ToUpper(m.Protocol)
	if protocol == "" {
		protocol = "TCP"
	}
	if known := []string{"TCP", "UDP", "SCTP"}; !slices.Contains(known, protocol) {
		errs = append(errs, field.NotSupported(path.Child("protocol"), m.Protocol, known))
	}
	inside, problems := span(m.ContainerPort, m.ContainerPortRange, path.Child("containerPort"), path.Child("containerPortRange"))
	errs = append(errs, problems...)
	if m.ContainerPort == 0 && m.ContainerPortRange == "" {
		errs = append(errs, field.Required(path.Child("containerPort"), "or a containerPortRange"))
	}
	outside, problems := span(m.HostPort, m.HostPortRange, path.Child("hostPort"), path.Child("hostPortRange"))
	errs = append(errs, problems...)
	at, given := path.Child("hostPort"), any(m.HostPort)
	if m.HostPortRange != "" {
		at, given = path.Child("hostPortRange"), m.HostPortRange
	}
	if len(errs) == 0 && len(outside) > 0 && len(outside) != len(inside) {
		errs = append(errs, field.Invalid(at, given, fmt.Sprintf("%d ports of the host for %d of the container", len(outside), len(inside))))
	}
	if len(errs) > 0 {
		return nil, errs
	}
	var ports []Port
	for i, port := range inside {
		p := Port{Address: listen, Container: port, Protocol: protocol, Path: at}
		if len(outside) > 0 {
			p.Host = outside[i]
		}
		ports = append(ports, p)
	}
	return ports, nil
}

// span lists the ports of a single port or of a range; none when neither is
// given.
func span(single int32, text string, at, atRange *field.Path) ([]uint16, field.ErrorList) {
	if text == "" {
		errs := portOrZero(single, at)
		if single == 0 || len(errs) > 0 {
			return nil, errs
		}
		return []uint16{uint16(single)}, nil
	}
	if single != 0 {
		return nil, field.ErrorList{field.Forbidden(atRange, "one port or a range, not both")}
	}
	from, to, isRange := strings.Cut(text, "-")
	first, err := strconv.ParseUint(from, 10, 16)
	last, other := strconv.ParseUint(to, 10, 16)
	switch {
	case !isRange, err != nil, other != nil, first == 0, last < first:
		return nil, field.ErrorList{field.Invalid(atRange, text, "must be a range of ports such as 30000-30100")}
	case last-first >= largestRange:
		return nil, field.ErrorList{field.Invalid(atRange, text, fmt.Sprintf("must be at most %d ports", largestRange))}
	}
	var all []uint16
	for port := first; port <= last; port++ {
		all = append(all, uint16(port))
	}
	return all, nil
}

func portOrZero(port int32, path *field.Path) field.ErrorList {
	if port < 0 || port > 65535 {
		return field.ErrorList{field.Invalid(path, port, "must be a port from 1 to 65535, or left out for a free one")}
	}
	return nil
}

func address(text string, path *field.Path) (netip.Addr, field.ErrorList) {
	if text == "" {
		return netip.Addr{}, nil
	}
	parsed, err := netip.ParseAddr(text)
	if err != nil || parsed.Zone() != "" {
		return netip.Addr{}, field.ErrorList{field.Invalid(path, text, "must be an IP address of this host, or 0.0.0.0 for all")}
	}
	return parsed, nil
}

func checkMounts(mounts []v1alpha1.Mount, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]bool{}
	for i, m := range mounts {
		one := at.Index(i)
		if !path.IsAbs(m.HostPath) {
			errs = append(errs, field.Invalid(one.Child("hostPath"), m.HostPath, "must be an absolute path"))
		}
		inside := path.Clean(m.ContainerPath)
		if !path.IsAbs(m.ContainerPath) || inside == "/" {
			errs = append(errs, field.Invalid(one.Child("containerPath"), m.ContainerPath, "must be an absolute path, and not the root"))
		} else if seen[inside] {
			errs = append(errs, field.Duplicate(one.Child("containerPath"), m.ContainerPath))
		}
		seen[inside] = true
		if paths := m.HostPath + m.ContainerPath; m.SELinuxRelabel && strings.Contains(paths, ":") {
			errs = append(errs, field.Invalid(one.Child("selinuxRelabel"), true, "a path with a colon cannot be relabelled"))
		}
		if known := []string{"", "None", "HostToContainer", "Bidirectional"}; !slices.Contains(known, m.Propagation) {
			errs = append(errs, field.NotSupported(one.Child("propagation"), m.Propagation, known[1:]))
		}
	}
	return errs
}

func checkSearch(domains *[]string, path *field.Path) field.ErrorList {
	if domains == nil {
		return nil
	}
	var errs field.ErrorList
	for i, domain := range *domains {
		for _, problem := range validation.IsDNS1123Subdomain(domain) {
			errs = append(errs, field.Invalid(path.Index(i), domain, problem))
		}
	}
	return errs
}

// checkProxy never shows what it refuses: it may be a password.
func checkProxy(p *v1alpha1.Proxy, path *field.Path) field.ErrorList {
	if p == nil {
		return nil
	}
	var errs field.ErrorList
	for name, value := range map[string]string{"httpProxy": p.HTTPProxy, "httpsProxy": p.HTTPSProxy} {
		if value == "" {
			continue
		}
		parsed, err := url.Parse(value)
		switch {
		case err != nil || parsed.Host == "" || strings.ContainsAny(value, "\"\\\n%$ "):
			errs = append(errs, field.Invalid(path.Child(name), "(hidden)", "must be a URL such as http://proxy.example.org:3128"))
		case parsed.User != nil:
			errs = append(errs, field.Forbidden(path.Child(name), "no user and password here: whoever reads the cluster's description would read them"))
		}
	}
	for i, destination := range p.NoProxy {
		if destination == "" || strings.ContainsAny(destination, "\"\\\n%$, ") {
			errs = append(errs, field.Invalid(path.Child("noProxy").Index(i), destination, "must be a name, an address or a range of addresses"))
		}
	}
	slices.SortFunc(errs, func(a, b *field.Error) int { return strings.Compare(a.Field, b.Field) })
	return errs
}
