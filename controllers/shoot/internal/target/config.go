package target

import (
	"cmp"
	"net/netip"
	"strings"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/nodeconfig/provider"
	"github.com/loam-cloud/loam/shoots"
	"github.com/loam-cloud/loam/shoots/ports"
)

// components are the settings of Kubernetes' programs that a Shoot has words for.
func components(c *shoots.Cluster, k gardencorev1beta1.Kubernetes) {
	gates := &c.FeatureGates
	if s := k.KubeAPIServer; s != nil {
		gates.APIServer, c.RuntimeConfig = s.FeatureGates, s.RuntimeConfig
	}
	if m := k.KubeControllerManager; m != nil {
		gates.ControllerManager = m.FeatureGates
	}
	if s := k.KubeScheduler; s != nil {
		gates.Scheduler = s.FeatureGates
	}
	if l := k.Kubelet; l != nil {
		gates.Kubelet = l.FeatureGates
	}
	if p := k.KubeProxy; p != nil {
		gates.KubeProxy = p.FeatureGates
	}
}

// networks are the cluster's own ranges, of each of its families.
func networks(c *shoots.Cluster, n *gardencorev1beta1.Networking, own *v1alpha1.Ranges, path, ownPath *field.Path) field.ErrorList {
	asked := provider.Networks{Own: own}
	if n != nil {
		for _, family := range n.IPFamilies {
			asked.Families = append(asked.Families, string(family))
		}
		asked.Pods, asked.Services = ptr.Deref(n.Pods, ""), ptr.Deref(n.Services, "")
	}
	switch families := strings.Join(asked.Families, ","); families {
	case "", provider.IPv4, provider.IPv4 + "," + provider.IPv6:
		asked.Pods = cmp.Or(asked.Pods, gardencorev1beta1.DefaultPodNetworkCIDR)
		asked.Services = cmp.Or(asked.Services, gardencorev1beta1.DefaultServiceNetworkCIDR)
	case provider.IPv6:
	default:
		return field.ErrorList{field.Invalid(path.Child("ipFamilies"), asked.Families, "must be [IPv4], [IPv6] or [IPv4, IPv6]")}
	}
	c.PodCIDR, c.ServiceCIDR = asked.Ranges()
	return asked.Check(path, ownPath)
}

// publishByIPv6 has ports without an address listen on the loopback address of IPv6 in
// a cluster that has no IPv4: the container engine leads each family to the same, and
// pods answer in one. API servers answer in both.
func publishByIPv6(c *shoots.Cluster) {
	if pods, err := netip.ParsePrefix(c.PodCIDR); err != nil || !pods.Addr().Is6() {
		return
	}
	for _, pool := range c.Pools {
		for i := range pool.Ports {
			if !pool.Ports[i].HostAddress.IsValid() {
				pool.Ports[i].HostAddress = netip.IPv6Loopback()
			}
		}
	}
}

// controlPlaneConfig is what the machines of a cluster share. It returns the ranges of
// IPv6 of a cluster of both families.
func controlPlaneConfig(c *shoots.Cluster, raw *runtime.RawExtension, path *field.Path) (*v1alpha1.Ranges, field.ErrorList) {
	config, problems := provider.ControlPlane(raw, path)
	if len(problems) > 0 {
		return nil, problems
	}
	if s := config.APIServer; s != nil {
		c.APIServer.HostAddress, _ = netip.ParseAddr(s.Address) // it was looked at; empty is loopback
		c.APIServer.HostPort = uint16(s.Port)
	}
	if config.DNSSearch != nil {
		c.DNSSearch = append([]string{}, *config.DNSSearch...)
	}
	if config.Proxy != nil {
		c.Proxy = *config.Proxy
	}
	c.Patches, c.NodeSettings = config.KubeadmPatches, text(config.Node)
	c.ContainerdPatches, c.ContainerdPatchesJSON6902 = config.ContainerdConfigPatches, config.ContainerdConfigPatchesJSON6902
	return config.IPv6, nil
}

// text is JSON that is read elsewhere; nil for none.
func text(raw *runtime.RawExtension) []byte {
	if raw == nil {
		return nil
	}
	return raw.Raw
}

// workerConfig is what the machines of a pool have of their own.
func workerConfig(pool *shoots.Pool, raw *runtime.RawExtension, path *field.Path) field.ErrorList {
	config, problems := provider.Worker(raw, pool.Count, path)
	if len(problems) > 0 {
		return problems
	}
	pool.Image, pool.Patches, pool.NodeSettings = config.Image, config.KubeadmPatches, text(config.Node)
	for _, m := range config.ExtraMounts {
		pool.Mounts = append(pool.Mounts, machines.Mount{
			HostPath: m.HostPath, MachinePath: m.ContainerPath, ReadOnly: m.ReadOnly, Propagation: m.Propagation, SELinuxRelabel: m.SELinuxRelabel,
		})
	}
	ports, _ := provider.Ports(config.ExtraPortMappings, path) // they were looked at
	for _, p := range ports {
		pool.Ports = append(pool.Ports, machines.Port{
			HostAddress: p.Address, HostPort: p.Host, MachinePort: p.Container, Protocol: machines.Protocol(p.Protocol),
		})
	}
	return nil
}

// Mappings are the ports of this host that a Shoot asks for and that lead to any
// node. One whose configuration is wrong has none.
func Mappings(shoot *gardencorev1beta1.Shoot) []ports.Mapping {
	path := field.NewPath("spec", "provider", "controlPlaneConfig")
	config, problems := provider.ControlPlane(shoot.Spec.Provider.ControlPlaneConfig, path)
	if len(problems) > 0 {
		return nil
	}
	all, _ := provider.Ports(config.PortMappings, path) // they were looked at
	return ports.MappingsOf(all)
}
