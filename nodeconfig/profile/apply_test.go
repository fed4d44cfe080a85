package profile_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/nodeconfig/profile"
	"github.com/loam-cloud/loam/registry/config"
	"sigs.k8s.io/yaml"
)

// TestApplyScript runs the script on a folder, with a service manager that writes down
// what it is told. A second run changes nothing, and after a change only what reads the
// changed file is started again.
func TestApplyScript(t *testing.T) {
	in := machine(v1alpha1.RoleWorker, "2.2.1")
	in.Mirrors = []profile.Mirror{{Registry: "docker.io", Endpoint: "https://10.0.0.6:5000", ServerName: "cache.example.org"}}
	out, err := load(t, profile.Kubernetes).Render(in)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	place := func(path, text string, mode os.FileMode) {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range out.Files {
		text := string(f.Content)
		if f.Path == profile.ApplyPath {
			text = strings.NewReplacer("/etc/", root+"/etc/", "/var/lib/loam", root+"/var/lib/loam").Replace(text)
			// What is left would be files of the machine that runs this test.
			for _, folder := range []string{"/etc/", "/var/"} {
				if strings.Count(text, folder) != strings.Count(text, root+folder) {
					t.Fatalf("the script names files outside of %s: %s", root, text)
				}
			}
		}
		place(f.Path, text, f.Mode)
	}
	place("/etc/hosts", "127.0.0.1 localhost\n# loam begin\n10.0.0.9 gone.example.org\n# loam end\n", 0o644)
	// There is no guest agent here, and timesyncd does not start.
	place("/bin/systemctl", `#!/bin/sh
case "$*" in
"cat qemu-guest-agent.service") exit 1 ;;
cat*) exit 0 ;;
*timesyncd*) echo "$*" >>`+root+`/told; test ! -e `+root+`/broken ;;
*) echo "$*" >>`+root+`/told ;;
esac
`, 0o755)
	run := func() (string, error) {
		t.Helper()
		if err := os.RemoveAll(root + "/told"); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sh", filepath.Join(root, profile.ApplyPath))
		cmd.Env = []string{"PATH=" + root + "/bin:" + os.Getenv("PATH"), "TMPDIR=" + t.TempDir()}
		said, err := cmd.CombinedOutput()
		told, readErr := os.ReadFile(root + "/told")
		if readErr != nil {
			t.Fatalf("%v: %s", readErr, said)
		}
		return string(told), err
	}
	const services = "enable --now --quiet systemd-timesyncd.service\nenable --now --quiet containerd.service\n"
	for _, step := range []struct {
		name   string
		change func()
		told   string
		fails  bool
	}{
		{"the first run", func() {}, "daemon-reload\nrestart systemd-modules-load.service\nrestart systemd-sysctl.service\nrestart containerd.service\nrestart systemd-logind.service\n" + services, false},
		{"a second one", func() {}, "daemon-reload\n" + services, false},
		{"another file", func() { place(profile.LogindPath, "[Login]\n", 0o644) }, "daemon-reload\nrestart systemd-logind.service\n" + services, false},
		{"hosts.toml", func() { place("/etc/containerd/certs.d/docker.io/hosts.toml", "", 0o644) }, "daemon-reload\n" + services, false},
		{"a service that does not start", func() { place("/broken", "", 0o644) }, "daemon-reload\n" + services, true},
	} {
		step.change()
		if told, err := run(); told != step.told || (err != nil) != step.fails {
			t.Errorf("%s: systemctl was told\n%s and it ended with %v, want\n%s", step.name, told, err, step.told)
		}
	}
	if text, err := os.ReadFile(root + "/etc/hosts"); err != nil || string(text) != "127.0.0.1 localhost\n# loam begin\n10.0.0.6 cache.example.org\n# loam end\n" {
		t.Errorf("names are %q, %v", text, err)
	}
}

// TestRegistryIsConfigured reads what the profile registry has for the image cache as
// that does.
func TestRegistryIsConfigured(t *testing.T) {
	out, err := load(t, profile.Registry).Render(machine("", ""))
	if err != nil {
		t.Fatal(err)
	}
	c := &config.Configuration{}
	if err := yaml.UnmarshalStrict([]byte(content(out, "/etc/loam/registry.yaml")), c); err != nil {
		t.Fatal(err)
	}
	c.Default("/var/lib/loam-registry")
	if err := c.Validate().ToAggregate(); err != nil {
		t.Error(err)
	}
}
