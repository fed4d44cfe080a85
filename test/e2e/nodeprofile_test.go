package e2e_test

import (
	"encoding/json"
	"fmt"
	"os/exec"

	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
)

// nodeProfile asks the programs of nodes for what the profile kubernetes says of a
// container: kubelets, containerds and the control plane that run.
func nodeProfile(i *installation) {
	for _, machine := range []string{"control-plane-0", "worker-0"} {
		node := "one-" + machine
		var shown struct {
			Kubelet kubeletv1beta1.KubeletConfiguration `json:"kubeletconfig"`
		}
		text := i.cluster("one", "get", "--raw", "/api/v1/nodes/"+node+"/proxy/configz")
		if err := json.Unmarshal([]byte(text), &shown); err != nil {
			i.t.Fatalf("%v: %s", err, text)
		}
		k := shown.Kubelet
		got := fmt.Sprint(k.ContainerLogMaxSize, " ", *k.ContainerLogMaxFiles, " ", *k.SerializeImagePulls, " ", *k.MaxParallelImagePulls, " ", *k.FailSwapOn, " ",
			*k.ImageGCHighThresholdPercent, " ", k.EvictionHard)
		// More parallel pulls end kubelets of this version (kubernetes/kubernetes#138935).
		const want = "10Mi 3 false 31 false 100 map[imagefs.available:0% imagefs.inodesFree:0% memory.available:100Mi nodefs.available:0% nodefs.inodesFree:0% pid.available:0%]"
		if got != want {
			i.t.Errorf("the kubelet of %s has %s, want %s", node, got, want)
		}
		containers := i.owned("ps", "-q", "--filter", "label=loam.dev/cluster=shoot--local--one", "--filter", "label=loam.dev/machine="+machine)
		if len(containers) != 1 {
			i.t.Fatalf("the containers of %s are %v", node, containers)
		}
		dump, err := exec.Command("docker", "exec", containers[0], "containerd", "config", "dump").CombinedOutput()
		if err != nil {
			i.t.Fatalf("%v: %s", err, dump)
		}
		i.holds(string(dump), "max_concurrent_downloads = 20", "discard_unpacked_layers = true", "config_path = '/etc/containerd/certs.d'",
			"schedule_delay = '30m0s'", "pause_threshold = 0.02", "mutation_threshold = 100")
	}
	flags := i.cluster("one", "-n", "kube-system", "get", "pods", "-l", "tier=control-plane", "-o", "jsonpath={.items[*].spec.containers[0].command}")
	i.holds(flags, "--attach-detach-reconcile-sync-period=15s", "--default-not-ready-toleration-seconds=60", "--default-unreachable-toleration-seconds=60")
}
