package profile_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"
	kubelet "k8s.io/kubelet/config/v1beta1"
	kubeadm "k8s.io/kubernetes/cmd/kubeadm/app/apis/kubeadm/v1beta4"
	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/nodeconfig/profile"
)

var update = flag.Bool("update", false, "write the golden files anew")

func load(t *testing.T, name string) *profile.Profile {
	t.Helper()
	p, err := profile.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// machine is a virtual machine of a role.
func machine(role v1alpha1.MachineRole, containerd string) profile.Input {
	return profile.Input{
		Role: role, KubernetesVersion: "v1.36.3", ContainerdVersion: containerd, CgroupVersion: 2,
		HypervisorShutdown: 600 * time.Second, Name: "demo-0.example.org",
		SSHKeys: []string{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGd1YXJhbnRlZWQtdG8tYmUtYS1rZXktb2YtYS10ZXN0IQ ann@example.org"},
	}
}

func TestGolden(t *testing.T) {
	for _, name := range profile.Names() {
		for _, role := range []v1alpha1.MachineRole{v1alpha1.RoleControlPlane, v1alpha1.RoleWorker} {
			for _, containerd := range []string{"1.6.20", "2.2.1", "container"} {
				in := machine(role, containerd)
				if containerd == "container" {
					in.Container, in.ContainerdVersion, in.CgroupVersion = true, "", 0
				}
				golden := strings.ToLower(fmt.Sprintf("%s-%s-%s", name, role, containerd))
				t.Run(golden, func(t *testing.T) {
					out, err := load(t, name).Render(in)
					if err != nil {
						t.Fatal(err)
					}
					again, err := load(t, name).Render(in)
					if err != nil || !bytes.Equal(print(out), print(again)) {
						t.Errorf("the same input gives other bytes, %v", err)
					}
					decode(t, out)
					compare(t, golden, print(out))
				})
			}
		}
	}
}

// print shows all files as one text. Those in user-data are the same ones, and shown
// once.
func print(out *profile.Rendered) []byte {
	var text bytes.Buffer
	for _, f := range out.Files {
		fmt.Fprintf(&text, "=== %s %o", f.Path, f.Mode)
		if len(f.Restart) > 0 {
			fmt.Fprintf(&text, " restarts %s", strings.Join(f.Restart, " "))
		}
		fmt.Fprintf(&text, "\n%s", f.Content)
	}
	if out.UserData == nil {
		return text.Bytes()
	}
	before, _, _ := strings.Cut(string(out.UserData), "write_files:\n")
	fmt.Fprintf(&text, "=== user-data without files\n%s", before)
	fmt.Fprintf(&text, "=== vendor-data\n%s=== network-config\n%s", out.VendorData, out.NetworkConfig)
	return text.Bytes()
}

func compare(t *testing.T, name string, got []byte) {
	t.Helper()
	golden := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs, see with -update and git diff; got:\n%s", golden, got)
	}
}

// decode reads documents into the types of those who read them.
func decode(t *testing.T, out *profile.Rendered) {
	t.Helper()
	for _, f := range out.Files {
		var target any
		switch {
		case f.Path == profile.KubeletPatchPath:
			target = &kubelet.KubeletConfiguration{}
		case f.Path == profile.ClusterPath:
			target = &kubeadm.ClusterConfiguration{}
		case strings.HasSuffix(f.Path, ".toml"):
			if err := toml.Unmarshal(f.Content, &map[string]any{}); err != nil {
				t.Errorf("%s: %v", f.Path, err)
			}
			continue
		default:
			continue
		}
		if err := yaml.UnmarshalStrict(f.Content, target); err != nil {
			t.Errorf("%s: %v", f.Path, err)
		}
	}
	user, vendor := map[string]any{}, map[string]any{}
	for text, into := range map[string]*map[string]any{string(out.UserData): &user, string(out.VendorData): &vendor} {
		if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
			t.Error(err)
		}
	}
	for key := range user {
		if _, both := vendor[key]; both {
			t.Errorf("user-data and vendor-data both have %s: cloud-init takes one of them", key)
		}
	}
}
