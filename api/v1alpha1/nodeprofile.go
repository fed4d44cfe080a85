package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// KindNodeProfile is the kind of a file that says what nodes are configured with.
const KindNodeProfile = "NodeProfile"

// NodeProfile is what a node is configured with, whatever machine it runs on. It is
// a file that people keep, not an object of the API. The comment above a value is its
// reason.
// +k8s:openapi-gen=false
type NodeProfile struct {
	metav1.TypeMeta `json:",inline"`

	// Extends names the built-in profile that this one changes: maps are merged, lists
	// replaced, and null takes a value away.
	Extends string `json:"extends,omitempty"`
	// NodeSettings are those of every node.
	NodeSettings `json:",inline"`
	// InContainer changes them for a node that is a container: kernel, disks and swap
	// are its host's.
	InContainer *NodeSettings `json:"inContainer,omitempty"`
}

// NodeSettings are the values of a node profile. A Shoot holds those that differ from
// the profile in controlPlaneConfig.node and workers[].providerConfig.node.
// +k8s:openapi-gen=false
type NodeSettings struct {
	// Containerd runs the node's containers.
	Containerd *ContainerdSettings `json:"containerd,omitempty"`
	// Kubelet holds fields of a KubeletConfiguration (kubelet.config.k8s.io/v1beta1).
	Kubelet *runtime.RawExtension `json:"kubelet,omitempty"`
	// KubeletService is how the service manager treats the kubelet.
	KubeletService *KubeletService `json:"kubeletService,omitempty"`
	// Logind holds back the end of the machine while the kubelet ends pods.
	Logind *LogindSettings `json:"logind,omitempty"`
	// ControlPlane are flags of the control plane's programs, which nodes of that role
	// have.
	ControlPlane *ControlPlaneArgs `json:"controlPlane,omitempty"`
	// Modules are loaded into the kernel at boot.
	Modules []string `json:"modules,omitempty"`
	// Sysctls are the kernel's settings.
	Sysctls map[string]string `json:"sysctls,omitempty"`
	// Time keeps the clock right.
	Time *TimeSettings `json:"time,omitempty"`
	// Packages are installed at the first boot.
	Packages []string `json:"packages,omitempty"`
	// Services are started at boot once they are installed.
	Services []string `json:"services,omitempty"`
	// Users are by their names.
	Users map[string]NodeUser `json:"users,omitempty"`
	// Files are by their paths.
	Files map[string]NodeFile `json:"files,omitempty"`
	// Units are systemd's, by their names. They start at boot.
	Units map[string]string `json:"units,omitempty"`
}

// ContainerdSettings are rendered for containerd 1.x and 2.x, which name them
// differently.
// +k8s:openapi-gen=false
type ContainerdSettings struct {
	// MaxConcurrentDownloads is how many layers of one image arrive at once.
	MaxConcurrentDownloads *int32 `json:"maxConcurrentDownloads,omitempty"`
	// DiscardUnpackedLayers keeps no layer compressed that is unpacked.
	DiscardUnpackedLayers *bool `json:"discardUnpackedLayers,omitempty"`
	// SandboxImage holds the namespaces of each pod.
	SandboxImage string `json:"sandboxImage,omitempty"`
	// Collection removes what no image and no container needs.
	Collection *ContainerdCollection `json:"collection,omitempty"`
}

// ContainerdCollection is the scheduler of containerd's garbage collection.
// +k8s:openapi-gen=false
type ContainerdCollection struct {
	// ScheduleDelay is how long a collection waits after what called for it.
	ScheduleDelay *metav1.Duration `json:"scheduleDelay,omitempty"`
	// PauseThreshold is the part of the time that collections may hold up writes,
	// 0.5 at most.
	PauseThreshold *float64 `json:"pauseThreshold,omitempty"`
	// MutationThreshold is how many changes call for a collection without a removal.
	MutationThreshold *int32 `json:"mutationThreshold,omitempty"`
}

// KubeletService is the kubelet's service.
// +k8s:openapi-gen=false
type KubeletService struct {
	// StopTimeout is after how long a kubelet that is told to end is killed.
	StopTimeout *metav1.Duration `json:"stopTimeout,omitempty"`
}

// LogindSettings are those of systemd-logind.
// +k8s:openapi-gen=false
type LogindSettings struct {
	// InhibitDelayMax is how long programs may hold back a shutdown.
	InhibitDelayMax *metav1.Duration `json:"inhibitDelayMax,omitempty"`
}

// ControlPlaneArgs are flags without dashes, and their values.
// +k8s:openapi-gen=false
type ControlPlaneArgs struct {
	APIServer         map[string]string `json:"apiServer,omitempty"`
	ControllerManager map[string]string `json:"controllerManager,omitempty"`
	Scheduler         map[string]string `json:"scheduler,omitempty"`
}

// TimeSettings are those of systemd-timesyncd.
// +k8s:openapi-gen=false
type TimeSettings struct {
	// Zone is a name of the time zone database.
	Zone string `json:"zone,omitempty"`
	// Servers are asked for the time; the distribution's when there are none.
	Servers []string `json:"servers,omitempty"`
}

// NodeUser is who may log in.
// +k8s:openapi-gen=false
type NodeUser struct {
	// SSHAuthorizedKeys are public keys; nobody has a password.
	SSHAuthorizedKeys []string `json:"sshAuthorizedKeys,omitempty"`
	// Sudo lets the user become root without a password.
	Sudo bool `json:"sudo,omitempty"`
	// Groups are further ones.
	Groups []string `json:"groups,omitempty"`
	// System is for a user that runs a service.
	System bool `json:"system,omitempty"`
}

// NodeFile is a file that root owns.
// +k8s:openapi-gen=false
type NodeFile struct {
	Content string `json:"content"`
	// Mode is in octal, 0644 when empty.
	Mode string `json:"mode,omitempty"`
	// Restart are the services that read the file only when they start.
	Restart []string `json:"restart,omitempty"`
}
