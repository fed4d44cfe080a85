package boot_test

import (
	"fmt"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/nodeconfig/profile"
	"github.com/loam-cloud/loam/test/boot"
	"github.com/loam-cloud/loam/test/tools"
)

// aKey is a public key as people have it.
const aKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHUI9vQ4GfhtZPBvHxLVkZ3rzI7j4pJxI6XzHq6QH9bE ann@example"

func render(t *testing.T, name string, change func(*profile.Input)) *profile.Rendered {
	t.Helper()
	p, err := profile.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	in := profile.Input{
		KubernetesVersion: "v1.36.3", ContainerdVersion: "2.2.1", CgroupVersion: 2, HypervisorShutdown: 10 * time.Minute,
		Name: machineName, SSHKeys: []string{aKey}, Networks: []profile.Network{{Name: "eth0"}},
	}
	if name == "kubernetes" {
		in.Role = v1alpha1.RoleWorker
	}
	if change != nil {
		change(&in)
	}
	made, err := p.Render(in)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func files(made *profile.Rendered) []boot.File {
	var all []boot.File
	for _, f := range made.Files {
		all = append(all, boot.File{Path: f.Path, Content: f.Content, Mode: f.Mode})
	}
	return all
}

// TestMachineIsThere makes the root folder that all others run in: `make prepare` has
// it done before there are tests to wait for it.
func TestMachineIsThere(t *testing.T) {
	if out := boot.Inside(t, nil, "cat /etc/debian_version"); !strings.HasPrefix(out, "12.") {
		t.Errorf("it is of Debian %s", out)
	}
}

// containerds are the versions that machines have: Debian's, and the node image's.
var containerds = []struct {
	name, version string
	programs      func(testing.TB) []boot.File
}{
	{"1.6", "1.6.20", func(testing.TB) []boot.File { return nil }},
	{"2", "2.2.1", func(t testing.TB) []boot.File {
		return []boot.File{boot.Program(t, "/usr/bin/containerd", tools.Containerd(t)), boot.Program(t, "/usr/bin/ctr", tools.Ctr(t))}
	}},
}

// TestContainerdTakesTheValues asks containerd what it has read.
func TestContainerdTakesTheValues(t *testing.T) {
	for _, c := range containerds {
		t.Run(c.name, func(t *testing.T) {
			made := render(t, "kubernetes", func(in *profile.Input) { in.ContainerdVersion = c.version })
			out := boot.Inside(t, append(files(made), c.programs(t)...), "containerd --version; containerd config dump")
			version, text, _ := strings.Cut(out, "\n")
			if !strings.Contains(version, " v"+c.version[:2]) && !strings.Contains(version, " "+c.version[:2]) {
				t.Fatalf("it is %s", version)
			}
			var dump map[string]any
			if err := toml.Unmarshal([]byte(text), &dump); err != nil {
				t.Fatalf("%v:\n%s", err, text)
			}
			wants := map[string]string{
				"plugins/io.containerd.gc.v1.scheduler/schedule_delay":     "30m0s",
				"plugins/io.containerd.gc.v1.scheduler/pause_threshold":    "0.02",
				"plugins/io.containerd.gc.v1.scheduler/mutation_threshold": "100",
			}
			if c.name == "2" {
				const images, runtime = "plugins/io.containerd.cri.v1.images/", "plugins/io.containerd.cri.v1.runtime/"
				wants[images+"max_concurrent_downloads"] = "20"
				wants[images+"discard_unpacked_layers"] = "true"
				wants[images+"use_local_image_pull"] = "true"
				wants[images+"registry/config_path"] = "/etc/containerd/certs.d"
				wants[images+"pinned_images/sandbox"] = "registry.k8s.io/pause:3.10.1"
				wants[runtime+"containerd/default_runtime_name"] = "runc"
				wants[runtime+"containerd/runtimes/runc/options/SystemdCgroup"] = "true"
			} else {
				const cri = "plugins/io.containerd.grpc.v1.cri/"
				wants[cri+"max_concurrent_downloads"] = "20"
				wants[cri+"containerd/discard_unpacked_layers"] = "true"
				wants[cri+"registry/config_path"] = "/etc/containerd/certs.d"
				wants[cri+"sandbox_image"] = "registry.k8s.io/pause:3.10.1"
				wants[cri+"containerd/default_runtime_name"] = "runc"
				wants[cri+"containerd/runtimes/runc/options/SystemdCgroup"] = "true"
			}
			for name, want := range wants {
				got, ok := find(dump, strings.Split(name, "/"))
				if text := strings.Replace(fmt.Sprint(got), "1800s", "30m0s", 1); !ok || text != want {
					t.Errorf("%s is %v, want %s", name, got, want)
				}
			}
			if t.Failed() {
				t.Log(text)
			}
		})
	}
}

// find follows names through tables; those with dots in them are keys of one word.
func find(table map[string]any, names []string) (any, bool) {
	value, ok := table[names[0]]
	if !ok || len(names) == 1 {
		return value, ok
	}
	next, is := value.(map[string]any)
	if !is {
		return nil, false
	}
	return find(next, names[1:])
}

// TestCloudInitKnowsTheBootData has Debian's cloud-init look at what it will read.
func TestCloudInitKnowsTheBootData(t *testing.T) {
	var all []boot.File
	documents, networks := 0, 0
	seen := map[string]bool{}
	add := func(name string, made *profile.Rendered) {
		for kind, content := range map[string][]byte{"data/user-": made.UserData, "data/vendor-": made.VendorData, "network/": made.NetworkConfig} {
			// A look takes seconds, and many are the same.
			if seen[string(content)] {
				continue
			}
			seen[string(content)] = true
			all = append(all, boot.File{Path: "/" + kind + name, Content: content, Mode: 0o600})
			if kind == "network/" {
				networks++
			} else {
				documents++
			}
		}
	}
	for _, name := range profile.Names() {
		add(name, render(t, name, nil))
	}
	add("user", withUser(t, "plain", profile.Input{}))
	add("control-plane", render(t, "kubernetes", func(in *profile.Input) { in.Role = v1alpha1.RoleControlPlane }))
	add("former", render(t, "kubernetes", func(in *profile.Input) { in.ContainerdVersion = "1.6.20" }))
	out := boot.Inside(t, all, `
for f in /data/*; do
  echo "$f: $(cloud-init schema --config-file "$f" 2>&1 | tail -n 1)"
done
# It says no where there is something to say no to.
sed 's/^write_files:/write_filez:/; s/^ssh_pwauth:.*/ssh_pwauth: [1]/' /data/vendor-kubernetes >/data/broken
cloud-init schema --config-file /data/broken >/dev/null 2>&1 && echo "the broken one is taken"
for f in /network/*; do
  cloud-init devel net-convert --network-data "$f" --kind yaml --directory "/out$f" --distro debian --output-kind netplan >/dev/null && grep -rqs dhcp4 "/out$f" && echo "$f: netplan"
done
true
`)
	valid, converted := strings.Count(out, "Valid cloud-config"), strings.Count(out, ": netplan\n")
	if documents < 6 || valid != documents || networks == 0 || converted != networks || strings.Contains(out, "the broken one") {
		t.Errorf("%d documents of %d are valid, %d networks of %d:\n%s", valid, documents, converted, networks, out)
	}
}

// TestSystemdTakesTheUnits has Debian's systemd read units and drop-ins beside the
// distribution's own.
func TestSystemdTakesTheUnits(t *testing.T) {
	kubelet := boot.File{Path: "/etc/systemd/system/kubelet.service", Content: []byte("[Unit]\nDescription=kubelet\n[Service]\nExecStart=/bin/true\n"), Mode: 0o644}
	for _, name := range profile.Names() {
		made := append(files(render(t, name, nil)), kubelet, boot.File{Path: "/usr/local/bin/loam", Content: []byte("#!/bin/sh\n"), Mode: 0o755})
		var units []string
		for _, f := range made {
			if dir, base := path.Split(f.Path); dir == "/etc/systemd/system/" {
				units = append(units, base)
			}
		}
		out := boot.Inside(t, made, "systemd-analyze verify --man=no "+strings.Join(units, " ")+" 2>&1; echo verified $?")
		if !strings.Contains(out, "verified 0") || strings.Contains(out, "loam") || strings.Contains(out, "kubelet") {
			t.Errorf("%s: systemd says:\n%s", name, out)
		}
	}
	out := boot.Inside(t, append(files(render(t, "kubernetes", nil)), kubelet), "systemd-analyze cat-config systemd/logind.conf")
	last := out[max(0, strings.LastIndex(out, "\nInhibitDelayMaxSec")):]
	if !strings.Contains(out, "InhibitDelayMaxSec=30") || !strings.HasPrefix(last, "\nInhibitDelayMaxSec=480s\n") {
		t.Errorf("the last word on the delay is %q of\n%s", last, out)
	}
}
