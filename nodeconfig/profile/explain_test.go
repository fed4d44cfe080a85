package profile_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/nodeconfig/profile"
)

// TestEveryValueHasAReason keeps the built-in profiles explained.
func TestEveryValueHasAReason(t *testing.T) {
	for _, name := range profile.Names() {
		for _, container := range []bool{false, true} {
			in := machine(v1alpha1.RoleControlPlane, "2.2.1")
			in.Container = container
			r, err := load(t, name).Resolve(in)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range r.Values() {
				if v.Reason == "" || !strings.HasPrefix(v.Source, "profile ") && !strings.HasPrefix(v.Source, "derived ") {
					t.Errorf("%s: %s = %v has the reason %q and the source %q", name, v.Path, v.Value, v.Reason, v.Source)
				}
			}
		}
	}
}

func value(t *testing.T, r *profile.Resolved, path string) profile.Value {
	t.Helper()
	all := r.Values()
	at := slices.IndexFunc(all, func(v profile.Value) bool { return v.Path == path })
	if at < 0 {
		return profile.Value{}
	}
	return all[at]
}

// TestLayers has each layer win over those before, with the reason of its own.
func TestLayers(t *testing.T) {
	p, err := profile.Parse("mine.yaml", []byte(`
apiVersion: loam.dev/v1alpha1
kind: NodeProfile
extends: kubernetes
kubelet:
  # My reason.
  maxPods: 42
  podsPerCore: 9
  evictionHard:
    memory.available: 600Mi # Behind the value.
  memorySwap: null
modules: [overlay]
inContainer:
  kubelet:
    # There it is less.
    maxPods: 7
`))
	if err != nil {
		t.Fatal(err)
	}
	at := field.NewPath("spec", "node")
	p, problems := p.With("the pool", at, []byte(`{"kubelet":{"podsPerCore":3,"serializeImagePulls":null,"maxParallelImagePulls":1}}`))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for container, want := range map[bool]map[string]string{
		false: {
			"kubelet.maxPods":                        "42 | My reason. | mine.yaml, line 7",
			"kubelet.podsPerCore":                    "3 |  | the pool, spec.node",
			"kubelet.evictionHard[memory.available]": "600Mi | Behind the value. | mine.yaml, line 10",
			"kubelet.evictionHard[pid.available]":    "10% | A node without process numbers starts not even what would clean it up. | profile kubernetes, line ",
			"kubelet.memorySwap.swapBehavior":        "<nil> |  | ",
			"kubelet.serializeImagePulls":            "<nil> |  | ",
			"modules[0]":                             "overlay |  | mine.yaml, line 12",
			"modules[1]":                             "<nil> |  | ",
		},
		true: {
			"kubelet.maxPods":     "7 | There it is less. | mine.yaml, line 16",
			"kubelet.podsPerCore": "3 |  | the pool, spec.node",
		},
	} {
		in := machine(v1alpha1.RoleWorker, "2.2.1")
		in.Container = container
		r, err := p.Resolve(in)
		if err != nil {
			t.Fatal(err)
		}
		for path, text := range want {
			v := value(t, r, path)
			if got := fmt.Sprintf("%v | %s | %s", v.Value, v.Reason, v.Source); got != text && (!strings.HasSuffix(text, ", line ") || !strings.HasPrefix(got, text)) {
				t.Errorf("container %v: %s is %q, want %q", container, path, got, text)
			}
		}
	}
}

// TestDisk bounds streams by what a disk may do, but not what somebody has set.
func TestDisk(t *testing.T) {
	for _, test := range []struct {
		disk             profile.Disk
		downloads, pulls float64
	}{
		{profile.Disk{}, 20, 50},
		{profile.Disk{WriteMBps: 60, ReadMBps: 60}, 3, 4},
		{profile.Disk{WriteMBps: 60, ReadMBps: 60, WriteIOPS: 100}, 1, 2},
		{profile.Disk{WriteMBps: 1}, 1, 1},
		{profile.Disk{WriteMBps: 500}, 10, 10},
		{profile.Disk{WriteMBps: 1e9}, 20, 50},
	} {
		in := machine(v1alpha1.RoleWorker, "2.2.1")
		in.Disk, in.KubernetesVersion = test.disk, "v1.37.1"
		r, err := load(t, profile.Kubernetes).Resolve(in)
		if err != nil {
			t.Fatal(err)
		}
		downloads, pulls := value(t, r, "containerd.maxConcurrentDownloads"), value(t, r, "kubelet.maxParallelImagePulls")
		if downloads.Value != test.downloads || pulls.Value != test.pulls || *r.Containerd.MaxConcurrentDownloads != int32(test.downloads) {
			t.Errorf("%+v: %v downloads of %v pulls, want %v and %v", test.disk, downloads.Value, pulls.Value, test.downloads, test.pulls)
		}
		if test.downloads < 20 && downloads.Source != "derived from the disk's cap" {
			t.Errorf("%+v: the source is %q", test.disk, downloads.Source)
		}
		p, problems := load(t, profile.Kubernetes).With("pool", nil, []byte("containerd: {maxConcurrentDownloads: 19}"))
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		if r, err = p.Resolve(in); err != nil || *r.Containerd.MaxConcurrentDownloads != 19 {
			t.Errorf("what somebody has set is %v, %v", r.Containerd, err)
		}
	}
}

// TestFaultOfKubelets keeps kubelets from the number with which they end.
func TestFaultOfKubelets(t *testing.T) {
	for version, want := range map[string]float64{"v1.34.9": 50, "v1.35.0": 31, "v1.36.3": 31, "v1.37.0": 50} {
		in := machine(v1alpha1.RoleWorker, "2.2.1")
		in.KubernetesVersion = version
		r, err := load(t, profile.Kubernetes).Resolve(in)
		if err != nil {
			t.Fatal(err)
		}
		if v := value(t, r, "kubelet.maxParallelImagePulls"); v.Value != want || want == 31 && !strings.Contains(v.Reason, "#138935") {
			t.Errorf("kubelets of %s pull %v images at once: %+v", version, v.Value, v)
		}
	}
}

// TestControlGroups1 has the programs agree on who manages control groups.
func TestControlGroups1(t *testing.T) {
	p, problems := load(t, profile.Kubernetes).With("test", nil, []byte("kubelet: {memorySwap: null}"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for containerd, want := range map[string]string{"1.6.20": "SystemdCgroup = false", "2.2.1": "SystemdCgroup = false"} {
		in := machine(v1alpha1.RoleWorker, containerd)
		in.CgroupVersion = 1
		out, err := p.Render(in)
		if err != nil {
			t.Fatal(err)
		}
		for path, text := range map[string]string{profile.ContainerdPath: want, profile.KubeletPatchPath: "cgroupDriver: cgroupfs\n"} {
			if content := content(out, path); !strings.Contains(content, text) {
				t.Errorf("containerd %s: %s is not in %s: %s", containerd, text, path, content)
			}
		}
	}
}

// content is that of a file; empty when there is none.
func content(out *profile.Rendered, path string) string {
	at := slices.IndexFunc(out.Files, func(f profile.File) bool { return f.Path == path })
	if at < 0 {
		return ""
	}
	return string(out.Files[at].Content)
}
