package care

import (
	"errors"
	"strings"
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func node(name string, ready corev1.ConditionStatus) corev1.Node {
	return corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready, Message: "because"}}}}
}

func pod(name string, ready corev1.ConditionStatus) corev1.Pod {
	return corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}}}
}

// startingPod runs and has not passed its startup probe.
func startingPod(name string, restarts int32) corev1.Pod {
	p := pod(name, corev1.ConditionFalse)
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{Started: ptr.To(false), RestartCount: restarts, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
	return p
}

func deployment(want, have int32) appsv1.Deployment {
	return appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "coredns"}, Spec: appsv1.DeploymentSpec{Replicas: ptr.To(want)}, Status: appsv1.DeploymentStatus{AvailableReplicas: have}}
}

func TestDecide(t *testing.T) {
	healthy := observation{
		expected: 1, nodes: []corev1.Node{node("a", corev1.ConditionTrue)},
		controlPlane: []corev1.Pod{pod("etcd", corev1.ConditionTrue)},
		deployments:  []appsv1.Deployment{deployment(2, 2)},
		daemonSets:   []appsv1.DaemonSet{{Status: appsv1.DaemonSetStatus{DesiredNumberScheduled: 1, NumberAvailable: 1}}},
	}
	with := func(change func(*observation)) observation {
		o := healthy
		change(&o)
		return o
	}
	for name, tc := range map[string]struct {
		seen observation
		// want holds the statuses of the four conditions in their order.
		want    string
		message string
	}{
		"healthy":              {healthy, "True True True True", ""},
		"unreachable":          {with(func(o *observation) { o.problem = errors.New("no route") }), "False Unknown Unknown Unknown", "no route"},
		"node not ready":       {with(func(o *observation) { o.nodes = []corev1.Node{node("a", corev1.ConditionUnknown)} }), "True True False True", `node "a" is not ready: because`},
		"node missing":         {with(func(o *observation) { o.expected = 3 }), "True True False True", "1 of 3 nodes registered"},
		"etcd down":            {with(func(o *observation) { o.controlPlane = []corev1.Pod{pod("etcd", corev1.ConditionFalse)} }), "True False True True", `pod "etcd" is not ready`},
		"first start":          {with(func(o *observation) { o.controlPlane = []corev1.Pod{startingPod("etcd", 0)} }), "True Progressing True True", `pod "etcd" is starting`},
		"started again":        {with(func(o *observation) { o.controlPlane = []corev1.Pod{startingPod("etcd", 1)} }), "True False True True", `pod "etcd" is not ready`},
		"no control plane":     {with(func(o *observation) { o.controlPlane = nil }), "True False True True", "no control plane component"},
		"node reports nothing": {with(func(o *observation) { o.nodes = []corev1.Node{{ObjectMeta: metav1.ObjectMeta{Name: "a"}}} }), "True True False True", `node "a" reports nothing`},
		"pods missing on nodes": {with(func(o *observation) {
			o.daemonSets = []appsv1.DaemonSet{{ObjectMeta: metav1.ObjectMeta{Name: "proxy"}, Status: appsv1.DaemonSetStatus{DesiredNumberScheduled: 2, NumberAvailable: 1}}}
		}), "True True True False", `daemon set "proxy" has 1 of 2 pods`},
		"replicas left to the default": {with(func(o *observation) {
			o.deployments = []appsv1.Deployment{{ObjectMeta: metav1.ObjectMeta{Name: "one"}}}
		}), "True True True False", `"one" has 0 of 1 pods`},
		"all at once": {with(func(o *observation) {
			o.nodes, o.expected, o.controlPlane = nil, 2, nil
			o.deployments = []appsv1.Deployment{deployment(2, 0)}
		}), "True False False False", "0 of 2 nodes registered"},
		"names do not work": {with(func(o *observation) { o.deployments = []appsv1.Deployment{deployment(2, 1)} }), "True True True False", `"coredns" has 1 of 2 pods`},
	} {
		t.Run(name, func(t *testing.T) {
			var statuses []string
			var messages string
			for _, c := range decide(tc.seen) {
				statuses = append(statuses, string(c.Status))
				if c.Status != gardencorev1beta1.ConditionTrue {
					messages += c.Message
				}
			}
			if got := strings.Join(statuses, " "); got != tc.want {
				t.Errorf("statuses %s, want %s", got, tc.want)
			}
			if !strings.Contains(messages, tc.message) {
				t.Errorf("messages %q do not say %q", messages, tc.message)
			}
		})
	}
}
