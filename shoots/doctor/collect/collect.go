// Package collect finds out the facts about this host that package doctor
// judges. The command line calls it through app.
//
// It changes nothing. What cannot be found out, for want of rights or on another
// kind of system, is told as that and is no error.
package collect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/loam-cloud/loam/shoots/doctor"
)

// programLimit bounds the programs that are asked for their version.
const programLimit = 5 * time.Second

// Host collects what the kernel and the programs of this host say. Engine, node
// images, ports and disks are the caller's to add.
func Host(ctx context.Context) doctor.Host { return hostAt(ctx, "/") }

func hostAt(ctx context.Context, root string) doctor.Host {
	c := collector{root: root, host: doctor.Host{Unknown: map[string]string{}}}
	c.try("cgroups", c.cgroups)
	c.try("inotify", c.inotify)
	c.try("memory", c.memory)
	c.try("kernel", c.kernel)
	c.try("clock", c.clock)
	c.try("iptables", func() error { return c.iptables(ctx) })
	return c.host
}

// collector reads below a root, which tests choose.
type collector struct {
	root string
	host doctor.Host
}

func (c *collector) try(check string, find func() error) {
	if err := find(); err != nil {
		c.host.Unknown[check] = err.Error()
	}
}

func (c *collector) read(path string) (string, error) {
	text, err := os.ReadFile(filepath.Join(c.root, path))
	return strings.TrimSpace(string(text)), err
}

func (c *collector) number(path string) (int, error) {
	text, err := c.read(path)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(text)
}

// cgroups: version 2 lists its controllers in a file of its own.
func (c *collector) cgroups() error {
	if text, err := c.read("sys/fs/cgroup/cgroup.controllers"); err == nil {
		c.host.CgroupVersion, c.host.Controllers = 2, strings.Fields(text)
		return nil
	}
	text, err := c.read("proc/cgroups")
	if err != nil {
		return err
	}
	c.host.CgroupVersion = 1
	for line := range strings.Lines(text) {
		// Name, hierarchy, number of groups, whether it is switched on.
		if f := strings.Fields(line); len(f) == 4 && f[3] == "1" {
			c.host.Controllers = append(c.host.Controllers, f[0])
		}
	}
	slices.Sort(c.host.Controllers)
	return nil
}

func (c *collector) inotify() (err error) {
	i := &c.host.Inotify
	if i.MaxInstances, err = c.number("proc/sys/fs/inotify/max_user_instances"); err != nil {
		return err
	}
	if i.MaxWatches, err = c.number("proc/sys/fs/inotify/max_user_watches"); err != nil {
		return err
	}
	i.Used = -1
	if os.Geteuid() == 0 {
		i.Used = c.instances()
	}
	return nil
}

// instances counts the inotify instances of root's processes. Those of nodes are
// among them: a node's root is the host's. One that several processes share, as
// after a fork, is counted for each: the count errs to the safe side.
func (c *collector) instances() int {
	// No pattern is bad that is a constant.
	links, _ := filepath.Glob(filepath.Join(c.root, "proc/[0-9]*/fd/*"))
	count := 0
	for _, link := range links {
		// Processes and files go while they are looked at.
		if target, err := os.Readlink(link); err == nil && target == "anon_inode:inotify" {
			count++
		}
	}
	return count
}

func (c *collector) memory() error {
	fs, err := procfs.NewFS(filepath.Join(c.root, "proc"))
	if err != nil {
		return err
	}
	memory, err := fs.Meminfo()
	if err != nil {
		return err
	}
	if memory.MemTotalBytes == nil || memory.MemAvailableBytes == nil {
		return errors.New("the kernel does not say")
	}
	c.host.MemoryTotal, c.host.MemoryAvailable = *memory.MemTotalBytes, *memory.MemAvailableBytes
	return nil
}

