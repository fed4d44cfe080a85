package node_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/images/node"
)

// required maps the folder of a module to the Go module that it is named after.
var required = map[string]string{
	"cni-plugins": "github.com/containernetworking/plugins", "containerd": "github.com/containerd/containerd/v2",
	"coredns": "github.com/coredns/coredns", "etcd": "go.etcd.io/etcd/server/v3", "flannel": "github.com/flannel-io/flannel",
	"kubernetes": "k8s.io/kubernetes", "local-path-provisioner": "github.com/rancher/local-path-provisioner",
	"runc": "github.com/opencontainers/runc",
}

func TestModulesAreWhatTheirFoldersSay(t *testing.T) {
	folders, err := fs.Glob(node.Files(), "modules/*/*")
	if err != nil || len(folders) < len(required) {
		t.Fatalf("got %v, %v", folders, err)
	}
	for _, folder := range folders {
		name, version := path.Base(path.Dir(folder)), path.Base(folder)
		mod, err := node.File(folder + "/module.mod")
		if err != nil {
			t.Error(err)
			continue
		}
		wanted := regexp.MustCompile(`(?m)^(?:require )?\s*` + regexp.QuoteMeta(required[name]+" "+version) + `(?: // indirect)?$`)
		if required[name] == "" || !wanted.Match(mod) {
			t.Errorf("%s does not require %s %s", folder, required[name], version)
		}
		if sum, err := node.File(folder + "/module.sum"); err != nil || len(sum) == 0 {
			t.Errorf("%s: checksums: %v", folder, err)
		}
	}
}

func TestEveryModuleCanBeChosen(t *testing.T) {
	for what, choose := range map[string]func() (node.Module, error){
		"containerd": node.Containerd, "runc": node.Runc, "cni-plugins": node.CNIPlugins, "flannel": node.Flannel,
		"local-path-provisioner": node.LocalPathProvisioner,
		"etcd":                   func() (node.Module, error) { return node.Etcd("v3.6.8") },
		"coredns":                func() (node.Module, error) { return node.CoreDNS("v1.14.2") },
	} {
		module, err := choose()
		if err != nil || module.Name != what || len(module.Mod) == 0 {
			t.Errorf("%s: got %s %s, %v", what, module.Name, module.Version, err)
		}
	}
	if _, err := node.Etcd("v1.0.0"); fault.KindOf(err) != fault.Internal || !strings.Contains(err.Error(), "v3.6.8") {
		t.Errorf("a version of etcd without module files: got %v, want those that exist", err)
	}
}

func TestKubernetes(t *testing.T) {
	for _, version := range node.KubernetesVersions() {
		module, err := node.Kubernetes(version)
		if err != nil || !strings.Contains(module.LDFlags, "gitVersion="+version+" ") {
			t.Errorf("%s: flags %q, %v", version, module.LDFlags, err)
		}
	}
	module, err := node.Kubernetes("v1.36.3")
	if err != nil || !strings.Contains(module.LDFlags, "gitMajor=1 ") || !strings.Contains(module.LDFlags, "gitMinor=36 ") {
		t.Errorf("flags %q, %v", module.LDFlags, err)
	}
	for _, unknown := range []string{"v1.2.3", "", "../kubernetes/v1.36.3", "v1.36.3/"} {
		if _, err := node.Kubernetes(unknown); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: got %v, want invalid", unknown, err)
		}
	}
}

func TestLess(t *testing.T) {
	versions := []string{"v1.36.3", "v1.9.0", "v1.36.10", "v2.0.0"}
	slices.SortFunc(versions, func(a, b string) int {
		if node.Less(a, b) {
			return -1
		}
		return 1
	})
	if got := strings.Join(versions, " "); got != "v1.9.0 v1.36.3 v1.36.10 v2.0.0" {
		t.Errorf("got %s", got)
	}
}

