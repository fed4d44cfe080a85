package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// MachineRole is what a machine does in its cluster.
type MachineRole string

const (
	// RoleControlPlane runs the cluster's API server and etcd.
	RoleControlPlane MachineRole = "ControlPlane"
	// RoleBalancer spreads connections over the API servers of several control
	// planes. It is no node.
	RoleBalancer MachineRole = "Balancer"
	// RoleWorker runs workload only.
	RoleWorker MachineRole = "Worker"
)

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// Machine reports one machine of a Shoot, as its driver last saw it. It is a
// report: the flow that grows the cluster writes it, nothing is steered by it.
type Machine struct {
	metav1.TypeMeta `json:",inline"`
	// Standard object metadata.
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec says what the machine was made for.
	Spec MachineSpec `json:"spec"`
	// Status is what the driver last saw.
	Status MachineStatus `json:"status,omitempty"`
}

// MachineSpec says what the machine was made for.
type MachineSpec struct {
	// ShootName is the Shoot in the same namespace that the machine belongs to.
	ShootName string `json:"shootName"`
	// Pool is the name of the worker pool; the pool that holds the control
	// plane counts as one.
	Pool string `json:"pool"`
	// Role is what the machine does in its cluster.
	Role MachineRole `json:"role"`
	// ProviderType is the machine driver: local or proxmox.
	ProviderType string `json:"providerType"`
	// Image is what the machine booted from.
	Image string `json:"image,omitempty"`
	// KubernetesVersion is that of the node image: v1.36.3.
	KubernetesVersion string `json:"kubernetesVersion,omitempty"`
}

// MachineStatus is what the driver reported.
type MachineStatus struct {
	// ProviderID is the driver's own name of the machine.
	ProviderID string `json:"providerID,omitempty"`
	// State is Created, Running or Stopped.
	State string `json:"state,omitempty"`
	// NodeName is the Kubernetes node that the machine became.
	NodeName string `json:"nodeName,omitempty"`
	// Addresses are the machine's addresses, the primary one first.
	// +listType=atomic
	Addresses []string `json:"addresses,omitempty"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// MachineList is a list of machines.
type MachineList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Machine `json:"items"`
}
