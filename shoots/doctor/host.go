package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/version"
)

// What clusters need of a host.
const (
	// instancesPerNode is how many inotify instances the programs of a node take:
	// measured with Kubernetes 1.36, systemd 252 and containerd 2.2.
	instancesPerNode = 13
	// comfortableNodes is how many more nodes there should be room for.
	comfortableNodes = 6
	// watchesWanted is what a few nodes with some dozens of pods use.
	watchesWanted = 65536
	// leastRoom and comfortableRoom are the bytes that a disk must, and should, have
	// free: a node writes some 200 MB before it does anything.
	leastRoom       = 2 << 30
	comfortableRoom = 10 << 30
	// leastInodes and comfortableInodes are the like, in percent of all inodes.
	leastInodes       = 5
	comfortableInodes = 10
	// leastMemory is what one node takes, comfortableMemory a small cluster.
	leastMemory       = 800 << 20
	comfortableMemory = 2 << 30
	// oldestEngine is the oldest that nodes are tested on.
	oldestEngine = "20.10.0"
)

// ForHost judges a host.
func ForHost(h Host) []Finding {
	c := &checks{}
	c.engine(h)
	c.images(h)
	if h.Engine.Problem == "" && !h.Engine.Local {
		c.add(Note, "host", fmt.Sprintf("the container engine at %s is on another host, or in a virtual machine", h.Engine.Address),
			"what is said below of this host need not be true of the one that nodes run on", "")
	}
	c.cgroups(h)
	c.capabilities(h)
	c.inotify(h)
	for _, d := range h.Disks {
		c.disk(d)
	}
	c.memory(h)
	c.clock(h)
	c.kernel(h)
	c.iptables(h)
	for _, p := range h.Ports {
		c.port(p)
	}
	for _, check := range slices.Sorted(maps.Keys(h.Unknown)) {
		c.add(Note, check, "could not be found out: "+h.Unknown[check], "", "")
	}
	return c.found
}

func (c *checks) engine(h Host) {
	const check = "engine"
	e := h.Engine
	if e.Problem != "" {
		fix := "systemctl start docker, after apt-get install docker.io where it is missing; or set DOCKER_HOST to where it listens"
		if strings.Contains(e.Problem, "usermod") {
			fix = "sudo usermod -aG docker $USER, then log in again"
		}
		c.add(Problem, check, e.Problem, "nodes are containers of an engine", fix)
		return
	}
	have, err := version.ParseGeneric(e.Version)
	if err == nil && have.LessThan(version.MustParseGeneric(oldestEngine)) {
		c.add(Warning, check, fmt.Sprintf("version %s is older than %s", e.Version, oldestEngine),
			"nodes need private cgroup namespaces, and are tested with that version and newer ones", "apt-get install docker.io")
		return
	}
	c.ok(check, "version %s at %s, on %s; storage %s on %s, cgroups by %s", e.Version, e.Address, e.System, e.StorageDriver, e.Backing, e.CgroupDriver)
}

func (c *checks) images(h Host) {
	const check = "node images"
	if h.Engine.Problem != "" || h.Unknown[check] != "" {
		return
	}
	if len(h.NodeImages) == 0 {
		c.add(Problem, check, "there is none", "nodes boot from them", "loam image build")
		return
	}
	c.ok(check, "%s", strings.Join(h.NodeImages, ", "))
}

