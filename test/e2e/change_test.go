package e2e_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// change gives a cluster a pool, other settings and takes the pool away again; its
// nodes stay those that they are.
func change(i *installation) {
	before := i.nodeUIDs("one")
	i.loam("cluster", "pool", "add", "one", "batch", "--label", "work=batch", "--taint", "work=batch:NoSchedule")
	node := func(path string) string {
		return i.cluster("one", "get", "node", "one-batch-0", "-o", "jsonpath="+path)
	}
	if got := node("{.metadata.labels.work} {.spec.taints[?(@.key=='work')].effect}"); got != "batch NoSchedule" {
		i.t.Errorf("the new node has %q", got)
	}
	i.loam("cluster", "pool", "change", "one", "batch", "--label", "work=night", "--taint", "work:NoSchedule-", "--kubelet", "maxPods=20")
	// Kubernetes itself keeps pods off a node for a moment whose kubelet was restarted.
	if got := node("{.metadata.labels.work} {.spec.taints[?(@.key=='work')].effect}"); got != "night " {
		i.t.Errorf("the changed node has %q", got)
	}

	// A kubelet that does not start is said in its own words; the old value repairs it.
	out, err := i.run("cluster", "pool", "change", "one", "batch", "--kubelet", "evictionSoft.memoryAvailable=5%")
	if err == nil || !strings.Contains(out, "grace period must be specified for the soft eviction threshold") {
		i.t.Errorf("a threshold without a time says %v\n%s", err, out)
	}
	i.loam("cluster", "pool", "change", "one", "batch", "--kubelet", "evictionSoft-")

	const gate = "InPlacePodVerticalScalingExclusiveCPUs"
	plan := i.loam("cluster", "change", "one", "--kubelet", "maxPods=60", "--feature-gate", gate+"=true", "--dry-run", "-o", "json")
	i.holds(plan, "one-control-plane-0", "one-worker-0", "kubeAPIServer.featureGates."+gate, `"kubelet.maxPods"`)
	i.loam("cluster", "change", "one", "--kubelet", "maxPods=60", "--feature-gate", gate+"=true")
	for name, pods := range map[string]int{"one-control-plane-0": 60, "one-worker-0": 60, "one-batch-0": 20} {
		eventually(i.t, time.Minute, func() error {
			text, err := i.tryKube(i.clusterKubeconfig("one"), "", "get", "--raw", "/api/v1/nodes/"+name+"/proxy/configz")
			if err != nil {
				return fmt.Errorf("%w: %s", err, text)
			}
			var got struct {
				KubeletConfig struct {
					MaxPods      int
					FeatureGates map[string]bool
				}
			}
			if err := json.Unmarshal([]byte(text), &got); err != nil {
				return err
			}
			if c := got.KubeletConfig; c.MaxPods != pods || c.FeatureGates[gate] != (pods == 60) {
				return fmt.Errorf("the kubelet of %s has %+v", name, c)
			}
			return nil
		})
	}
	flags := i.cluster("one", "-n", "kube-system", "get", "pods", "-l", "tier=control-plane", "-o", "jsonpath={.items[*].spec.containers[0].command}")
	if n := strings.Count(flags, "--feature-gates="+gate+"=true"); n != 3 {
		i.t.Errorf("%d programs of the control plane have the feature gate: %s", n, flags)
	}
	if out := i.loam("cluster", "change", "one", "--kubelet", "maxPods=60", "--dry-run"); !strings.Contains(out, "nothing changes") {
		i.t.Errorf("what is there already is to be done: %s", out)
	}

	i.loam("cluster", "pool", "remove", "one", "batch")
	if after := i.nodeUIDs("one"); after != before {
		i.t.Errorf("the nodes are %s, they were %s", after, before)
	}
}

func (i *installation) nodeUIDs(cluster string) string {
	i.t.Helper()
	return i.cluster(cluster, "get", "nodes", "-o", "jsonpath={range .items[*]}{.metadata.name} {.metadata.uid}{'\\n'}{end}")
}
