package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/rand"
)

// startAgent runs an agent on this host until the test ends.
func (i *installation) startAgent(seed string, args ...string) {
	log, err := os.Create(filepath.Join(filepath.Dir(i.data), "agent.log"))
	if err != nil {
		i.t.Fatal(err)
	}
	agent := exec.Command(i.binary, append([]string{"agent", "--seed", seed}, args...)...)
	agent.Stdout, agent.Stderr = log, log
	if err := agent.Start(); err != nil {
		i.t.Fatal(err)
	}
	i.t.Cleanup(func() {
		_ = agent.Process.Signal(syscall.SIGTERM)
		_ = agent.Wait() // it was told to end
		_ = log.Close()
		// What the agent made carries the label of its seed.
		left := *i
		left.instance = "loam-" + seed
		if i.t.Failed() {
			if text, err := os.ReadFile(log.Name()); err == nil {
				i.t.Logf("the agent's log:\n%s", text)
			}
			left.dump()
		}
		left.removeOwned()
	})
}

// TestSecondHost lets another host become a seed with a token, grows a cluster
// on it, and tries what its certificate does not let it see: the agent does its
// whole work with no right but those of its seed.
func TestSecondHost(t *testing.T) {
	i := install(t)
	i.loam("up", "--detach", "--listen", "127.0.0.1:0")
	seed := "rack-" + rand.String(5)
	token, kubeconfig := filepath.Join(t.TempDir(), "token"), filepath.Join(t.TempDir(), "kubeconfig")
	i.loam("seed", "token", "create", seed, "--file", token)
	i.startAgent(seed, "--bootstrap-kubeconfig", token, "--kubeconfig", kubeconfig)

	shoot := strings.NewReplacer("garden-apart", "garden-local", "region: local", "region: local\n  seedSelector: {matchLabels: {only: "+seed+"}}").Replace(shootWithoutSeed("far"))
	admin := filepath.Join(i.data, "kubeconfig")
	eventually(t, time.Minute, func() error {
		if out, err := i.tryKube(admin, "", "label", "seed", seed, "only="+seed, "--overwrite"); err != nil {
			return fmt.Errorf("the seed is not there: %w: %s", err, out)
		}
		return nil
	})
	i.kube(admin, shoot, "apply", "-f", "-")
	i.settled("far", 3*time.Minute)
	if got := i.garden("-n", "garden-local", "get", "shoot", "far", "-o", "jsonpath={.spec.seedName}"); got != seed {
		t.Errorf("the shoot is on seed %q, want %q", got, seed)
	}
	if who := i.kube(kubeconfig, "", "auth", "whoami"); !strings.Contains(who, "gardener.cloud:system:seed:"+seed) {
		t.Errorf("the agent is\n%s", who)
	}
	i.kube(kubeconfig, "", "-n", "garden-local", "get", "shoot", "far")
	for _, refused := range [][]string{{"get", "secrets", "-A"}, {"get", "shoots", "-A"}, {"get", "seed", "local"}, {"-n", "garden-local", "get", "internalsecrets"}} {
		if out, err := i.tryKube(kubeconfig, "", refused...); err == nil || !strings.Contains(out, "forbidden") {
			t.Errorf("the agent may %v: %s, %v", refused, out, err)
		}
	}
	i.garden("-n", "garden-local", "annotate", "shoot", "far", "confirmation.gardener.cloud/deletion=true")
	i.garden("-n", "garden-local", "delete", "shoot", "far", "--timeout=2m")
}