func (c *checks) cgroups(h Host) {
	const check = "cgroups"
	if h.CgroupVersion == 0 {
		return
	}
	var missing []string
	for _, wanted := range []string{"cpu", "cpuset", "memory", "pids"} {
		if !slices.Contains(h.Controllers, wanted) {
			missing = append(missing, wanted)
		}
	}
	switch {
	case slices.Contains(missing, "memory"):
		c.add(Problem, check, "the kernel has these controllers switched off: "+strings.Join(missing, ", "), "a kubelet does not start without them",
			"add cgroup_enable=memory to the kernel's command line (GRUB_CMDLINE_LINUX in /etc/default/grub, then update-grub; /boot/firmware/cmdline.txt on a Raspberry Pi) and reboot")
	case len(missing) > 0:
		c.add(Problem, check, "the kernel lacks these controllers: "+strings.Join(missing, ", "), "a kubelet does not start without them",
			"boot a kernel of the distribution, as linux-image-amd64 of Debian")
	case h.CgroupVersion == 1:
		c.add(Note, check, "version 1, with "+strings.Join(h.Controllers, ", "),
			"it works: Loam tells the kubelet. Kubernetes maintains it no more, and a later version will refuse it",
			"when convenient, add systemd.unified_cgroup_hierarchy=1 to the kernel's command line and reboot")
	default:
		c.ok(check, "version 2, with %s", strings.Join(h.Controllers, ", "))
	}
}

func (c *checks) capabilities(h Host) {
	const check = "capabilities"
	if h.Engine.Problem != "" || h.Unknown[check] != "" {
		return
	}
	var hard []string
	for _, needed := range []string{"SYS_ADMIN", "NET_ADMIN", "SYS_CHROOT", "MKNOD", "SETUID", "SETGID", "DAC_OVERRIDE", "CHOWN", "SYS_PTRACE"} {
		if slices.Contains(h.Engine.Missing, needed) {
			hard = append(hard, needed)
		}
	}
	switch {
	case len(hard) > 0:
		c.add(Problem, check, "the engine cannot give these to containers: "+strings.Join(hard, ", "), "a node mounts file systems and sets up networks",
			"start the engine as root outside of any container, or give its own container all capabilities")
	case len(h.Engine.Missing) > 0:
		c.add(Note, check, "the engine cannot give these to containers: "+strings.Join(h.Engine.Missing, ", "),
			"Loam's node images do without them; others, as kindest/node, may not, as no container can be privileged here", "")
	default:
		c.ok(check, "the engine can give all to containers")
	}
}

func (c *checks) inotify(h Host) {
	const check = "inotify"
	i := h.Inotify
	if i.MaxInstances == 0 {
		return
	}
	used, how := i.Used, "in use"
	if used < 0 {
		used, how = h.Engine.Nodes*instancesPerNode, "in use, as far as nodes tell"
	}
	room := max(0, (i.MaxInstances-used)/instancesPerNode)
	text := fmt.Sprintf("%d of %d instances are %s: room for %d more nodes", used, i.MaxInstances, how, room)
	const why = "root's programs of all nodes share this limit, and a node takes some 13; without, kubelets end with \"too many open files\""
	fix := sysctl("fs.inotify.max_user_instances", 1024)
	switch {
	case room == 0:
		c.add(Problem, check, text, why, fix)
	case room < comfortableNodes:
		c.add(Warning, check, text, why, fix)
	default:
		c.ok(check, "%s", text)
	}
	if i.MaxWatches < watchesWanted {
		c.add(Warning, check, fmt.Sprintf("%d watches for all programs of root", i.MaxWatches), "kubelets and log readers watch every mounted file, and end with \"no space left on device\"",
			sysctl("fs.inotify.max_user_watches", 524288))
	}
}

// sysctl is the command that sets a limit now and for good.
func sysctl(name string, value int) string {
	return fmt.Sprintf("echo %s=%d | sudo tee -a /etc/sysctl.d/99-loam.conf && sudo sysctl --system", name, value)
}

