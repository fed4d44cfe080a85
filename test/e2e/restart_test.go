package e2e_test

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/loam-cloud/loam/test/docker"
)

// TestRestarts has clusters come back by themselves when their container daemon was
// restarted, in good order or killed, and when the host was, which is to say that
// everything was cut off at once and daemon and garden start again. LOAM_REBOOTS
// says how often in a row, and adds a cluster with three control planes.
func TestRestarts(t *testing.T) {
	t.Parallel()
	rounds, sizes := 1, []int{1}
	if n, err := strconv.Atoi(os.Getenv("LOAM_REBOOTS")); err == nil {
		rounds, sizes = n, []int{1, 3}
	}
	own := docker.Own(t)
	i := install(t)
	i.within, i.environment = own.Within(), []string{own.Environment()}
	i.loam("image", "build", "--kubernetes-version", version)
	i.loam("up", "--detach", "--listen", "127.0.0.1:0")
	for _, size := range sizes {
		t.Run(fmt.Sprintf("%d control planes", size), func(t *testing.T) {
			i := *i
			i.t = t
			i.restarts(own, size, rounds)
		})
	}
}

func (i *installation) restarts(own *docker.Daemon, size, rounds int) {
	name := fmt.Sprintf("again-%d", size)
	i.t.Log(i.loam("cluster", "create", name, "--control-planes", strconv.Itoa(size)))
	i.cluster(name, "create", "configmap", "kept", "--from-literal=a=b")
	machines := len(i.owned("ps", "-q"))
	for round := range rounds {
		for _, cut := range []struct {
			what string
			do   func()
		}{
			{"the daemon is restarted", func() { own.End(syscall.SIGTERM) }},
			{"the daemon is killed", func() { own.End(syscall.SIGKILL) }},
			{"the host is", func() {
				i.kill()
				i.killAll()
				own.End(syscall.SIGKILL)
			}},
		} {
			begin := time.Now()
			cut.do()
			own.Start()
			if cut.what == "the host is" {
				i.loam("up", "--detach", "--listen", "127.0.0.1:0")
			}
			i.back(name, machines)
			i.t.Logf("round %d: %s: all is back %.1f s after the cut", round+1, cut.what, time.Since(begin).Seconds())
		}
	}
	i.loam("cluster", "delete", name)
}

// back waits until a cluster is what it was: all machines run, all nodes and the
// cluster's DNS are ready, and what was written is there.
func (i *installation) back(name string, machines int) {
	i.t.Helper()
	eventually(i.t, 5*time.Minute, func() error {
		if running := i.owned("ps", "-q"); len(running) != machines {
			return fmt.Errorf("%d containers run, want %d", len(running), machines)
		}
		// It leads through the pods' network.
		return i.try(name, "get", "--raw", "/api/v1/namespaces/kube-system/services/kube-dns:metrics/proxy/metrics")
	})
	// A node that was ready before the cut counts for 40 s as if it still were.
	i.cluster(name, "wait", "--for=condition=Ready", "nodes", "--all", "--timeout=180s")
	i.cluster(name, "-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=180s")
	i.cluster(name, "create", "configmap", fmt.Sprintf("written-%d", time.Now().UnixNano()))
	if got := i.cluster(name, "get", "configmap", "kept", "-o", "jsonpath={.data.a}"); got != "b" {
		i.t.Errorf("what was written before says %q", got)
	}
}

// killAll cuts the power of all machines.
func (i *installation) killAll() {
	i.t.Helper()
	if out, err := i.exec("docker", append([]string{"kill"}, i.owned("ps", "-q")...)...).CombinedOutput(); err != nil {
		i.t.Fatalf("docker kill: %v: %s", err, out)
	}
}
