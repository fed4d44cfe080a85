package care

import (
	"fmt"
	"slices"
	"strings"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/controllers/condition"
)

// observation is what was seen of a cluster. With a problem nothing else counts.
type observation struct {
	problem      error
	nodes        []corev1.Node
	expected     int
	controlPlane []corev1.Pod
	deployments  []appsv1.Deployment
	daemonSets   []appsv1.DaemonSet
}

// conditionTypes are those that are kept; the first is what the others need.
var conditionTypes = []gardencorev1beta1.ConditionType{
	gardencorev1beta1.ShootAPIServerAvailable,
	gardencorev1beta1.ShootControlPlaneHealthy,
	gardencorev1beta1.ShootEveryNodeReady,
	gardencorev1beta1.ShootSystemComponentsHealthy,
}

// asleep says that nothing is checked while the cluster is hibernated.
func asleep() []gardencorev1beta1.Condition {
	var all []gardencorev1beta1.Condition
	for _, t := range conditionTypes {
		all = append(all, condition.New(t, gardencorev1beta1.ConditionTrue, "ConditionNotChecked", "The cluster is hibernated."))
	}
	return all
}

// unknown says that nothing can be checked, and why.
func unknown(reason, message string) []gardencorev1beta1.Condition {
	var all []gardencorev1beta1.Condition
	for _, t := range conditionTypes {
		all = append(all, condition.New(t, gardencorev1beta1.ConditionUnknown, reason, message))
	}
	return all
}

// decide turns what was seen into conditions.
func decide(o observation) []gardencorev1beta1.Condition {
	if o.problem != nil {
		const reason = "APIServerUnreachable"
		all := unknown(reason, "Not known while the API server does not answer.")
		all[0] = condition.New(conditionTypes[0], gardencorev1beta1.ConditionFalse, reason, "The API server does not answer: "+o.problem.Error())
		return all
	}
	return []gardencorev1beta1.Condition{
		condition.New(gardencorev1beta1.ShootAPIServerAvailable, gardencorev1beta1.ConditionTrue, "APIServerAnswers", "The API server answers."),
		controlPlane(o.controlPlane),
		result(gardencorev1beta1.ShootEveryNodeReady, "EveryNodeReady", "All nodes are ready.", "NodesNotReady", unreadyNodes(o.nodes, o.expected)),
		result(gardencorev1beta1.ShootSystemComponentsHealthy, "SystemComponentsRunning", "All system components are running.", "SystemComponentsUnhealthy", unreadyWorkload(o.deployments, o.daemonSets)),
	}
}

func result(t gardencorev1beta1.ConditionType, goodReason, good, badReason string, problems []string) gardencorev1beta1.Condition {
	if len(problems) == 0 {
		return condition.New(t, gardencorev1beta1.ConditionTrue, goodReason, good)
	}
	return condition.New(t, gardencorev1beta1.ConditionFalse, badReason, strings.Join(problems, "; "))
}

// controlPlane tells components that are ill from those in their first start:
// kubeadm has them asked for the first time ten seconds after it.
func controlPlane(pods []corev1.Pod) gardencorev1beta1.Condition {
	if len(pods) == 0 {
		return condition.New(gardencorev1beta1.ShootControlPlaneHealthy, gardencorev1beta1.ConditionFalse, "ControlPlaneUnhealthy", "no control plane component is to be seen")
	}
	var problems, starting []string
	for _, p := range pods {
		switch {
		case slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		}):
		case inFirstStart(p):
			starting = append(starting, fmt.Sprintf("pod %q is starting", p.Name))
		default:
			problems = append(problems, fmt.Sprintf("pod %q is not ready", p.Name))
		}
	}
	if len(problems) == 0 && len(starting) > 0 {
		return condition.New(gardencorev1beta1.ShootControlPlaneHealthy, gardencorev1beta1.ConditionProgressing, "ControlPlaneStarting", strings.Join(starting, "; "))
	}
	return result(gardencorev1beta1.ShootControlPlaneHealthy, "ControlPlaneRunning", "All control plane components are ready.", "ControlPlaneUnhealthy", problems)
}

// inFirstStart tells whether all containers run for the first time and at least
// one has not passed its startup probe yet.
func inFirstStart(p corev1.Pod) bool {
	waiting := false
	for _, c := range p.Status.ContainerStatuses {
		if c.RestartCount > 0 || c.State.Running == nil {
			return false
		}
		waiting = waiting || !ptr.Deref(c.Started, false)
	}
	return waiting
}

func unreadyNodes(nodes []corev1.Node, expected int) []string {
	var problems []string
	if len(nodes) < expected {
		problems = append(problems, fmt.Sprintf("%d of %d nodes registered", len(nodes), expected))
	}
	for _, n := range nodes {
		i := slices.IndexFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool { return c.Type == corev1.NodeReady })
		switch {
		case i < 0:
			problems = append(problems, fmt.Sprintf("node %q reports nothing", n.Name))
		case n.Status.Conditions[i].Status != corev1.ConditionTrue:
			problems = append(problems, fmt.Sprintf("node %q is not ready: %s", n.Name, n.Status.Conditions[i].Message))
		}
	}
	return problems
}

func unreadyWorkload(deployments []appsv1.Deployment, sets []appsv1.DaemonSet) []string {
	var problems []string
	for _, d := range deployments {
		if want := ptr.Deref(d.Spec.Replicas, 1); d.Status.AvailableReplicas < want {
			problems = append(problems, fmt.Sprintf("deployment %q has %d of %d pods", d.Name, d.Status.AvailableReplicas, want))
		}
	}
	for _, d := range sets {
		if d.Status.NumberAvailable < d.Status.DesiredNumberScheduled {
			problems = append(problems, fmt.Sprintf("daemon set %q has %d of %d pods", d.Name, d.Status.NumberAvailable, d.Status.DesiredNumberScheduled))
		}
	}
	return problems
}
