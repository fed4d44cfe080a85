package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// ControlPlaneConfig is what spec.provider.controlPlaneConfig of a Shoot of
// provider type local holds: what all machines of the cluster share and a Shoot
// has no word for. Whoever reads the Shoot reads it: no secret belongs here.
// +k8s:openapi-gen=false
type ControlPlaneConfig struct {
	metav1.TypeMeta `json:",inline"`

	// APIServer says where this host publishes the API server.
	APIServer *Listener `json:"apiServer,omitempty"`
	// PortMappings are ports of this host that lead to a port of any node. The
	// garden listens on them, so they may change at any time.
	PortMappings []PortMapping `json:"portMappings,omitempty"`
	// DNSSearch are the search domains of nodes; nil means the host's, an empty
	// list none.
	DNSSearch *[]string `json:"dnsSearch,omitempty"`
	// Proxy is how nodes reach the world outside.
	Proxy *Proxy `json:"proxy,omitempty"`
	// IPv6 are the ranges of IPv6 of a cluster of both families, for which a Shoot has
	// words for those of IPv4 only.
	IPv6 *Ranges `json:"ipv6,omitempty"`
	// KubeadmPatches are for the configuration of every node.
	KubeadmPatches `json:",inline"`
	// ContainerdConfigPatches are TOML documents that are merged into containerd's
	// configuration, in this order.
	ContainerdConfigPatches []string `json:"containerdConfigPatches,omitempty"`
	// ContainerdConfigPatchesJSON6902 are JSON patches (RFC 6902), as JSON or YAML,
	// of containerd's configuration; they are made before the others.
	ContainerdConfigPatchesJSON6902 []string `json:"containerdConfigPatchesJSON6902,omitempty"`
	// Node are NodeSettings in which the nodes differ from their profile; null takes a
	// value away.
	Node *runtime.RawExtension `json:"node,omitempty"`
}

// WorkerConfig is what workers[].providerConfig of a Shoot of provider type
// local holds: what the machines of one pool have and a Shoot has no word for.
// +k8s:openapi-gen=false
type WorkerConfig struct {
	metav1.TypeMeta `json:",inline"`

	// Image is the node image, by a name that the container engine knows; empty
	// means the one of the cluster's Kubernetes version.
	Image string `json:"image,omitempty"`
	// ExtraMounts show paths of the host in the machines.
	ExtraMounts []Mount `json:"extraMounts,omitempty"`
	// ExtraPortMappings publish ports of the machines on the host.
	ExtraPortMappings []PortMapping `json:"extraPortMappings,omitempty"`
	// KubeadmPatches are for the configuration of these nodes; they are made after
	// those of the cluster.
	KubeadmPatches `json:",inline"`
	// Node are NodeSettings in which these nodes differ from the others of the cluster.
	Node *runtime.RawExtension `json:"node,omitempty"`
}

// Listener is an address and a port of the host.
// +k8s:openapi-gen=false
type Listener struct {
	// Address is 127.0.0.1 when empty.
	Address string `json:"address,omitempty"`
	// Port is a free one when zero.
	Port int32 `json:"port,omitempty"`
}

// Ranges are those of addresses inside a cluster.
// +k8s:openapi-gen=false
type Ranges struct {
	// Pods is fd00:10:244::/56 when empty.
	Pods string `json:"pods,omitempty"`
	// Services is fd00:10:96::/112 when empty.
	Services string `json:"services,omitempty"`
}

// Proxy has the meaning of the variables HTTP_PROXY, HTTPS_PROXY and NO_PROXY.
// The cluster's own networks are never asked for through it.
// +k8s:openapi-gen=false
type Proxy struct {
	HTTPProxy  string `json:"httpProxy,omitempty"`
	HTTPSProxy string `json:"httpsProxy,omitempty"`
	// NoProxy are the destinations that are reached directly.
	NoProxy []string `json:"noProxy,omitempty"`
}

// KubeadmPatches change the documents that nodes are configured with:
// ClusterConfiguration, InitConfiguration, JoinConfiguration,
// KubeletConfiguration and KubeProxyConfiguration.
// +k8s:openapi-gen=false
type KubeadmPatches struct {
	// KubeadmConfigPatches are merge patches (RFC 7386), as JSON or YAML. Their
	// kind says which document each is for.
	KubeadmConfigPatches []string `json:"kubeadmConfigPatches,omitempty"`
	// KubeadmConfigPatchesJSON6902 are made after those.
	KubeadmConfigPatchesJSON6902 []PatchJSON6902 `json:"kubeadmConfigPatchesJSON6902,omitempty"`
}

// PatchJSON6902 is a JSON patch (RFC 6902) of one kind of document.
// +k8s:openapi-gen=false
type PatchJSON6902 struct {
	Group   string `json:"group"`
	Version string `json:"version"`
	Kind    string `json:"kind"`
	// Patch is a list of operations, as JSON or YAML.
	Patch string `json:"patch"`
}

// Mount shows a path of the host in a machine.
// +k8s:openapi-gen=false
type Mount struct {
	HostPath      string `json:"hostPath"`
	ContainerPath string `json:"containerPath"`
	ReadOnly      bool   `json:"readOnly,omitempty"`
	// SELinuxRelabel gives the path a label that containers may use.
	SELinuxRelabel bool `json:"selinuxRelabel,omitempty"`
	// Propagation is None (the default), HostToContainer or Bidirectional.
	Propagation string `json:"propagation,omitempty"`
}

// PortMapping leads from one port of the host, or from a range of ports, to
// ports of a machine or of the nodes.
// +k8s:openapi-gen=false
type PortMapping struct {
	ContainerPort int32 `json:"containerPort,omitempty"`
	// HostPort is a free one when zero.
	HostPort int32 `json:"hostPort,omitempty"`
	// ContainerPortRange is FIRST-LAST, instead of a containerPort.
	ContainerPortRange string `json:"containerPortRange,omitempty"`
	// HostPortRange is a range of the same size, instead of a hostPort; each port
	// is a free one when neither is given.
	HostPortRange string `json:"hostPortRange,omitempty"`
	// ListenAddress is the address on the host, 127.0.0.1 when empty.
	ListenAddress string `json:"listenAddress,omitempty"`
	// Protocol is TCP (the default), UDP or SCTP.
	Protocol string `json:"protocol,omitempty"`
}
