package conformance_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/kubectl/pkg/drain"
)

func schedulingChecks() []check {
	return []check{
		{"node affinity", "a pod goes to a node that it requires, and waits if there is none", nodeAffinity},
		{"pods apart", "pods that repel each other are on different nodes, and a third waits", antiAffinity},
		{"spread over nodes", "pods are spread evenly over nodes", spreadConstraint},
		{"priority and preemption", "a pod of higher priority takes the place of a lower one", preemption},
		{"quota", "a namespace takes no more than its quota", quota},
		{"limit range", "containers get default limits, and none above the maximum", limitRange},
		{"disruption budget", "an eviction that a budget forbids is refused until it allows it", budget},
	}
}

// nodeChecks disturb a node.
func nodeChecks() []check {
	return []check{
		{"taints and tolerations", "a taint keeps pods away and drives out those that do not tolerate it", taints},
		{"drain", "a drained node has no more pods of a Deployment, which never has too few", drainNode},
	}
}

// waits wants a pod not to be scheduled, and says why it is not.
func (s *scope) waits(name, why string) {
	s.Helper()
	s.until("pod "+name+" cannot be scheduled", func() (bool, error) {
		for _, c := range s.get(name).Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && strings.Contains(c.Message, why) {
				return true, nil
			}
		}
		return false, nil
	})
}

func nodeAffinity(s *scope) {
	requires := func(value string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{value}}}}},
			}}}
		}
	}
	if got := s.running(s.pod("here", stay, requires(s.workers[1]))); got.Spec.NodeName != s.workers[1] {
		s.Errorf("it is on %s", got.Spec.NodeName)
	}
	s.create(s.pod("nowhere", stay, requires("no-such-node")))
	s.waits("nowhere", "affinity")
}

func antiAffinity(s *scope) {
	alone := func(p *corev1.Pod) {
		p.Labels["group"] = "apart"
		p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{
			LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"group": "apart"}}, TopologyKey: corev1.LabelHostname,
		}}}}
	}
	used := map[string]bool{}
	for i := range s.workers {
		used[s.running(s.pod(fmt.Sprintf("p%d", i), stay, alone)).Spec.NodeName] = true
	}
	if len(used) != len(s.workers) {
		s.Errorf("they are on %v", used)
	}
	s.create(s.pod("more", stay, alone))
	s.waits("more", "anti-affinity")
}

func spreadConstraint(s *scope) {
	spread := func(p *corev1.Pod) {
		p.Labels["group"] = "even"
		p.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
			MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.DoNotSchedule,
			LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"group": "even"}},
			// The control plane takes no pods, and does not count.
			NodeTaintsPolicy: new(corev1.NodeInclusionPolicyHonor),
		}}
	}
	count := map[string]int{}
	for i := range 2 * len(s.workers) {
		count[s.running(s.pod(fmt.Sprintf("p%d", i), stay, spread)).Spec.NodeName]++
	}
	for _, node := range s.workers {
		if count[node] != 2 {
			s.Errorf("they are spread as %v", count)
		}
	}
}

func preemption(s *scope) {
	// A resource of which there is one, so that nobody else is in the way.
	name := corev1.ResourceName("loam.dev/" + s.namespace)
	node := s.workers[0]
	change := merge(map[string]any{"status": map[string]any{"capacity": map[string]any{string(name): "1"}, "allocatable": map[string]any{string(name): "1"}}})
	_, err := s.set.CoreV1().Nodes().Patch(s.ctx, node, types.MergePatchType, change, metav1.PatchOptions{}, "status")
	s.must(err)
	classes := s.set.SchedulingV1().PriorityClasses()
	_, err = classes.Create(s.ctx, &schedulingv1.PriorityClass{ObjectMeta: meta(s.namespace), Value: 1000}, metav1.CreateOptions{})
	s.must(err)
	s.Cleanup(func() {
		s.removed(classes.Delete(background(), s.namespace, metav1.DeleteOptions{}))
	})
	one := func(p *corev1.Pod) {
		p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{name: resource.MustParse("1")}
	}
	s.running(s.pod("low", stay, one))
	s.running(s.pod("high", stay, one, func(p *corev1.Pod) { p.Spec.PriorityClassName = s.namespace }))
	if _, err := s.set.CoreV1().Pods(s.namespace).Get(s.ctx, "low", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		s.Errorf("the lower one: %v", err)
	}
}

