package nodeconfig_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"fmt"
	"math/big"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	kubeproxy "k8s.io/kube-proxy/config/v1alpha1"
	kubelet "k8s.io/kubelet/config/v1beta1"
	kubeadm "k8s.io/kubernetes/cmd/kubeadm/app/apis/kubeadm/v1beta4"
	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/nodeconfig"
)

var update = flag.Bool("update", false, "write the golden files anew")

const token = "abcdef.0123456789abcdef"

func cluster() nodeconfig.Cluster {
	return nodeconfig.Cluster{
		Name: "demo", KubernetesVersion: "v1.36.3", PodCIDR: "10.244.0.0/16", ServiceCIDR: "10.96.0.0/16",
		Endpoint: "172.18.0.2:6443", CertSANs: []string{"localhost", "127.0.0.1"}, ControlPlanes: members(1),
	}
}

func controlPlane() nodeconfig.Node {
	return nodeconfig.Node{Name: "demo-control-plane-0", Role: v1alpha1.RoleControlPlane, Address: netip.MustParseAddr("172.18.0.2")}
}

func worker() nodeconfig.Node {
	return nodeconfig.Node{
		Name: "demo-worker-0", Role: v1alpha1.RoleWorker, Address: netip.MustParseAddr("172.18.0.3"),
		Labels: map[string]string{"worker.gardener.cloud/pool": "worker", "a": "", "node.kubernetes.io/kind": "x"},
		Taints: []corev1.Taint{{Key: "gpu", Value: "yes", Effect: corev1.TaintEffectNoSchedule}},
	}
}

// join has a fixed text for the authority: golden files hold no key material.
func join(t *testing.T) nodeconfig.Join {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return nodeconfig.Join{Server: "https://172.18.0.2:6443", CA: ca, Token: token}
}

// members are the control planes of a cluster.
func members(n int) []nodeconfig.Member {
	all := make([]nodeconfig.Member, n)
	for i := range all {
		all[i] = nodeconfig.Member{Name: fmt.Sprintf("demo-control-plane-%d", i), Address: netip.AddrFrom4([4]byte{172, 18, 0, byte(2 + i)})}
	}
	return all
}

