package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// solidID is the cluster's name at the driver.
const solidID = "shoot--local--solid"

// TestSolid loses machines of a cluster with three control planes: one, then all.
// LOAM_REBOOTS says how often in a row.
func TestSolid(t *testing.T) {
	t.Parallel()
	rounds, err := strconv.Atoi(os.Getenv("LOAM_REBOOTS"))
	if err != nil {
		rounds = 1
	}
	i := install(t)
	i.loam("up", "--detach", "--listen", "127.0.0.1:0")
	t.Log(i.loam("cluster", "create", "solid", "--control-planes", "3"))
	i.cluster("solid", "create", "configmap", "kept", "--from-literal=a=b")
	i.wantSolid()

	for round := range rounds {
		i.killMachines(fmt.Sprintf("control-plane-%d", round%3))
		eventually(t, time.Minute, func() error {
			return i.try("solid", "create", "configmap", fmt.Sprintf("written-without-one-%d", round))
		})
		t.Log(i.loam("cluster", "start", "solid"))
		i.wantSolid()

		i.loam("down")
		i.killMachines("")
		i.loam("up", "--detach", "--listen", "127.0.0.1:0")
		eventually(t, 5*time.Minute, func() error {
			if running := i.owned("ps", "-q"); len(running) != 4 {
				return fmt.Errorf("%d containers run", len(running))
			}
			if at := i.operation("solid"); !strings.HasPrefix(at, "Reconcile Succeeded") {
				return fmt.Errorf("the last operation is %s", at)
			}
			return nil
		})
		i.wantSolid()
		if got := i.cluster("solid", "get", "configmap", "kept", "-o", "jsonpath={.data.a}"); got != "b" {
			t.Errorf("what was written before says %q", got)
		}
	}

	if page := i.loam("cluster", "inspect", "solid"); !strings.Contains(page, "(load balancer)") || !strings.Contains(page, "loam-balancer  unit  active") {
		t.Errorf("inspect says nothing of the load balancer:\n%s", page)
	}
	out, err := exec.Command(i.kubectl, "--kubeconfig", filepath.Join(i.data, "kubeconfig"), "-n", "garden-local", "patch", "shoot", "solid", "--type=json",
		"-p", `[{"op":"replace","path":"/spec/provider/workers/0/minimum","value":1},{"op":"replace","path":"/spec/provider/workers/0/maximum","value":1}]`).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "must stay 3") {
		t.Errorf("fewer control planes: %v: %s", err, out)
	}
	t.Log(i.loam("cluster", "stop", "solid"))
	if running := i.owned("ps", "-q"); len(running) > 0 {
		t.Errorf("containers still run: %v", running)
	}
	i.loam("cluster", "delete", "solid")
	if left := i.owned("ps", "-aq"); len(left) > 0 {
		t.Errorf("containers are left: %v", left)
	}
}

// killMachines cuts the power of one machine, or of all when the name is empty.
func (i *installation) killMachines(name string) {
	i.t.Helper()
	filter := []string{"ps", "-q", "--filter", "label=loam.dev/cluster=" + solidID}
	if name != "" {
		filter = append(filter, "--filter", "label=loam.dev/machine="+name)
	}
	ids := i.owned(filter...)
	if len(ids) == 0 || name != "" && len(ids) != 1 {
		i.t.Fatalf("containers of machine %q are %v", name, ids)
	}
	must(i.t, "docker", append([]string{"kill"}, ids...)...)
}

// try runs kubectl, which may fail.
func (i *installation) try(cluster string, args ...string) error {
	cmd := exec.Command(i.kubectl, append([]string{"--kubeconfig", i.clusterKubeconfig(cluster), "--request-timeout=10s"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// wantSolid wants three nodes that are ready, whose etcds know each other.
func (i *installation) wantSolid() {
	i.t.Helper()
	i.cluster("solid", "wait", "--for=condition=Ready", "nodes", "--all", "--timeout=120s")
	i.cluster("solid", "-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=120s")
	pods := i.cluster("solid", "-n", "kube-system", "get", "pods", "-l", "component=etcd", "-o", "name")
	if strings.Count(pods, "pod/etcd-solid-control-plane-") != 3 {
		i.t.Errorf("etcd runs in %s", pods)
	}
	if running := i.owned("ps", "-q", "--filter", "label=loam.dev/cluster="+solidID); len(running) != 4 {
		i.t.Errorf("%d containers run, want 3 nodes and a load balancer", len(running))
	}
}
