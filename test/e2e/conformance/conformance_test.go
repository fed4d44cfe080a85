// Package conformance holds some sixty checks of what Kubernetes promises, made
// with client-go on one Loam cluster of a control plane and two workers. Each
// check has a namespace of its own, needs no image that is not in the node image
// and no internet, and says in a line what it proves.
//
// LOAM_CONFORMANCE_KUBECONFIG names another cluster to make them on: one made of
// Loam's node images, with two workers.
package conformance_test

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/loam-cloud/loam/app"
	"github.com/loam-cloud/loam/test/docker"
)

// atOnce is how many checks are made at the same time: they mostly wait.
const atOnce = "10"

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", atOnce); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// check is one promise of Kubernetes.
type check struct {
	name string
	// proves is the sentence that holds when the check passes.
	proves string
	run    func(*scope)
}

func TestConformance(t *testing.T) {
	config := cluster(t)
	config.QPS, config.Burst = -1, 0
	set, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{config: config, set: set}
	w.findNodes(t)
	checks := [][]check{podChecks(), containerChecks(), serviceChecks(), nameChecks(), storageChecks(), accessChecks(), workloadChecks(), schedulingChecks(), apiChecks(), extensionChecks()}
	n := 0
	t.Run("any time", func(t *testing.T) {
		for _, group := range checks {
			for _, c := range group {
				n++
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					w.prove(t, c)
				})
			}
		}
	})
	// These disturb a node, and with it the others.
	for _, c := range nodeChecks() {
		n++
		t.Run(c.name, func(t *testing.T) { w.prove(t, c) })
	}
	if n < 60 {
		t.Errorf("there are only %d checks", n)
	}
}

// limit bounds a check: many times what it takes on a host that is not busy.
const limit = 6 * time.Minute

// prove makes a check in a namespace of its own.
func (w *world) prove(t *testing.T, c check) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	namespace, err := w.set.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "check-", Labels: map[string]string{"loam.dev/check": "true"},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s := &scope{T: t, world: w, ctx: ctx, namespace: namespace.Name}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("not proved: %s", c.proves)
			s.dump()
		}
		err := w.set.CoreV1().Namespaces().Delete(background(), s.namespace, metav1.DeleteOptions{})
		if err != nil {
			t.Logf("removing the namespace: %v", err)
		}
	})
	c.run(s)
}

// cluster returns access to the cluster under test, which is made if none is
// named.
func cluster(t *testing.T) *rest.Config {
	path := os.Getenv("LOAM_CONFORMANCE_KUBECONFIG")
	if path == "" {
		path = grow(t)
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// grow makes a garden and a cluster of three nodes, both removed at the end, and
// returns the cluster's kubeconfig.
func grow(t *testing.T) string {
	docker.Require(t)
	folder := t.TempDir()
	binary, data, kubeconfig := filepath.Join(folder, "loam"), filepath.Join(folder, "data"), filepath.Join(folder, "kubeconfig")
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), "LOAM_DATA_DIR="+data, "KUBECONFIG="+kubeconfig, "LOAM_TESTING=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
	}
	run("go", "build", "-ldflags=-s -w", "-o", binary, "../../../cmd/loam")
	run(binary, "image", "build", "--kubernetes-version", "v1.36.3")
	t.Cleanup(func() {
		cmd := exec.Command(binary, "down")
		cmd.Env = append(os.Environ(), "LOAM_DATA_DIR="+data)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Logf("loam down: %v\n%s", err, out)
		}
		remove(t, app.Config{DataDir: data}.Instance())
	})
	run(binary, "up", "--detach", "--listen", "127.0.0.1:0")
	run(binary, "cluster", "create", "conformance", "--workers", "2", "--kubernetes-version", "1.36.3")
	return kubeconfig
}

// remove takes away what carries the label of an installation.
func remove(t *testing.T, instance string) {
	for _, kind := range []struct{ list, remove []string }{
		{[]string{"ps", "-aq"}, []string{"rm", "-fv"}}, {[]string{"volume", "ls", "-q"}, []string{"volume", "rm", "-f"}}, {[]string{"network", "ls", "-q"}, []string{"network", "rm"}},
	} {
		out, err := exec.Command("docker", append(kind.list, "--filter", "label=loam.dev/instance="+instance)...).Output()
		if err != nil {
			t.Errorf("docker %v: %v", kind.list, err)
		}
		for _, id := range strings.Fields(string(out)) {
			if out, err := exec.Command("docker", append(kind.remove, id)...).CombinedOutput(); err != nil {
				t.Logf("docker %v %s: %v\n%s", kind.remove, id, err, out)
			}
		}
	}
}
