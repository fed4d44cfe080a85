package patching_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/nodeconfig/patching"
)

const joining = `{"apiVersion": "kubeadm.k8s.io/v1beta4", "kind": "JoinConfiguration", "nodeRegistration": {
	"kubeletExtraArgs": [{"name": "node-ip", "value": "10.0.0.2"}, {"name": "v", "value": "2"}], "taints": [{"key": "a"}]}}`

func TestApply(t *testing.T) {
	for name, tc := range map[string]struct {
		sets []v1alpha1.KubeadmPatches
		want string
	}{
		"another kind is left alone": {
			[]v1alpha1.KubeadmPatches{{KubeadmConfigPatches: []string{"kind: InitConfiguration\nnodeRegistration: null"}}}, joining,
		},
		"fields are merged, lists are replaced, null removes": {
			[]v1alpha1.KubeadmPatches{{KubeadmConfigPatches: []string{"kind: JoinConfiguration\nnodeRegistration: {name: own, taints: []}", "kind: JoinConfiguration\nnodeRegistration: {kubeletExtraArgs: null}"}}},
			`{"apiVersion": "kubeadm.k8s.io/v1beta4", "kind": "JoinConfiguration", "nodeRegistration": {"name": "own", "taints": [],
			"kubeletExtraArgs": [{"name": "node-ip", "value": "10.0.0.2"}, {"name": "v", "value": "2"}]}}`,
		},
		"arguments as a map, of the former version": {
			[]v1alpha1.KubeadmPatches{{KubeadmConfigPatches: []string{"apiVersion: kubeadm.k8s.io/v1beta3\nkind: JoinConfiguration\nnodeRegistration: {taints: null, kubeletExtraArgs: {v: 4, b: true, node-ip: null}}"}}},
			`{"apiVersion": "kubeadm.k8s.io/v1beta4", "kind": "JoinConfiguration", "nodeRegistration": {"kubeletExtraArgs": [{"name": "b", "value": "true"}, {"name": "v", "value": "4"}]}}`,
		},
		"arguments as a list, one of them twice": {
			[]v1alpha1.KubeadmPatches{{KubeadmConfigPatches: []string{"kind: JoinConfiguration\nnodeRegistration: {taints: null, kubeletExtraArgs: [{name: v, value: '4'}, {name: v, value: '5'}]}"}}},
			`{"apiVersion": "kubeadm.k8s.io/v1beta4", "kind": "JoinConfiguration", "nodeRegistration": {"kubeletExtraArgs": [{"name": "node-ip", "value": "10.0.0.2"}, {"name": "v", "value": "4"}, {"name": "v", "value": "5"}]}}`,
		},
		"the second set after the first, operations after merges": {
			[]v1alpha1.KubeadmPatches{
				{
					KubeadmConfigPatches:         []string{"kind: JoinConfiguration\nnodeRegistration: {name: first}"},
					KubeadmConfigPatchesJSON6902: []v1alpha1.PatchJSON6902{{Kind: "JoinConfiguration", Patch: "- {op: test, path: /nodeRegistration/name, value: first}\n- {op: remove, path: /nodeRegistration/taints}\n"}},
				},
				{KubeadmConfigPatches: []string{`{"kind": "JoinConfiguration", "nodeRegistration": {"name": "second", "kubeletExtraArgs": []}}`}},
			},
			`{"apiVersion": "kubeadm.k8s.io/v1beta4", "kind": "JoinConfiguration", "nodeRegistration": {"name": "second", "kubeletExtraArgs": [{"name": "node-ip", "value": "10.0.0.2"}, {"name": "v", "value": "2"}]}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := patching.Apply([]byte(joining), patching.JoinConfiguration, tc.sets...)
			if err != nil {
				t.Fatal(err)
			}
			if readable(t, got) != readable(t, []byte(tc.want)) {
				t.Errorf("got\n%s\nwant\n%s", readable(t, got), readable(t, []byte(tc.want)))
			}
		})
	}
}

func readable(t *testing.T, text []byte) string {
	t.Helper()
	converted, err := yaml.JSONToYAML(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(converted)
}

func TestApplySaysWhichPatchFails(t *testing.T) {
	for want, set := range map[string]v1alpha1.KubeadmPatches{
		"kubeadmConfigPatches[0] of JoinConfiguration: nodeRegistration: kubeletExtraArgs: [0]": {KubeadmConfigPatches: []string{"kind: JoinConfiguration\nnodeRegistration: {kubeletExtraArgs: [a]}"}},
		"kubeadmConfigPatches[1]: ":                              {KubeadmConfigPatches: []string{"kind: InitConfiguration", "kind: Nothing"}},
		"kubeadmConfigPatchesJSON6902[0] of JoinConfiguration: ": {KubeadmConfigPatchesJSON6902: []v1alpha1.PatchJSON6902{{Kind: "JoinConfiguration", Patch: "[{op: remove, path: /colour}]"}}},
	} {
		if _, err := patching.Apply([]byte(joining), patching.JoinConfiguration, set); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q", err, want)
		}
	}
}

func TestContainerd(t *testing.T) {
	const config = "version = 3\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n[plugins.'a'.b]\nc = 1\nd = 1.5\n"
	unchanged, err := patching.Containerd([]byte(config), nil)
	if err != nil || string(unchanged) != config {
		t.Errorf("without patches it becomes %s, %v", unchanged, err)
	}
	got, err := patching.Containerd([]byte(config), []string{"- {op: add, path: /debug, value: {level: debug, uid: 7}}\n- {op: replace, path: /plugins/a/b/c, value: null}"})
	want := "imports = ['/etc/containerd/conf.d/*.toml']\nversion = 3\n\n[debug]\nlevel = 'debug'\nuid = 7\n\n[plugins]\n[plugins.a]\n[plugins.a.b]\nd = 1.5\n"
	if err != nil || string(got) != want {
		t.Errorf("got\n%s, %v, want\n%s", got, err, want)
	}
	// An image that is not Loam's takes in no further files by itself.
	got, err = patching.Containerd([]byte("version = 2\n"), nil)
	if want := "imports = ['/etc/containerd/conf.d/*.toml']\nversion = 2\n"; err != nil || string(got) != want {
		t.Errorf("got\n%s, %v, want\n%s", got, err, want)
	}
	if _, err := patching.Containerd([]byte(config), []string{"[{op: remove, path: /colour}]"}); err == nil || !strings.Contains(err.Error(), "containerdConfigPatchesJSON6902[0]") {
		t.Errorf("error is %v", err)
	}
}

func TestContainerdDocument(t *testing.T) {
	for text, want := range map[string]string{
		"[debug]\nlevel = 'info'\n": "version = 3\n\n[debug]\nlevel = 'info'\n",
		"[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = 'x'\n": "version = 2\n\n[plugins]\n[plugins.'io.containerd.grpc.v1.cri']\n[plugins.'io.containerd.grpc.v1.cri'.registry]\nconfig_path = 'x'\n",
		"version = 2\n":  "version = 2\n",
		"version = 1\n":  "",
		"version = 'a'":  "",
		"version = [1\n": "",
	} {
		got, err := patching.ContainerdDocument(text)
		if (err != nil) != (want == "") || string(got) != want {
			t.Errorf("%q becomes %q, %v, want %q", text, got, err, want)
		}
	}
}

func FuzzApply(f *testing.F) {
	f.Add("kind: JoinConfiguration\nnodeRegistration: {kubeletExtraArgs: {v: 4}}", "[{op: remove, path: /kind}]")
	f.Add("kind: JoinConfiguration\nnodeRegistration: [kubeletExtraArgs]", "- {op: add, path: /nodeRegistration/-, value: 1}")
	f.Fuzz(func(t *testing.T, merge, operations string) {
		set := v1alpha1.KubeadmPatches{KubeadmConfigPatches: []string{merge}, KubeadmConfigPatchesJSON6902: []v1alpha1.PatchJSON6902{{
			Group: "kubeadm.k8s.io", Version: "v1beta4", Kind: patching.JoinConfiguration, Patch: operations,
		}}}
		problems := patching.Check(set, field.NewPath("config"))
		got, err := patching.Apply([]byte(joining), patching.JoinConfiguration, set)
		if len(problems) > 0 && err == nil && strings.Contains(problems[0].Field, "JSON6902") {
			t.Errorf("what was refused (%v) gives %s", problems, got)
		}
	})
}
