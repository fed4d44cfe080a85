// Package shoots is the flow that makes one Shoot a running Kubernetes cluster
// on machines, and that stops, wakes, scales and removes it. The controller
// controllers/shoot/lifecycle calls it.
//
// It must not know the garden: what a cluster should be comes in as a Cluster,
// what must be remembered comes in as Authorities, and progress goes out
// through an observer.
package shoots

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/nodeconfig"
)

// Cluster is what a Shoot asks for, in the flow's terms.
type Cluster struct {
	// ID is the cluster's name on the machine driver, unique over all
	// projects: the Shoot's technical id.
	ID string
	// Name is the Shoot's name. Hostnames start with it.
	Name string
	// KubernetesVersion is a full version with v: v1.36.3.
	KubernetesVersion string
	// Image is what machines boot from, in the driver's terms.
	Image string
	// PodCIDR, ServiceCIDR and DNSDomain are the cluster's own networks and name: one
	// range each, or one of each family with a comma between. The first is of the
	// family in which nodes reach each other.
	PodCIDR, ServiceCIDR string
	DNSDomain            string
	// KubeProxyMode is iptables, nftables, ipvs or none; empty means the default of
	// the version.
	KubeProxyMode string
	// FeatureGates are those of each component, RuntimeConfig switches versions and
	// resources of the API.
	FeatureGates  nodeconfig.FeatureGates
	RuntimeConfig map[string]bool
	// Patches are the user's for the documents that kubeadm gets.
	Patches v1alpha1.KubeadmPatches
	// NodeSettings are in what nodes differ from the profile kubernetes, as JSON of
	// v1alpha1.NodeSettings; those of a pool come after them.
	NodeSettings []byte
	// ContainerdPatches are TOML documents, ContainerdPatchesJSON6902 JSON patches
	// of containerd's configuration.
	ContainerdPatches, ContainerdPatchesJSON6902 []string
	// DNSSearch are the search domains of nodes; nil means the host's.
	DNSSearch []string
	// Proxy is how nodes reach the world outside.
	Proxy v1alpha1.Proxy
	// DefaultNetwork is whether the node image's own network is installed.
	DefaultNetwork bool
	// APIServer says where the host publishes the API server; its port inside
	// the machine is APIServerPort.
	APIServer machines.Port
	// Established says that the cluster was whole once. Its control plane holds all
	// that the cluster knows, so none begins with empty disks unless the others
	// know it, too.
	Established bool
	// Pools holds exactly one pool of role ControlPlane, with an odd number of
	// machines. Several get a balancer.
	Pools []Pool
}

// Pool is a number of like machines.
type Pool struct {
	Name   string
	Role   v1alpha1.MachineRole
	Count  int
	Labels map[string]string
	Taints []corev1.Taint
	// Schedulable lets ordinary pods run on a control plane.
	Schedulable bool
	// MaxPods is the kubelet's limit of pods; zero means the kubelet's default.
	MaxPods int32
	// CPUs and MemoryBytes bound each machine; zero means no bound.
	CPUs        float64
	MemoryBytes int64
	// MachineType is what the bounds come from, MachineTypePath where a user has said
	// so; both are for messages.
	MachineType, MachineTypePath string
	// Kubelet holds further fields of the kubelet's configuration; null takes away
	// what the cluster's kubelets share.
	Kubelet map[string]any
	// Together is how many of its nodes may be changed at the same time; 0 means 1.
	Together int
	// Image is what these machines boot from instead of the cluster's image, if it
	// is not empty.
	Image string
	// Ports and Mounts are given to each machine, the port of the API server aside.
	Ports  []machines.Port
	Mounts []machines.Mount
	// Patches are made after those of the cluster.
	Patches v1alpha1.KubeadmPatches
	// NodeSettings are those of Cluster.NodeSettings that are this pool's own.
	NodeSettings []byte
}

// APIServerPort is the port on which API servers listen inside their machines
// (the default of kubeadm's localAPIEndpoint.bindPort).
const APIServerPort = 6443

