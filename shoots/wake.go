package shoots

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
)

// A machine that was off left its node as it was when it went: ready, with pods that
// serve. For a while after it is on again that is what the cluster still says, so
// what is older than the start is not believed.

// woke tells whether the machine of a node was off when the run began.
func (r *run) woke(hostname string) bool {
	return slices.ContainsFunc(r.existing, func(m machines.Machine) bool {
		return m.Hostname == hostname && m.State == machines.StateStopped
	})
}

// stale tells whether something was said of a node, at a time of whole seconds, before
// its machine was started.
func (r *run) stale(hostname string, said time.Time) bool {
	return r.woke(hostname) && said.Before(r.began.Truncate(time.Second))
}

// nodeIsReady tells whether the node is ready now.
func (r *run) nodeIsReady(node *corev1.Node) bool {
	return nodeReady(node) && slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && !r.stale(node.Name, c.LastHeartbeatTime.Time)
	})
}

// awaken waits until the pods of kube-system's Deployments run again on nodes whose
// machines were off.
func (r *run) awaken(ctx context.Context) error {
	if !slices.ContainsFunc(r.existing, func(m machines.Machine) bool { return r.woke(m.Hostname) }) {
		return nil
	}
	return poll(ctx, r.Clock, func(ctx context.Context) error {
		var pods corev1.PodList
		if err := r.api.List(ctx, &pods, client.InNamespace("kube-system")); err != nil {
			return classify(err)
		}
		for _, pod := range pods.Items {
			if why := r.asleep(&pod); why != "" {
				return fault.New(fault.Waiting, "pod %q %s", pod.Name, why)
			}
		}
		return nil
	})
}

// asleep says what is missing for a pod of a Deployment to serve again; empty for
// nothing. One that is to go is not waited for.
func (r *run) asleep(pod *corev1.Pod) string {
	owner := metav1.GetControllerOf(pod)
	if owner == nil || owner.Kind != "ReplicaSet" || pod.DeletionTimestamp != nil || !r.woke(pod.Spec.NodeName) {
		return ""
	}
	for _, c := range pod.Status.ContainerStatuses {
		switch {
		case c.State.Running == nil || r.stale(pod.Spec.NodeName, c.State.Running.StartedAt.Time):
			return fmt.Sprintf("has not started container %q again", c.Name)
		case !c.Ready:
			return fmt.Sprintf("has a container %q that is not ready", c.Name)
		}
	}
	return ""
}
