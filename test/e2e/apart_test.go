package e2e_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/rand"
)

// patience is how long a process may take to stand in for one that was killed.
// On a quiet host it takes 20 s at most; this one also runs other tests.
const patience = 2 * time.Minute

// apart is a garden whose parts run on a cluster that loam grew: two API servers
// and two controller managers in pods, one agent on this host.
type apart struct {
	*installation
	seed string
}

// TestApart runs the parts of a garden apart from one another.
func TestApart(t *testing.T) {
	t.Parallel()
	i := install(t)
	a := &apart{i, "rack-" + rand.String(5)}
	i.loam("up", "--detach", "--listen", "127.0.0.1:0")
	i.loam("cluster", "create", "below", "--workers", "1")

	t.Cleanup(a.dumpParts)
	a.loadSelf()
	i.cluster("below", "apply", "-k", "../../deploy")
	a.available(5 * time.Minute)
	// No node is labelled for it: that the cluster takes it is what is tried.
	i.cluster("below", "apply", "-k", "../../deploy/agent")
	a.runAgent(a.seed, "--kubeconfig", a.clusterKubeconfig("below"))
	i.clusterApply("below", fleet)
	t.Run("a shoot is scheduled and grown", func(t *testing.T) { a.on(t).grow() })
	t.Run("the leader is killed", func(t *testing.T) { a.on(t).killLeader() })
	t.Run("an API server is killed", func(t *testing.T) { a.on(t).killServer() })
	t.Run("a shoot is deleted", func(t *testing.T) { a.on(t).remove() })
}

func (a *apart) on(t *testing.T) *apart {
	own := *a.installation
	own.t = t
	return &apart{&own, a.seed}
}

// loadSelf puts loam's own image into every node.
func (a *apart) loadSelf() {
	archive := filepath.Join(a.t.TempDir(), "loam.tar")
	a.loam("image", "self", "-o", archive)
	for _, id := range a.owned("ps", "-q") {
		file, err := os.Open(archive)
		if err != nil {
			a.t.Fatal(err)
		}
		load := exec.Command("docker", "exec", "-i", id, "ctr", "--namespace", "k8s.io", "images", "import", "-")
		load.Stdin = file
		if out, err := load.CombinedOutput(); err != nil {
			a.t.Fatalf("loading loam's image into %s: %v\n%s", id, err, out)
		}
		_ = file.Close() // only read
	}
}

// dumpParts shows what helps to understand a failure.
func (a *apart) dumpParts() {
	if !a.t.Failed() {
		return
	}
	for _, show := range [][]string{
		{"-n", "loam-system", "get", "pods,pvc,events", "-o", "wide"},
		{"-n", "loam-system", "logs", "-l", "app.kubernetes.io/name=loam-apiserver", "--tail=30", "--prefix"},
		{"-n", "loam-system", "logs", "-l", "app.kubernetes.io/name=loam-controller-manager", "--tail=30", "--prefix"},
		{"get", "shoots,seeds,events", "-A", "-o", "wide"},
	} {
		out, _ := a.tryKube(a.clusterKubeconfig("below"), "", show...) // what it says is shown too
		a.t.Logf("kubectl %s:\n%s", strings.Join(show, " "), out)
	}
}

// available waits until the cluster below serves the garden's API.
func (a *apart) available(limit time.Duration) {
	a.t.Helper()
	eventually(a.t, limit, func() error {
		out, err := a.tryKube(a.clusterKubeconfig("below"), "", "get", "apiservices", "-l", "app.kubernetes.io/managed-by=loam-apiserver", "--no-headers")
		if err != nil {
			return fmt.Errorf("asking for the API: %w: %s", err, out)
		}
		if strings.Count(out, "True") < 6 || strings.Contains(out, "False") {
			return fmt.Errorf("the API is not available:\n%s", out)
		}
		return nil
	})
	for _, name := range []string{"loam-apiserver", "loam-controller-manager"} {
		a.cluster("below", "-n", "loam-system", "rollout", "status", "deployment", name, "--timeout=3m")
	}
}

// fleet is what an operator puts into a new garden.
const fleet = `
apiVersion: v1
kind: Namespace
metadata:
  name: garden-apart
  labels: {gardener.cloud/role: project, project.gardener.cloud/name: apart}
---
apiVersion: core.gardener.cloud/v1beta1
kind: Project
metadata: {name: apart}
spec: {namespace: garden-apart}
---
apiVersion: core.gardener.cloud/v1beta1
kind: CloudProfile
metadata: {name: local}
spec:
  type: local
  kubernetes:
    versions: [{version: ` + "1.36.3" + `}]
  machineImages:
  - name: debian
    versions: [{version: 12.0.0, architectures: [amd64], cri: [{name: containerd}]}]
  machineTypes: [{name: local, cpu: "1", gpu: "0", memory: 1Gi, architecture: amd64}]
  regions: [{name: local}]
`

