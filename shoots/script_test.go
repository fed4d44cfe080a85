package shoots_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	gocmp "github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/fault"
	driver "github.com/loam-cloud/loam/machines/fake"
	"github.com/loam-cloud/loam/shoots"
)

var update = flag.Bool("update", false, "write what the scripts in testdata lead to anew")

// TestScripts runs the files in testdata. A line that begins with "> " is
// something to do; what follows, up to the next, is what it led to: the steps
// that were done, what each machine was told in its order, and what was written
// to the API server. What is only read is left out. "grow" reconciles and says
// nothing, "try" says only what went wrong.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			// Inside, waiting costs no time.
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 0)
				for line := range strings.Lines(string(text)) {
					switch {
					case strings.HasPrefix(line, "> "):
						got.WriteString(line)
						got.WriteString(w.do(strings.Fields(line[2:])))
					case strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "":
						got.WriteString(line)
					}
				}
			})
			if *update {
				if err := os.WriteFile(file, []byte(got.String()), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got.String() != string(text) {
				t.Errorf("%s is not what happened, -want +got (write it anew with -update):\n%s", file, gocmp.Diff(string(text), got.String()))
			}
		})
	}
}

// do carries out one line and tells what it led to.
func (w *world) do(words []string) string {
	w.t.Helper()
	before := len(w.machines.Calls())
	w.written, w.steps = nil, nil
	ctx := w.t.Context()
	var err error
	switch verb, rest := words[0], words[1:]; verb {
	case "etcd":
		running, all := w.members()
		return fmt.Sprintf("  %d of %d members run\n", running, all)
	case "workers":
		w.setWorkers(number(w.t, rest[0]))
		return ""
	case "patch":
		w.cluster.Pools[0].Patches.KubeadmConfigPatches = []string{"kind: InitConfiguration\nnodeRegistration: {kubeletExtraArgs: {node-labels: " + rest[0] + "}}\n"}
		return ""
	case "control-planes":
		w.cluster.Pools[0].Count = number(w.t, rest[0])
		return ""
	case "label", "taint":
		w.decorate(verb, rest)
		return ""
	case "rename":
		w.cluster.Pools[0].Name = rest[0]
		return ""
	case "version":
		w.cluster.KubernetesVersion, w.cluster.Image = rest[0], "node:"+rest[0]
		return ""
	case "max-pods", "gate", "together", "kubelet-gate":
		w.set(verb, rest)
		return ""
	case "settings":
		return w.showSettings()
	case "network":
		w.cluster.DefaultNetwork = rest[0] != "none"
		return ""
	case "established":
		w.cluster.Established = true
		return ""
	case "lose-machine":
		w.machines.Lose(w.cluster.ID, rest[0])
		return ""
	case "lose":
		if err := w.machines.Delete(ctx, w.cluster.ID, rest[0]); err != nil {
			w.t.Fatal(err)
		}
		return ""
	case "break":
		w.broken[rest[0]] = true
		return ""
	case "pod", "held-pod":
		w.held[rest[0]] = verb == "held-pod"
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: rest[0]}, Spec: corev1.PodSpec{NodeName: rest[1]}}
		if err := w.inside.Create(ctx, pod); err != nil {
			w.t.Fatal(err)
		}
		return ""
	case "machines":
		return w.showMachines()
	case "nodes":
		return w.showNodes()
	case "cordon":
		w.cordon(rest[0])
		return ""
	case "versions":
		return w.showVersions()
	case "reconcile":
		err = w.reconcile(ctx)
	case "grow":
		if err := w.reconcile(ctx); err != nil {
			w.t.Fatalf("%v\n%s", err, w.report(w.machines.Calls()[before:], err))
		}
		return ""
	case "try":
		// What else was under way when a step failed is up to chance.
		return failure(w.reconcile(ctx))
	case "hibernate":
		err = w.flow().Hibernate(ctx, w.cluster)
	case "delete":
		err = w.flow().Delete(ctx, w.cluster)
	default:
		w.t.Fatalf("%q is not known", verb)
	}
	return w.report(w.machines.Calls()[before:], err)
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// decorate sets the labels or taints of the pool of workers.
func (w *world) decorate(what string, words []string) {
	pool := &w.cluster.Pools[1]
	if what == "label" {
		pool.Labels = map[string]string{}
	} else {
		pool.Taints = nil
	}
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		if what == "label" {
			pool.Labels[key] = value
			continue
		}
		value, effect, _ := strings.Cut(value, ":")
		pool.Taints = append(pool.Taints, corev1.Taint{Key: key, Value: value, Effect: corev1.TaintEffect(effect)})
	}
}

