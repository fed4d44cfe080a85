package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/nodeconfig/profile"
)

// node runs loam node with arguments.
func node(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := newNode()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.SetArgs(args)
	err := cmd.Execute()
	return out.String(), err
}

func writeProfile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const extended = `apiVersion: loam.dev/v1alpha1
kind: NodeProfile
extends: kubernetes
kubelet:
  # Small pods.
  maxPods: 250
`

func TestNodeRender(t *testing.T) {
	text, err := node(t, "render", "--role", "control-plane", "--containerd-version", "1.6.20")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"=== /etc/containerd/config.toml 0644\n", "version = 2\n", "=== /etc/loam/cluster.yaml", "=== user-data\n#cloud-config\n", "=== vendor-data\n", "=== network-config\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %s", want, text)
		}
	}
	for format, read := range map[string]func([]byte, any) error{
		"json": json.Unmarshal, "yaml": func(text []byte, into any) error { return yaml.UnmarshalStrict(text, into) },
	} {
		text, err := node(t, "render", "-o", format)
		var got renderedNode
		if err == nil {
			err = read([]byte(text), &got)
		}
		if err != nil || len(got.Files) < 7 || got.Files[0].Mode != "0644" || !strings.HasPrefix(got.UserData, "#cloud-config\n") {
			t.Errorf("as %s it is %+v, %v", format, got, err)
		}
	}
}

func TestNodeRenderIntoAFolder(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "out")
	for range 2 {
		if _, err := node(t, "render", "-o", folder+"/", "--name", "one.example.org", "--network", "mac=bc:24:11:00:00:01,address=10.0.0.7/24,gateway=10.0.0.1"); err != nil {
			t.Fatal(err)
		}
	}
	for path, mode := range map[string]fs.FileMode{
		"files" + profile.ApplyPath: 0o755, "files" + profile.LogindPath: 0o644, "user-data": 0o600, "vendor-data": 0o600, "network-config": 0o600,
	} {
		info, err := os.Stat(filepath.Join(folder, path))
		if err != nil || info.Mode().Perm() != mode || info.Size() == 0 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	text, err := os.ReadFile(filepath.Join(folder, "network-config"))
	if err != nil || !strings.Contains(string(text), "10.0.0.7/24") {
		t.Errorf("the network is %s, %v", text, err)
	}
}

func TestNodeExplain(t *testing.T) {
	text, err := node(t, "explain", "kubelet.maxPods", "--profile", writeProfile(t, "mine.yaml", extended), "--settings", writeProfile(t, "pool.yaml", "kubelet: {podsPerCore: 9}"))
	if err != nil || !strings.HasPrefix(text, "kubelet.maxPods: 250\n    Small pods.\n    (") || strings.Contains(text, "podsPerCore") {
		t.Errorf("it is explained by %q, %v", text, err)
	}
	text, err = node(t, "explain", "--disk-mbps", "60/60", "-o", "json")
	var values []profile.Value
	if err == nil {
		err = json.Unmarshal([]byte(text), &values)
	}
	at := slices.IndexFunc(values, func(v profile.Value) bool { return v.Path == "kubelet.maxParallelImagePulls" })
	if err != nil || at < 0 || values[at].Value != 4.0 || values[at].Source != "derived from the disk's cap" {
		t.Errorf("values are %v, %v", values, err)
	}
	if _, err = node(t, "explain", "kubelet.colour"); err == nil || !strings.Contains(err.Error(), "containerd, ") {
		t.Errorf("what there is not is explained by %v", err)
	}
}

// TestNodeDiff ends as diff does.
func TestNodeDiff(t *testing.T) {
	mine := writeProfile(t, "mine.yaml", extended)
	for _, test := range []struct {
		args []string
		code int
		want []string
	}{
		{[]string{"kubernetes"}, 0, nil},
		{[]string{"kubernetes", "kubernetes"}, 0, nil},
		{[]string{"kubernetes", mine}, 1, []string{"+maxPods: 250\n", "--- kubernetes /etc/loam/patches/", "+++ " + mine}},
		{[]string{"plain", "registry"}, 1, []string{"+++ registry /etc/systemd/system/loam-registry.service\n", "+Description=The image cache\n"}},
		{[]string{"kubernetes", "--containerd-version", "1.6.20", "--to-containerd-version", "2.2.1"}, 1, []string{"-version = 2\n", "+version = 3\n"}},
		{[]string{"kubernetes", "--to-role", "control-plane"}, 1, []string{"attach-detach-reconcile-sync-period"}},
		{[]string{"kubernetes", "--to-container"}, 1, []string{"-memorySwap:\n", "+imageGCHighThresholdPercent: 100\n", "-#cloud-config\n"}},
		{[]string{"kubernetes", "nothing"}, 2, nil},
		{[]string{"kubernetes", "--role", "boss"}, 2, nil},
		{nil, 2, nil},
	} {
		text, err := node(t, append([]string{"diff"}, test.args...)...)
		if code := ExitCode(err); code != test.code {
			t.Errorf("diff %q ends with %d: %v", test.args, code, err)
		}
		if (text == "") != (test.code != 1) {
			t.Errorf("diff %q shows %q", test.args, text)
		}
		for _, want := range test.want {
			if !strings.Contains(text, want) {
				t.Errorf("diff %q does not show %q: %s", test.args, want, text)
			}
		}
	}
}

func TestNodeProfile(t *testing.T) {
	text, err := node(t, "profile")
	if err != nil || text != "kubernetes\nplain\nregistry\n" {
		t.Errorf("profiles are %q, %v", text, err)
	}
	if text, err = node(t, "profile", "registry"); err != nil {
		t.Fatal(err)
	}
	if _, err = node(t, "diff", "registry", writeProfile(t, "copy.yaml", text)); err != nil {
		t.Errorf("what is printed is another profile: %v", err)
	}
}

// TestNodeFlags names every flag that is wrong, in one go.
func TestNodeFlags(t *testing.T) {
	_, err := node(t, "render", "--role", "boss", "--disk-mbps", "60", "--memory", "much", "--mirror", "docker.io=http://m,colour=red,offline=maybe",
		"--network", "mtu=x", "--ssh-key", "/nonexistent/key")
	for _, want := range []string{"--role", "--disk-mbps", "--memory", "--mirror", "colour=red", "offline", "--network", "--ssh-key"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
	for _, args := range [][]string{
		{"render", "--profile", "nothing"}, {"render", "--profile", "./nothing.yaml"}, {"render", "-o", "jsn"},
		{"render", "--hypervisor-shutdown", "180s"}, {"render", "--settings", writeProfile(t, "x.yaml", "colour: red")}, {"explain", "-o", "wide"}, {"profile", "x"},
	} {
		if _, err := node(t, args...); err == nil {
			t.Errorf("%q is not refused", args)
		} else if code := (interface{ ExitCode() int })(nil); errors.As(err, &code) {
			t.Errorf("%q ends with %d", args, code.ExitCode())
		}
	}
}
