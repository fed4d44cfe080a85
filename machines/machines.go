// Package machines is the contract between a cluster's flow and what its nodes
// run on: containers on this host, virtual machines on Proxmox VE, or the
// in-memory fake. Flows call it; drivers in the folders below implement it.
//
// It must not know Kubernetes: a machine is something with a name, files, an
// address, and a way to run a command in it.
package machines

import (
	"context"
	"io"
	"io/fs"
	"net/netip"
	"time"
)

// State is what a machine is doing.
type State string

const (
	// StateCreated is a machine that exists and has not been started yet.
	StateCreated State = "Created"
	// StateRunning is a machine that is switched on.
	StateRunning State = "Running"
	// StateStopped is a machine that was switched on once and is off now; its
	// disks are kept.
	StateStopped State = "Stopped"
)

// Protocol is the transport protocol of a published port.
type Protocol string

// The transport protocols that a machine's ports may be published for.
const (
	TCP  Protocol = "TCP"
	UDP  Protocol = "UDP"
	SCTP Protocol = "SCTP"
)

// Port publishes a port of the machine on the host.
type Port struct {
	// HostAddress is the address on the host; the zero value is loopback.
	HostAddress netip.Addr
	// HostPort is the port on the host. Zero asks the driver for a free one,
	// which it then keeps over the machine's whole life, restarts included.
	HostPort uint16
	// MachinePort is the port inside the machine.
	MachinePort uint16
	// Protocol is TCP when empty.
	Protocol Protocol
}

// Mount shows a path of the host inside the machine.
type Mount struct {
	HostPath    string
	MachinePath string
	ReadOnly    bool
	// Propagation is one of "", "None", "HostToContainer", "Bidirectional".
	Propagation string
	// SELinuxRelabel gives the path of the host a label under which machines may
	// use it, where the host has SELinux. Paths then hold no colon.
	SELinuxRelabel bool
}

// Spec describes a machine to be created.
type Spec struct {
	// Cluster groups machines. Together with Name it identifies the machine.
	Cluster string
	// Name is unique within the cluster, a DNS label.
	Name string
	// Hostname is what the machine calls itself, a DNS label.
	Hostname string
	// Image is what the machine boots from, in the driver's terms.
	Image string
	// Labels are recorded with the machine and returned by Get and List.
	Labels map[string]string
	Ports  []Port
	Mounts []Mount
	// CPUs and MemoryBytes bound the machine; zero means no bound.
	CPUs        float64
	MemoryBytes int64
	// DNSSearch are the machine's search domains; nil means the host's.
	DNSSearch []string
	// Environment is passed to the machine's first process.
	Environment map[string]string
	// IPv6 says that the machine is of no use without an IPv6 address beside the
	// IPv4 one. It may have one without that.
	IPv6 bool
	// Recover makes the machine on the disks that a lost one of the same cluster
	// and name has left, with the address and the host ports that it had, instead
	// of on empty ones.
	Recover bool
}

// Machine is what a driver knows of one machine.
type Machine struct {
	// ID is the driver's own name of the machine, stable over its life.
	ID       string
	Cluster  string
	Name     string
	Hostname string
	Image    string
	State    State
	// Addresses are those on the machine network: an IPv4 one, and where the network
	// has IPv6 one of that after it. They are known from creation on and survive
	// restarts.
	Addresses []netip.Addr
	// Networks are the ranges of the machine network that the addresses are in.
	Networks []netip.Prefix
	Ports    []Port
	Labels   map[string]string
	Created  time.Time
}

// File is a file to be placed in a machine.
type File struct {
	// Path is absolute.
	Path    string
	Content []byte
	// Mode holds permission bits; zero means 0644. Files are owned by root.
	Mode fs.FileMode
}

// Replacement says what of a machine outlives its change to another image,
// besides its disks.
type Replacement struct {
	// Keep lists files and folders outside the disks, by absolute paths. What the
	// machine does not have is passed over.
	Keep []string
	// Files are placed after that.
	Files []File
	// Grace is how long the machine is given to shut down.
	Grace time.Duration
}

// Command is a program to be run inside a machine.
type Command struct {
	Args []string
	// Stdin may be nil. Stdout and Stderr may be nil, which discards.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Inventory creates, finds and removes machines.
//
// Every method is idempotent. Only machines that the driver made itself, for
// the same installation of Loam, are ever seen or touched.
type Inventory interface {
	// Create makes the machine without starting it and assigns its addresses
	// and host ports. A machine of the same cluster and name is returned as
	// it is. Disks that a lost machine of that name has left are removed before,
	// unless they are to be recovered; as long as they are there nobody else gets
	// its address. Faults: Invalid (image unknown, host port taken, disks that
	// cannot be recovered, no IPv6 where it is needed), Missing (no disks to be recovered), Exhausted (no
	// address left), Transient.
	Create(ctx context.Context, spec Spec) (Machine, error)
	// Get returns one machine. Faults: Missing, Transient.
	Get(ctx context.Context, cluster, name string) (Machine, error)
	// List returns the cluster's machines by name; all clusters' when the
	// cluster is empty.
	List(ctx context.Context, cluster string) ([]Machine, error)
	// Replace has a machine boot from the image of the spec, with the labels of
	// the spec. Its disks, addresses, host ports and hostname stay; a machine
	// that runs is switched off. It is created and not started afterwards, with
	// what it was to keep and the files. Ended at any moment, the machine is as it
	// was, switched off at most, or wholly replaced. One that has the image and
	// the labels already is returned as it is. Faults: Missing, Invalid (image
	// unknown), Transient.
	Replace(ctx context.Context, spec Spec, r Replacement) (Machine, error)
	// Delete removes the machine with its disks, running or not. A machine
	// that is gone already is a success. What only served machines (the
	// network) goes with the last of them.
	Delete(ctx context.Context, cluster, name string) error
}

// Power switches machines on and off.
type Power interface {
	// Start switches the machine on and returns once its first process runs;
	// running already is a success. Faults: Missing, Exhausted, Transient.
	Start(ctx context.Context, cluster, name string) error
	// Stop asks the machine to shut down, waits for the grace period, then
	// cuts its power; stopped already is a success. Faults: Missing, Transient.
	Stop(ctx context.Context, cluster, name string, grace time.Duration) error
}

// Guest reaches inside a machine.
type Guest interface {
	// PutFiles places files, parent folders included, replacing what is
	// there. It works on machines that are created, running or stopped, but for
	// /run and /tmp, which begin empty at each start.
	// Faults: Missing, Invalid (path not absolute, or lost at the start), Transient.
	PutFiles(ctx context.Context, cluster, name string, files []File) error
	// Run runs a command in a running machine and waits for it. A command
	// that ends with another code than 0 gives an *ExitError. When the context
	// ends, the command and what it started end too. Faults: Invalid (no
	// program), Missing, Waiting (not running), Transient.
	Run(ctx context.Context, cluster, name string, command Command) error
}

// Driver is a whole machine driver.
type Driver interface {
	Inventory
	Power
	Guest
}
