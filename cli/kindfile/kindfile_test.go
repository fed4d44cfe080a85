package kindfile_test

import (
	"errors"
	"strings"
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/cli/kindfile"
	"github.com/loam-cloud/loam/fault"
)

const head = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n"

func TestRead(t *testing.T) {
	var shoot gardencorev1beta1.Shoot
	err := kindfile.Read([]byte(head+`
name: moved
networking: {podSubnet: 10.1.0.0/16, disableDefaultCNI: true, kubeProxyMode: nftables}
nodes:
- role: control-plane
- role: worker
- role: worker
- role: worker
  labels: {disk: fast}
`), &shoot)
	if err != nil {
		t.Fatal(err)
	}
	got, err := yaml.Marshal(map[string]any{
		"name": shoot.Name, "networking": shoot.Spec.Networking, "proxy": shoot.Spec.Kubernetes.KubeProxy.Mode, "workers": shoot.Spec.Provider.Workers,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `name: moved
networking:
  pods: 10.1.0.0/16
  services: 10.96.0.0/16
  type: none
proxy: NFTables
workers:
- controlPlane: {}
  machine:
    type: local
  maximum: 1
  minimum: 1
  name: control-plane
- machine:
    type: local
  maximum: 2
  minimum: 2
  name: worker
- labels:
    disk: fast
  machine:
    type: local
  maximum: 1
  minimum: 1
  name: worker2
`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestReadRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"unknown field":        {head + "colour: red\n", []string{`unknown field "colour"`}},
		"unknown nested field": {head + "nodes: [{role: worker, colour: red}]\n", []string{`"nodes[0].colour"`}},
		"wrong version":        {"kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha3\n", []string{"apiVersion", "v1alpha3", "v1alpha4"}},
		"all problems at once": {
			head + "featureGates: {A: true}\nnetworking: {ipFamily: dual, apiServerPort: 1}\nnodes: [{role: worker, extraMounts: []}, {role: king}]\n",
			[]string{"featureGates", "networking.ipFamily", "networking.apiServerPort", "nodes[0].extraMounts", "nodes[1].role", "one node has to be of role control-plane"},
		},
		"two control planes": {head + "nodes: [{role: control-plane}, {role: control-plane}]\n", []string{"nodes[1].role"}},
		"no yaml":            {"a: [", []string{"yaml"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := kindfile.Read([]byte(tc.text), &gardencorev1beta1.Shoot{})
			if !errors.Is(err, fault.Invalid) {
				t.Fatalf("error is %v", err)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(head + "nodes: [{role: worker}, {role: control-plane, labels: {a: b}}]\n"))
	f.Add([]byte("kind: []"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var shoot gardencorev1beta1.Shoot
		if err := kindfile.Read(text, &shoot); err == nil && len(shoot.Spec.Provider.Workers) == 0 {
			t.Error("a file without problems gives a cluster without machines")
		}
	})
}
