package machines

import (
	"context"
	"io"
	"time"
)

// Description is all that a driver can tell of a machine without reaching into
// it.
type Description struct {
	Machine
	// ProviderName is what the machine is called where it runs, for the tools of
	// that: the name of a container, the number of a virtual machine.
	ProviderName string
	// ImageID is the exact content of the image that the machine boots from.
	ImageID string
	// Condition is the provider's own word for what the machine does.
	Condition string
	// Started and Stopped are the last times of that; zero when it never was.
	Started, Stopped time.Time
	// ExitCode is that of the first process of a machine that is off.
	ExitCode int
	// OutOfMemory says that the kernel ended it for its memory.
	OutOfMemory bool
	// Restarts counts how often the provider started it again by itself.
	Restarts int
	// CPUs and MemoryBytes bound the machine; zero means no bound.
	CPUs        float64
	MemoryBytes int64
	Disks       []Disk
	Mounts      []Mount
}

// Disk is storage that stays while the machine is off.
type Disk struct {
	Name string
	// MachinePath is where the machine has it, HostPath where the host of the
	// engine keeps it.
	MachinePath, HostPath string
}

// Sight looks at machines from outside, whatever state they are in, and changes
// nothing.
type Sight interface {
	// Describe tells what is known of a machine. Faults: Missing, Transient.
	Describe(ctx context.Context, cluster, name string) (Description, error)
	// ReadFolder visits the regular files at and below a path, in no certain
	// order; links are passed over. It works on machines that are created, running
	// or stopped, but not for /run and /tmp, which are memory. The reader is good
	// for the call only. Faults: Missing (the machine or the path), Transient, and
	// what visit returns, which ends it.
	ReadFolder(ctx context.Context, cluster, name, path string, visit func(path string, content io.Reader) error) error
	// Log copies what the machine's first process has printed so far, from its
	// first start that is still kept. Faults: Missing, Transient.
	Log(ctx context.Context, cluster, name string, to io.Writer) error
	// DiskSizes returns the bytes that disks hold, by name, of all disks of this
	// installation. It may take seconds. Faults: Transient.
	DiskSizes(ctx context.Context) (map[string]int64, error)
}
