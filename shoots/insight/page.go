// Package insight shows what a cluster is made of on its machines: processes,
// certificates, files, disks, ports and services of each node, as one page. The
// command line calls it through app; the doctor and the export of logs use what
// it sees.
//
// It changes nothing, and must not know the garden or any driver: machines come
// in through the contract of package machines, the cluster through its API. What
// cannot be seen is part of the page, with the reason. No key is ever on it.
package insight

import (
	"time"
)

// Known is what the caller knows of a cluster before anybody looks.
type Known struct {
	// ID is the cluster's name on the machine driver.
	ID string
	// Name and Project are the user's names for it.
	Name, Project string
	// State and KubernetesVersion are what the garden says; empty where none runs.
	State, KubernetesVersion string
}

// Page is all that can be seen of a cluster at one moment.
type Page struct {
	Name              string    `json:"name"`
	Project           string    `json:"project"`
	ID                string    `json:"id"`
	State             string    `json:"state,omitempty"`
	KubernetesVersion string    `json:"kubernetesVersion,omitempty"`
	Seen              time.Time `json:"seen"`
	API               API       `json:"api"`
	Nodes             []Node    `json:"nodes"`
	Ports             []Port    `json:"ports"`
	Services          []Service `json:"services"`
	// Unseen says what could not be looked at, and why.
	Unseen []Unseen `json:"unseen,omitempty"`
}

// API is the cluster's API server as this host reaches it.
type API struct {
	// Address is its URL from this host, Inside the one from the nodes.
	Address string `json:"address,omitempty"`
	Inside  string `json:"inside,omitempty"`
	Version string `json:"version,omitempty"`
	Ready   bool   `json:"ready"`
	Problem string `json:"problem,omitempty"`
}

// Unseen is something that could not be looked at.
type Unseen struct {
	What string `json:"what"`
	Why  string `json:"why"`
}

// Node is a machine, and the node that it is to the cluster.
type Node struct {
	Name        string   `json:"name"`
	Machine     string   `json:"machine"`
	Role        string   `json:"role,omitempty"`
	Pool        string   `json:"pool,omitempty"`
	Container   string   `json:"container"`
	ContainerID string   `json:"containerID"`
	Image       string   `json:"image"`
	ImageID     string   `json:"imageID"`
	State       string   `json:"state"`
	Addresses   []string `json:"addresses"`
	// Started and Stopped are the container's last times of that.
	Started     *time.Time `json:"started,omitempty"`
	Stopped     *time.Time `json:"stopped,omitempty"`
	ExitCode    int        `json:"exitCode,omitempty"`
	OutOfMemory bool       `json:"outOfMemory,omitempty"`
	Restarts    int        `json:"restarts"`
	// CPUs and MemoryBytes bound the container; zero means no bound.
	CPUs        float64 `json:"cpus"`
	MemoryBytes int64   `json:"memoryBytes"`
	// Kubernetes is what the cluster says of the node; nil when it says nothing.
	Kubernetes   *Kubernetes   `json:"kubernetes,omitempty"`
	Processes    []Process     `json:"processes,omitempty"`
	Certificates []Certificate `json:"certificates,omitempty"`
	Disks        []Disk        `json:"disks"`
	Mounts       []Mount       `json:"mounts,omitempty"`
	Files        []Location    `json:"files"`
}

// Kubernetes is a node as the cluster sees it.
type Kubernetes struct {
	Ready   bool   `json:"ready"`
	Problem string `json:"problem,omitempty"`
	Version string `json:"version"`
	Runtime string `json:"runtime"`
	// Cordoned says that no new pods are put there.
	Cordoned          bool   `json:"cordoned,omitempty"`
	AllocatableCPU    string `json:"allocatableCPU"`
	AllocatableMemory string `json:"allocatableMemory"`
	Pods              int    `json:"pods"`
	RunningPods       int    `json:"runningPods"`
}

// Process is a program that makes a machine a node.
type Process struct {
	Name string `json:"name"`
	// Kind is unit (of systemd), static pod, or process.
	Kind  string `json:"kind"`
	State string `json:"state"`
	PID   int    `json:"pid,omitempty"`
	// MemoryBytes is what it holds resident.
	MemoryBytes int64 `json:"memoryBytes,omitempty"`
	// Seconds is how long it has been running.
	Seconds int64 `json:"seconds,omitempty"`
	// Restarts is nil where nobody has counted.
	Restarts *int `json:"restarts,omitempty"`
}

// Disk is a volume of a machine.
type Disk struct {
	Path     string `json:"path"`
	Volume   string `json:"volume"`
	HostPath string `json:"hostPath"`
	// Bytes is nil when nobody could measure it.
	Bytes *int64 `json:"bytes,omitempty"`
}

// Mount is a folder of the host in a machine.
type Mount struct {
	Path     string `json:"path"`
	HostPath string `json:"hostPath"`
	ReadOnly bool   `json:"readOnly,omitempty"`
}

// Location says where something is.
type Location struct {
	What string `json:"what"`
	Path string `json:"path"`
	// HostPath is where the host has it, for what lies on a disk.
	HostPath string `json:"hostPath,omitempty"`
}

// Port is a way from this host, or the network of the nodes, to a service.
type Port struct {
	// Host is the address on this host; empty when it is not published there.
	Host string `json:"host,omitempty"`
	// Node is the address at the node.
	Node     string `json:"node"`
	Protocol string `json:"protocol"`
	// Service is what answers; empty when nothing does.
	Service string `json:"service,omitempty"`
}

// Service is a service of the cluster with its addresses.
type Service struct {
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Type      string   `json:"type"`
	Addresses []string `json:"addresses"`
	External  []string `json:"external,omitempty"`
	Ports     []string `json:"ports"`
}