// shootWithoutSeed has no workers beside its control plane.
func shootWithoutSeed(name string) string {
	return fmt.Sprintf(`
apiVersion: core.gardener.cloud/v1beta1
kind: Shoot
metadata: {name: %s, namespace: garden-apart}
spec:
  cloudProfile: {name: local}
  region: local
  kubernetes: {version: 1.36.3}
  provider: {type: local}
`, name)
}

func (a *apart) shoot(name, path string) string {
	out, err := a.tryKube(a.clusterKubeconfig("below"), "", "-n", "garden-apart", "get", "shoot", name, "-o", "jsonpath={"+path+"}")
	if err != nil {
		return err.Error()
	}
	return out
}

func (a *apart) grow() {
	a.clusterApply("below", shootWithoutSeed("above"))
	eventually(a.t, 3*time.Minute, func() error {
		if got := a.shoot("above", ".status.lastOperation.state"); got != "Succeeded" {
			return fmt.Errorf("shoot above is %s: %s", got, a.shoot("above", ".status.lastOperation.description"))
		}
		return nil
	})
	if got := a.shoot("above", ".spec.seedName"); got != a.seed {
		a.t.Errorf("shoot above is on seed %q, want %q", got, a.seed)
	}
}

// killPod ends loam's process in a pod with SIGKILL, as a power cut would: it has
// no time for a last word.
func (a *apart) killPod(pod string) {
	a.t.Helper()
	script := `for p in /proc/[0-9]*; do
	if tr "\0" "\n" <$p/environ 2>/dev/null | grep -qx "HOSTNAME=$1" && grep -q loam $p/cmdline; then kill -9 ${p#/proc/} && echo killed; fi
	done`
	killed := 0
	for _, id := range a.owned("ps", "-q") {
		out, err := exec.Command("docker", "exec", id, "bash", "-c", script, "kill", pod).Output()
		if err != nil {
			a.t.Logf("looking for %s in %s: %v", pod, id, err)
		}
		killed += strings.Count(string(out), "killed")
	}
	if killed != 1 {
		a.t.Fatalf("%d processes of pod %s were killed, want 1", killed, pod)
	}
}

// killLeader kills the leading controller manager.
func (a *apart) killLeader() {
	holder := func() string {
		return a.cluster("below", "-n", "loam-system", "get", "lease", "loam-controller-manager", "-o", "jsonpath={.spec.holderIdentity}")
	}
	led := holder()
	pod, _, _ := strings.Cut(led, "_")
	a.killPod(pod)
	killed := time.Now()
	// The shoot asks for more than any seed has, so that only the controllers see it.
	a.clusterApply("below", strings.Replace(shootWithoutSeed("waiting"), "provider:", "seedSelector: {matchLabels: {nowhere: to-be-found}}\n  provider:", 1))
	eventually(a.t, patience, func() error {
		if got := a.shoot("waiting", ".status.lastOperation.description"); !strings.Contains(got, "does not have the labels") {
			return fmt.Errorf("no controller has looked at the shoot: %s", got)
		}
		return nil
	})
	a.t.Logf("work went on %s after the leader was killed", time.Since(killed).Round(100*time.Millisecond))
	if now := holder(); now == led {
		a.t.Errorf("%s still leads", led)
	}
	// Said once: the one that was killed and the one that went on did not both.
	if said := strings.Fields(a.cluster("below", "-n", "garden-apart", "get", "events", "--field-selector", "reason=SchedulingFailed,involvedObject.name=waiting", "-o", "name")); len(said) != 1 {
		a.t.Errorf("it was said %d times that no seed fits, want once: %v", len(said), said)
	}
	a.cluster("below", "-n", "garden-apart", "annotate", "shoot", "waiting", "confirmation.gardener.cloud/deletion=true")
	a.cluster("below", "-n", "garden-apart", "delete", "shoot", "waiting", "--timeout=2m")
}

// killServer wants a request to succeed while one of two API servers is gone.
func (a *apart) killServer() {
	pods := strings.Fields(a.cluster("below", "-n", "loam-system", "get", "pods", "-l", "app.kubernetes.io/name=loam-apiserver", "-o", "jsonpath={.items[*].metadata.name}"))
	if len(pods) != 2 {
		a.t.Fatalf("%d API servers, want 2: %v", len(pods), pods)
	}
	a.killPod(pods[0])
	eventually(a.t, patience, func() error {
		out, err := a.tryKube(a.clusterKubeconfig("below"), "", "-n", "garden-apart", "annotate", "--overwrite", "shoot", "above", "still=there")
		if err != nil {
			return fmt.Errorf("writing with one API server gone: %w: %s", err, out)
		}
		return nil
	})
}

func (a *apart) remove() {
	a.cluster("below", "-n", "garden-apart", "annotate", "shoot", "above", "confirmation.gardener.cloud/deletion=true")
	a.cluster("below", "-n", "garden-apart", "delete", "shoot", "above", "--timeout=2m")
	out, err := exec.Command("docker", "ps", "-aq", "--filter", "label=loam.dev/instance=loam-"+a.seed).Output()
	if err != nil || len(bytes.TrimSpace(out)) > 0 {
		a.t.Errorf("machines are left: %v, %s", err, out)
	}
}
