package kindfile_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/cli/kindfile"
	"github.com/loam-cloud/loam/fault"
)

var update = flag.Bool("update", false, "write the golden files anew")

const head = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n"

// TestRead reads the files of testdata and compares the Shoots that they
// describe.
func TestRead(t *testing.T) {
	files, err := filepath.Glob("testdata/*.kind.yaml")
	if err != nil || len(files) < 4 {
		t.Fatalf("files are %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var shoot gardencorev1beta1.Shoot
			if err := kindfile.Read(text, "/current", &shoot); err != nil {
				t.Fatal(err)
			}
			got, err := yaml.Marshal(map[string]any{
				"name": shoot.Name, "networking": shoot.Spec.Networking, "kubernetes": shoot.Spec.Kubernetes, "provider": shoot.Spec.Provider,
			})
			if err != nil {
				t.Fatal(err)
			}
			golden := strings.TrimSuffix(file, ".kind.yaml") + ".shoot.yaml"
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
		})
	}
}

func TestReadRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"unknown field":          {head + "colour: red\n", []string{`unknown field "colour"`}},
		"unknown nested field":   {head + "nodes: [{role: worker, colour: red}]\n", []string{`"nodes[0].colour"`}},
		"unknown field of mount": {head + "nodes: [{extraMounts: [{hostPath: /a, colour: red}]}]\n", []string{`"nodes[0].extraMounts[0].colour"`}},
		"wrong version":          {"kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha3\n", []string{"apiVersion", "v1alpha3", "v1alpha4"}},
		"all problems at once": {
			head + `
runtimeConfig: {api/all: maybe}
kubeadmConfigPatches: ["kind: Cluster"]
kubeadmConfigPatchesJSON6902: [{group: kubeadm.k8s.io, version: v1beta3, kind: ClusterConfiguration, patch: '[{op: fly, path: /a}]'}]
containerdConfigPatches: ["= b"]
containerdConfigPatchesJSON6902: ["a: b"]
networking: {ipFamily: both, apiServerPort: 70000, apiServerAddress: here, kubeProxyMode: magic, dnsSearch: [a_b]}
nodes:
- role: worker
  extraMounts: [{hostPath: /a, containerPath: b, propagation: Some}]
  extraPortMappings:
  - {hostPort: 80}
  - {containerPort: 80, hostPort: -2}
  - {containerPort: 80, protocol: ICMP, listenAddress: nowhere}
  - {containerPortRange: 9-1}
  - {containerPortRange: 1-9, hostPortRange: 1-8}
  - {containerPortRange: 1-9, containerPort: 1}
  - {containerPortRange: 1-2000}
  kubeadmConfigPatches: ["[]"]
- role: king
`,
			[]string{
				"runtimeConfig[api/all]", "kubeadmConfigPatches[0]", "kubeadmConfigPatchesJSON6902[0].version", "unsupported operation",
				"containerdConfigPatches[0]", "containerdConfigPatchesJSON6902[0]", "networking.ipFamily", "networking.apiServerPort",
				"networking.apiServerAddress", "networking.kubeProxyMode", "networking.dnsSearch[0]", "nodes[0].extraMounts[0].containerPath",
				"nodes[0].extraMounts[0].propagation", "nodes[0].extraPortMappings[0].containerPort", "nodes[0].extraPortMappings[1].hostPort",
				"nodes[0].extraPortMappings[2].protocol", "nodes[0].extraPortMappings[2].listenAddress", "nodes[0].extraPortMappings[3].containerPortRange",
				"nodes[0].extraPortMappings[4].hostPortRange", "nodes[0].extraPortMappings[5].containerPortRange", "nodes[0].extraPortMappings[6].containerPortRange",
				"nodes[0].kubeadmConfigPatches[0]", "nodes[1].role", "one node has to be of role control-plane",
			},
		},
		"two control planes": {head + "nodes: [{role: control-plane}, {role: control-plane}]\n", []string{"nodes: Invalid value: 2", "odd number"}},
		"control planes that differ": {
			head + "nodes: [{role: control-plane}, {role: control-plane, labels: {a: b}}, {role: control-plane}]\n", []string{"nodes[1]", "have to be alike"},
		},
		"ranges of the other family":  {head + "networking: {ipFamily: ipv6, podSubnet: 10.0.0.0/16}\n", []string{"networking.podSubnet", `"10.0.0.0/16"`, "must be a range of IPv6"}},
		"a range of IPv6":             {head + "networking: {serviceSubnet: 'fd00::/112'}\n", []string{"networking.serviceSubnet", "must be a range of IPv4", "unless ipFamily"}},
		"two ranges of one family":    {head + "networking: {podSubnet: '10.0.0.0/16,fd00::/56'}\n", []string{"networking.podSubnet", "need ipFamily: dual"}},
		"two ranges out of order":     {head + "networking: {ipFamily: dual, podSubnet: 'fd00::/56,10.0.0.0/16'}\n", []string{"networking.podSubnet", "10.244.0.0/16,fd00:10:244::/56"}},
		"ranges that kubeadm refuses": {head + "networking: {ipFamily: dual, podSubnet: '10.0.0.0/16,fd00::/40', serviceSubnet: '10.1.0.0/16,fd01::/64'}\n", []string{"networking.podSubnet: Invalid value: \"fd00::/40\"", "networking.serviceSubnet: Invalid value: \"fd01::/64\""}},
		"one port for two": {
			head + "nodes: [{extraPortMappings: [{containerPort: 80, hostPort: 8080}]}, {role: worker, extraPortMappings: [{containerPort: 80, hostPort: 8080}]}]\n",
			[]string{"nodes[1].extraPortMappings[0].hostPort", "nodes[0].extraPortMappings[0].hostPort has this port"},
		},
		"versions that differ": {
			head + "nodes: [{image: 'kindest/node:v1.36.3@sha256:00'}, {role: worker, image: 'a:5000/node:v1.35.1'}]\n", []string{"nodes[1].image", "1.36.3"},
		},
		"no yaml": {"a: [", []string{"yaml"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := kindfile.Read([]byte(tc.text), "/", &gardencorev1beta1.Shoot{})
			if !errors.Is(err, fault.Invalid) {
				t.Fatalf("error is %v", err)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error\n%s\ndoes not say %q", strings.ReplaceAll(err.Error(), ", nodes", "\nnodes"), want)
				}
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(head + "nodes: [{role: worker}, {role: control-plane, labels: {a: b}}]\n"))
	f.Add([]byte("kind: []"))
	files, _ := filepath.Glob("testdata/*.kind.yaml")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var shoot gardencorev1beta1.Shoot
		if err := kindfile.Read(text, "/", &shoot); err == nil && len(shoot.Spec.Provider.Workers) == 0 {
			t.Error("a file without problems gives a cluster without machines")
		}
	})
}
