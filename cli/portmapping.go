package cli

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/nodeconfig/provider"
)

// parseMappings reads ports as a user writes them, and names every problem.
func parseMappings(texts []string) ([]v1alpha1.PortMapping, error) {
	var all []v1alpha1.PortMapping
	var problems []error
	for _, text := range texts {
		m, err := parseMapping(text)
		if err != nil {
			problems = append(problems, fmt.Errorf("port %q: %w", text, err))
			continue
		}
		all = append(all, m)
	}
	if len(problems) > 0 {
		return nil, fault.Wrap(fault.Invalid, errors.Join(problems...))
	}
	return all, nil
}

// parseMapping reads [ADDRESS:]HOST:NODE[/PROTOCOL]. An address of IPv6 stands in
// brackets.
func parseMapping(text string) (v1alpha1.PortMapping, error) {
	var m v1alpha1.PortMapping
	rest, protocol, given := strings.Cut(text, "/")
	if given {
		m.Protocol = strings.ToUpper(protocol)
		if m.Protocol != "TCP" && m.Protocol != "UDP" {
			return m, fmt.Errorf("protocol %q must be tcp or udp", protocol)
		}
	}
	at := strings.LastIndex(rest, ":")
	if at < 0 {
		return m, errors.New("must be [ADDRESS:]HOST:NODE[/PROTOCOL], as in 8080:30080")
	}
	host, node := rest[:at], rest[at+1:]
	if at := strings.LastIndex(host, ":"); at >= 0 {
		m.ListenAddress, host = strings.Trim(host[:at], "[]"), host[at+1:]
		if _, err := netip.ParseAddr(m.ListenAddress); err != nil {
			return m, fmt.Errorf("address %q must be an IP address of this host", m.ListenAddress)
		}
	}
	var err error
	if m.HostPort, m.HostPortRange, err = onePort(host, true); err != nil {
		return m, err
	}
	if m.ContainerPort, m.ContainerPortRange, err = onePort(node, false); err != nil {
		return m, err
	}
	_, problems := provider.Ports([]v1alpha1.PortMapping{m}, field.NewPath("port"))
	return m, problems.ToAggregate()
}

// onePort reads a port or a range; what nothing, 0 and a port of itself mean is
// said where the mapping is used.
func onePort(text string, free bool) (int32, string, error) {
	if strings.Contains(text, "-") {
		return 0, text, nil
	}
	if text == "" && free {
		return 0, "", nil
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 && !free {
		return 0, "", fmt.Errorf("%q must be a port from 1 to 65535, or a range as 30000-30010", text)
	}
	return int32(port), "", nil
}

// mappingText writes a mapping as parseMapping reads it, the same for all ways to
// write one.
func mappingText(m v1alpha1.PortMapping) string {
	address := ""
	if listen, err := netip.ParseAddr(m.ListenAddress); err == nil && listen.String() != "127.0.0.1" {
		address = listen.String() + ":"
		if listen.Is6() {
			address = "[" + listen.String() + "]:"
		}
	}
	write := func(port int32, span string) string {
		if span != "" || port == 0 {
			return span
		}
		return strconv.Itoa(int(port))
	}
	protocol := strings.ToLower(m.Protocol)
	if protocol == "" {
		protocol = "tcp"
	}
	return fmt.Sprintf("%s%s:%s/%s", address, write(m.HostPort, m.HostPortRange), write(m.ContainerPort, m.ContainerPortRange), protocol)
}
