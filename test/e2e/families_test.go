package e2e_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// ipv6File is a cluster of IPv6 alone, whose ranges are not the default ones.
const ipv6File = `
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
name: six
networking:
  ipFamily: ipv6
  podSubnet: fd00:20:244::/56
  serviceSubnet: fd00:20:96::/112
  kubeProxyMode: nftables
`

// familyWorkload has a pod on each node that serves its node's name, a service of each
// of the families, and one of all of them.
const familyWorkload = `
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      tolerations: [{operator: Exists}]
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: loam.dev/node/busybox:v1
        imagePullPolicy: IfNotPresent
        command: [sh, -c, 'mkdir -p /www; printf served >/www/index.html; exec httpd -f -p 8080 -h /www']
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: all}
spec: {type: NodePort, selector: {app: web}, ipFamilyPolicy: PreferDualStack, ports: [{port: 80, targetPort: 8080}]}
`

const familyService = `
---
apiVersion: v1
kind: Service
metadata: {name: %s}
spec: {type: NodePort, selector: {app: web}, ipFamilyPolicy: SingleStack, ipFamilies: [%s], ports: [{port: 80, targetPort: 8080}]}
`

// TestFamilies grows a cluster of both families and one of IPv6, and reaches all there
// is in each by each.
func TestFamilies(t *testing.T) {
	t.Parallel()
	i := install(t)
	i.loam("up", "--detach", "--listen", "127.0.0.1:0")

	i.loam("cluster", "create", "both", "--ip-family", "dual", "--workers", "1")
	t.Run("both", i.with(func(i *installation) { wantFamilies(i, "both", "IPv4", "IPv6") }))
	out, err := i.tryKube(filepath.Join(i.data, "kubeconfig"), "", "-n", "garden-local", "patch", "shoot", "both", "--type=merge", "-p", `{"spec":{"networking":{"ipFamilies":["IPv6"]}}}`)
	if err == nil || !strings.Contains(out, "spec.networking.ipFamilies") {
		t.Errorf("other families for a cluster that is there: %v: %s", err, out)
	}
	i.loam("cluster", "delete", "both")

	file := filepath.Join(t.TempDir(), "kind.yaml")
	if err := os.WriteFile(file, []byte(ipv6File), 0o600); err != nil {
		t.Fatal(err)
	}
	i.loam("cluster", "create", "-f", file)
	t.Run("six", i.with(func(i *installation) {
		f := wantFamilies(i, "six", "IPv6")
		// Its pods find names outside of the cluster, although the resolver has IPv4.
		outside := i.instance + "-shoot--local--six-control-plane-0."
		f.wantName(outside, f.nodes[0][0])
	}))
	i.loam("cluster", "delete", "six")
}

// familyCluster is one of the clusters.
type familyCluster struct {
	*installation
	kubeconfig string
	families   []string
	// names are those of its pods, by their nodes; pods and nodes their addresses.
	names       []string
	pods, nodes [][]netip.Addr
}

// wantFamilies deploys the workload, reaches it in every way, and once more after the
// cluster has slept, at the same addresses of nodes.
func wantFamilies(i *installation, cluster string, families ...string) *familyCluster {
	f := &familyCluster{installation: i, kubeconfig: i.clusterKubeconfig(cluster), families: families}
	manifest := familyWorkload
	for _, one := range families {
		manifest += fmt.Sprintf(familyService, "only-"+strings.ToLower(one), one)
	}
	i.kube(f.kubeconfig, manifest, "apply", "-f", "-")
	f.wantAddresses()
	f.wantReached()

	before := fmt.Sprint(f.nodes)
	i.loam("cluster", "stop", cluster)
	i.loam("cluster", "start", cluster)
	f.kubectl("rollout", "restart", "daemonset/web")
	f.wantAddresses()
	if after := fmt.Sprint(f.nodes); after != before {
		i.t.Errorf("nodes have addresses %s after the cluster has slept, %s before", after, before)
	}
	f.wantReached()
	return f
}

func (f *familyCluster) kubectl(args ...string) string {
	f.t.Helper()
	return f.kube(f.kubeconfig, "", args...)
}

