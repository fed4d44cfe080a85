package e2e_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"text/template"
	"time"
)

// wholeFile has every field of kind's file that can be had on this kernel.
const wholeFile = `
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
name: whole
featureGates: {InPlacePodVerticalScalingExclusiveCPUs: true}
runtimeConfig: {api/alpha: "true"}
networking:
  ipFamily: ipv4
  apiServerAddress: 127.0.0.1
  apiServerPort: {{.API}}
  podSubnet: 10.212.0.0/16
  serviceSubnet: 10.112.0.0/16
  kubeProxyMode: nftables
  dnsSearch: [corp.example]
kubeadmConfigPatches:
- |
  kind: ClusterConfiguration
  apiServer: {extraArgs: {v: "3"}}
- |
  apiVersion: kubelet.config.k8s.io/v1beta1
  kind: KubeletConfiguration
  maxPods: 99
kubeadmConfigPatchesJSON6902:
- group: kubeadm.k8s.io
  version: v1beta4
  kind: ClusterConfiguration
  patch: |
    - {op: add, path: /apiServer/certSANs/-, value: api.example.org}
containerdConfigPatches:
- |
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "/etc/containerd/other.d"
containerdConfigPatchesJSON6902:
- '[{"op": "add", "path": "/debug", "value": {"level": "debug"}}]'
nodes:
- role: control-plane
  kubeadmConfigPatches:
  - |
    kind: InitConfiguration
    nodeRegistration:
      kubeletExtraArgs:
        node-labels: "ingress-ready=true"
- role: worker
  image: loam/node:{{.Version}}
  labels: {zone: a}
  extraMounts:
  - {hostPath: {{.Folder}}, containerPath: /data, readOnly: true, selinuxRelabel: true}
  - {hostPath: {{.Folder}}, containerPath: /shared, propagation: None}
  extraPortMappings:
  - {containerPort: 30080, hostPort: {{.Web}}, listenAddress: 127.0.0.1}
  - {containerPort: 30053, hostPort: 0, protocol: UDP, listenAddress: 127.0.0.1}
  - {containerPortRange: 30100-30102, hostPortRange: {{.First}}-{{.Last}}, listenAddress: 127.0.0.1}
  - {containerPortRange: 30200-30201, listenAddress: 127.0.0.1}
  kubeadmConfigPatches:
  - |
    kind: KubeletConfiguration
    maxPods: 42
  kubeadmConfigPatchesJSON6902:
  - {group: kubeadm.k8s.io, version: v1beta4, kind: JoinConfiguration, patch: '[{op: add, path: /nodeRegistration/kubeletExtraArgs/-, value: {name: v, value: "3"}}]'}
  - {group: kubelet.config.k8s.io, version: v1beta1, kind: KubeletConfiguration, patch: '[{op: add, path: /podsPerCore, value: 30}]'}
`

// TestKindFile makes a cluster of a whole file of kind, and looks at its nodes
// for each line.
func TestKindFile(t *testing.T) {
	t.Parallel()
	i := install(t)
	i.loam("up", "--detach", "--listen", "127.0.0.1:0")
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "file"), []byte("shown\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	ports := freePorts(t, 8)
	facts := map[string]any{"API": ports, "Web": ports + 1, "First": ports + 2, "Last": ports + 4, "Folder": folder, "Version": version}
	file := filepath.Join(folder, "kind.yaml")
	var text strings.Builder
	if err := template.Must(template.New("").Parse(wholeFile)).Execute(&text, facts); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	create := i.command("cluster", "create", "-f", file, "--timeout", "9m")
	create.Env = append(create.Env, "HTTP_PROXY=http://proxy.invalid:3128", "NO_PROXY=example.org")
	if out, err := create.CombinedOutput(); err != nil {
		t.Fatalf("creating the cluster: %v\n%s", err, out)
	}
	t.Run("nodes", i.with(wholeNodes))
	t.Run("networking", i.with(func(i *installation) { wholeNetworking(i, ports) }))
	t.Run("ports", i.with(func(i *installation) { wholePorts(i, ports) }))
	t.Run("services", i.with(func(i *installation) { wholeServices(i, ports) }))
	t.Run("patches", i.with(wholePatches))
	t.Run("proxy", i.with(wholeProxy))
	t.Run("what machines were made with stays", i.with(wholeStays))
	i.loam("cluster", "delete", "whole")
}

