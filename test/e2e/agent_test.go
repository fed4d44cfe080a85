package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestAgentWithCertificate makes this host a second seed with a token, grows a
// cluster there, and tries the agent's certificate on what is not its own.
func TestAgentWithCertificate(t *testing.T) {
	i := install(t)
	i.loam("up", "--detach", "--listen", "127.0.0.1:0")
	seed := "rack" + strings.TrimPrefix(i.instance, "loam-")
	folder := filepath.Dir(i.data)
	bootstrap, kubeconfig := filepath.Join(folder, "bootstrap"), filepath.Join(folder, "agent.kubeconfig")
	i.loam("seed", "token", "create", seed, "--file", bootstrap)
	i.runAgent(seed, "--bootstrap-kubeconfig", bootstrap, "--kubeconfig", kubeconfig)
	garden := filepath.Join(i.data, "kubeconfig")
	eventually(t, time.Minute, func() error {
		_, err := i.tryKube(garden, "", "wait", "seed/"+seed, "--for=condition=GardenletReady", "--timeout=5s")
		return err
	})
	i.kube(garden, `
apiVersion: core.gardener.cloud/v1beta1
kind: Shoot
metadata: {name: two, namespace: garden-local}
spec:
  cloudProfile: {name: local}
  seedName: `+seed+`
  region: local
  kubernetes: {version: 1.36.3}
  provider: {type: local}
`, "apply", "-f", "-")
	i.settled("two", 3*time.Minute)

	i.kube(kubeconfig, "", "-n", "garden-local", "get", "shoot", "two")
	i.kube(kubeconfig, "", "-n", "garden-local", "get", "secret", "two.kubeconfig")
	i.kube(garden, "", "-n", "garden-local", "create", "secret", "generic", "private")
	for _, refused := range [][]string{
		{"-n", "garden-local", "get", "secret", "private"}, {"-n", "garden-local", "get", "secrets"}, {"get", "seed", "local"},
		{"get", "shoots", "-A"}, {"get", "secrets", "-A"}, {"-n", "garden-local", "delete", "shoot", "two"}, {"get", "clusterroles"},
	} {
		if out, err := i.tryKube(kubeconfig, "", refused...); err == nil || !strings.Contains(out, "orbidden") {
			t.Errorf("the agent may %v: %s, %v", refused, out, err)
		}
	}

	i.kube(garden, "", "-n", "garden-local", "annotate", "shoot", "two", "confirmation.gardener.cloud/deletion=true")
	i.kube(garden, "", "-n", "garden-local", "delete", "shoot", "two", "--timeout=2m")
	if left := i.kube(garden, "", "-n", "garden-local", "get", "internalsecrets,machines", "-o", "name"); strings.Contains(left, "two") {
		t.Errorf("the agent left %s", left)
	}
}

// runAgent runs a seed's agent on this host until the test ends.
func (i *installation) runAgent(seed string, flags ...string) {
	log, err := os.Create(filepath.Join(filepath.Dir(i.data), seed+".log"))
	if err != nil {
		i.t.Fatal(err)
	}
	agent := exec.Command(i.binary, append([]string{"agent", "--seed", seed}, flags...)...)
	agent.Stdout, agent.Stderr = log, log
	if err := agent.Start(); err != nil {
		i.t.Fatal(err)
	}
	i.t.Cleanup(func() {
		_ = agent.Process.Signal(syscall.SIGTERM)
		_ = agent.Wait() // it was told to end
		_ = log.Close()
		if text, err := os.ReadFile(log.Name()); err == nil && i.t.Failed() {
			i.t.Logf("the agent's log:\n%s", text)
		}
		// What the agent made carries the label of its seed.
		left := *i
		left.instance = "loam-" + seed
		if i.t.Failed() {
			left.dump()
		}
		left.removeOwned()
	})
}
