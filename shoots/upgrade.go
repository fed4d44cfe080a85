package shoots

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/version"
	bootstraputil "k8s.io/cluster-bootstrap/token/util"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/nodeconfig"
	"github.com/loam-cloud/loam/shoots/carry"
	"github.com/loam-cloud/loam/shoots/graph"
)

// An upgrade has every machine boot from the node image of the new version, the
// control plane first, then one worker after the other, disks kept:
//
//	node drained -> machine replaced -> kubelet held while kubeadm does its part
//	-> kubelet started -> node ready -> uncordoned
//
// Each machine tells by its labels which version it has, and by a file whether
// kubeadm has done its part, so that a flow that is run again goes on from there.

const stepUpgradeControlPlane = "upgrading control plane"

// Files of a machine that was replaced, until kubeadm has done its part.
const (
	// upgradingPath says that kubeadm is to upgrade the node.
	upgradingPath = "/etc/loam/upgrading"
	// heldPath keeps the kubelet from being started: it would run pods of the old
	// version, whose images are not there.
	heldPath = "/etc/loam/kubelet-held"
	holdUnit = "/etc/systemd/system/kubelet.service.d/20-held.conf"
)

// replacement is what a node keeps when its machine gets another image: what
// makes it this node, and what its user may have set.
func replacement(role v1alpha1.MachineRole) machines.Replacement {
	r := machines.Replacement{
		Keep: []string{
			"/etc/kubernetes", "/etc/loam", "/etc/machine-id", "/etc/default/kubelet", "/etc/containerd/certs.d", "/var/log/loam",
			nodeconfig.BoundsUnitPath,
		},
		Files: []machines.File{
			{Path: upgradingPath},
			{Path: heldPath},
			{Path: holdUnit, Content: []byte("[Unit]\nConditionPathExists=!" + heldPath + "\n")},
		},
		Grace: workerGrace,
	}
	if role == v1alpha1.RoleControlPlane {
		r.Grace = controlPlaneGrace
	}
	return r
}

// outdated tells whether a machine has an older version than its cluster.
func (c *Cluster) outdated(m machines.Machine) bool {
	have, known := m.Labels[labelVersion]
	return known && have != c.KubernetesVersion
}

// cannotUpgrade says why a machine's version cannot become the cluster's, empty
// when it can. Kubernetes' own rules: upwards only, and a control plane does not
// skip a minor version.
func (c *Cluster) cannotUpgrade(m machines.Machine) string {
	have := m.Labels[labelVersion]
	from, err := version.ParseSemantic(have)
	to, other := version.ParseSemantic(c.KubernetesVersion)
	switch {
	case err != nil || other != nil || !c.Established:
		return fmt.Sprintf("the cluster was begun with Kubernetes %s, and can have %s only once it is there: ask for the former, or delete it and create it anew", have, c.KubernetesVersion)
	case to.LessThan(from):
		return fmt.Sprintf("the cluster has Kubernetes %s, which cannot be lowered to %s", have, c.KubernetesVersion)
	case m.Labels[LabelRole] == string(v1alpha1.RoleControlPlane) && (to.Major() != from.Major() || to.Minor() > from.Minor()+1):
		return fmt.Sprintf("the cluster has Kubernetes %s, and %s skips a minor version: go to v%d.%d first", have, c.KubernetesVersion, from.Major(), from.Minor()+1)
	}
	return ""
}

// upgradeSteps are those for the workers that have an older version, one after
// the other, after those named.
func (r *run) upgradeSteps(existing []machines.Machine, after []string) []graph.Step {
	var steps []graph.Step
	for i, member := range r.cluster.members(v1alpha1.RoleWorker) {
		for _, m := range existing {
			if m.Name != member.name || !r.cluster.outdated(m) {
				continue
			}
			name := "upgrading node " + m.Hostname
			steps = append(steps, graph.Step{Name: name, After: after, Run: func(ctx context.Context) error { return r.upgradeWorker(ctx, i, member) }})
			after = []string{name}
		}
	}
	return steps
}