// freePorts finds so many ports of loopback in a row, and returns the first.
func freePorts(t *testing.T, n int) int {
	t.Helper()
search:
	// Not node ports: those of clusters beside may open on this host at any moment.
	for first := 10000 + os.Getpid()%500*n; first < 20000; first += n {
		for port := first; port < first+n; port++ {
			l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
			if err != nil {
				continue search
			}
			_ = l.Close()
		}
		return first
	}
	t.Fatal("there are not enough free ports")
	return 0
}

// inside runs a script in a node.
func (i *installation) inside(machine, script string) string {
	i.t.Helper()
	name := i.instance + "-shoot--local--whole-" + machine
	out, err := exec.Command("docker", "exec", name, "sh", "-c", script).CombinedOutput()
	if err != nil {
		i.t.Errorf("in %s: %v\n%s", machine, err, out)
	}
	return string(out)
}

func (i *installation) holds(text string, wants ...string) {
	i.t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			i.t.Errorf("%q is not in:\n%s", want, text)
		}
	}
}

func wholeNodes(i *installation) {
	nodes := i.cluster("whole", "get", "nodes", "--show-labels", "--no-headers")
	i.holds(nodes, "whole-control-plane-0", "ingress-ready=true", "whole-worker-0", "zone=a")
	i.holds(i.inside("worker-0", "cat /data/file /shared/file; ! touch /data/new 2>/dev/null && echo read-only; touch /shared/new && echo writable"), "shown\nshown\n", "read-only", "writable")
	if image, err := exec.Command("docker", "inspect", "-f", "{{.Config.Image}}", i.instance+"-shoot--local--whole-worker-0").Output(); err != nil || strings.TrimSpace(string(image)) != "loam/node:"+version {
		i.t.Errorf("the image is %s, %v", image, err)
	}
}

func wholeNetworking(i *installation, port int) {
	i.holds(i.cluster("whole", "config", "view", "-o", "jsonpath={.clusters[0].cluster.server}"), fmt.Sprintf("https://127.0.0.1:%d", port))
	i.holds(i.cluster("whole", "get", "node", "whole-worker-0", "-o", "jsonpath={.spec.podCIDR}"), "10.212.")
	i.holds(i.cluster("whole", "get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}"), "10.112.0.1")
	i.holds(i.cluster("whole", "-n", "kube-system", "get", "configmap", "kube-proxy", "-o", "yaml"), "mode: nftables")
	i.holds(i.inside("worker-0", "nft list tables; cat /etc/resolv.conf"), "table ip kube-proxy", "search corp.example")
}

func wholePorts(i *installation, ports int) {
	i.clusterApply("whole", strings.NewReplacer("one-worker-0", "whole-worker-0", "ports: [{port: 80, targetPort: 8080}]",
		"ports: [{name: a, port: 80, targetPort: 8080, nodePort: 30080}, {name: b, port: 81, targetPort: 8080, nodePort: 30101}, {name: c, port: 82, targetPort: 8080, nodePort: 30201}]").Replace(page))
	i.cluster("whole", "rollout", "status", "deployment/page", "--timeout=180s")
	out, err := exec.Command("docker", "port", i.instance+"-shoot--local--whole-worker-0").Output()
	if err != nil {
		i.t.Fatal(err)
	}
	chosen := map[string]string{}
	for line := range strings.Lines(string(out)) {
		inside, outside, _ := strings.Cut(strings.TrimSpace(line), " -> ")
		chosen[inside] = outside
	}
	if len(chosen) != 7 || chosen["30053/udp"] == "" || chosen["30200/tcp"] == chosen["30201/tcp"] {
		i.t.Errorf("the ports are %v", chosen)
	}
	for _, address := range []string{fmt.Sprintf("127.0.0.1:%d", ports+1), fmt.Sprintf("127.0.0.1:%d", ports+3), chosen["30201/tcp"]} {
		eventually(i.t, time.Minute, func() error {
			body, err := fetch("http://" + address + "/")
			if err == nil && !strings.Contains(body, "written-once-") {
				err = fmt.Errorf("%s says %q", address, body)
			}
			return err
		})
	}
}