// Labels that the flow gives its machines at the driver.
const (
	// LabelPool holds the name of the machine's pool, LabelRole its
	// v1alpha1.MachineRole.
	LabelPool    = "loam.dev/pool"
	LabelRole    = "loam.dev/role"
	labelVersion = "loam.dev/kubernetes-version"
)

// member is one machine that the cluster should have.
type member struct {
	pool Pool
	name string
}

func (c *Cluster) members(role v1alpha1.MachineRole) []member {
	var all []member
	for _, p := range c.Pools {
		if p.Role != role {
			continue
		}
		for i := range p.Count {
			all = append(all, member{pool: p, name: fmt.Sprintf("%s-%d", p.Name, i)})
		}
	}
	return all
}

// all are the members that are nodes, the control plane first.
func (c *Cluster) all() []member {
	return append(c.members(v1alpha1.RoleControlPlane), c.members(v1alpha1.RoleWorker)...)
}

func (c *Cluster) member(name string) (member, bool) {
	for _, m := range append(c.all(), c.balancer()...) {
		if m.name == name {
			return m, true
		}
	}
	return member{}, false
}

// Absent names a machine that the cluster should have and that is not among those
// that exist; empty when it has all.
func (c *Cluster) Absent(existing []machines.Machine) string {
	for _, m := range append(c.all(), c.balancer()...) {
		if !slices.ContainsFunc(existing, func(e machines.Machine) bool { return e.Name == m.name }) {
			return m.name
		}
	}
	return ""
}

// surplus are those machines that the cluster should not have.
func (c *Cluster) surplus(existing []machines.Machine) []machines.Machine {
	return slices.DeleteFunc(slices.Clone(existing), func(m machines.Machine) bool {
		_, wanted := c.member(m.Name)
		return wanted
	})
}

// contradictions says what of the cluster that exists cannot become what is
// asked for: its control plane holds its state, and cannot go elsewhere.
func (c *Cluster) contradictions(existing []machines.Machine) []string {
	var problems []string
	for _, m := range existing {
		wanted, found := c.member(m.Name)
		role := v1alpha1.MachineRole(m.Labels[LabelRole])
		switch {
		case found && role != wanted.pool.Role, !found && role == v1alpha1.RoleControlPlane:
			problems = append(problems, fmt.Sprintf("pool %q holds machines of role %s, which cannot be changed: a control plane stays in its pool", m.Labels[LabelPool], role))
		case found && c.outdated(m):
			if why := c.cannotUpgrade(m); why != "" {
				problems = append(problems, why)
			}
		}
	}
	slices.Sort(problems)
	return slices.Compact(problems)
}

func (c *Cluster) spec(m member) machines.Spec {
	_, ipv6 := c.families()
	s := machines.Spec{
		Cluster:  c.ID,
		Name:     m.name,
		Hostname: c.Name + "-" + m.name,
		Image:    cmp.Or(m.pool.Image, c.Image),
		Labels:   map[string]string{LabelPool: m.pool.Name, LabelRole: string(m.pool.Role), labelVersion: c.KubernetesVersion},
		CPUs:     m.pool.CPUs, MemoryBytes: m.pool.MemoryBytes,
		Mounts: m.pool.Mounts,
		Ports:  m.pool.Ports,
		IPv6:   ipv6,
		// Names outside are looked up by pods too, which get them from their node.
		DNSSearch: c.DNSSearch,
	}
	if m.name == c.gate().name {
		// It comes first: a pool may publish the same port once more.
		s.Ports = append([]machines.Port{c.APIServer}, s.Ports...)
	}
	return s
}

// EndpointOf returns the URL at which this host reaches the API server of a machine;
// an error says that the machine publishes none.
func EndpointOf(m machines.Machine) (string, error) {
	for _, p := range m.Ports {
		if p.MachinePort == APIServerPort && p.HostPort != 0 {
			host := p.HostAddress
			if !host.IsValid() || host.IsUnspecified() {
				host = netip.AddrFrom4([4]byte{127, 0, 0, 1})
			}
			return fmt.Sprintf("https://%s", netip.AddrPortFrom(host, p.HostPort)), nil
		}
	}
	return "", fmt.Errorf("machine %q publishes no port for its API server", m.Name)
}