// upgradeControlPlane replaces the machines of the control plane, one after the
// other, and has kubeadm upgrade what runs there and the system components of the
// cluster. Where there is but one node there is nowhere for pods to go: they stop for
// as long as that takes.
func (r *run) upgradeControlPlane(ctx context.Context) error {
	if err := r.replaceBalancer(ctx); err != nil {
		return err
	}
	for i := range r.controlPlanes {
		m := &r.controlPlanes[i]
		if !r.cluster.outdated(m.Machine) {
			continue
		}
		if err := r.replaceControlPlane(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) replaceControlPlane(ctx context.Context, m *controlPlane) error {
	if len(r.cluster.all()) > 1 {
		if err := r.protectDNS(ctx); err != nil {
			return err
		}
		if err := r.clear(ctx, m.Hostname); err != nil {
			return err
		}
		if err := r.awaitDetour(ctx); err != nil {
			return err
		}
	}
	if err := r.setServer(ctx, serverDrain, *m); err != nil {
		return err
	}
	replaced, err := r.Machines.Replace(ctx, r.cluster.spec(m.member), replacement(m.member.pool.Role))
	if err != nil {
		return err
	}
	m.Machine = replaced
	if err := r.boot(ctx, replaced); err != nil {
		return err
	}
	if err := r.finishControlPlane(ctx, *m); err != nil {
		return err
	}
	if err := r.setServer(ctx, serverReady, *m); err != nil {
		return err
	}
	// Ready it gets once the network of the new version is installed, which comes
	// next.
	if err := r.awaitUpgraded(ctx, m.Hostname, false); err != nil {
		return err
	}
	return r.uncordon(ctx, m.Hostname)
}

// releaseScript has kubeadm write what the control plane of the new version is
// made of, and lets the kubelet start it.
const releaseScript = upgradeHead + `
if test -e ` + heldPath + `; then
  for phase in "etcd local" "control-plane all"; do
    logged kubeadm init phase $phase --config=` + nodeconfig.KubeadmConfigPath + `
  done
  logged kubeadm certs renew all --config=` + nodeconfig.KubeadmConfigPath + `
  rm -f ` + heldPath + `
fi
systemctl start kubelet 9>&-
`

// applyScript has kubeadm upgrade the rest: its own records in the cluster, the
// kubelet's configuration, roles, DNS and kube-proxy. It reads from the cluster what
// is to be configured, which may have changed along with the version. Its checks
// would start a pod where none can run; etcd and certificates are dealt with.
//
//	$1 version
const applyScript = upgradeHead + `
logged kubeadm init phase upload-config all --config=` + nodeconfig.KubeadmConfigPath + `
logged kubeadm upgrade apply "$1" --yes --skip-phases=preflight --etcd-upgrade=false --certificate-renewal=false \
  --patches=` + nodeconfig.PatchesPath + `
systemctl restart kubelet 9>&-
rm -f ` + upgradingPath + `
`

// followScript has kubeadm upgrade what is left in a further machine of the control
// plane: the kubelet's configuration, and with the last one DNS and kube-proxy.
const followScript = upgradeHead + `
logged kubeadm upgrade node --skip-phases=preflight,control-plane --etcd-upgrade=false --certificate-renewal=false \
  --patches=` + nodeconfig.PatchesPath + `
systemctl restart kubelet 9>&-
rm -f ` + upgradingPath + `
`

// workerScript has kubeadm upgrade a worker: the kubelet's configuration.
const workerScript = upgradeHead + `
logged kubeadm upgrade node --skip-phases=preflight --patches=` + nodeconfig.PatchesPath + `
rm -f ` + heldPath + `
systemctl restart kubelet 9>&-
rm -f ` + upgradingPath + `
`

// upgradeHead begins the scripts: one at a time, and none when there is nothing to
// upgrade any more.
const upgradeHead = `
mkdir -p /run/loam /var/log/loam
exec 9>/run/loam/bootstrap.lock
flock 9
test -e ` + upgradingPath + ` || exit 0
` + nodeconfig.AwaitContainerd + `
logged() { "$@" >/var/log/loam/kubeadm-upgrade.log 2>&1 9>&- || { cat /var/log/loam/kubeadm-upgrade.log >&2; exit 1; }; }
`

// finishControlPlane does what is left to do in a machine of the control plane
// that was replaced.
func (r *run) finishControlPlane(ctx context.Context, m controlPlane) error {
	// kubeadm demands one and makes nothing of it here.
	token, err := bootstraputil.GenerateBootstrapToken()
	if err != nil {
		return err
	}
	files, err := nodeconfig.InitFiles(r.clusterOf(m.Machine), r.node(m.Machine, m.member.pool), token)
	if err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	if err := r.forget(ctx, m.Machine); err != nil {
		return err
	}
	if err := r.put(ctx, m.Machine, files); err != nil {
		return err
	}
	if err := r.carryFormerImages(ctx, m.Machine); err != nil {
		return err
	}
	if _, err := r.script(ctx, m.Machine, releaseScript); err != nil {
		return err
	}
	api, err := r.Connection(ctx, r.cluster, r.authorities)
	if err != nil {
		return err
	}
	defer api.Close()
	if err := r.awaitServer(ctx, api, m.Machine); err != nil {
		return err
	}
	if m.place == len(r.cluster.members(v1alpha1.RoleControlPlane))-1 {
		// From now on pods of the new version start on all nodes.
		if err := r.carryImages(ctx, m.Machine); err != nil {
			return err
		}
	}
	if m.place == 0 {
		_, err = r.script(ctx, m.Machine, applyScript, m.Labels[labelVersion])
	} else {
		_, err = r.script(ctx, m.Machine, followScript)
	}
	if err != nil {
		return err
	}
	return r.remember(ctx, m.Machine, m.member.pool)
}

// awaitServer waits until the kubelet has told the cluster that an API server of
// the machine's version runs, and, where others are stopped next, that it and its
// etcd are ready.
func (r *run) awaitServer(ctx context.Context, api *Connection, m machines.Machine) error {
	wanted := m.Labels[labelVersion]
	return poll(ctx, r.Clock, func(ctx context.Context) error {
		server, err := staticPod(ctx, api, "kube-apiserver", m)
		if err != nil {
			return err
		}
		if len(server.Spec.Containers) == 0 || !strings.HasSuffix(server.Spec.Containers[0].Image, ":"+wanted) {
			return fault.New(fault.Waiting, "the API server has not version %s yet", wanted)
		}
		if len(r.controlPlanes) == 1 {
			return nil
		}
		store, err := staticPod(ctx, api, "etcd", m)
		if err != nil {
			return err
		}
		if !podReady(server) || !podReady(store) {
			return fault.New(fault.Waiting, "API server and etcd of %q are not ready", m.Hostname)
		}
		return nil
	})
}

func staticPod(ctx context.Context, api *Connection, name string, m machines.Machine) (*corev1.Pod, error) {
	var pod corev1.Pod
	if err := api.Get(ctx, client.ObjectKey{Namespace: metav1.NamespaceSystem, Name: name + "-" + m.Hostname}, &pod); err != nil {
		return nil, fmt.Errorf("the API server is not ready: %w", err)
	}
	return &pod, nil
}

func podReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// controlPlaneImages run on control planes only.
var controlPlaneImages = [...]string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}

// carryImages gives nodes of the old version the images that pods of the new one
// need.
func (r *run) carryImages(ctx context.Context, from machines.Machine) error {
	existing, err := r.Machines.List(ctx, r.cluster.ID)
	if err != nil {
		return err
	}
	var old []machines.Machine
	for _, m := range withRole(existing, v1alpha1.RoleWorker) {
		if m.Labels[labelVersion] != from.Labels[labelVersion] {
			old = append(old, m)
		}
	}
	if err := each(ctx, old, r.boot); err != nil {
		return err
	}
	return carry.Images(ctx, r.Machines, from, old, onAnyNode)
}

// carryFormerImages gives a machine of the control plane that has the new version the
// images that pods on any node need until the last of its fellows has it, too.
func (r *run) carryFormerImages(ctx context.Context, to machines.Machine) error {
	for _, m := range r.controlPlanes {
		if m.Labels[labelVersion] != to.Labels[labelVersion] {
			return carry.Images(ctx, r.Machines, m.Machine, []machines.Machine{to}, onAnyNode)
		}
	}
	return nil
}

// onAnyNode tells whether an image is not that of a control plane only.
func onAnyNode(name string) bool {
	repository, _, _ := strings.Cut(path.Base(name), ":")
	return !slices.Contains(controlPlaneImages[:], repository)
}

// upgradeWorker drains a worker, replaces its machine and waits for it.
func (r *run) upgradeWorker(ctx context.Context, i int, member member) error {
	node := r.cluster.spec(member).Hostname
	if err := r.clear(ctx, node); err != nil {
		return err
	}
	replaced, err := r.Machines.Replace(ctx, r.cluster.spec(member), replacement(member.pool.Role))
	if err != nil {
		return err
	}
	r.workers[i] = replaced
	if err := r.boot(ctx, replaced); err != nil {
		return err
	}
	if err := r.finishWorker(ctx, replaced); err != nil {
		return err
	}
	if err := r.awaitUpgraded(ctx, node, r.cluster.DefaultNetwork); err != nil {
		return err
	}
	return r.uncordon(ctx, node)
}

// clear moves the pods of a node elsewhere. What the cluster itself needs is whole
// before and after, so that no two disturbances meet.
func (r *run) clear(ctx context.Context, node string) error {
	if err := r.awaitRollouts(ctx); err != nil {
		return err
	}
	if err := r.cordon(ctx, node); err != nil {
		return err
	}
	if err := r.drain(ctx, node); err != nil {
		return fmt.Errorf("draining node %q: %w", node, err)
	}
	return r.awaitRollouts(ctx)
}

// detour is what the kube-proxies of other nodes are given to lead around pods that
// are gone: they gather changes for a second, and none tells when it has them. What
// one has not heard before the only API server goes it hears a minute later, and
// loses every second question for a name until then.
const detour = 5 * time.Second

func (r *run) awaitDetour(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-r.Clock.After(detour):
		return nil
	}
}