func TestGolden(t *testing.T) {
	initialise := func(change func(*nodeconfig.Cluster, *nodeconfig.Node)) func(*testing.T) ([]nodeconfig.File, error) {
		return func(*testing.T) ([]nodeconfig.File, error) {
			c, n := cluster(), controlPlane()
			change(&c, &n)
			return nodeconfig.InitFiles(c, n, token)
		}
	}
	joining := func(n nodeconfig.Node, change func(*nodeconfig.Cluster, *nodeconfig.Node)) func(*testing.T) ([]nodeconfig.File, error) {
		return func(t *testing.T) ([]nodeconfig.File, error) {
			c := cluster()
			change(&c, &n)
			return nodeconfig.JoinFiles(c, n, join(t))
		}
	}
	tests := map[string]func(*testing.T) ([]nodeconfig.File, error){
		"init": initialise(func(*nodeconfig.Cluster, *nodeconfig.Node) {}),
		"init-everything": initialise(func(c *nodeconfig.Cluster, n *nodeconfig.Node) {
			c.ControlPlanes, c.KubeProxyMode, c.DNSDomain, c.KubernetesVersion = members(3), "nftables", "demo.internal", "v1.31.5"
			c.Endpoint, c.CertSANs = "api.demo.internal:443", nil
			n.MaxPods = 50
			n.Taints = []corev1.Taint{{Key: "node-role.kubernetes.io/control-plane", Effect: corev1.TaintEffectNoSchedule}}
		}),
		"init-patched": initialise(func(c *nodeconfig.Cluster, n *nodeconfig.Node) {
			gates := map[string]bool{"B": false, "A": true}
			c.FeatureGates = nodeconfig.FeatureGates{APIServer: gates, ControllerManager: gates, Scheduler: gates, Kubelet: gates, KubeProxy: gates}
			c.RuntimeConfig, c.KubeProxyMode = map[string]bool{"api/alpha": true, "apps/v1": false}, "none"
			c.Patches, n.Patches = userPatches("ClusterConfiguration", "apiServer: {extraArgs: {v: 4}}", "[{op: add, path: /apiServer/certSANs/-, value: api.example.org}]"),
				userPatches("InitConfiguration", "nodeRegistration: {kubeletExtraArgs: {v: 5}}", "[{op: remove, path: /bootstrapTokens}]")
		}),
		"join-patched": joining(worker(), func(c *nodeconfig.Cluster, n *nodeconfig.Node) {
			c.Patches, n.Patches = userPatches("ClusterConfiguration", "apiServer: null", "[{op: remove, path: /never}]"),
				userPatches("JoinConfiguration", "nodeRegistration: {kubeletExtraArgs: {node-labels: a=b}}", "[{op: add, path: /nodeRegistration/taints/-, value: {key: k, effect: NoExecute}}]")
		}),
		"init-dual-stack": initialise(func(c *nodeconfig.Cluster, n *nodeconfig.Node) {
			c.PodCIDR, c.ServiceCIDR = "10.244.0.0/16,fd00:10:244::/56", "10.96.0.0/16,fd00:10:96::/112"
			n.SecondAddress = netip.MustParseAddr("fc00:f853:ccd:e793::2")
			n.PodSubnets = []netip.Prefix{netip.MustParsePrefix("10.244.0.0/24"), netip.MustParsePrefix("fd00:10:244::/64")}
		}),
		"init-ipv6": initialise(func(c *nodeconfig.Cluster, n *nodeconfig.Node) {
			c.PodCIDR, c.ServiceCIDR, c.Endpoint = "fd00:10:244::/56", "fd00:10:96::/112", "[fc00:f853:ccd:e793::2]:6443"
			n.Address = netip.MustParseAddr("fc00:f853:ccd:e793::2")
			n.PodSubnets = []netip.Prefix{netip.MustParsePrefix("fd00:10:244:1::/64")}
		}),
		"join-bounded": joining(worker(), func(_ *nodeconfig.Cluster, n *nodeconfig.Node) { n.CPUs, n.MemoryBytes = 1.5, 2<<30 }),
		"resolver": func(*testing.T) ([]nodeconfig.File, error) {
			return nodeconfig.Outside{Resolver: netip.MustParseAddr("fc00:f853:ccd:e793::2")}.Files()
		},
		"balancer-ipv6": func(t *testing.T) ([]nodeconfig.File, error) {
			all := members(3)
			for i := range all {
				all[i].Address = netip.MustParseAddr(fmt.Sprintf("fc00:f853:ccd:e793::%d", i+2))
			}
			return nodeconfig.BalancerFiles(all, join(t).CA)
		},
		"balancer": func(t *testing.T) ([]nodeconfig.File, error) {
			return nodeconfig.BalancerFiles(members(3), join(t).CA)
		},
		"init-virtual-machine": initialise(func(_ *nodeconfig.Cluster, n *nodeconfig.Node) { n.VirtualMachine = true }),
		"join-worker":          joining(worker(), func(*nodeconfig.Cluster, *nodeconfig.Node) {}),
		"join-control-plane": joining(controlPlane(), func(c *nodeconfig.Cluster, n *nodeconfig.Node) {
			c.ControlPlanes, n.Name, n.Address = members(3), "demo-control-plane-1", netip.MustParseAddr("172.18.0.7")
		}),
	}
	for name, files := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := files(t)
			if err != nil {
				t.Fatal(err)
			}
			decode(t, got)
			compare(t, filepath.Join("testdata", name+".txt"), print(got))
		})
	}
}

// userPatches change a document, in both ways, and the kubelet's configuration.
func userPatches(kind, merge, operation string) v1alpha1.KubeadmPatches {
	return v1alpha1.KubeadmPatches{
		KubeadmConfigPatches: []string{"kind: " + kind + "\n" + merge, "kind: KubeletConfiguration\nmaxPods: 42\n"},
		KubeadmConfigPatchesJSON6902: []v1alpha1.PatchJSON6902{
			{Group: "kubeadm.k8s.io", Version: "v1beta4", Kind: kind, Patch: operation},
			{Group: "kubelet.config.k8s.io", Version: "v1beta1", Kind: "KubeletConfiguration", Patch: "- {op: add, path: /podsPerCore, value: 9}"},
		},
	}
}