func wholePatches(i *installation) {
	manifests := i.inside("control-plane-0", "cat /etc/kubernetes/manifests/*.yaml /var/lib/kubelet/config.yaml; openssl x509 -in /etc/kubernetes/pki/apiserver.crt -noout -ext subjectAltName")
	i.holds(manifests, "--v=3", "--runtime-config=api/alpha=true", "maxPods: 99", "InPlacePodVerticalScalingExclusiveCPUs: true", "DNS:api.example.org")
	if n := strings.Count(manifests, "--feature-gates=InPlacePodVerticalScalingExclusiveCPUs=true"); n != 3 {
		i.t.Errorf("%d programs of the control plane have the feature gate", n)
	}
	i.holds(i.cluster("whole", "api-versions"), "v1alpha1")
	worker := i.inside("worker-0", `cat /var/lib/kubelet/config.yaml; tr '\0' '\n' </proc/$(pidof kubelet)/cmdline; containerd config dump`)
	i.holds(worker, "maxPods: 42", "podsPerCore: 30", "--v=3", "zone=a", "config_path = '/etc/containerd/other.d'", "level = 'debug'")
}

func wholeProxy(i *installation) {
	environment := i.inside("worker-0", `tr '\0' '\n' </proc/$(pidof containerd)/environ`)
	i.holds(environment, "HTTP_PROXY=http://proxy.invalid:3128", "http_proxy=http://proxy.invalid:3128", "example.org", "10.212.0.0/16", "10.112.0.0/16", ".svc")
}

// wholeStays changes the Shoot in ways that no machine can follow, and in one
// that they can.
func wholeStays(i *installation) {
	kubeconfig := filepath.Join(i.data, "kubeconfig")
	for path, want := range map[string]string{
		`[{"op":"replace","path":"/spec/provider/controlPlaneConfig/dnsSearch","value":["other"]}]`:                                                   "spec.provider.controlPlaneConfig.dnsSearch",
		`[{"op":"remove","path":"/spec/provider/workers/1/providerConfig/extraMounts"}]`:                                                              "spec.provider.workers[1].providerConfig.extraMounts",
		`[{"op":"add","path":"/spec/provider/workers/1/providerConfig/colour","value":"red"}]`:                                                        "spec.provider.workers[1].providerConfig.colour",
		`[{"op":"replace","path":"/spec/kubernetes/kubeProxy/mode","value":"IPTables"}]`:                                                              "spec.kubernetes.kubeProxy.mode",
		`[{"op":"replace","path":"/spec/provider/workers/1/minimum","value":2},{"op":"replace","path":"/spec/provider/workers/1/maximum","value":2}]`: "spec.provider.workers[1].providerConfig.extraPortMappings[0].hostPort",
	} {
		out, err := i.tryKube(kubeconfig, "", "-n", "garden-local", "patch", "shoot", "whole", "--type=json", "-p", path)
		if err == nil || !strings.Contains(out, want) {
			i.t.Errorf("%s: says %v: %s, want %s", path, err, out, want)
		}
	}
	i.garden("-n", "garden-local", "patch", "shoot", "whole", "--type=json", "-p", `[{"op":"replace","path":"/spec/provider/workers/1/labels/zone","value":"b"}]`)
	eventually(i.t, 2*time.Minute, func() error {
		if got := i.cluster("whole", "get", "node", "whole-worker-0", "-o", "jsonpath={.metadata.labels.zone}"); got != "b" {
			return fmt.Errorf("the label is %q", got)
		}
		return nil
	})
}
