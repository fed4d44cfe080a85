package collect_test

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/loam-cloud/loam/shoots/doctor"
	"github.com/loam-cloud/loam/shoots/doctor/collect"
)

// tree makes files below a root.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for path, text := range files {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestHostOfFiles(t *testing.T) {
	second := map[string]string{
		"sys/fs/cgroup/cgroup.controllers":          "cpuset cpu io memory pids\n",
		"proc/sys/fs/inotify/max_user_instances":    "128\n",
		"proc/sys/fs/inotify/max_user_watches":      "8192\n",
		"proc/meminfo":                              "MemTotal: 2048 kB\nMemFree: 10 kB\nMemAvailable: 1024 kB\n",
		"proc/filesystems":                          "nodev\tproc\n\text4\n",
		"proc/sys/net/ipv4/ip_forward":              "1\n",
		"proc/sys/kernel/osrelease":                 "6.12.0\n",
		"lib/modules/6.12.0/kernel/fs/overlayfs/ko": "",
	}
	h := collect.HostAt(t.Context(), tree(t, second))
	if h.CgroupVersion != 2 || len(h.Controllers) != 5 || h.Inotify.MaxInstances != 128 || h.Inotify.MaxWatches != 8192 {
		t.Errorf("cgroups and inotify are %+v", h)
	}
	if h.MemoryTotal != 2<<20 || h.MemoryAvailable != 1<<20 {
		t.Errorf("memory is %d of %d", h.MemoryAvailable, h.MemoryTotal)
	}
	if want := (doctor.Kernel{Release: "6.12.0", Overlay: true, Forwarding: true}); h.Kernel != want {
		t.Errorf("the kernel is %+v, want %+v", h.Kernel, want)
	}

	first := tree(t, map[string]string{"proc/cgroups": "#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t1\t5\t0\ncpu\t2\t5\t1\n"})
	h = collect.HostAt(t.Context(), first)
	if h.CgroupVersion != 1 || !slices.Equal(h.Controllers, []string{"cpu"}) {
		t.Errorf("cgroups are version %d with %v", h.CgroupVersion, h.Controllers)
	}
	for _, check := range []string{"inotify", "memory", "kernel"} {
		if h.Unknown[check] == "" {
			t.Errorf("%s is known on a host without files: %+v", check, h)
		}
	}
}

func TestThisHost(t *testing.T) {
	h := collect.HostAt(t.Context(), "/")
	if h.CgroupVersion == 0 || h.MemoryTotal == 0 || h.Kernel.Release == "" || h.Inotify.MaxInstances == 0 {
		t.Errorf("this host is %+v", h)
	}
}

func TestDisk(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "not", "there", "yet")} {
		d, err := collect.Disk("data", path)
		if err != nil || d.Total == 0 || d.Free > d.Total || d.Path != path || d.Use != "data" {
			t.Errorf("%s: %+v, %v", path, d, err)
		}
	}
}

func TestHolder(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "0.0.0.0:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), netip.MustParseAddrPort(l.Addr().String()).Port())
		if holder, err := collect.Holder(at, "tcp"); err != nil || !strings.Contains(holder, "collect.test (process ") {
			t.Errorf("%s is held by %q, %v", at, holder, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if holder, err := collect.Holder(at, "tcp"); err != nil || holder != "" {
			t.Errorf("%s, which is free, is held by %q, %v", at, holder, err)
		}
	}
}
