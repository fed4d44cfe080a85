package cli

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/shoots/ports"
)

func TestParseMapping(t *testing.T) {
	for text, want := range map[string]string{
		"8080:30080":                        "8080:30080/tcp",
		"8080:30080/TCP":                    "8080:30080/tcp",
		":30053/udp":                        ":30053/udp",
		"0:30053/udp":                       ":30053/udp",
		"127.0.0.1:8080:80":                 "8080:80/tcp",
		"0.0.0.0:9000-9010:30000-30010/udp": "0.0.0.0:9000-9010:30000-30010/udp",
		"[::1]:80:80":                       "[::1]:80:80/tcp",
		":30000-30001":                      ":30000-30001/tcp",
		"8080":                              "!must be [ADDRESS:]HOST:NODE[/PROTOCOL]",
		"8080:30080/sctp":                   "!must be tcp or udp",
		"8080:0":                            "!must be a port from 1 to 65535",
		"70000:80":                          "!must be a port from 1 to 65535",
		"localhost:80:80":                   "!must be an IP address of this host",
		"1-2:30000-30005":                   "!2 ports of the host for 6 of the container",
		"5-2:30000-30005":                   "!must be a range of ports",
		"80:30000-30005":                    "!1 ports of the host for 6 of the container",
	} {
		m, err := parseMapping(text)
		if refusal, refused := strings.CutPrefix(want, "!"); refused {
			if err == nil || !strings.Contains(err.Error(), refusal) {
				t.Errorf("%s: got %v, want %q", text, err, refusal)
			}
			continue
		}
		if err != nil || mappingText(m) != want {
			t.Errorf("%s: got %q, %v, want %q", text, mappingText(m), err, want)
		}
	}
	_, err := parseMappings([]string{"a", "80:80", "b"})
	if err == nil || !strings.Contains(err.Error(), `port "a"`) || !strings.Contains(err.Error(), `port "b"`) {
		t.Errorf("not every problem is named: %v", err)
	}
}

func FuzzParseMapping(f *testing.F) {
	for _, text := range []string{"8080:30080", "[::1]:1-2:3-4/udp", ":1", "0.0.0.0:0:1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := parseMapping(text)
		if err != nil {
			return
		}
		again, err := parseMapping(mappingText(m))
		if err != nil || mappingText(again) != mappingText(m) {
			t.Errorf("%q is written %q, which is read as %q, %v", text, mappingText(m), mappingText(again), err)
		}
	})
}

func parsed(t *testing.T, texts ...string) []v1alpha1.PortMapping {
	t.Helper()
	all, err := parseMappings(texts)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestChangeMappings(t *testing.T) {
	have := parsed(t, "8080:30080", ":30081", ":30081")
	for name, tc := range map[string]struct {
		apply          func(have, named []v1alpha1.PortMapping) ([]v1alpha1.PortMapping, error)
		named          []string
		added, removed []string
		refused        string
	}{
		"a new one":             {addMappings, []string{"9090:30080"}, []string{"9090:30080/tcp"}, nil, ""},
		"one that is there":     {addMappings, []string{"127.0.0.1:8080:30080/tcp"}, nil, nil, ""},
		"one more free one":     {addMappings, []string{":30081"}, []string{":30081/tcp"}, nil, ""},
		"one of two free ones":  {removeMappings, []string{":30081"}, nil, []string{":30081/tcp"}, ""},
		"both":                  {removeMappings, []string{":30081", ":30081"}, nil, []string{":30081/tcp", ":30081/tcp"}, ""},
		"what was never added":  {removeMappings, []string{"1:1", "8080:30080"}, nil, nil, "no port 1:1/tcp was added; there are: 8080:30080/tcp, :30081/tcp, :30081/tcp"},
		"more than there are":   {removeMappings, []string{":30081", ":30081", ":30081"}, nil, nil, "no port :30081/tcp was added"},
		"another of the nodes'": {removeMappings, []string{"8080:30081"}, nil, nil, "no port 8080:30081/tcp"},
	} {
		want, err := tc.apply(have, parsed(t, tc.named...))
		if tc.refused != "" {
			if err == nil || !strings.Contains(err.Error(), tc.refused) {
				t.Errorf("%s: got %v, want %q", name, err, tc.refused)
			}
			continue
		}
		if err != nil || !slices.Equal(missing(want, have), tc.added) || !slices.Equal(missing(have, want), tc.removed) {
			t.Errorf("%s: adds %v, removes %v, %v", name, missing(want, have), missing(have, want), err)
		}
	}
	if mappingText(have[0]) != "8080:30080/tcp" || len(have) != 3 {
		t.Errorf("what there was became %v", have)
	}
}

// TestSetMappings wants the rest of a configuration as it was written.
func TestSetMappings(t *testing.T) {
	shoot := &gardencorev1beta1.Shoot{}
	if err := setMappings(shoot, parsed(t, "8080:30080")); err != nil {
		t.Fatal(err)
	}
	if got := mappingsOf(shoot); len(got) != 1 || got[0].HostPort != 8080 || got[0].ContainerPort != 30080 {
		t.Errorf("the mappings are %+v", got)
	}
	const written = `{"apiVersion":"loam.dev/v1alpha1","containerdConfigPatches":[],"dnsSearch":[],"kind":"ControlPlaneConfig"}`
	shoot.Spec.Provider.ControlPlaneConfig = &runtime.RawExtension{Raw: []byte(written)}
	for _, all := range [][]v1alpha1.PortMapping{parsed(t, "8080:30080"), nil} {
		if err := setMappings(shoot, all); err != nil {
			t.Fatal(err)
		}
	}
	if g, w := string(shoot.Spec.Provider.ControlPlaneConfig.Raw), written; g != w {
		t.Errorf("the configuration is %s, was %s", g, w)
	}
}

func TestPrintPorts(t *testing.T) {
	lines := []ports.Line{
		{Kind: ports.KindService, Namespace: "default", Name: "web", Type: "NodePort", Port: 80, NodePort: 30080, Protocol: "TCP", Address: netip.MustParseAddrPort("127.0.0.1:30080"), Reachable: true, Nodes: []string{"a", "b"}},
		{Kind: ports.KindService, Namespace: "default", Name: "db", Type: "ClusterIP", Port: 5432, Protocol: "TCP", Note: "inside the cluster only"},
		{Kind: ports.KindMapping, NodePort: 31000, Protocol: "UDP", Note: "port 9 of this host is taken by nginx"},
	}
	for _, wide := range []bool{false, true} {
		var out strings.Builder
		if err := printPorts(&out, lines, wide); err != nil {
			t.Fatal(err)
		}
		var got []string
		for line := range strings.Lines(out.String()) {
			got = append(got, strings.Join(strings.Fields(line), " "))
		}
		want := []string{
			"SERVICE TYPE PORT ADDRESS REACHABLE NOTE",
			"default/web NodePort 80:30080/TCP 127.0.0.1:30080 yes -",
			"default/db ClusterIP 5432/TCP - no inside the cluster only",
			"port 31000 of any node Mapping 31000/UDP - no port 9 of this host is taken by nginx",
		}
		if wide {
			for i, nodes := range []string{" NODES", " a,b", " -", " -"} {
				want[i] += nodes
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("printed\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	var out strings.Builder
	if err := printPorts(&out, nil, false); err != nil || !strings.Contains(out.String(), "Nothing is known") {
		t.Errorf("nothing is printed as %q, %v", out.String(), err)
	}
}