func quota(s *scope) {
	// What comes between the count and the quota is counted minutes later.
	s.eventually(func() error {
		_, err := s.set.CoreV1().ConfigMaps(s.namespace).Get(s.ctx, "kube-root-ca.crt", metav1.GetOptions{})
		return err
	})
	_, err := s.set.CoreV1().ResourceQuotas(s.namespace).Create(s.ctx, &corev1.ResourceQuota{ObjectMeta: meta("few"), Spec: corev1.ResourceQuotaSpec{
		Hard: corev1.ResourceList{"count/configmaps": resource.MustParse("2"), corev1.ResourceRequestsMemory: resource.MustParse("6Mi")},
	}}, metav1.CreateOptions{})
	s.must(err)
	s.until("the quota counts", func() (bool, error) {
		q, err := s.set.CoreV1().ResourceQuotas(s.namespace).Get(s.ctx, "few", metav1.GetOptions{})
		used, counted := q.Status.Used["count/configmaps"]
		return err == nil && counted && used.Value() == 1, err // the root authority
	})
	s.configMap("second", nil)
	_, err = s.set.CoreV1().ConfigMaps(s.namespace).Create(s.ctx, &corev1.ConfigMap{ObjectMeta: meta("third")}, metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "exceeded quota") {
		s.Errorf("a third config map gives %v", err)
	}
	s.create(s.pod("fits", "true"))
	if _, err := s.set.CoreV1().Pods(s.namespace).Create(s.ctx, s.pod("does-not", "true"), metav1.CreateOptions{}); !apierrors.IsForbidden(err) {
		s.Errorf("a pod above the quota gives %v", err)
	}
}

func limitRange(s *scope) {
	amount := func(cpu string) corev1.ResourceList {
		return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}
	}
	_, err := s.set.CoreV1().LimitRanges(s.namespace).Create(s.ctx, &corev1.LimitRange{ObjectMeta: meta("range"), Spec: corev1.LimitRangeSpec{
		Limits: []corev1.LimitRangeItem{{Type: corev1.LimitTypeContainer, Default: amount("200m"), DefaultRequest: amount("10m"), Max: amount("500m")}},
	}}, metav1.CreateOptions{})
	s.must(err)
	s.eventually(func() error {
		p, err := s.set.CoreV1().Pods(s.namespace).Create(s.ctx, s.pod("plain", "true"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil && (p.Spec.Containers[0].Resources.Limits.Cpu().String() != "200m" || p.Spec.Containers[0].Resources.Requests.Cpu().String() != "10m") {
			err = fmt.Errorf("it gets %+v", p.Spec.Containers[0].Resources)
		}
		return err
	})
	large := s.pod("large", "true")
	large.Spec.Containers[0].Resources.Limits = amount("2")
	if _, err := s.set.CoreV1().Pods(s.namespace).Create(s.ctx, large, metav1.CreateOptions{}); !apierrors.IsForbidden(err) {
		s.Errorf("a container above the maximum gives %v", err)
	}
}

func (s *scope) budget(name string, least int32) {
	s.Helper()
	_, err := s.set.PolicyV1().PodDisruptionBudgets(s.namespace).Create(s.ctx, &policyv1.PodDisruptionBudget{
		ObjectMeta: meta(name), Spec: policyv1.PodDisruptionBudgetSpec{MinAvailable: new(intstr.FromInt32(least)), Selector: selects(name)},
	}, metav1.CreateOptions{})
	s.must(err)
}

func budget(s *scope) {
	s.running(s.pod("one", stay, labelled("app", "app")))
	s.budget("app", 1)
	s.until("the budget counts", func() (bool, error) {
		b, err := s.set.PolicyV1().PodDisruptionBudgets(s.namespace).Get(s.ctx, "app", metav1.GetOptions{})
		return err == nil && b.Status.ExpectedPods == 1 && b.Status.CurrentHealthy == 1, err
	})
	evict := func() error {
		return s.set.CoreV1().Pods(s.namespace).EvictV1(s.ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "one", Namespace: s.namespace}})
	}
	if err := evict(); !apierrors.IsTooManyRequests(err) {
		s.Errorf("an eviction gives %v, want a refusal", err)
	}
	s.running(s.pod("two", stay, labelled("app", "app")))
	s.eventually(evict)
}

