package e2e_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
)

// bounds adds a node that is bounded to a part of a processor and to a GiB: it says
// so, and what asks for more waits.
func bounds(i *installation) {
	const types = `[{"op":"add","path":"/spec/machineTypes/-","value":{"name":"fraction","cpu":"1500m","gpu":"0","memory":"1Gi"}},` +
		`{"op":"add","path":"/spec/machineTypes/-","value":{"name":"huge","cpu":"4096","gpu":"0","memory":"4096Gi"}},` +
		`{"op":"add","path":"/spec/machineTypes/-","value":{"name":"tiny","cpu":"1","gpu":"0","memory":"64Mi"}}]`
	i.garden("patch", "cloudprofile", "local", "--type=json", "-p", types)
	pool := func(machine string) (string, error) {
		value := fmt.Sprintf(`{"name":"bounded","minimum":1,"maximum":1,"machine":{"type":%q}}`, machine)
		return i.tryKube(filepath.Join(i.data, "kubeconfig"), "", "-n", "garden-local", "patch", "shoot", "one", "--type=json", "-p", `[{"op":"add","path":"/spec/provider/workers/-","value":`+value+`}]`)
	}
	if out, err := pool("tiny"); err == nil || !strings.Contains(out, "a worker needs at least 500m and 512Mi") {
		i.t.Errorf("a machine type that is too small: %v: %s", err, out)
	}
	i.refused("and this host has", "cluster", "create", "huge", "--machine-type", "huge")

	if out, err := pool("fraction"); err != nil {
		i.t.Fatalf("adding a pool: %v: %s", err, out)
	}
	i.settled("one", 4*time.Minute)
	node := strings.Fields(i.cluster("one", "get", "node", "one-bounded-0", "-o",
		"jsonpath={.status.capacity.cpu} {.status.capacity.memory} {.status.allocatable.cpu} {.status.allocatable.memory}"))
	// The kubelet throws pods out when less than 100 MiB are left.
	for n, want := range []string{"2", "1Gi", "1500m", "924Mi"} {
		if got := resource.MustParse(node[n]); got.Cmp(resource.MustParse(want)) != 0 {
			i.t.Errorf("capacity and allocatable are %v, want 2 1Gi 1500m 924Mi", node)
			break
		}
	}
	for _, n := range i.inspect("one").Nodes {
		if bounded := n.Name == "one-bounded-0"; bounded != (n.CPUs == 1.5 && n.MemoryBytes == 1<<30) {
			i.t.Errorf("container of %s is bounded to %v CPUs and %d bytes", n.Name, n.CPUs, n.MemoryBytes)
		}
	}
	i.clusterApply("one", `
apiVersion: v1
kind: Pod
metadata: {name: large}
spec:
  nodeSelector: {kubernetes.io/hostname: one-bounded-0}
  containers: [{name: c, image: 'loam.dev/node/busybox:v1', imagePullPolicy: Never, command: [sleep, "100000"], resources: {requests: {memory: 1000Mi}}}]
`)
	eventually(i.t, time.Minute, func() error {
		why := i.cluster("one", "get", "pod", "large", "-o", "jsonpath={.status.phase}: {.status.conditions[?(@.type=='PodScheduled')].message}")
		if !strings.HasPrefix(why, "Pending: ") || !strings.Contains(why, "Insufficient memory") {
			return fmt.Errorf("a pod that asks for more than the node has: %s", why)
		}
		return nil
	})
	i.cluster("one", "delete", "pod", "large", "--wait=false")
	out, err := i.tryKube(filepath.Join(i.data, "kubeconfig"), "", "-n", "garden-local", "patch", "shoot", "one", "--type=json", "-p", `[{"op":"replace","path":"/spec/provider/workers/1/machine/type","value":"local"}]`)
	if err == nil || !strings.Contains(out, `must stay "fraction" while there are machines`) {
		i.t.Errorf("a pool gets another machine type: %v: %s", err, out)
	}
	i.garden("-n", "garden-local", "patch", "shoot", "one", "--type=json", "-p", `[{"op":"remove","path":"/spec/provider/workers/1"}]`)
	i.settled("one", 4*time.Minute)
}
