package doctor

// Host is what is known of this host. What could not be found out is in Unknown,
// and its fields are zero.
type Host struct {
	Engine Engine
	// CgroupVersion is 1 or 2, Controllers are those that the kernel has switched on.
	CgroupVersion int
	Controllers   []string
	Inotify       Inotify
	Disks         []Disk
	// MemoryTotal and MemoryAvailable are in bytes.
	MemoryTotal, MemoryAvailable uint64
	Clock                        Clock
	Kernel                       Kernel
	// Iptables is what the program says of its version; empty when there is none.
	Iptables string
	// Ports are those that Loam needs.
	Ports []Port
	// NodeImages are the Kubernetes versions that there are node images of.
	NodeImages []string
	// Unknown says what could not be found out, by the name of the check, and why.
	Unknown map[string]string
}

// Engine is the container engine.
type Engine struct {
	// Problem is why it does not answer; the rest is empty then.
	Problem string
	Address string
	// Local says that it runs on this host, so that facts of the host are its own.
	Local                                bool
	Version, System                      string
	CgroupDriver, StorageDriver, Backing string
	Root                                 string
	// Missing are the capabilities that it cannot give to containers.
	Missing []string
	// Nodes counts the machines that run on it, of all installations.
	Nodes int
}

// Inotify are the kernel's limits for each user, which all nodes share, as their
// programs are all root's.
type Inotify struct {
	MaxInstances, MaxWatches int
	// Used are root's instances; -1 when nobody could count them.
	Used int
}

// Disk is a file system that Loam writes to.
type Disk struct {
	// Use says what for.
	Use, Path          string
	Total, Free        uint64
	Inodes, FreeInodes uint64
}

// Clock is the host's.
type Clock struct {
	// Synchronised says that something keeps it right.
	Synchronised bool
}

// Kernel is what the kernel can do.
type Kernel struct {
	Release string
	// Overlay says that it has overlay file systems, Forwarding that it passes
	// packets on between interfaces.
	Overlay, Forwarding bool
}

// Port is one of this host that Loam listens on, or would.
type Port struct {
	Address string
	// Use says what for. Ours says that Loam holds it already.
	Use  string
	Ours bool
	// Holder is the process that has it; empty when it is free.
	Holder string
	// Otherwise says what else can be done than to end the holder, as ", or ...".
	Otherwise string
}