// wantAddresses waits for the workload and wants an address of each family, in their
// order, for nodes, their ranges of pods, and pods.
func (f *familyCluster) wantAddresses() {
	f.t.Helper()
	f.kubectl("rollout", "status", "daemonset/web", "--timeout=3m")
	f.kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=2m")
	f.nodes = f.addresses("nodes", `{.status.addresses[?(@.type=="InternalIP")].address}`)
	own := []string{"-l", "app=web", "--field-selector=status.phase=Running", "--sort-by=.spec.nodeName"}
	f.pods = f.addresses("pods", "{.status.podIPs[*].ip}", own...)
	f.names = strings.Fields(f.kubectl(append([]string{"get", "pods", "-o", "jsonpath={.items[*].metadata.name}"}, own...)...))
	for what, all := range map[string][][]netip.Addr{"nodes": f.nodes, "pods": f.pods} {
		for _, one := range all {
			var have []string
			for _, a := range one {
				have = append(have, family(a))
			}
			if !slices.Equal(have, f.families) {
				f.t.Errorf("%s have addresses %v, want families %v", what, all, f.families)
			}
		}
	}
	if len(f.pods) != len(f.nodes) || len(f.names) != len(f.nodes) {
		f.t.Fatalf("pods %v with addresses %v on nodes %v, want one on each", f.names, f.pods, f.nodes)
	}
	if ranges := f.kubectl("get", "nodes", "-o", "jsonpath={.items[0].spec.podCIDRs}"); strings.Count(ranges, "/") != len(f.families) {
		f.t.Errorf("a node has ranges %s of pods, want %d", ranges, len(f.families))
	}
}

// wantReached asks from each pod for all pods and services, for the names of services,
// and from this host for services.
func (f *familyCluster) wantReached() {
	f.t.Helper()
	services := map[string][]string{"all": f.families}
	for _, one := range f.families {
		services["only-"+strings.ToLower(one)] = []string{one}
	}
	var targets []netip.AddrPort
	for _, a := range slices.Concat(f.pods...) {
		targets = append(targets, netip.AddrPortFrom(a, 8080))
	}
	for name, wanted := range services {
		addresses := parsed(f.kubectl("get", "service", name, "-o", "jsonpath={.spec.clusterIPs[*]}"))
		if len(addresses) != len(wanted) {
			f.t.Errorf("service %s has %v, want families %v", name, addresses, wanted)
		}
		for _, a := range addresses {
			targets = append(targets, netip.AddrPortFrom(a, 80))
			f.wantName(name+".default.svc.cluster.local.", a)
		}
		port := f.kubectl("get", "service", name, "-o", "jsonpath={.spec.ports[0].nodePort}")
		eventually(f.t, time.Minute, func() error {
			page, err := fetch("http://127.0.0.1:" + port)
			if err == nil && page != "served" {
				err = fmt.Errorf("service %s says %q to this host", name, page)
			}
			return err
		})
	}
	for _, pod := range f.names {
		f.wantServed(pod, targets)
	}
}

// wantServed asks from a pod for the page at all targets.
func (f *familyCluster) wantServed(pod string, targets []netip.AddrPort) {
	f.t.Helper()
	var script strings.Builder
	for _, at := range targets {
		fmt.Fprintf(&script, "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 5 nc %s %d | grep -q served || echo %s\n", at.Addr(), at.Port(), at)
	}
	eventually(f.t, time.Minute, func() error {
		if silent, err := f.tryKube(f.kubeconfig, "", "exec", pod, "--", "sh", "-c", script.String()); err != nil || silent != "" {
			return fmt.Errorf("nothing is served to pod %s at: %s %s", pod, fmt.Sprint(err), silent)
		}
		return nil
	})
}

// wantName looks a name up from a pod, and wants it to be an address's.
func (f *familyCluster) wantName(name string, want netip.Addr) {
	f.t.Helper()
	kind := map[string]string{"IPv4": "a", "IPv6": "aaaa"}[family(want)]
	eventually(f.t, time.Minute, func() error {
		said, err := f.tryKube(f.kubeconfig, "", "exec", f.names[0], "--", "nslookup", "-type="+kind, name)
		if err != nil || !slices.Contains(strings.Fields(said), want.String()) {
			return fmt.Errorf("%s is not %s: %s %s", name, want, fmt.Sprint(err), said)
		}
		return nil
	})
}

// addresses are those that each of some objects has.
func (f *familyCluster) addresses(kind, path string, more ...string) [][]netip.Addr {
	f.t.Helper()
	var all [][]netip.Addr
	text := f.kubectl(append([]string{"get", kind, "-o", `jsonpath={range .items[*]}` + path + `{"\n"}{end}`}, more...)...)
	for line := range strings.Lines(strings.TrimSpace(text)) {
		all = append(all, parsed(line))
	}
	return all
}

func parsed(text string) []netip.Addr {
	var all []netip.Addr
	for word := range strings.FieldsSeq(text) {
		if a, err := netip.ParseAddr(word); err == nil {
			all = append(all, a)
		}
	}
	return all
}

func family(a netip.Addr) string {
	if a.Is6() {
		return "IPv6"
	}
	return "IPv4"
}