func taints(s *scope) {
	node := s.workers[1]
	tolerant := func(p *corev1.Pod) {
		p.Spec.Tolerations = []corev1.Toleration{{Key: "loam.dev/check", Operator: corev1.TolerationOpExists}}
	}
	pinned := func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{corev1.LabelHostname: node} }
	s.running(s.pod("stays", stay, tolerant, pinned))
	s.running(s.pod("goes", stay, pinned))
	change := func(taints []corev1.Taint) {
		s.Helper()
		s.eventually(func() error {
			n, err := s.set.CoreV1().Nodes().Get(s.ctx, node, metav1.GetOptions{})
			if err != nil {
				return err
			}
			n.Spec.Taints = append(slices.DeleteFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == "loam.dev/check" }), taints...)
			_, err = s.set.CoreV1().Nodes().Update(s.ctx, n, metav1.UpdateOptions{})
			return err
		})
	}
	defer change(nil)
	change([]corev1.Taint{{Key: "loam.dev/check", Effect: corev1.TaintEffectNoExecute}})
	s.until("the pod that does not tolerate it is gone", func() (bool, error) {
		_, err := s.set.CoreV1().Pods(s.namespace).Get(s.ctx, "goes", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return true, nil
		}
		return false, err
	})
	if !isReady(s.get("stays")) {
		s.Error("the pod that tolerates it went too")
	}
	// A kubelet that learns of the change after the scheduler refuses a pod for good,
	// so somebody has to make another.
	late := s.template("app", stay)
	late.Spec.NodeSelector = map[string]string{corev1.LabelHostname: node}
	s.deployment(1, late)
	s.until("its pod cannot be scheduled", func() (bool, error) {
		pods, err := s.set.CoreV1().Pods(s.namespace).List(s.ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(selects("app"))})
		if err != nil || len(pods.Items) == 0 {
			return false, err
		}
		s.waits(pods.Items[0].Name, "taint")
		return true, nil
	})
	change(nil)
	s.rolledOut(0)
}

func drainNode(s *scope) {
	node := s.workers[0]
	s.deployment(2, s.template("app", stay))
	s.rolledOut(0)
	s.budget("app", 2-1)
	helper := &drain.Helper{
		Ctx: s.ctx, Client: s.set, Force: true, GracePeriodSeconds: -1, IgnoreAllDaemonSets: true, DeleteEmptyDirData: true,
		PodSelector: "app=app", EvictErrorRetryDelay: time.Second, Out: s.Output(), ErrOut: s.Output(),
	}
	n, err := s.set.CoreV1().Nodes().Get(s.ctx, node, metav1.GetOptions{})
	s.must(err)
	s.must(drain.RunCordonOrUncordon(helper, n, true))
	defer func() { s.must(drain.RunCordonOrUncordon(helper, n, false)) }()
	s.must(drain.RunNodeDrain(helper, node))
	s.rolledOut(1)
	pods, err := s.set.CoreV1().Pods(s.namespace).List(s.ctx, metav1.ListOptions{LabelSelector: "app=app"})
	s.must(err)
	for _, p := range pods.Items {
		if p.Spec.NodeName == node && p.DeletionTimestamp == nil {
			s.Errorf("pod %s is still on %s", p.Name, node)
		}
	}
}
