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

// TestSolid loses machines of a cluster with three control planes: one, all, one with
// its disks. LOAM_REBOOTS says how often in a row; with it the cluster is upgraded
// before, while it is written to, which takes minutes.
func TestSolid(t *testing.T) {
	t.Parallel()
	rounds, first := 1, version
	if n, err := strconv.Atoi(os.Getenv("LOAM_REBOOTS")); err == nil {
		rounds, first = n, older
	}
	i := install(t)
	must(t, i.binary, "image", "build", "--kubernetes-version", first)
	i.loam("up", "--detach", "--listen", "127.0.0.1:0")
	t.Log(i.loam("cluster", "create", "solid", "--control-planes", "3", "--kubernetes-version", first))
	i.cluster("solid", "create", "configmap", "kept", "--from-literal=a=b")
	i.wantSolid()
	if first != version {
		t.Run("upgrade under load", i.with(upgradeUnderLoad))
	}

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
		i.loseControlPlane(fmt.Sprintf("control-plane-%d", round%3), round%2 == 0)
		i.wantSolid()
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

// upgradeUnderLoad upgrades the cluster, kills the garden in the middle, and wants
// every write kept that was confirmed meanwhile, and most of them confirmed: with a
// single control plane none is for as long as its machine is replaced. How long the
// API is away at most depends on the host, and is shown.
func upgradeUnderLoad(i *installation) {
	i.cluster("solid", "create", "configmap", "written")
	w := startWriter(i.t, i.clusterKubeconfig("solid"))
	i.loam("cluster", "upgrade", "solid", "--kubernetes-version", version, "--wait=false")
	at, _ := i.atStep("solid", "upgrading control plane")
	time.Sleep(5 * time.Second) // into the middle of it
	i.kill()
	i.t.Logf("killed at: %s", at)
	i.loam("up", "--detach", "--listen", "127.0.0.1:0")
	i.settled("solid", 25*time.Minute)
	w.end()
	i.t.Logf("%d writes confirmed, %d failed, at most %s without one: %q", w.confirmed, len(w.failures), w.away.Round(time.Millisecond), w.failures)
	if got := i.cluster("solid", "get", "configmap", "written", "-o", "jsonpath={.data.n}"); got != strconv.Itoa(w.last) {
		i.t.Errorf("the last write that was confirmed is %d, the cluster has %s", w.last, got)
	}
	if w.confirmed <= len(w.failures) {
		i.t.Errorf("%d writes were confirmed, %d failed", w.confirmed, len(w.failures))
	}
	if got := i.cluster("solid", "get", "nodes", "-o", "jsonpath={.items[*].status.nodeInfo.kubeletVersion}"); got != version+" "+version+" "+version {
		i.t.Errorf("nodes have %s", got)
	}
	i.wantSolid()
}

// loseControlPlane removes a machine by hand, and its disks with it or not, and has
// the cluster started again.
func (i *installation) loseControlPlane(name string, disks bool) {
	i.t.Helper()
	of := []string{"--filter", "label=loam.dev/cluster=" + solidID, "--filter", "label=loam.dev/machine=" + name}
	before := i.owned(append([]string{"ps", "-aq"}, of...)...)
	must(i.t, "docker", append([]string{"rm", "-f"}, before...)...)
	if volumes := i.owned(append([]string{"volume", "ls", "-q"}, of...)...); disks {
		must(i.t, "docker", append([]string{"volume", "rm"}, volumes...)...)
	}
	written := "without-" + before[0][:12]
	eventually(i.t, time.Minute, func() error { return i.try("solid", "create", "configmap", written) })
	i.t.Log(i.loam("cluster", "start", "solid"))
	after := i.owned(append([]string{"ps", "-q"}, of...)...)
	if len(after) != 1 || after[0] == before[0] {
		i.t.Errorf("the machine was %v and is %v", before, after)
	}
	// The new member answers by itself, and knows what was written while it was away.
	if out, err := exec.Command("docker", "exec", after[0], "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", "--server=https://localhost:6443", "get", "configmap", written).CombinedOutput(); err != nil {
		i.t.Errorf("%s: %v: %s", name, err, out)
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
	cmd := i.exec(i.kubectl, append([]string{"--kubeconfig", i.clusterKubeconfig(cluster), "--request-timeout=10s"}, args...)...)
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
