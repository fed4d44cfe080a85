package shoots

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/kubectl/pkg/drain"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
)

// Labels of nodes. The pool's is Gardener's, so that its users' selectors work.
const (
	nodeLabelPool   = "worker.gardener.cloud/pool"
	nodeLabelWorker = "node-role.kubernetes.io/worker"
)

// nodeLabels are those that a kubelet may set on itself.
func (p Pool) nodeLabels() map[string]string {
	labels := map[string]string{nodeLabelPool: p.Name}
	for key, value := range p.Labels {
		if !reserved(key) {
			labels[key] = value
		}
	}
	return labels
}

// controlPlaneTaint is what kubeadm puts on control planes.
var controlPlaneTaint = corev1.Taint{Key: "node-role.kubernetes.io/control-plane", Effect: corev1.TaintEffectNoSchedule}

// taints are those of the pool and, while there are workers, the one that keeps
// ordinary pods off a control plane.
func (p Pool) taints() []corev1.Taint {
	own := slices.ContainsFunc(p.Taints, func(t corev1.Taint) bool { return taintName(t) == taintName(controlPlaneTaint) })
	if p.Role != v1alpha1.RoleControlPlane || p.Schedulable || own {
		return p.Taints
	}
	return append([]corev1.Taint{controlPlaneTaint}, p.Taints...)
}

// reserved tells whether the NodeRestriction admission plug-in keeps kubelets
// from setting the label on their own node.
func reserved(key string) bool {
	prefix, _, found := strings.Cut(key, "/")
	return found && (prefix == "kubernetes.io" || strings.HasSuffix(prefix, ".kubernetes.io") || prefix == "k8s.io" || strings.HasSuffix(prefix, ".k8s.io"))
}

// labelNodes brings the labels and taints of all nodes to those of their pools,
// also those that changed after the node joined or that a kubelet may not set.
// Labels and taints of others are kept.
func (r *run) labelNodes(ctx context.Context) error {
	return each(ctx, r.cluster.all(), func(ctx context.Context, m member) error {
		return r.changeNode(ctx, r.cluster.spec(m).Hostname, func(node *corev1.Node) {
			m.pool.mark(node)
			if r.upgraded(node) {
				// What cordoned it did not come to its end.
				uncordonNode(node)
			}
		})
	})
}

// changeNode changes a node, which may not be there yet, as soon as it can.
func (r *run) changeNode(ctx context.Context, name string, change func(*corev1.Node)) error {
	return poll(ctx, r.Clock, func(ctx context.Context) error {
		var node corev1.Node
		if err := r.api.Get(ctx, client.ObjectKey{Name: name}, &node); err != nil {
			return fmt.Errorf("node %q: %w", name, classify(err))
		}
		before := node.DeepCopy()
		change(&node)
		if equality.Semantic.DeepEqual(before, &node) {
			return nil
		}
		if err := r.api.Patch(ctx, &node, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
			return fmt.Errorf("changing node %q: %w", name, classify(err))
		}
		return nil
	})
}

// Annotations of nodes that record what the flow set, so that a label or taint
// which leaves the pool leaves the node, and others' stay.
const (
	annotationLabels = "loam.dev/pool-labels"
	annotationTaints = "loam.dev/pool-taints"
)

// mark gives a node its pool's labels and taints and takes away those that the
// pool had before.
func (p Pool) mark(node *corev1.Node) {
	if node.Labels == nil {
		node.Labels = map[string]string{}
	}
	if node.Annotations == nil {
		node.Annotations = map[string]string{}
	}
	for _, old := range strings.Fields(node.Annotations[annotationLabels]) {
		if _, keep := p.Labels[old]; !keep {
			delete(node.Labels, old)
		}
	}
	maps.Copy(node.Labels, p.Labels)
	node.Labels[nodeLabelPool] = p.Name
	if p.Role == v1alpha1.RoleWorker {
		node.Labels[nodeLabelWorker] = ""
	}
	record(node.Annotations, annotationLabels, slices.Sorted(maps.Keys(p.Labels)))

	wanted := map[string]corev1.Taint{}
	var names []string
	for _, t := range p.taints() {
		wanted[taintName(t)] = t
		names = append(names, taintName(t))
	}
	mine := strings.Fields(node.Annotations[annotationTaints])
	taints := slices.DeleteFunc(slices.Clone(node.Spec.Taints), func(t corev1.Taint) bool {
		w, want := wanted[taintName(t)]
		return want && w.Value != t.Value || !want && slices.Contains(mine, taintName(t))
	})
	for _, t := range p.taints() {
		if !slices.ContainsFunc(taints, func(have corev1.Taint) bool { return taintName(have) == taintName(t) }) {
			taints = append(taints, t)
		}
	}
	node.Spec.Taints = taints
	slices.Sort(names)
	record(node.Annotations, annotationTaints, names)
}

