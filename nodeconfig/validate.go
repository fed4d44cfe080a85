package nodeconfig

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/version"
	kubeletapis "k8s.io/kubelet/pkg/apis"

	"github.com/loam-cloud/loam/api/v1alpha1"
)

// oldest is the first version whose kubeadm reads v1beta4.
const oldest = "v1.31.0"

// token is the form of a bootstrap token: id.secret.
var token = regexp.MustCompile(`^[a-z0-9]{6}\.[a-z0-9]{16}$`)

func validateCluster(c Cluster) field.ErrorList {
	var all field.ErrorList
	at := field.NewPath("cluster")
	all = append(all, messages(at.Child("name"), c.Name, validation.IsDNS1123Label(c.Name))...)
	if v, err := version.ParseSemantic(c.KubernetesVersion); err != nil || !strings.HasPrefix(c.KubernetesVersion, "v") {
		all = append(all, field.Invalid(at.Child("kubernetesVersion"), c.KubernetesVersion, "must be a full version such as v1.36.3"))
	} else if !v.AtLeast(version.MustParseSemantic(oldest)) {
		all = append(all, field.Invalid(at.Child("kubernetesVersion"), c.KubernetesVersion, "must be at least "+oldest))
	}
	pods, podProblems := validateRanges(at.Child("podCIDR"), c.PodCIDR)
	services, serviceProblems := validateRanges(at.Child("serviceCIDR"), c.ServiceCIDR)
	all = append(append(all, podProblems...), serviceProblems...)
	for _, p := range pods {
		if slices.ContainsFunc(services, p.Overlaps) {
			all = append(all, field.Invalid(at.Child("serviceCIDR"), c.ServiceCIDR, "must not overlap podCIDR "+c.PodCIDR))
		}
	}
	if c.DNSDomain != "" {
		all = append(all, messages(at.Child("dnsDomain"), c.DNSDomain, validation.IsDNS1123Subdomain(c.DNSDomain))...)
	}
	all = append(all, validateEndpoint(at.Child("endpoint"), c.Endpoint)...)
	for i, name := range c.CertSANs {
		if _, err := netip.ParseAddr(name); err != nil {
			all = append(all, messages(at.Child("certSANs").Index(i), name, validation.IsDNS1123Subdomain(strings.TrimPrefix(name, "*.")))...)
		}
	}
	if modes := []string{"", "iptables", "nftables", "ipvs", proxyNone}; !slices.Contains(modes, c.KubeProxyMode) {
		all = append(all, field.NotSupported(at.Child("kubeProxyMode"), c.KubeProxyMode, modes[1:]))
	}
	if len(c.ControlPlanes) == 0 {
		all = append(all, field.Required(at.Child("controlPlanes"), "a cluster has at least one"))
	}
	return append(all, validateMembers(at.Child("controlPlanes"), c.ControlPlanes)...)
}

// validateRanges accepts one range, or one of each family.
func validateRanges(at *field.Path, value string) ([]netip.Prefix, field.ErrorList) {
	var ranges []netip.Prefix
	for text := range strings.SplitSeq(value, ",") {
		one, problems := validateRange(at, text)
		if len(problems) > 0 {
			return nil, problems
		}
		ranges = append(ranges, one)
	}
	if len(ranges) > 2 || len(ranges) == 2 && ranges[0].Addr().Is4() == ranges[1].Addr().Is4() {
		return nil, field.ErrorList{field.Invalid(at, value, "must be one range, or one of IPv4 and one of IPv6")}
	}
	return ranges, nil
}

// validateRange accepts one range that begins at its own first address.
func validateRange(at *field.Path, value string) (netip.Prefix, field.ErrorList) {
	prefix, err := netip.ParsePrefix(value)
	if err != nil {
		return netip.Prefix{}, field.ErrorList{field.Invalid(at, value, "must be a range of addresses such as 10.96.0.0/16")}
	}
	if prefix != prefix.Masked() {
		return netip.Prefix{}, field.ErrorList{field.Invalid(at, value, "must be "+prefix.Masked().String())}
	}
	return prefix, nil
}

// validateEndpoint accepts host:port; the host is an address or a name.
func validateEndpoint(at *field.Path, value string) field.ErrorList {
	if endpoint, err := netip.ParseAddrPort(value); err == nil && endpoint.Port() != 0 {
		return nil
	}
	host, port, _ := strings.Cut(value, ":")
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 || len(validation.IsDNS1123Subdomain(host)) > 0 {
		return field.ErrorList{field.Invalid(at, value, "must be host:port")}
	}
	return nil
}