// finishWorker does what is left to do in the machine of a worker that has the new
// version.
func (r *run) finishWorker(ctx context.Context, m machines.Machine) error {
	_, err := r.script(ctx, m, workerScript)
	return err
}

// awaitUpgraded waits for the kubelet of the new version to report itself, and
// ready if that is wanted.
func (r *run) awaitUpgraded(ctx context.Context, name string, ready bool) error {
	return poll(ctx, r.Clock, func(ctx context.Context) error {
		var node corev1.Node
		if err := r.api.Get(ctx, client.ObjectKey{Name: name}, &node); err != nil {
			return fmt.Errorf("node %q: %w", name, classify(err))
		}
		if !r.upgraded(&node) || ready && !nodeReady(&node) {
			return fault.New(fault.Waiting, "node %q is not ready with version %s", name, r.cluster.KubernetesVersion)
		}
		return nil
	})
}

func (r *run) upgraded(node *corev1.Node) bool {
	return node.Status.NodeInfo.KubeletVersion == r.cluster.KubernetesVersion
}

// annotationCordoned marks a node that an upgrade has cordoned: one that its user
// cordoned stays so.
const annotationCordoned = "loam.dev/cordoned-for-upgrade"

func (r *run) cordon(ctx context.Context, name string) error {
	return r.changeNode(ctx, name, func(node *corev1.Node) {
		if node.Spec.Unschedulable {
			return
		}
		metav1.SetMetaDataAnnotation(&node.ObjectMeta, annotationCordoned, "true")
		node.Spec.Unschedulable = true
	})
}

