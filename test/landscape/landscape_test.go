// Package landscape_test applies a whole, realistic landscape to a garden with
// kubectl, as its users do, and then everything that can be wrong with it: each
// wrong object has to get the list of its problems, whole and in one answer.
package landscape_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/loam-cloud/loam/garden/aggregated/aggregatedtest"
	"github.com/loam-cloud/loam/garden/gardentest"
)

const landscape = "testdata/landscape"

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

// TestLandscape wants a landscape to be accepted, to come back as it was
// written, not to change when it is written again, and each wrong variant of it
// to be refused for what is wrong.
func TestLandscape(t *testing.T) {
	k := newKubectl(t)
	k.run("apply", "--filename", landscape)
	t.Run("comes back equal", k.with(comesBackEqual))
	k.run("apply", "--filename", "testdata/users.yaml")
	t.Run("wrong", func(t *testing.T) { wrong(t, gardentest.Start(t).RESTConfig()) })
	t.Run("wrong beside another Kubernetes", func(t *testing.T) { wrong(t, apart(t)) })
}

// apart is a server beside another Kubernetes, for which the garden stands, with
// the objects of the landscape that are not Kubernetes' own.
func apart(t *testing.T) *rest.Config {
	t.Helper()
	replica := aggregatedtest.Run(t, gardentest.Namespace(t), gardentest.Etcd(t))
	replica.Furnish(t)
	c := gardentest.ClientFor(t, replica.Config)
	for _, object := range readObjects(t) {
		if !strings.HasSuffix(object.GroupVersionKind().Group, ".gardener.cloud") {
			continue
		}
		if err := c.Create(t.Context(), object); err != nil {
			t.Fatalf("%s %s: %v", object.GetKind(), object.GetName(), err)
		}
	}
	return replica.Config
}

func comesBackEqual(t *testing.T, k kubectl) {
	if out, err := k.try("diff", "--filename", landscape); err != nil {
		t.Errorf("what comes back differs: %v\n%s", err, out)
	}
	versions := []string{"get", "--filename", landscape, "--output", `jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.resourceVersion}{"\n"}{end}`}
	before := k.run(versions...)
	k.run("apply", "--filename", landscape)
	if after := k.run(versions...); after != before {
		t.Errorf("a second apply wrote something:\n%s\nthen\n%s", before, after)
	}
	k.run("apply", "--server-side", "--force-conflicts", "--filename", landscape)
	if out, err := k.try("diff", "--server-side", "--force-conflicts", "--filename", landscape); err != nil {
		t.Errorf("applied by the server, what comes back differs: %v\n%s", err, out)
	}
}

// kubectl is the real one, on the garden of this test binary.
type kubectl struct {
	t      *testing.T
	binary string
	config string
}

// newKubectl takes the host's kubectl, or that of the node image.
func newKubectl(t *testing.T) kubectl {
	t.Helper()
	k := kubectl{t: t, config: gardentest.Start(t).KubeconfigPath()}
	var err error
	if k.binary, err = exec.LookPath("kubectl"); err == nil {
		return k
	}
	k.binary = filepath.Join(t.TempDir(), "kubectl")
	if out, err := exec.Command("../../scripts/from-image.sh", "/usr/local/bin/kubectl", k.binary).CombinedOutput(); err != nil {
		t.Fatalf("there is no kubectl on this host, nor in a node image: %v\n%s", err, out)
	}
	return k
}

func (k kubectl) with(test func(*testing.T, kubectl)) func(*testing.T) {
	return func(t *testing.T) {
		k.t = t
		test(t, k)
	}
}

func (k kubectl) try(args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(k.binary, append([]string{"--kubeconfig", k.config}, args...)...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	return stdout.String() + stderr.String(), err
}

func (k kubectl) run(args ...string) string {
	k.t.Helper()
	out, err := k.try(args...)
	if err != nil {
		k.t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}
