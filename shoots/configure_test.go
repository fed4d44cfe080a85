package shoots_test

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/machines"
	driver "github.com/loam-cloud/loam/machines/fake"
	"github.com/loam-cloud/loam/nodeconfig"
)

// set changes what is asked for of running nodes: pods of the pool of workers, or of
// the one that is named; feature gates of the API server or of kubelets.
func (w *world) set(what string, rest []string) {
	switch what {
	case "max-pods":
		pool := &w.cluster.Pools[1]
		if len(rest) > 1 {
			pool = &w.cluster.Pools[0]
		}
		pool.MaxPods = int32(number(w.t, rest[0]))
	case "together":
		w.cluster.Pools[1].Together = number(w.t, rest[0])
	case "gate", "kubelet-gate":
		gates := map[string]bool{}
		for _, name := range rest {
			gates[name] = true
		}
		if what == "gate" {
			w.cluster.FeatureGates.APIServer = gates
		} else {
			w.cluster.FeatureGates.Kubelet = gates
		}
	}
}

var gatesLine = regexp.MustCompile(`name: feature-gates\n\s+value: (\S+)`)

const manifestText = `apiVersion: v1
kind: Pod
metadata: {name: kube-apiserver, namespace: kube-system}
spec: {containers: [{name: kube-apiserver, image: x, command: [kube-apiserver, "--feature-gates=%s"]}]}
---
`

// configure answers the scripts by which programs get other settings. A kubelet
// that is to take 13 pods does not start, nor does an API server with the gate Refused.
func (w *world) configure(ctx context.Context, guest driver.Guest, what string, c machines.Command) error {
	w.mutex.Lock()
	broken := w.broken[guest.Name]
	delete(w.broken, guest.Name)
	w.mutex.Unlock()
	if broken {
		return &machines.ExitError{Program: "/bin/sh", Code: 1}
	}
	config, _ := guest.ReadFile(nodeconfig.KubeadmConfigPath)
	gates := ""
	if found := gatesLine.FindSubmatch(config.Content); found != nil {
		gates = string(found[1])
	}
	switch what {
	case "forget":
		guest.RemoveFile(nodeconfig.SettingsPath)
	case "leader":
		if err := w.configureKubelet(ctx, guest, c); err != nil {
			return err
		}
		fmt.Fprintf(c.Stdout, manifestText, gates)
		w.mutex.Lock()
		w.up = !strings.Contains(gates, "Refused")
		up := w.up
		w.mutex.Unlock()
		if up {
			return w.runAPIServer(ctx, guest, gates)
		}
	case "follower":
		return w.configureKubelet(ctx, guest, c)
	case "crash":
		if strings.Contains(gates, "Refused") {
			fmt.Fprintln(c.Stdout, "kube-apiserver does not start with these settings:\nunrecognized feature gate: Refused")
		}
	}
	return nil
}

// runAPIServer is the pod by which a kubelet shows its API server.
func (w *world) runAPIServer(ctx context.Context, guest driver.Guest, gates string) error {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kube-apiserver-" + guest.Hostname},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Image: "x", Command: []string{"kube-apiserver", "--feature-gates=" + gates}}}},
		Status:     corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	}
	if err := client.IgnoreNotFound(w.inside.Delete(ctx, pod)); err != nil {
		return err
	}
	return w.inside.Create(ctx, pod)
}

var maxPodsLine = regexp.MustCompile(`maxPods: (\d+)`)

// configureKubelet has a node report what its kubelet was configured with, unless
// that keeps it from starting: then it is not ready.
func (w *world) configureKubelet(ctx context.Context, guest driver.Guest, c machines.Command) error {
	pods := "110"
	patch, _ := guest.ReadFile(nodeconfig.PatchesPath + "/kubeletconfiguration+merge.yaml")
	if found := maxPodsLine.FindSubmatch(patch.Content); found != nil {
		pods = string(found[1])
	}
	var node corev1.Node
	if err := w.inside.Get(ctx, client.ObjectKey{Name: guest.Hostname}, &node); err != nil {
		return err
	}
	base := node.DeepCopy()
	ready := corev1.ConditionTrue
	if pods == "13" {
		ready = corev1.ConditionFalse
	}
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}
	node.Status.Capacity = corev1.ResourceList{corev1.ResourcePods: resource.MustParse(pods)}
	if err := w.inside.Status().Patch(ctx, &node, client.MergeFrom(base)); err != nil {
		return err
	}
	if pods == "13" {
		fmt.Fprintln(c.Stderr, "the kubelet does not start with these settings:\ninvalid configuration: maxPods 13")
		return &machines.ExitError{Program: "/bin/sh", Code: 3}
	}
	return nil
}

// showSettings tells what each machine keeps, and how many pods its node takes.
func (w *world) showSettings() string {
	all, err := w.machines.List(context.Background(), w.cluster.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	var b strings.Builder
	for _, m := range all {
		guest, err := w.machines.Guest(m.Cluster, m.Name)
		if err != nil {
			w.t.Fatal(err)
		}
		kept, found := guest.ReadFile(nodeconfig.SettingsPath)
		var node corev1.Node
		if err := w.inside.Get(context.Background(), client.ObjectKey{Name: m.Hostname}, &node); err != nil {
			continue
		}
		text := strings.TrimSpace(string(kept.Content))
		if !found {
			text = "in the middle"
		}
		fmt.Fprintf(&b, "  %s: %s, takes %s pods\n", m.Hostname, text, node.Status.Capacity.Pods())
	}
	return b.String()
}