func (r *run) uncordon(ctx context.Context, name string) error {
	return r.changeNode(ctx, name, uncordonNode)
}

func uncordonNode(node *corev1.Node) {
	if _, mine := node.Annotations[annotationCordoned]; mine {
		delete(node.Annotations, annotationCordoned)
		node.Spec.Unschedulable = false
	}
}

// protectDNS keeps one of the pods that resolve names at work while others move,
// unless somebody has seen to that.
func (r *run) protectDNS(ctx context.Context) error {
	dns := map[string]string{"k8s-app": "kube-dns"}
	return poll(ctx, r.Clock, func(ctx context.Context) error {
		var budgets policyv1.PodDisruptionBudgetList
		if err := r.api.List(ctx, &budgets, client.InNamespace(metav1.NamespaceSystem)); err != nil {
			return classify(err)
		}
		for _, b := range budgets.Items {
			if selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector); err == nil && selector.Matches(labels.Set(dns)) {
				return nil
			}
		}
		budget := &policyv1.PodDisruptionBudget{
			ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: "coredns"},
			Spec: policyv1.PodDisruptionBudgetSpec{
				MaxUnavailable: ptr.To(intstr.FromInt32(1)), Selector: &metav1.LabelSelector{MatchLabels: dns},
			},
		}
		return classify(r.api.Create(ctx, budget))
	})
}

// systemNamespaces are those whose pods nodes and names depend on.
var systemNamespaces = [...]string{metav1.NamespaceSystem, "kube-flannel"}

// awaitRollouts waits until the system's pods are those of the new version and
// run, on all nodes. Without Loam's network that is its user's to say.
func (r *run) awaitRollouts(ctx context.Context) error {
	if !r.cluster.DefaultNetwork {
		return nil
	}
	return poll(ctx, r.Clock, func(ctx context.Context) error {
		for _, namespace := range systemNamespaces {
			var deployments appsv1.DeploymentList
			if err := r.api.List(ctx, &deployments, client.InNamespace(namespace)); err != nil {
				return classify(err)
			}
			for _, d := range deployments.Items {
				want := ptr.Deref(d.Spec.Replicas, 1)
				if s := d.Status; s.ObservedGeneration < d.Generation || s.UpdatedReplicas < want || s.AvailableReplicas < want || s.Replicas > want {
					return fault.New(fault.Waiting, "deployment %q has %d of its %d pods", d.Name, s.AvailableReplicas, want)
				}
			}
			var sets appsv1.DaemonSetList
			if err := r.api.List(ctx, &sets, client.InNamespace(namespace)); err != nil {
				return classify(err)
			}
			for _, d := range sets.Items {
				want := d.Status.DesiredNumberScheduled
				if s := d.Status; s.ObservedGeneration < d.Generation || s.UpdatedNumberScheduled < want || s.NumberAvailable < want {
					return fault.New(fault.Waiting, "daemon set %q has %d of its %d pods", d.Name, s.NumberAvailable, want)
				}
			}
		}
		return nil
	})
}