// print shows all files as one text, without the authority, which differs.
func print(files []nodeconfig.File) []byte {
	var text bytes.Buffer
	for _, file := range files {
		fmt.Fprintf(&text, "=== %s %o\n", file.Path, file.Mode)
		if strings.HasSuffix(file.Path, ".crt") {
			text.WriteString("(authority)\n")
			continue
		}
		for line := range strings.Lines(string(file.Content)) {
			if before, _, found := strings.Cut(line, "certificate-authority-data: "); found {
				line = before + "certificate-authority-data: (authority)\n"
			}
			text.WriteString(line)
		}
	}
	return text.Bytes()
}

func compare(t *testing.T, golden string, got []byte) {
	t.Helper()
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

// decode reads every document into Kubernetes' own type, where each field has
// to exist and have the right form.
func decode(t *testing.T, files []nodeconfig.File) {
	t.Helper()
	for _, file := range files {
		switch {
		case strings.HasPrefix(string(file.Content), "#!/bin/sh\n"):
			if out, err := exec.Command("sh", "-n", "-c", string(file.Content)).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", file.Path, err, out)
			}
			continue
		case !strings.HasSuffix(file.Path, ".yaml") && file.Path != nodeconfig.DiscoveryPath:
			continue
		}
		for document := range strings.SplitSeq(string(file.Content), "---\n") {
			var target any
			var meta struct{ APIVersion, Kind string }
			if !strings.HasPrefix(document, "- ") {
				if err := yaml.Unmarshal([]byte(document), &meta); err != nil {
					t.Fatal(err)
				}
			}
			switch kind := meta.APIVersion + " " + meta.Kind; {
			case kind == "kubeadm.k8s.io/v1beta4 InitConfiguration":
				target = &kubeadm.InitConfiguration{}
			case kind == "kubeadm.k8s.io/v1beta4 ClusterConfiguration":
				target = &kubeadm.ClusterConfiguration{}
			case kind == "kubeadm.k8s.io/v1beta4 JoinConfiguration":
				target = &kubeadm.JoinConfiguration{}
			case strings.Contains(file.Path, "/etcd+json"):
				target = &[]jsonpatch.Operation{}
			case kind == "kubelet.config.k8s.io/v1beta1 KubeletConfiguration", strings.Contains(file.Path, "kubeletconfiguration"):
				target = &kubelet.KubeletConfiguration{}
			case kind == "kubeproxy.config.k8s.io/v1alpha1 KubeProxyConfiguration":
				target = &kubeproxy.KubeProxyConfiguration{}
			case strings.Contains(file.Path, "corednsdeployment"):
				target = &struct {
					Spec struct{ Template corev1.PodTemplateSpec }
				}{}
			case file.Path == nodeconfig.DiscoveryPath:
				discovery(t, file.Content)
				continue
			default:
				t.Errorf("%s holds %q, which is not known", file.Path, kind)
				continue
			}
			if err := yaml.UnmarshalStrict([]byte(document), target); err != nil {
				t.Errorf("%s: %v", file.Path, err)
			}
		}
	}
}

func discovery(t *testing.T, content []byte) {
	t.Helper()
	config, err := clientcmd.RESTConfigFromKubeConfig(content)
	if err != nil {
		t.Fatal(err)
	}
	if config.Host != "https://172.18.0.2:6443" || !bytes.Contains(config.CAData, []byte("BEGIN CERTIFICATE")) || config.BearerToken != "" {
		t.Errorf("discovery leads to %s", config)
	}
}

func TestSameInputSameBytes(t *testing.T) {
	n := worker()
	for i := range 20 {
		n.Labels[fmt.Sprintf("label-%d", i)] = "x"
	}
	j := join(t)
	first, err := nodeconfig.JoinFiles(cluster(), n, j)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		again, err := nodeconfig.JoinFiles(cluster(), n, j)
		if err != nil || !reflect.DeepEqual(again, first) {
			t.Fatalf("got other files for the same input: %v", err)
		}
	}
}

