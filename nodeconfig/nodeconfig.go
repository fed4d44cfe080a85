// Package nodeconfig renders what a node is configured with: a cluster's and a
// node's facts in, files out, the same for containers and virtual machines.
// Flows call it before a machine boots or joins.
//
// It is pure: the same input gives the same bytes. It must not know clocks,
// disks, networks, drivers or clients, and no secret passes through it but the
// short-lived bootstrap token of a join.
package nodeconfig

import (
	"io/fs"
	"net/netip"

	corev1 "k8s.io/api/core/v1"

	"github.com/loam-cloud/loam/api/v1alpha1"
)

// File is a file of a node, owned by root.
type File struct {
	// Path is absolute.
	Path    string
	Content []byte
	Mode    fs.FileMode
}

// Paths of the files that a flow names to kubeadm.
const (
	// KubeadmConfigPath is the configuration for kubeadm init or join.
	KubeadmConfigPath = "/etc/loam/kubeadm.yaml"
	// DiscoveryPath is the kubeconfig by which a joining node finds and
	// trusts the API server.
	DiscoveryPath = "/etc/loam/discovery.conf"
	// PatchesPath is the folder of the patches that kubeadm makes to what it
	// renders itself.
	PatchesPath = "/etc/loam/patches"
)

// Cluster holds what all nodes of a cluster share.
type Cluster struct {
	Name string
	// KubernetesVersion is a full version with v: v1.36.3.
	KubernetesVersion string
	// PodCIDR and ServiceCIDR are one range each, or one of each family with a comma
	// between; the first is of the family of Node.Address.
	PodCIDR, ServiceCIDR string
	// DNSDomain is cluster.local when empty.
	DNSDomain string
	// Endpoint is host:port of the API server as nodes reach it.
	Endpoint string
	// CertSANs are further names and addresses in the API server's certificate.
	CertSANs []string
	// KubeProxyMode is iptables, nftables, ipvs or none; empty means the default of
	// the version.
	KubeProxyMode string
	// FeatureGates are those of each component.
	FeatureGates FeatureGates
	// RuntimeConfig switches versions and resources of the API on and off.
	RuntimeConfig map[string]bool
	// Patches are the user's for the documents of all nodes.
	Patches v1alpha1.KubeadmPatches
	// NodeSettings are in what all nodes differ from the profile kubernetes, as JSON of
	// v1alpha1.NodeSettings; nil for nothing.
	NodeSettings []byte
	// ControlPlanes are the machines of the control plane, whose etcds begin as one
	// cluster. With one, leader election is off: it costs seconds at the start. In a
	// cluster that exists those may be left out that are lost.
	ControlPlanes []Member
}

// FeatureGates are the feature gates of Kubernetes' components.
type FeatureGates struct {
	APIServer, ControllerManager, Scheduler, Kubelet, KubeProxy map[string]bool
}

// Node holds what is one node's own.
type Node struct {
	// Name is the hostname and the name of the Node object.
	Name    string
	Role    v1alpha1.MachineRole
	Address netip.Addr
	// SecondAddress is that of the other family, where the cluster has two.
	SecondAddress netip.Addr
	Labels        map[string]string
	// Taints are those that the node registers with. On a control plane they
	// replace kubeadm's own taint; empty leaves the node schedulable.
	Taints []corev1.Taint
	// PodSubnets are those of the node's pods, one of each family that the cluster
	// has, where Loam's network is used and they are known before the node is: on the
	// control plane.
	PodSubnets []netip.Prefix
	// MaxPods is the kubelet's limit; zero means the kubelet's default.
	MaxPods int32
	// CPUs and MemoryBytes bound a container, which then tells its kubelet; zero means
	// no bound.
	CPUs        float64
	MemoryBytes int64
	// Kubelet holds further fields of a KubeletConfiguration that are this node's, as
	// in JSON; null takes away what the kubelets of the cluster share.
	Kubelet map[string]any
	// Patches are the user's for this node's documents, after those of the cluster.
	Patches v1alpha1.KubeadmPatches
	// Settings are in what this node differs from the others of the cluster, like
	// Cluster.NodeSettings.
	Settings []byte
	// VirtualMachine says that kernel and disks are the node's own. A node that
	// has not, a container, leaves the host's kernel settings and swap alone, and
	// evicts no pod because the host's disk is full.
	VirtualMachine bool
}

// Join is how a node gets into an existing cluster.
type Join struct {
	// Server is the API server's URL as the joining node reaches it.
	Server string
	// CA is the cluster's certificate authority, PEM.
	CA []byte
	// Token is a bootstrap token (id.secret) that lives minutes.
	Token string
}