func (w *world) report(calls []driver.Call, err error) string {
	var b strings.Builder
	// Steps that do not wait for each other end in any order.
	slices.Sort(w.steps)
	for _, s := range w.steps {
		fmt.Fprintf(&b, "  done: %s\n", s)
	}
	told := map[string][]string{}
	for _, c := range calls {
		line := string(c.Method)
		switch c.Method {
		case driver.Get, driver.List:
			continue
		case driver.Run:
			what, rest := does(c.Details)
			if slices.Contains([]string{"probe", "cat", "images", "digest", "content", "root", "crash"}, what) || what == "etcd" && strings.HasSuffix(rest[0], "/list") {
				continue
			}
			line = strings.TrimSpace(line + " " + what + " " + strings.Join(rest[:min(1, len(rest))], ""))
		case driver.PutFiles, driver.Replace:
			line += " " + strings.Join(c.Details, " ")
		}
		told[c.Name] = append(told[c.Name], line)
	}
	for _, name := range slices.Sorted(maps.Keys(told)) {
		// These are told at once.
		if i := slices.Index(told[name], "Run addons coredns"); i >= 0 && i+1 < len(told[name]) && told[name][i+1] == "Run controllers" {
			told[name][i], told[name][i+1] = told[name][i+1], told[name][i]
		}
		for _, line := range told[name] {
			fmt.Fprintf(&b, "  %s: %s\n", name, line)
		}
	}
	// A write that met another's is made again.
	slices.Sort(w.written)
	for _, line := range slices.Compact(w.written) {
		fmt.Fprintf(&b, "  api: %s\n", line)
	}
	return b.String() + failure(err)
}

func failure(err error) string {
	if err == nil {
		return ""
	}
	return fmt.Sprintf("  %s: %s\n", fault.KindOf(err), strings.ReplaceAll(err.Error(), "\n", "\n    "))
}

func (w *world) showMachines() string {
	all, err := w.flow().Report(context.Background(), w.cluster)
	if err != nil {
		w.t.Fatal(err)
	}
	var b strings.Builder
	for _, m := range all {
		fmt.Fprintf(&b, "  %s: %s of pool %s, %s\n", m.Name, m.Spec.Role, m.Spec.Pool, m.Status.State)
	}
	return b.String()
}

func (w *world) showNodes() string {
	var nodes corev1.NodeList
	if err := w.inside.List(context.Background(), &nodes); err != nil {
		w.t.Fatal(err)
	}
	slices.SortFunc(nodes.Items, func(a, b corev1.Node) int { return cmp.Compare(a.Name, b.Name) })
	var b strings.Builder
	for _, n := range nodes.Items {
		fmt.Fprintf(&b, "  %s", n.Name)
		for _, key := range slices.Sorted(maps.Keys(n.Labels)) {
			fmt.Fprintf(&b, " %s=%s", key, n.Labels[key])
		}
		for _, taint := range n.Spec.Taints {
			fmt.Fprintf(&b, " %s=%s:%s", taint.Key, taint.Value, taint.Effect)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// showVersions tells which version machines and nodes have, and which nodes take
// no pods.
func (w *world) showVersions() string {
	all, err := w.machines.List(context.Background(), w.cluster.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	var b strings.Builder
	for _, m := range all {
		if m.Labels[shoots.LabelRole] == string(v1alpha1.RoleBalancer) {
			fmt.Fprintf(&b, "  %s: machine %s of %s\n", m.Hostname, m.Labels["loam.dev/kubernetes-version"], m.Image)
			continue
		}
		var node corev1.Node
		if err := w.inside.Get(context.Background(), client.ObjectKey{Name: m.Hostname}, &node); err != nil {
			w.t.Fatal(err)
		}
		fmt.Fprintf(&b, "  %s: machine %s of %s, kubelet %s", m.Hostname, m.Labels["loam.dev/kubernetes-version"], m.Image, node.Status.NodeInfo.KubeletVersion)
		if node.Spec.Unschedulable {
			b.WriteString(", cordoned")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// cordon does what a user does with kubectl.
func (w *world) cordon(name string) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := w.inside.Patch(context.Background(), node, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"unschedulable":true}}`))); err != nil {
		w.t.Fatal(err)
	}
}

func TestDeleteWithoutAnIDIsRefused(t *testing.T) {
	w := newWorld(t, 0)
	if _, err := w.machines.Create(t.Context(), machineOfAnother()); err != nil {
		t.Fatal(err)
	}
	if err := w.flow().Delete(t.Context(), shoots.Cluster{}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("got %v, want Invalid", err)
	}
	if all, err := w.machines.List(t.Context(), ""); err != nil || len(all) != 1 {
		t.Errorf("%d machines are left, %v", len(all), err)
	}
}

func TestReconcileSaysEverythingThatIsMissing(t *testing.T) {
	w := newWorld(t, 0)
	w.cluster.Image, w.cluster.Pools[0].Count = "", 2
	delete(w.authorities, "sa.key")
	err := w.reconcile(t.Context())
	if fault.KindOf(err) != fault.Invalid {
		t.Fatalf("got %v, want Invalid", err)
	}
	for _, want := range []string{"control planes: 2 machines, must be an odd number", "image: must be set", `"sa.key"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %s", err, want)
		}
	}
}