func TestSecretsArePrivate(t *testing.T) {
	initialised, err := nodeconfig.InitFiles(cluster(), controlPlane(), token)
	if err != nil {
		t.Fatal(err)
	}
	joined, err := nodeconfig.JoinFiles(cluster(), worker(), join(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(initialised, joined...) {
		if bytes.Contains(file.Content, []byte(token)) && file.Mode != 0o600 {
			t.Errorf("%s holds a token and has mode %o", file.Path, file.Mode)
		}
	}
}

func TestRefusesBadInput(t *testing.T) {
	tests := map[string]struct {
		change func(*nodeconfig.Cluster, *nodeconfig.Node, *nodeconfig.Join)
		want   string
	}{
		"cluster name":     {func(c *nodeconfig.Cluster, _ *nodeconfig.Node, _ *nodeconfig.Join) { c.Name = "De Mo" }, `cluster.name: Invalid value: "De Mo"`},
		"no version":       {func(c *nodeconfig.Cluster, _ *nodeconfig.Node, _ *nodeconfig.Join) { c.KubernetesVersion = "1.36" }, "cluster.kubernetesVersion"},
		"without v":        {func(c *nodeconfig.Cluster, _ *nodeconfig.Node, _ *nodeconfig.Join) { c.KubernetesVersion = "1.36.3" }, "cluster.kubernetesVersion"},
		"old version":      {func(c *nodeconfig.Cluster, _ *nodeconfig.Node, _ *nodeconfig.Join) { c.KubernetesVersion = "v1.30.0" }, "at least v1.31.0"},
		"pod range":        {func(c *nodeconfig.Cluster, _ *nodeconfig.Node, _ *nodeconfig.Join) { c.PodCIDR = "10.244.0.0" }, "cluster.podCIDR"},
		"range with rest":  {func(c *nodeconfig.Cluster, _ *nodeconfig.Node, _ *nodeconfig.Join) { c.PodCIDR = "10.244.1.0/16" }, "must be 10.244.0.0/16"},
		"service range":    {func(c *nodeconfig.Cluster, _ *nodeconfig.Node, _ *nodeconfig.Join) { c.ServiceCIDR = "" }, "cluster.serviceCIDR"},
		"overlap":          {func(c *nodeconfig.Cluster, _ *nodeconfig.Node, _ *nodeconfig.Join) { c.ServiceCIDR = "10.244.3.0/24" }, "must not overlap podCIDR"},
		"domain":           {func(c *nodeconfig.Cluster, _ *nodeconfig.Node, _ *nodeconfig.Join) { c.DNSDomain = "a..b" }, "cluster.dnsDomain"},
		"endpoint":         {func(c *nodeconfig.Cluster, _ *nodeconfig.Node, _ *nodeconfig.Join) { c.Endpoint = "172.18.0.2" }, "cluster.endpoint"},
		"endpoint port":    {func(c *nodeconfig.Cluster, _ *nodeconfig.Node, _ *nodeconfig.Join) { c.Endpoint = "api:0" }, "cluster.endpoint"},
		"certificate name": {func(c *nodeconfig.Cluster, _ *nodeconfig.Node, _ *nodeconfig.Join) { c.CertSANs = []string{"a", "B C"} }, "cluster.certSANs[1]"},
		"proxy mode":       {func(c *nodeconfig.Cluster, _ *nodeconfig.Node, _ *nodeconfig.Join) { c.KubeProxyMode = "ebpf" }, "cluster.kubeProxyMode"},
		"no control plane": {func(c *nodeconfig.Cluster, _ *nodeconfig.Node, _ *nodeconfig.Join) { c.ControlPlanes = nil }, "cluster.controlPlanes"},
		"twice one name": {func(c *nodeconfig.Cluster, _ *nodeconfig.Node, _ *nodeconfig.Join) {
			c.ControlPlanes = members(3)
			c.ControlPlanes[1].Name = c.ControlPlanes[0].Name
		}, "cluster.controlPlanes[1].name"},
		"twice an address": {func(c *nodeconfig.Cluster, _ *nodeconfig.Node, _ *nodeconfig.Join) {
			c.ControlPlanes = members(3)
			c.ControlPlanes[2].Address = c.ControlPlanes[0].Address
		}, "cluster.controlPlanes[2].address"},
		"no place": {func(c *nodeconfig.Cluster, _ *nodeconfig.Node, _ *nodeconfig.Join) {
			c.ControlPlanes[0].Address = netip.Addr{}
		}, "cluster.controlPlanes[0].address"},
		"node name":  {func(_ *nodeconfig.Cluster, n *nodeconfig.Node, _ *nodeconfig.Join) { n.Name = "Node" }, "node.name"},
		"role":       {func(_ *nodeconfig.Cluster, n *nodeconfig.Node, _ *nodeconfig.Join) { n.Role = "Etcd" }, "node.role"},
		"no address": {func(_ *nodeconfig.Cluster, n *nodeconfig.Node, _ *nodeconfig.Join) { n.Address = netip.Addr{} }, "node.address"},
		"pod's address": {func(_ *nodeconfig.Cluster, n *nodeconfig.Node, _ *nodeconfig.Join) {
			n.Address = netip.MustParseAddr("10.244.0.1")
		}, "must not be in the cluster's podCIDR"},
		"label key":   {func(_ *nodeconfig.Cluster, n *nodeconfig.Node, _ *nodeconfig.Join) { n.Labels["a b"] = "" }, "node.labels[a b]"},
		"label value": {func(_ *nodeconfig.Cluster, n *nodeconfig.Node, _ *nodeconfig.Join) { n.Labels["a"] = "b,c" }, "node.labels[a]"},
		"reserved label": {func(_ *nodeconfig.Cluster, n *nodeconfig.Node, _ *nodeconfig.Join) {
			n.Labels["node-role.kubernetes.io/worker"] = ""
		}, "set it through the API"},
		"taint key":    {func(_ *nodeconfig.Cluster, n *nodeconfig.Node, _ *nodeconfig.Join) { n.Taints[0].Key = "" }, "node.taints[0].key"},
		"taint effect": {func(_ *nodeconfig.Cluster, n *nodeconfig.Node, _ *nodeconfig.Join) { n.Taints[0].Effect = "Never" }, "node.taints[0].effect"},
		"pods":         {func(_ *nodeconfig.Cluster, n *nodeconfig.Node, _ *nodeconfig.Join) { n.MaxPods = -1 }, "node.maxPods"},
		"server":       {func(_ *nodeconfig.Cluster, _ *nodeconfig.Node, j *nodeconfig.Join) { j.Server = "172.18.0.2:6443" }, "join.server"},
		"authority":    {func(_ *nodeconfig.Cluster, _ *nodeconfig.Node, j *nodeconfig.Join) { j.CA = []byte("x") }, "join.ca"},
		"token":        {func(_ *nodeconfig.Cluster, _ *nodeconfig.Node, j *nodeconfig.Join) { j.Token = "hush" }, "join.token"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c, n, j := cluster(), worker(), join(t)
			test.change(&c, &n, &j)
			files, err := nodeconfig.JoinFiles(c, n, j)
			if err == nil || files != nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want no files and an error with %q", err, test.want)
			}
			if strings.Contains(err.Error(), "hush") {
				t.Error("the error shows the token")
			}
		})
	}
}

func TestReportsEveryProblem(t *testing.T) {
	_, err := nodeconfig.InitFiles(nodeconfig.Cluster{}, nodeconfig.Node{Role: v1alpha1.RoleWorker}, "")
	if err == nil {
		t.Fatal("nothing is enough")
	}
	for _, name := range []string{
		"cluster.name", "cluster.kubernetesVersion", "cluster.podCIDR", "cluster.serviceCIDR", "cluster.endpoint",
		"cluster.controlPlanes", "node.name", "node.role", "node.address", "bootstrapToken",
	} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("error %q does not name %s", err, name)
		}
	}
}