func TestListsAreSortedAndUnique(t *testing.T) {
	for what, list := range map[string][]string{"packages": node.Packages(), "masked units": node.MaskedUnits()} {
		if !slices.IsSorted(list) || len(slices.Compact(slices.Clone(list))) != len(list) {
			t.Errorf("%s: %v", what, list)
		}
	}
	for _, wanted := range slices.Concat(node.PacketFilterPackages(), node.ShellPackages()) {
		if !slices.Contains(node.Packages(), wanted) {
			t.Errorf("%s is to be picked out of the root folder, but not put in", wanted)
		}
	}
}

func TestEnabledUnitsExist(t *testing.T) {
	for _, unit := range node.EnabledUnits() {
		content, err := node.File("root/etc/systemd/system/" + unit)
		if err != nil || !strings.Contains(string(content), "WantedBy=multi-user.target") {
			t.Errorf("%s: %v", unit, err)
		}
		if slices.Contains(node.MaskedUnits(), unit) {
			t.Errorf("%s is masked too", unit)
		}
	}
}

// TestManifests parses what a node applies, and looks for images that would be
// pulled although they are preloaded.
func TestManifests(t *testing.T) {
	for name, kinds := range map[string][]string{
		"default-cni.yaml":     {"Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "DaemonSet"},
		"default-storage.yaml": {"StorageClass", "Deployment", "ConfigMap"},
	} {
		content, err := node.File("root/kind/manifests/" + name)
		if err != nil {
			t.Fatal(err)
		}
		text := regexp.MustCompile(`@[A-Z]+_IMAGE@`).ReplaceAllString(string(content), "example.com/image:v1")
		var found []string
		for _, document := range strings.Split(text, "\n---\n") {
			var object struct{ APIVersion, Kind string }
			if err := yaml.Unmarshal([]byte(document), &object); err != nil {
				t.Errorf("%s: %v\n%s", name, err, document)
			}
			found = append(found, object.Kind)
		}
		for _, kind := range kinds {
			if !slices.Contains(found, kind) {
				t.Errorf("%s: no %s among %v", name, kind, found)
			}
		}
		if images, policies := strings.Count(text, " image: "), strings.Count(text, "imagePullPolicy: IfNotPresent"); images != policies {
			t.Errorf("%s: %d images, %d of them not pulled when present", name, images, policies)
		}
	}
}

// TestScripts has a shell read every script.
func TestScripts(t *testing.T) {
	err := fs.WalkDir(node.Files(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := node.File(name)
		if err != nil || !strings.HasPrefix(string(content), "#!/bin/sh\n") {
			return err
		}
		command := exec.Command("sh", "-n")
		command.Stdin = strings.NewReader(string(content))
		if out, err := command.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestWriteCNIConf runs the script on leases as flannel writes them.
func TestWriteCNIConf(t *testing.T) {
	script, err := node.File("root/usr/local/lib/loam/write-cni-conf")
	if err != nil {
		t.Fatal(err)
	}
	for what, test := range map[string]struct {
		lease   string
		subnets []string
		routes  []string
	}{
		"IPv4": {
			"FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.3.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n",
			[]string{"10.244.3.0/24"}, []string{"0.0.0.0/0"},
		},
		"both": {
			"FLANNEL_SUBNET=10.244.0.129/25\nFLANNEL_MTU=1450\nFLANNEL_IPV6_NETWORK=fd00:10:244::/56\nFLANNEL_IPV6_SUBNET=fd00:10:244:1::1/64\n",
			[]string{"10.244.0.128/25", "fd00:10:244:1::/64"}, []string{"0.0.0.0/0", "::/0"},
		},
		"IPv6": {"FLANNEL_MTU=1430\nFLANNEL_IPV6_SUBNET=fd00:10:244:1::1/64\n", []string{"fd00:10:244:1::/64"}, []string{"::/0"}},
		"none": {"FLANNEL_MTU=1450\n", nil, nil},
	} {
		lease, target := filepath.Join(t.TempDir(), "subnet.env"), filepath.Join(t.TempDir(), "net.d", "loam.conflist")
		if err := os.WriteFile(lease, []byte(test.lease), 0o600); err != nil {
			t.Fatal(err)
		}
		command := exec.Command("sh", "-s", lease, target)
		command.Stdin = strings.NewReader(string(script))
		out, err := command.CombinedOutput()
		if (err != nil) != (test.subnets == nil) {
			t.Errorf("%s: %v\n%s", what, err, out)
		}
		if test.subnets == nil {
			continue
		}
		checkConflist(t, what, target, test.subnets, test.routes)
	}
}

// TestPreload runs the script on folders: at the first boot, at the next, after
// one that was cut short, and with another image.
func TestPreload(t *testing.T) {
	script, err := node.File("root/usr/local/lib/loam/preload")
	if err != nil {
		t.Fatal(err)
	}
	const meta, snapshots = "io.containerd.metadata.v1.bolt/meta.db", "io.containerd.snapshotter.v1.overlayfs"
	write := func(path, content string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	image := func(name string) string {
		folder := t.TempDir()
		write(folder+"/"+meta, "images of "+name)
		write(folder+"/"+snapshots+"/metadata.db", "snapshots of "+name)
		write(folder+"/"+snapshots+"/snapshots/1/fs/program", name)
		write(folder+"/io.containerd.content.v1.content/blob", name)
		return folder
	}
	old, fresh, to := image("old"), image("new"), t.TempDir()
	boot := func(from string) {
		t.Helper()
		command := exec.Command("sh", "-s", from, to)
		command.Stdin = strings.NewReader(string(script))
		if out, err := command.CombinedOutput(); err != nil {
			if strings.Contains(string(out), "overlay file system") {
				t.Skip("the folder for temporary files lies on an overlay")
			}
			t.Fatalf("%v\n%s", err, out)
		}
	}
	want := func(when, file, content string) {
		t.Helper()
		if got, err := os.ReadFile(filepath.Join(to, file)); string(got) != content {
			t.Errorf("%s: %s holds %q, %v, want %q", when, file, got, err, content)
		}
	}
	boot(old)
	want("first boot", meta, "images of old")
	want("first boot", snapshots+"/snapshots/1/fs/program", "old")

	write(filepath.Join(to, meta), "images of old and of the user")
	write(filepath.Join(to, snapshots, "snapshots/2/fs/program"), "the user's")
	boot(old)
	want("next boot", meta, "images of old and of the user")
	want("next boot", snapshots+"/snapshots/2/fs/program", "the user's")

	boot(fresh)
	want("another image", meta, "images of new")
	want("another image", snapshots+"/snapshots/1/fs/program", "new")
	want("another image", snapshots+"/snapshots/2/fs/program", "")
	if content, err := os.ReadFile(old + "/" + snapshots + "/snapshots/1/fs/program"); err != nil || string(content) != "old" {
		t.Errorf("the link was followed: %q, %v", content, err)
	}

	if err := os.Remove(filepath.Join(to, meta)); err != nil {
		t.Fatal(err)
	}
	write(filepath.Join(to, "half"), "")
	boot(fresh)
	want("after one that was cut short", meta, "images of new")
	if _, err := os.Stat(filepath.Join(to, "half")); err == nil {
		t.Error("after one that was cut short: what it left is there")
	}
}

func checkConflist(t *testing.T, what, file string, subnets, routes []string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Name    string
		Plugins []struct {
			Type string
			MTU  int
			IPAM struct {
				Ranges [][]struct{ Subnet string }
				Routes []struct{ Dst string }
			}
		}
	}
	if err := json.Unmarshal(content, &list); err != nil {
		t.Fatalf("%s: %v\n%s", what, err, content)
	}
	var gotSubnets, gotRoutes []string
	for _, set := range list.Plugins[0].IPAM.Ranges {
		gotSubnets = append(gotSubnets, set[0].Subnet)
	}
	for _, route := range list.Plugins[0].IPAM.Routes {
		gotRoutes = append(gotRoutes, route.Dst)
	}
	if !slices.Equal(gotSubnets, subnets) || !slices.Equal(gotRoutes, routes) || list.Plugins[0].MTU == 0 || list.Plugins[1].Type != "portmap" {
		t.Errorf("%s: got %s, want subnets %v, routes %v", what, content, subnets, routes)
	}
}
