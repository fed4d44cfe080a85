package node

// Suite is the Debian release of the root folder.
const Suite = "bookworm"

// Packages are the Debian packages of a node beyond the minimal base, with those
// they depend on.
func Packages() []string {
	return []string{
		"busybox-static",
		"ca-certificates",
		"conntrack",
		"ethtool",
		"haproxy",
		"iproute2",
		"ipset",
		"iptables",
		"kmod",
		"libseccomp2",
		"mount",
		"nftables",
		"procps",
		"socat",
		"systemd",
		"systemd-sysv",
		"util-linux",
	}
}

// BuildPackages are added to the same base to compile modules with C in them.
func BuildPackages() []string {
	return []string{"gcc", "libc6-dev", "libseccomp-dev", "pkg-config", "ca-certificates"}
}

// PacketFilterPackages are those whose programs kube-proxy and flannel run.
func PacketFilterPackages() []string {
	return []string{"iptables", "nftables", "ipset", "conntrack", "kmod"}
}

// ShellPackages are where the small images take their shell from.
func ShellPackages() []string { return []string{"busybox-static"} }

// MaskedUnits are systemd units that a node does not need: they cost time at
// boot, or would change what belongs to the host.
func MaskedUnits() []string {
	return []string{
		"apt-daily-upgrade.timer",
		"apt-daily.timer",
		"console-getty.service",
		"dev-hugepages.mount",
		"dev-mqueue.mount",
		"dpkg-db-backup.timer",
		"e2scrub_all.timer",
		"e2scrub_reap.service",
		"fstrim.timer",
		"getty.target",
		"getty@tty1.service",
		"haproxy.service",
		"kmod-static-nodes.service",
		"ldconfig.service",
		"modprobe@.service",
		"nftables.service",
		"proc-sys-fs-binfmt_misc.automount",
		"sys-fs-fuse-connections.mount",
		"sys-kernel-config.mount",
		"sys-kernel-debug.mount",
		"sys-kernel-tracing.mount",
		"systemd-ask-password-console.path",
		"systemd-ask-password-wall.path",
		"systemd-binfmt.service",
		"systemd-firstboot.service",
		"systemd-hwdb-update.service",
		"systemd-journal-catalog-update.service",
		"systemd-logind.service",
		"systemd-machine-id-commit.service",
		"systemd-modules-load.service",
		"systemd-network-generator.service",
		"systemd-networkd.service",
		"systemd-pcrphase-sysinit.service",
		"systemd-pcrphase.service",
		"systemd-pstore.service",
		"systemd-random-seed.service",
		"systemd-remount-fs.service",
		"systemd-sysusers.service",
		"systemd-tmpfiles-clean.timer",
		"systemd-udev-trigger.service",
		"systemd-udevd.service",
		"systemd-update-done.service",
		"systemd-update-utmp-runlevel.service",
		"systemd-update-utmp.service",
		"systemd-user-sessions.service",
	}
}

// EnabledUnits are those of Loam's own units that start with the node.
func EnabledUnits() []string {
	return []string{"containerd.service", "kubelet.service", "loam-balancer.service", "loam-stop-pods.service", "loam-cni.path"}
}

// Folders are made empty: nothing that is embedded lies in them, or the packed
// root folder leaves them out.
func Folders() []string {
	return []string{
		"/dev", "/proc", "/run", "/sys", "/var/lib/systemd", "/var/log",
		"/etc/cni/net.d", "/etc/containerd/certs.d", "/etc/containerd/conf.d", "/etc/kubernetes/kubelet.conf.d", "/etc/kubernetes/manifests",
	}
}