func validateNode(n Node, c Cluster) field.ErrorList {
	var all field.ErrorList
	at := field.NewPath("node")
	all = append(all, messages(at.Child("name"), n.Name, validation.IsDNS1123Subdomain(n.Name))...)
	if roles := []v1alpha1.MachineRole{v1alpha1.RoleControlPlane, v1alpha1.RoleWorker}; !slices.Contains(roles, n.Role) {
		all = append(all, field.NotSupported(at.Child("role"), n.Role, roles))
	}
	all = append(all, validateAddress(at.Child("address"), n.Address, c)...)
	if n.SecondAddress.IsValid() {
		all = append(all, validateAddress(at.Child("secondAddress"), n.SecondAddress, c)...)
	}
	for key, value := range n.Labels {
		all = append(all, validateLabel(at.Child("labels").Key(key), key, value)...)
	}
	for i, taint := range n.Taints {
		all = append(all, validateTaint(at.Child("taints").Index(i), taint)...)
	}
	for i, subnet := range n.PodSubnets {
		if !subnet.IsValid() || subnet != subnet.Masked() || !within(c.PodCIDR, subnet.Addr()) {
			all = append(all, field.Invalid(at.Child("podSubnets").Index(i), subnet.String(), "must be a subnet of the cluster's podCIDR "+c.PodCIDR))
		}
	}
	if !(n.CPUs >= 0) || math.IsInf(n.CPUs, 0) {
		all = append(all, field.Invalid(at.Child("cpus"), n.CPUs, "must be a number of processors, or 0 for no bound"))
	}
	if n.MemoryBytes < 0 {
		all = append(all, field.Invalid(at.Child("memoryBytes"), n.MemoryBytes, "must not be negative"))
	}
	if n.MaxPods < 0 {
		all = append(all, field.Invalid(at.Child("maxPods"), n.MaxPods, "must not be negative"))
	}
	slices.SortStableFunc(all, func(a, b *field.Error) int { return strings.Compare(a.Field, b.Field) })
	return all
}

func validateAddress(at *field.Path, address netip.Addr, c Cluster) field.ErrorList {
	if !address.IsValid() || address.IsUnspecified() || address.IsLoopback() {
		return field.ErrorList{field.Invalid(at, address.String(), "must be the node's address on the machine network")}
	}
	var all field.ErrorList
	for name, value := range map[string]string{"podCIDR": c.PodCIDR, "serviceCIDR": c.ServiceCIDR} {
		if within(value, address) {
			all = append(all, field.Invalid(at, address.String(), fmt.Sprintf("must not be in the cluster's %s %s", name, value)))
		}
	}
	return all
}

// within tells whether an address is in one of several ranges.
func within(ranges string, address netip.Addr) bool {
	for text := range strings.SplitSeq(ranges, ",") {
		if prefix, err := netip.ParsePrefix(text); err == nil && prefix.Contains(address) {
			return true
		}
	}
	return false
}

func validateLabel(at *field.Path, key, value string) field.ErrorList {
	all := messages(at, key, validation.IsQualifiedName(key))
	all = append(all, messages(at, value, validation.IsValidLabelValue(value))...)
	prefix, _, _ := strings.Cut(key, "/")
	reserved := prefix == "kubernetes.io" || strings.HasSuffix(prefix, ".kubernetes.io") || prefix == "k8s.io" || strings.HasSuffix(prefix, ".k8s.io")
	if reserved && strings.Contains(key, "/") && !kubeletapis.IsKubeletLabel(key) {
		all = append(all, field.Invalid(at, key, "a kubelet may not give its own node this label: set it through the API"))
	}
	return all
}

func validateTaint(at *field.Path, taint corev1.Taint) field.ErrorList {
	all := messages(at.Child("key"), taint.Key, validation.IsQualifiedName(taint.Key))
	all = append(all, messages(at.Child("value"), taint.Value, validation.IsValidLabelValue(taint.Value))...)
	effects := []corev1.TaintEffect{corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute}
	if !slices.Contains(effects, taint.Effect) {
		all = append(all, field.NotSupported(at.Child("effect"), taint.Effect, effects))
	}
	return all
}

func validateJoin(j Join) field.ErrorList {
	all := validateToken("join.token", j.Token)
	at := field.NewPath("join")
	if server, err := url.Parse(j.Server); err != nil || server.Scheme != "https" || server.Host == "" {
		all = append(all, field.Invalid(at.Child("server"), j.Server, "must be a URL such as https://172.18.0.2:6443"))
	}
	return append(all, validateCA(at.Child("ca"), j.CA)...)
}

func validateCA(at *field.Path, ca []byte) field.ErrorList {
	size := fmt.Sprintf("%d bytes", len(ca))
	block, _ := pem.Decode(ca)
	if block == nil || block.Type != "CERTIFICATE" {
		return field.ErrorList{field.Invalid(at, size, "must be a certificate in PEM")}
	}
	if _, err := x509.ParseCertificate(block.Bytes); err != nil {
		return field.ErrorList{field.Invalid(at, size, "must be a certificate: "+err.Error())}
	}
	return nil
}

// validateToken never shows the token.
func validateToken(at, value string) field.ErrorList {
	if token.MatchString(value) {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath(at), "(hidden)", "must be 6 and 16 of a-z and 0-9 with a dot between")}
}

func invalidRole(role v1alpha1.MachineRole) *field.Error {
	return field.Invalid(field.NewPath("node", "role"), role, "a cluster begins with a node of role ControlPlane")
}

func messages(at *field.Path, value any, texts []string) field.ErrorList {
	var all field.ErrorList
	for _, text := range texts {
		all = append(all, field.Invalid(at, value, text))
	}
	return all
}