func (c *collector) kernel() error {
	k := doctor.Kernel{}
	filesystems, err := c.read("proc/filesystems")
	if err != nil {
		return err
	}
	k.Overlay = slices.Contains(strings.Fields(filesystems), "overlay")
	forwarding, err := c.number("proc/sys/net/ipv4/ip_forward")
	if err != nil {
		return err
	}
	k.Forwarding = forwarding == 1
	if k.Release, err = c.read("proc/sys/kernel/osrelease"); err != nil {
		return err
	}
	if !k.Overlay {
		// A module that can be loaded is loaded by the engine when it is needed.
		_, err := os.Stat(filepath.Join(c.root, "lib/modules", k.Release, "kernel/fs/overlayfs"))
		k.Overlay = err == nil
	}
	c.host.Kernel = k
	return nil
}

func (c *collector) iptables(ctx context.Context) error {
	program, err := exec.LookPath("iptables")
	if errors.Is(err, exec.ErrNotFound) {
		// Not everyone's path has it.
		if program = "/usr/sbin/iptables"; !exists(program) {
			return nil
		}
	} else if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, programLimit)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, program, "--version")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s --version: %w", program, err)
	}
	c.host.Iptables = strings.TrimSpace(out.String())
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Disk measures the file system that a path is on, or would be.
func Disk(use, path string) (doctor.Disk, error) {
	for at := path; ; at = filepath.Dir(at) {
		var s unix.Statfs_t
		err := unix.Statfs(at, &s)
		if errors.Is(err, unix.ENOENT) && at != filepath.Dir(at) {
			continue
		}
		if err != nil {
			return doctor.Disk{}, fmt.Errorf("%s: %w", at, err)
		}
		return doctor.Disk{
			Use: use, Path: path, Total: s.Blocks * uint64(s.Bsize), Free: s.Bavail * uint64(s.Bsize),
			Inodes: s.Files, FreeInodes: s.Ffree,
		}, nil
	}
}

// Holder says which process listens on an address of this host, by "tcp" or
// "udp"; empty when none does. One that cannot be seen is called so.
func Holder(address netip.AddrPort, protocol string) (string, error) {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return "", err
	}
	inode, found := listening(fs, address, protocol)
	if !found {
		return "", nil
	}
	return owner(fs, fmt.Sprintf("socket:[%d]", inode)), nil
}

const unseenProcess = "a process that cannot be seen from here (try as root)"

// States of a socket that waits for whoever comes: TCP_LISTEN of the kernel, and
// TCP_CLOSE, which UDP has instead.
const (
	listen    = 10
	listenUDP = 7
)

func listening(fs procfs.FS, address netip.AddrPort, protocol string) (inode uint64, found bool) {
	// A kernel without IPv6 has no file of it.
	state := uint64(listen)
	four, _ := fs.NetTCP()
	six, _ := fs.NetTCP6()
	lines := append(four, six...)
	if protocol == "udp" {
		state = listenUDP
		four, _ := fs.NetUDP()
		six, _ := fs.NetUDP6()
		lines = procfs.NetTCP(append(four, six...))
	}
	for _, line := range lines {
		local, ok := netip.AddrFromSlice(line.LocalAddr)
		if !ok || line.St != state || line.LocalPort != uint64(address.Port()) {
			continue
		}
		if local = local.Unmap(); local.IsUnspecified() || address.Addr().IsUnspecified() || local == address.Addr() {
			return line.Inode, true
		}
	}
	return 0, false
}

// owner finds who has a socket open.
func owner(fs procfs.FS, socket string) string {
	all, err := fs.AllProcs()
	if err != nil {
		return unseenProcess
	}
	for _, p := range all {
		// Processes end while they are looked at, and others' are not ours to see.
		targets, _ := p.FileDescriptorTargets()
		if !slices.Contains(targets, socket) {
			continue
		}
		name, err := p.Comm()
		if err != nil {
			name = "a program"
		}
		return fmt.Sprintf("%s (process %d)", name, p.PID)
	}
	return unseenProcess
}
