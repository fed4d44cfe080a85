package shoots

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/loam-cloud/loam/machines"
)

// TestWhatWasSaidBefore believes of a node whose machine was off only what was said
// since it was started.
func TestWhatWasSaidBefore(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 11, 22, 8, 0, 0, 500_000_000, time.UTC)
	r := &run{began: began, existing: []machines.Machine{
		{Hostname: "was-off", State: machines.StateStopped}, {Hostname: "was-on", State: machines.StateRunning}, {Hostname: "new", State: machines.StateCreated},
	}}
	for _, c := range []struct {
		node        string
		said        time.Time
		ready       bool
		believed    bool
		startsAgain string
	}{
		{"was-off", began.Add(-time.Minute), true, false, `has not started container "dns" again`},
		// The API writes whole seconds.
		{"was-off", began.Truncate(time.Second), true, true, ""},
		{"was-off", began.Add(time.Minute), true, true, ""},
		{"was-off", began.Add(time.Minute), false, false, `has a container "dns" that is not ready`},
		{"was-on", began.Add(-time.Minute), true, true, ""},
		{"was-on", began.Add(-time.Minute), false, false, ""},
		{"new", began.Add(-time.Minute), true, true, ""},
	} {
		status := corev1.ConditionFalse
		if c.ready {
			status = corev1.ConditionTrue
		}
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: c.node}}
		node.Status.Conditions = []corev1.NodeCondition{
			{Type: corev1.NodeMemoryPressure, LastHeartbeatTime: metav1.NewTime(began.Add(time.Hour))},
			{Type: corev1.NodeReady, Status: status, LastHeartbeatTime: metav1.NewTime(c.said)},
		}
		if got := r.nodeIsReady(node); got != c.believed {
			t.Errorf("node %s, said at %s to be %s: ready is %v", c.node, c.said, status, got)
		}
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "dns-1", OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Controller: &[]bool{true}[0]}}}}
		pod.Spec.NodeName = c.node
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
			Name: "dns", Ready: c.ready, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(c.said)}},
		}}
		if got := r.asleep(pod); got != c.startsAgain {
			t.Errorf("a pod on %s, started at %s: %q, want %q", c.node, c.said, got, c.startsAgain)
		}
		if c.node != "was-off" {
			continue
		}
		pod.Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}}
		if r.asleep(pod) == "" {
			t.Errorf("a pod on %s without its container is believed to serve", c.node)
		}
		pod.OwnerReferences[0].Kind = "DaemonSet"
		if got := r.asleep(pod); got != "" {
			t.Errorf("a pod of a DaemonSet is waited for: %s", got)
		}
	}
}
