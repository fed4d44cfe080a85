package shoots_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/machines"
	driver "github.com/loam-cloud/loam/machines/fake"
	"github.com/loam-cloud/loam/nodeconfig"
)

// upgradingFile is the file by which a machine remembers that kubeadm is still to
// upgrade it.
const upgradingFile = "/etc/loam/upgrading"

func version(guest driver.Guest) string { return guest.Labels["loam.dev/kubernetes-version"] }

// upgrade answers the scripts of an upgrade. The API server is new once kubeadm has
// written what it is made of; the kubelet is once it runs.
func (w *world) upgrade(ctx context.Context, guest driver.Guest, what string, rest []string) error {
	if w.isBroken(guest) {
		return &machines.ExitError{Program: "/bin/sh", Code: 1}
	}
	switch what {
	case "release":
		config, _ := guest.ReadFile(nodeconfig.KubeadmConfigPath)
		if want := "kubernetesVersion: " + version(guest) + "\n"; !strings.Contains(string(config.Content), want) {
			w.t.Errorf("machine %q: kubeadm's configuration lacks %q", guest.Name, want)
		}
		if _, found := guest.ReadFile("/etc/kubernetes/pki/ca.key"); !found {
			w.t.Errorf("machine %q has lost the cluster's keys", guest.Name)
		}
		guest.RemoveFile("/etc/loam/kubelet-held")
		if err := w.startServer(ctx, guest); err != nil {
			return err
		}
		return w.startKubelet(ctx, guest)
	case "apply":
		if err := w.inside.Update(ctx, w.kubeadmConfig(version(guest))); err != nil {
			return err
		}
		if rest[0] != version(guest) {
			w.t.Errorf("machine %q of version %s is upgraded to %s", guest.Name, version(guest), rest[0])
		}
		if w.cluster.Pools[0].Count == 1 {
			w.wantImages()
		}
	case "follow":
		if guest.Name == fmt.Sprintf("control-plane-%d", w.cluster.Pools[0].Count-1) {
			w.wantImages()
		}
	case "upgrade-node":
		guest.RemoveFile("/etc/loam/kubelet-held")
		if err := w.startKubelet(ctx, guest); err != nil {
			return err
		}
	}
	guest.RemoveFile(upgradingFile)
	return nil
}

// startServer has the kubelet of a control plane tell of its pods.
func (w *world) startServer(ctx context.Context, guest driver.Guest) error {
	for _, name := range []string{"kube-apiserver", "etcd"} {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: name + "-" + guest.Hostname, Labels: map[string]string{"tier": "control-plane"}},
			Spec:       corev1.PodSpec{NodeName: guest.Hostname, Containers: []corev1.Container{{Image: "registry.k8s.io/" + name + ":" + version(guest)}}},
			Status:     corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
		}
		if err := client.IgnoreNotFound(w.inside.Delete(ctx, pod)); err != nil {
			return err
		}
		if err := w.inside.Create(ctx, pod); err != nil {
			return err
		}
	}
	return nil
}

// kubeadmConfig is what kubeadm writes down of the cluster.
func (w *world) kubeadmConfig(version string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kubeadm-config"},
		Data:       map[string]string{"ClusterConfiguration": "kind: ClusterConfiguration\nkubernetesVersion: " + version + "\n"},
	}
}

// startKubelet has a node report the version of its machine.
func (w *world) startKubelet(ctx context.Context, guest driver.Guest) error {
	var node corev1.Node
	if err := w.inside.Get(ctx, client.ObjectKey{Name: guest.Hostname}, &node); err != nil {
		return err
	}
	base := node.DeepCopy()
	node.Status.NodeInfo.KubeletVersion = version(guest)
	return w.inside.Status().Patch(ctx, &node, client.MergeFrom(base))
}

// preloaded are the images that a machine holds.
func (w *world) preloaded(guest driver.Guest) []string {
	v := version(guest)
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return append([]string{"sha256:abc", "registry.k8s.io/kube-apiserver:" + v, "registry.k8s.io/kube-proxy:" + v, "registry.k8s.io/coredns:v1"}, w.images[guest.ID]...)
}

// wantImages demands that what runs on all nodes can start on those of the older
// version before kubeadm has it started there.
func (w *world) wantImages() {
	names := []string{"control-plane-0"}
	for i := range w.cluster.Pools[1].Count {
		names = append(names, fmt.Sprintf("worker-%d", i))
	}
	for _, name := range names {
		m, err := w.machines.Guest(w.cluster.ID, name)
		if err != nil {
			continue
		}
		have := w.preloaded(m)
		if want := "registry.k8s.io/kube-proxy:" + w.cluster.KubernetesVersion; !slices.Contains(have, want) {
			w.t.Errorf("machine %q has no image %s, only %v", m.Name, want, have)
		}
		if m.Labels["loam.dev/role"] == "Worker" && slices.Contains(have[4:], "registry.k8s.io/kube-apiserver:"+w.cluster.KubernetesVersion) {
			w.t.Errorf("the API server's image was carried into machine %q", m.Name)
		}
	}
}

// layer is the digest of the only layer of each image.
const layer = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// containerd answers what is asked of the container runtime.
func (w *world) containerd(guest driver.Guest, what string, rest []string, c machines.Command) error {
	out := c.Stdout
	if out == nil {
		out = io.Discard
	}
	switch {
	case what == "images":
		fmt.Fprintln(out, strings.Join(w.preloaded(guest), "\n"))
	case what == "digest":
		fmt.Fprintln(out, "sha256:manifest")
	case what == "content" && rest[0] == "sha256:manifest":
		fmt.Fprint(out, `{"config": {"digest": "sha256:config"}}`)
	case what == "content":
		fmt.Fprint(out, `{"config": {"Entrypoint": ["/program"]}, "rootfs": {"diff_ids": ["`+layer+`"]}}`)
	case what == "root":
		fmt.Fprintf(out, "the folder of %s", rest[0])
	case what == "import":
		archive, err := io.ReadAll(c.Stdin)
		if err != nil {
			return err
		}
		if !strings.Contains(string(archive), "the folder of "+layer) || !strings.Contains(string(archive), rest[0]) {
			w.t.Errorf("machine %q was given %q as %s", guest.Name, archive, rest[0])
		}
		w.mutex.Lock()
		defer w.mutex.Unlock()
		w.images[guest.ID] = append(w.images[guest.ID], rest[0])
	}
	return nil
}