func (c *checks) disk(d Disk) {
	check := "disk of " + d.Use
	if d.Total == 0 {
		return
	}
	text := fmt.Sprintf("%s free of %s at %s", bytesText(d.Free), bytesText(d.Total), d.Path)
	const why = "all nodes write to it, and have no bound of their own: an etcd that cannot write ends, and its cluster with it"
	const fix = "look with docker system df, then docker image prune and docker builder prune; or move the folder to a bigger disk"
	switch {
	case d.Free < leastRoom:
		c.add(Problem, check, text, why, fix)
	case d.Free < comfortableRoom:
		c.add(Warning, check, text, why, fix)
	default:
		c.ok(check, "%s", text)
	}
	// Some file systems have no fixed number of them.
	if d.Inodes > 0 && d.FreeInodes*100/d.Inodes < comfortableInodes {
		s := Warning
		if d.FreeInodes*100/d.Inodes < leastInodes {
			s = Problem
		}
		c.add(s, check, fmt.Sprintf("%d of %d inodes are free at %s", d.FreeInodes, d.Inodes, d.Path), "a file system without inodes takes no new file, whatever room it has", fix)
	}
}

func (c *checks) memory(h Host) {
	const check = "memory"
	if h.MemoryTotal == 0 {
		return
	}
	text := fmt.Sprintf("%s available of %s", bytesText(h.MemoryAvailable), bytesText(h.MemoryTotal))
	const why = "a control plane takes some 700 MiB, a worker some 150 MiB"
	const fix = "hibernate or delete a cluster (loam cluster list), or end what takes most (ps aux --sort=-rss | head)"
	switch {
	case h.MemoryAvailable < leastMemory:
		c.add(Problem, check, text, why, fix)
	case h.MemoryAvailable < comfortableMemory:
		c.add(Warning, check, text, why, fix)
	default:
		c.ok(check, "%s", text)
	}
}

func (c *checks) clock(h Host) {
	const check = "clock"
	if h.Unknown[check] != "" {
		return
	}
	if !h.Clock.Synchronised {
		c.add(Warning, check, "nothing keeps it right, as far as the kernel knows", "certificates and tokens are good from and until a moment: a clock that is wrong makes them invalid",
			"apt-get install chrony, or timedatectl set-ntp true")
		return
	}
	c.ok(check, "synchronised")
}

func (c *checks) kernel(h Host) {
	const check = "kernel"
	if h.Kernel.Release == "" {
		return
	}
	sound := true
	if !h.Kernel.Overlay {
		sound = false
		c.add(Problem, check, "no overlay file systems", "containers in nodes are made of them",
			"echo overlay | sudo tee /etc/modules-load.d/loam.conf && sudo modprobe overlay")
	}
	if !h.Kernel.Forwarding {
		sound = false
		c.add(Problem, check, "it does not pass packets on (net.ipv4.ip_forward is 0)", "nodes reach each other and the world through the host",
			sysctl("net.ipv4.ip_forward", 1))
	}
	if sound {
		c.ok(check, "%s, with overlay file systems, passes packets on", h.Kernel.Release)
	}
}

func (c *checks) iptables(h Host) {
	const check = "iptables"
	if h.Unknown[check] != "" {
		return
	}
	switch {
	case h.Iptables == "":
		c.add(Warning, check, "there is no program iptables", "container engines publish ports and masquerade with it", "apt-get install iptables")
	case strings.Contains(h.Iptables, "legacy"):
		c.add(Note, check, h.Iptables, "rules of both kinds apply at once: those of programs that use nf_tables are not shown by this one",
			"update-alternatives --set iptables /usr/sbin/iptables-nft, then restart the container engine")
	default:
		c.ok(check, "%s", h.Iptables)
	}
}

func (c *checks) port(p Port) {
	const check = "ports"
	switch {
	case p.Ours:
		c.ok(check, "%s is %s", p.Address, p.Use)
	case p.Holder == "":
		c.ok(check, "%s is free for %s", p.Address, p.Use)
	default:
		c.add(Problem, check, fmt.Sprintf("%s, needed for %s, is taken by %s", p.Address, p.Use, p.Holder), "two programs cannot listen on one port",
			"end the other program"+p.Otherwise)
	}
}

// bytesText is a number of bytes for a person to read.
func bytesText(b uint64) string {
	if b < 10<<30 {
		return fmt.Sprintf("%d MiB", b>>20)
	}
	return fmt.Sprintf("%d GiB", b>>30)
}
