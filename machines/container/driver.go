// Package container is the machine driver whose machines are containers: it
// speaks the Docker Engine API, which Docker and Podman offer. app makes one
// Driver per installation; flows use it as a machines.Driver.
//
// It must not know Kubernetes, nor what a machine is for. Everything it makes
// carries labels of its installation, and it never touches anything else.
package container

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"runtime"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
)

// Config is what a Driver is made of.
type Config struct {
	// Instance names the installation of Loam: a DNS label of at most 32
	// characters. It begins the names of all containers and volumes and is the
	// name of the network.
	Instance string
	// Host is the daemon's address, as unix:///var/run/docker.sock. Empty means
	// DOCKER_HOST and the variables that belong to it, else Docker's default.
	Host string
	// Subnet is the network's IPv4 range. Unset means one that the daemon finds
	// free.
	Subnet netip.Prefix
}

// Driver implements machines.Driver. It may be used by many goroutines; other
// processes may use the same instance at the same time.
type Driver struct {
	client   *client.Client
	instance string
	subnet   netip.Prefix

	// making is held for reading while a machine is made, and for writing while
	// the network is removed, so that no machine loses its network meanwhile.
	making sync.RWMutex
	// choosing guards the choice of addresses and ports and what is reserved
	// for machines whose containers do not exist yet.
	choosing sync.Mutex
	reserved []*placement

	// capabilities guards missing, which is known after the first machine.
	capabilities sync.Mutex
	missing      *[]string
}

var _ machines.Driver = (*Driver)(nil)

var instanceName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$`)

// New returns a driver without speaking to the daemon. Faults: Invalid.
func New(config Config) (*Driver, error) {
	if !instanceName.MatchString(config.Instance) {
		return nil, fault.New(fault.Invalid,
			"instance: %q must be at most 32 of a-z, 0-9 and -, not beginning or ending with -", config.Instance)
	}
	if config.Subnet.IsValid() && (!config.Subnet.Addr().Is4() || config.Subnet.Bits() > 29) {
		return nil, fault.New(fault.Invalid, "subnet: %s must be an IPv4 range of at least 8 addresses", config.Subnet)
	}
	options := []client.Opt{client.FromEnv}
	if config.Host != "" {
		options = append(options, client.WithHost(config.Host))
	}
	c, err := client.New(options...)
	if err != nil {
		return nil, fault.New(fault.Invalid, "reading the address of the container daemon: %w", err)
	}
	return &Driver{client: c, instance: config.Instance, subnet: config.Subnet.Masked()}, nil
}

// Close lets go of idle connections. Machines go on.
func (d *Driver) Close() error { return d.client.Close() }

// Ping tells whether the daemon answers and can run machines. Faults:
// Transient (not reachable), Denied (no right to its socket), Invalid (not for
// Linux containers, or too old).
func (d *Driver) Ping(ctx context.Context) error {
	pong, err := d.client.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true})
	if err != nil {
		return d.classify(err)
	}
	if pong.OSType != "" && pong.OSType != "linux" {
		return fault.New(fault.Invalid, "the container daemon at %s runs containers of %s, not of Linux", d.client.DaemonHost(), pong.OSType)
	}
	return nil
}

// Host is what is known of the host that machines run on.
type Host struct {
	// CgroupVersion is 1 or 2.
	CgroupVersion int
	CPUs          int
	MemoryBytes   int64
	// Daemon is the daemon's version.
	Daemon string
	// Address is where the daemon is reached, Local whether that is a socket of
	// this host.
	Address string
	Local   bool
	// CgroupDriver is cgroupfs or systemd; StorageDriver is overlay2 and the like,
	// on the file system Backing.
	CgroupDriver, StorageDriver, Backing string
	// Root is the folder of the daemon's images, containers and volumes.
	Root string
	// Kernel and System name what the daemon runs on.
	Kernel, System string
}

// Host asks the daemon about its host. Faults: Transient, Denied.
func (d *Driver) Host(ctx context.Context) (Host, error) {
	result, err := d.client.Info(ctx, client.InfoOptions{})
	if err != nil {
		return Host{}, fmt.Errorf("asking about the host of the container daemon: %w", d.classify(err))
	}
	i := result.Info
	host := Host{
		CgroupVersion: 2, CPUs: i.NCPU, MemoryBytes: i.MemTotal, Daemon: i.ServerVersion,
		Address: d.client.DaemonHost(), Local: d.localSocket() != "",
		CgroupDriver: i.CgroupDriver, StorageDriver: i.Driver, Root: i.DockerRootDir, Kernel: i.KernelVersion, System: i.OperatingSystem,
	}
	for _, pair := range i.DriverStatus {
		if pair[0] == "Backing Filesystem" {
			host.Backing = pair[1]
		}
	}
	if result.Info.CgroupVersion == "1" {
		host.CgroupVersion = 1
	}
	return host, nil
}

// localSocket returns the path of the daemon's socket when the daemon runs on
// this host, and an empty string when it does not.
func (d *Driver) localSocket() string {
	path, unix := strings.CutPrefix(d.client.DaemonHost(), "unix://")
	if !unix || runtime.GOOS != "linux" {
		return ""
	}
	return path
}

// classify gives an error of the daemon its kind. What is Missing here may be
// something else to the caller, who then decides before.
func (d *Driver) classify(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(fault.Transient, err)
	case client.IsErrConnectionFailed(err):
		return d.unreachable(err)
	case errdefs.IsNotFound(err):
		return fault.Wrap(fault.Missing, err)
	case errdefs.IsInvalidArgument(err):
		return fault.Wrap(fault.Invalid, err)
	case errdefs.IsUnauthorized(err), errdefs.IsPermissionDenied(err):
		return fault.Wrap(fault.Denied, err)
	case strings.Contains(err.Error(), "no space left on device"):
		return fault.Wrap(fault.Exhausted, err)
	}
	return fault.Wrap(fault.Transient, err)
}

// unreachable says what to do about a daemon that does not answer.
func (d *Driver) unreachable(err error) error {
	host := d.client.DaemonHost()
	if strings.Contains(err.Error(), "permission denied") {
		return fault.New(fault.Denied,
			"no right to use Docker at %s: run as root, or add yourself to its group with `usermod -aG docker $USER` and log in again", host)
	}
	if host != client.DefaultDockerHost {
		return fault.New(fault.Transient, "Docker is not reachable at %s: %w", host, err)
	}
	return fault.New(fault.Transient, "Docker is not reachable at %s: install it with `apt-get install docker.io` "+
		"and start it with `systemctl start docker`, or with `dockerd &` where there is no systemd", host)
}
