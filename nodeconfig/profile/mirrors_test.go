package profile_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/nodeconfig/profile"
)

// authority is a certificate that nobody has the key of any more.
func authority(t *testing.T) []byte {
	t.Helper()
	ca, err := os.ReadFile(filepath.Join("testdata", "authority.crt"))
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func TestMirrors(t *testing.T) {
	in := machine(v1alpha1.RoleWorker, "2.2.1")
	in.Mirrors = []profile.Mirror{
		{Registry: "docker.io", Endpoint: "http://10.0.0.5:5000"},
		{Registry: "ghcr.io", Endpoint: "https://10.0.0.5:5010/", CA: authority(t)},
		{Registry: "docker.io", Endpoint: "https://10.0.0.6:5000", ServerName: "cache.example.org"},
		{Registry: "quay.io", Endpoint: "https://[fd00::5]", ServerName: "cache6.example.org", CA: authority(t), Offline: true},
		{Registry: "registry.example:5000", Endpoint: "http://cache/v2/inside", Upstream: "http://10.0.0.9:5000"},
	}
	for _, container := range []bool{false, true} {
		in.Container = container
		out, err := load(t, profile.Kubernetes).Render(in)
		if err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]string{
			"docker.io/hosts.toml": `server = 'https://registry-1.docker.io'

[host."http://10.0.0.5:5000"]
capabilities = ['pull']

[host."https://cache.example.org:5000"]
capabilities = ['pull']
`,
			"ghcr.io/hosts.toml": `server = 'https://ghcr.io'

[host."https://10.0.0.5:5010"]
ca = '/etc/containerd/certs.d/ghcr.io/mirror-0.crt'
capabilities = ['pull']
`,
			"quay.io/hosts.toml": `ca = '/etc/containerd/certs.d/quay.io/mirror-0.crt'
capabilities = ['pull', 'resolve']
server = 'https://cache6.example.org'

[host."https://cache6.example.org"]
ca = '/etc/containerd/certs.d/quay.io/mirror-0.crt'
capabilities = ['pull', 'resolve']
`,
			"registry.example:5000/hosts.toml": `server = 'http://10.0.0.9:5000'

[host."http://cache/v2/inside"]
capabilities = ['pull']
override_path = true
`,
		} {
			text := content(out, "/etc/containerd/certs.d/"+path)
			_, text, _ = strings.Cut(text, "\n") // the comment
			if text != want {
				t.Errorf("%s is\n%s\nwant\n%s", path, text, want)
			}
			if err := toml.Unmarshal([]byte(text), &map[string]any{}); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		if got := content(out, "/etc/loam/hosts"); got != "10.0.0.6 cache.example.org\nfd00::5 cache6.example.org\n" {
			t.Errorf("names are %q", got)
		}
		for _, f := range out.Files {
			if strings.HasPrefix(f.Path, "/etc/containerd/certs.d/") && len(f.Restart) > 0 {
				t.Errorf("%s restarts %v, and is read at each pull", f.Path, f.Restart)
			}
		}
	}
}

func TestMirrorsThatCannotBe(t *testing.T) {
	for _, test := range []struct {
		mirrors []profile.Mirror
		want    [][]string
	}{
		{[]profile.Mirror{{Registry: "docker.io", Endpoint: "https://10.0.0.5:5000"}}, [][]string{{"mirrors[0].ca", "serverName", "https://10.0.0.5:5000"}}},
		{[]profile.Mirror{{Registry: "../etc", Endpoint: "ftp://x"}}, [][]string{{"mirrors[0].registry", "../etc"}, {"mirrors[0].endpoint"}}},
		{[]profile.Mirror{{Registry: "a", Endpoint: "http://me:hush@x"}}, [][]string{{"mirrors[0].endpoint"}}},
		{[]profile.Mirror{{Registry: "a", Endpoint: "https://x", ServerName: "y"}}, [][]string{{"mirrors[0].serverName", "y", "mirrors[0].endpoint", "https://x"}}},
		{[]profile.Mirror{{Registry: "a", Endpoint: "http://x", CA: []byte("y")}}, [][]string{{"mirrors[0].ca", "mirrors[0].endpoint"}, {"mirrors[0].ca", "PEM"}}},
		{
			[]profile.Mirror{{Registry: "a", Endpoint: "http://x"}, {Registry: "a", Endpoint: "http://y", Offline: true}},
			[][]string{{"mirrors[1].offline", "true", "mirrors[0].offline", "false"}},
		},
		{
			[]profile.Mirror{{Registry: "a", Endpoint: "http://x"}, {Registry: "a", Endpoint: "http://y", Upstream: "https://z"}},
			[][]string{{"mirrors[1].upstream", "https://z", "mirrors[0].upstream"}},
		},
	} {
		in := machine(v1alpha1.RoleWorker, "2.2.1")
		in.Mirrors = test.mirrors
		_, err := load(t, profile.Kubernetes).Render(in)
		wantProblems(t, err, test.want)
		if err != nil && strings.Contains(err.Error(), "hush") {
			t.Errorf("the message has a password in it: %v", err)
		}
	}
}

func TestNetworks(t *testing.T) {
	in := machine(v1alpha1.RoleWorker, "2.2.1")
	in.Networks = []profile.Network{
		{
			MAC: "BC:24:11:00:00:01", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.7/24"), netip.MustParsePrefix("fd00::7/64")},
			Gateways: []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fe80::1")},
			DNS:      []netip.Addr{netip.MustParseAddr("10.0.0.2")}, Search: []string{"example.org"}, MTU: 9000,
		},
		{Name: "ens19"},
	}
	out, err := load(t, profile.Plain).Render(in)
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	if err := yaml.Unmarshal(out.NetworkConfig, &got); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(`
version: 2
ethernets:
  card0:
    match: {macaddress: "bc:24:11:00:00:01"}
    dhcp4: false
    dhcp6: false
    addresses: [10.0.0.7/24, "fd00::7/64"]
    routes: [{to: 0.0.0.0/0, via: 10.0.0.1}, {to: "::/0", via: "fe80::1"}]
    nameservers: {addresses: [10.0.0.2], search: [example.org]}
    mtu: 9000
  card1: {match: {name: ens19}, dhcp4: true, dhcp6: false}
`), &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("networks are\n%s", out.NetworkConfig)
	}
	in.Networks = []profile.Network{{MAC: "x", MTU: 9, Gateways: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, Search: []string{"a b"}}, {}}
	_, err = load(t, profile.Plain).Render(in)
	wantProblems(t, err, [][]string{{"networks[0].mac", "x"}, {"networks[0].mtu", "9"}, {"networks[0].gateways[0]"}, {"networks[0].search[0]"}, {"networks[1].mac"}})
}