func record(annotations map[string]string, key string, names []string) {
	if len(names) == 0 {
		delete(annotations, key)
		return
	}
	annotations[key] = strings.Join(names, " ")
}

func taintName(t corev1.Taint) string { return t.Key + ":" + string(t.Effect) }

// drainLimit bounds how long pods are waited for, disruption budgets included,
// before a node that is to go goes.
const drainLimit = 5 * time.Minute

// evictionDelay is the pause after an eviction that a disruption budget forbids.
const evictionDelay = time.Second

// removeSurplus drains and removes machines that the cluster no longer has.
func (r *run) removeSurplus(ctx context.Context) error {
	return each(ctx, r.surplus, func(ctx context.Context, m machines.Machine) error {
		if m.State == machines.StateRunning {
			if err := r.drain(ctx, m.Hostname); err != nil {
				return fmt.Errorf("draining node %q: %w", m.Hostname, err)
			}
		}
		node := &corev1.Node{}
		node.Name = m.Hostname
		if err := client.IgnoreNotFound(r.api.Delete(ctx, node)); err != nil {
			return fmt.Errorf("removing node %q: %w", m.Hostname, classify(err))
		}
		if err := r.Machines.Delete(ctx, m.Cluster, m.Name); err != nil {
			return fmt.Errorf("removing machine %q: %w", m.Name, err)
		}
		return nil
	})
}

// drain moves the pods of a node elsewhere, by eviction, so that disruption
// budgets hold.
func (r *run) drain(ctx context.Context, name string) error {
	set, err := r.Clientset(r.api.config)
	if err != nil {
		return err
	}
	var node corev1.Node
	if err := r.api.Get(ctx, client.ObjectKey{Name: name}, &node); err != nil {
		if apierrors.IsNotFound(err) {
			return nil // it never joined
		}
		return classify(err)
	}
	limited, cancel := context.WithTimeout(ctx, drainLimit)
	defer cancel()
	helper := &drain.Helper{
		Ctx: limited, Client: set, Force: true, GracePeriodSeconds: -1, IgnoreAllDaemonSets: true, DeleteEmptyDirData: true,
		EvictErrorRetryDelay: evictionDelay, Out: io.Discard, ErrOut: io.Discard,
	}
	if err := drain.RunCordonOrUncordon(helper, &node, true); err != nil {
		return fmt.Errorf("cordoning: %w", classify(err))
	}
	switch err := drain.RunNodeDrain(helper, name); {
	case err == nil:
		return nil
	case ctx.Err() == nil && limited.Err() != nil:
		log.FromContext(ctx).Info("A node goes with pods on it", "node", name, "waited", drainLimit.String(), "problem", err.Error())
		return nil
	default:
		return fault.Wrap(fault.Transient, err)
	}
}

// awaitNodes waits until every machine is a node that is ready.
func (r *run) awaitNodes(ctx context.Context) error {
	all := r.cluster.all()
	return poll(ctx, r.Clock, func(ctx context.Context) error {
		var nodes corev1.NodeList
		if err := r.api.List(ctx, &nodes); err != nil {
			return classify(err)
		}
		ready := map[string]bool{}
		for _, n := range nodes.Items {
			ready[n.Name] = r.nodeIsReady(&n)
		}
		var missing []string
		for _, m := range all {
			if name := r.cluster.spec(m).Hostname; !ready[name] {
				missing = append(missing, name)
			}
		}
		if len(missing) > 0 {
			return fault.New(fault.Waiting, "nodes are not ready: %s", strings.Join(missing, ", "))
		}
		return nil
	})
}

func nodeReady(node *corev1.Node) bool {
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// awaitSystem waits until every Deployment of kube-system has its pods, so that
// names resolve when the cluster is handed over.
func (r *run) awaitSystem(ctx context.Context) error {
	if err := r.awaken(ctx); err != nil {
		return err
	}
	return poll(ctx, r.Clock, func(ctx context.Context) error {
		var deployments appsv1.DeploymentList
		if err := r.api.List(ctx, &deployments, client.InNamespace("kube-system")); err != nil {
			return classify(err)
		}
		if len(deployments.Items) == 0 {
			return fault.New(fault.Waiting, "kube-system has no Deployment yet")
		}
		for _, d := range deployments.Items {
			if d.Status.ObservedGeneration < d.Generation || d.Spec.Replicas != nil && d.Status.AvailableReplicas < *d.Spec.Replicas {
				return fault.New(fault.Waiting, "deployment %q has %d of its pods", d.Name, d.Status.AvailableReplicas)
			}
		}
		return nil
	})
}
