// Package boot shows what a Debian 12 machine makes of the files that Loam renders:
// programs of it run in a throwaway copy of its root folder, and the whole of it
// boots under emulation, without hardware for it. Tests of node profiles use it.
//
// It must not know what is rendered.
package boot

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gofrs/flock"

	"github.com/loam-cloud/loam/images"
)

// suite is the release of the machine.
const suite = "bookworm"

// packages are what a template of a virtual machine has, and what tests look with.
var packages = []string{
	"ca-certificates", "cloud-init", "conntrack", "containerd", "curl", "dbus", "e2fsprogs", "ethtool", "initramfs-tools", "iproute2", "iptables", "kmod",
	"libpam-systemd", "linux-image-cloud-amd64", "locales", "netplan.io", "nftables", "openssh-server", "openssl", "procps", "qemu-guest-agent", "socat", "sudo",
	"systemd-sysv", "systemd-timesyncd", "udev", "unattended-upgrades",
	// debootstrap does not find out itself that a virtual package of it is needed.
	"python3-cffi-backend",
}

// finish runs in the new root folder. The initial RAM disk has only what reads an
// emulated disk, because unpacking it takes long under emulation; there is no mirror
// to ask; locales that cloud-init would make are not there; and each machine gets keys
// of its own, as those of a template do.
const finish = `set -e
printf 'MODULES=list\n' >/etc/initramfs-tools/conf.d/loam
printf 'virtio_pci\nvirtio_blk\next4\n' >/etc/initramfs-tools/modules
update-initramfs -u
: >/etc/apt/sources.list
: >/etc/machine-id
rm -f /etc/ssh/ssh_host_*
printf 'locale: C.UTF-8\n' >/etc/cloud/cloud.cfg.d/90-template.cfg
rm -rf /var/cache/apt/archives/*.deb /var/lib/apt/lists/*
mkdir -p /loam-test
printf '/dev/vda / ext4 defaults 0 1\n/dev/vdc /loam-test ext4 ro,nofail 0 0\n' >/etc/fstab
cat >/etc/systemd/system/loam-test.service <<END
[Unit]
Description=What a test wants to know of this machine
After=cloud-init-local.service
RequiresMountsFor=/loam-test
[Service]
Type=exec
ExecStart=/bin/sh /loam-test/look
StandardOutput=file:/dev/ttyS1
StandardError=inherit
ExecStopPost=systemctl poweroff
[Install]
WantedBy=cloud-init.target
END
systemctl enable loam-test.service
ln -s /loam-test/bin/loam /usr/local/bin/loam
systemctl mask serial-getty@ttyS0.service e2scrub_reap.service apt-daily.timer apt-daily-upgrade.timer
`

// root is a machine that was made once: a root folder and what boots it.
type root struct{ folder, disk, kernel, initrd string }

// rootOf returns the machine's root folder. The first test that ever asks makes it:
// that takes minutes, and Debian's mirror. It is kept in $LOAM_CACHE_DIR. The test is
// skipped in short mode, and where it does not run as root.
func rootOf(t testing.TB) root {
	t.Helper()
	if testing.Short() || os.Geteuid() != 0 {
		t.Skip("makes a Debian root folder, which short mode leaves out and only root can")
	}
	key := sha256.Sum256(fmt.Append(nil, suite, packages, finish))
	cache := filepath.Join(images.DefaultCacheDir(), "machines")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, hex.EncodeToString(key[:12]))
	r := root{filepath.Join(dir, "root"), filepath.Join(dir, "disk.ext4"), filepath.Join(dir, "kernel"), filepath.Join(dir, "initrd")}
	lock := flock.New(dir + ".lock")
	if err := lock.Lock(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Unlock() }() // it ends with the process
	if _, err := os.Stat(dir); err == nil {
		return r
	}
	next := dir + ".new"
	if err := os.RemoveAll(next); err != nil {
		t.Fatal(err)
	}
	t.Log("making a Debian machine (once)")
	if err := makeRoot(next); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, dir); err != nil {
		t.Fatal(err)
	}
	return r
}

func makeRoot(dir string) error {
	folder := filepath.Join(dir, "root")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	steps := [][]string{
		{"debootstrap", "--variant=minbase", "--include=" + strings.Join(packages, ","), suite, folder},
		{"chroot", folder, "sh", "-c", finish},
		{"sh", "-c", `cp "$1"/root/boot/vmlinuz-* "$1/kernel" && cp "$1"/root/boot/initrd.img-* "$1/initrd"`, "sh", dir},
		// Sparse: it takes what is in it.
		{"mke2fs", "-q", "-t", "ext4", "-d", folder, filepath.Join(dir, "disk.ext4"), "4G"},
	}
	for _, step := range steps {
		command := exec.Command("nice", append([]string{"-n", "10"}, step...)...)
		command.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive")
		// What is mounted inside goes away with it.
		command.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
		var out bytes.Buffer
		command.Stdout, command.Stderr = &out, &out
		if err := command.Run(); err != nil {
			text := out.String()
			return fmt.Errorf("%s: %w\n%s\n(is Debian's mirror reachable? http_proxy is honoured)", step[0], err, text[max(0, len(text)-2000):])
		}
	}
	return nil
}