// TestOwnFiles has what is the node's own win, pass unchanged, and be written by
// cloud-init with its mode.
func TestOwnFiles(t *testing.T) {
	in := machine(v1alpha1.RoleWorker, "2.2.1")
	in.Files = []profile.File{
		{Path: profile.KubeletPatchPath, Content: []byte("maxPods: 9\n"), Mode: 0o600},
		{Path: "/etc/odd name", Content: []byte("\x00\xff"), Mode: 0o600, Restart: []string{"odd.service"}},
	}
	out, err := load(t, profile.Kubernetes).Render(in)
	if err != nil {
		t.Fatal(err)
	}
	if got := content(out, profile.KubeletPatchPath); got != "maxPods: 9\n" {
		t.Errorf("the patch is %q", got)
	}
	if got := content(out, profile.ApplyPath); !strings.Contains(got, "apply odd.service '/etc/odd name'\n") {
		t.Errorf("the script does not know the file: %s", got)
	}
	var user struct {
		WriteFiles []struct{ Path, Owner, Permissions, Encoding, Content string } `json:"write_files"`
	}
	if err := yaml.Unmarshal(out.UserData, &user); err != nil {
		t.Fatal(err)
	}
	if len(user.WriteFiles) != len(out.Files) {
		t.Errorf("%d files are written, want %d", len(user.WriteFiles), len(out.Files))
	}
	for _, f := range user.WriteFiles {
		if f.Path == "/etc/odd name" && (f.Permissions != "0600" || f.Encoding != "b64" || f.Content != "AP8=" || f.Owner != "root:root") {
			t.Errorf("the file is written as %+v", f)
		}
		if f.Encoding == "" && f.Content != content(out, f.Path) {
			t.Errorf("%s does not pass unchanged: %q", f.Path, f.Content)
		}
	}
	in.Files = append(in.Files, profile.File{Path: "relative"}, in.Files[0])
	_, err = load(t, profile.Kubernetes).Render(in)
	wantProblems(t, err, [][]string{{"files[2].path", "relative"}, {"files[3].path"}})
}
