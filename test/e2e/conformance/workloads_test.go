package conformance_test

import (
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

func workloadChecks() []check {
	return []check{
		{"rolling update", "a Deployment gets a new version with no moment below its replicas, and goes back to the former", rollingUpdate},
		{"scale", "the subresource scale changes how many pods there are", scale},
		{"stateful set", "pods come in order, and one that comes again has its name and its volume", statefulSet},
		{"daemon set", "every node that is not tainted has one pod", daemonSet},
		{"indexed job", "each index of a job is done once, so many at a time", indexedJob},
		{"job that fails", "a job ends when its pods have failed too often", failingJob},
		{"finished job", "a job that has ended goes after its time, with its pods", finishedJob},
		{"cron job", "a job is begun every minute, and none while it is suspended", cronJob},
	}
}

func meta(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name} }

func selects(name string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}
}

// template is a pod of something that makes pods.
func (s *scope) template(name, script string) corev1.PodTemplateSpec {
	p := s.pod(name, script)
	p.Spec.RestartPolicy = corev1.RestartPolicyAlways
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: p.Labels}, Spec: p.Spec}
}

// deployment makes the Deployment app.
func (s *scope) deployment(replicas int32, template corev1.PodTemplateSpec) *appsv1.Deployment {
	s.Helper()
	d, err := s.set.AppsV1().Deployments(s.namespace).Create(s.ctx, &appsv1.Deployment{
		ObjectMeta: meta("app"), Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: selects("app"), Template: template,
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{
				MaxUnavailable: ptr.To(intstr.FromInt32(0)), MaxSurge: ptr.To(intstr.FromInt32(1)),
			}},
		},
	}, metav1.CreateOptions{})
	s.must(err)
	return d
}

// rolledOut waits until all pods of the Deployment app are of its present template, and
// looks at every step whether there were ever too few.
func (s *scope) rolledOut(least int32) {
	s.Helper()
	s.until("the Deployment app is rolled out", func() (bool, error) {
		d, err := s.set.AppsV1().Deployments(s.namespace).Get(s.ctx, "app", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		if d.Status.AvailableReplicas < least {
			s.Errorf("only %d pods are available", d.Status.AvailableReplicas)
		}
		want := ptr.Deref(d.Spec.Replicas, 1)
		return d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedReplicas == want && d.Status.AvailableReplicas == want && d.Status.Replicas == want, nil
	})
}

func rollingUpdate(s *scope) {
	s.deployment(2, s.template("app", stay))
	s.rolledOut(0)
	sets := func() int {
		all, err := s.set.AppsV1().ReplicaSets(s.namespace).List(s.ctx, metav1.ListOptions{})
		s.must(err)
		return len(all.Items)
	}
	for _, version := range []string{"2", ""} {
		change := merge(map[string]any{"spec": map[string]any{"template": map[string]any{"metadata": map[string]any{"labels": map[string]any{"version": ptr.To(version)}}}}})
		if version == "" {
			change = []byte(`{"spec":{"template":{"metadata":{"labels":{"version":null}}}}}`)
		}
		_, err := s.set.AppsV1().Deployments(s.namespace).Patch(s.ctx, "app", types.MergePatchType, change, metav1.PatchOptions{})
		s.must(err)
		s.rolledOut(2)
		if n := sets(); n != 2 {
			s.Errorf("there are %d replica sets, want the present and the former", n)
		}
	}
}

func scale(s *scope) {
	s.deployment(1, s.template("app", stay))
	s.rolledOut(0)
	for _, n := range []int32{3, 0} {
		current, err := s.set.AppsV1().Deployments(s.namespace).GetScale(s.ctx, "app", metav1.GetOptions{})
		s.must(err)
		current.Spec.Replicas, current.ResourceVersion = n, ""
		_, err = s.set.AppsV1().Deployments(s.namespace).UpdateScale(s.ctx, "app", current, metav1.UpdateOptions{})
		s.must(err)
		s.rolledOut(0)
	}
}

func statefulSet(s *scope) {
	s.service("db", 80, func(service *corev1.Service) { service.Spec.ClusterIP = corev1.ClusterIPNone })
	t := s.template("db", "test -e /data/name || hostname >/data/name; "+stay)
	t.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
	_, err := s.set.AppsV1().StatefulSets(s.namespace).Create(s.ctx, &appsv1.StatefulSet{
		ObjectMeta: meta("db"), Spec: appsv1.StatefulSetSpec{
			Replicas: ptr.To(int32(2)), Selector: selects("db"), ServiceName: "db", Template: t,
			VolumeClaimTemplates: []corev1.PersistentVolumeClaim{{ObjectMeta: meta("data"), Spec: claim()}},
		},
	}, metav1.CreateOptions{})
	s.must(err)
	both := func() (bool, error) {
		set, err := s.set.AppsV1().StatefulSets(s.namespace).Get(s.ctx, "db", metav1.GetOptions{})
		return err == nil && set.Status.ReadyReplicas == 2, err
	}
	s.until("both are ready", both)
	first, second := s.get("db-0"), s.get("db-1")
	if first.Status.StartTime.After(second.Status.StartTime.Time) || second.CreationTimestamp.Before(readySince(first)) {
		s.Errorf("the second was made at %s, before the first was ready at %s", second.CreationTimestamp, readySince(first))
	}
	s.lookup("db-0", "db-1."+s.full("db"), second.Status.PodIP)
	s.must(s.set.CoreV1().Pods(s.namespace).Delete(s.ctx, "db-1", metav1.DeleteOptions{}))
	s.until("it came again", func() (bool, error) {
		p, err := s.set.CoreV1().Pods(s.namespace).Get(s.ctx, "db-1", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil && p.UID != second.UID && isReady(p), err
	})
	s.says(s.sh("db-1", "cat /data/name"), "db-1")
}

func readySince(p *corev1.Pod) *metav1.Time {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return &c.LastTransitionTime
		}
	}
	return &metav1.Time{}
}

func daemonSet(s *scope) {
	_, err := s.set.AppsV1().DaemonSets(s.namespace).Create(s.ctx, &appsv1.DaemonSet{
		ObjectMeta: meta("each"), Spec: appsv1.DaemonSetSpec{Selector: selects("each"), Template: s.template("each", stay)},
	}, metav1.CreateOptions{})
	s.must(err)
	s.until("every worker has one", func() (bool, error) {
		d, err := s.set.AppsV1().DaemonSets(s.namespace).Get(s.ctx, "each", metav1.GetOptions{})
		return err == nil && int(d.Status.NumberAvailable) == len(s.workers) && int(d.Status.DesiredNumberScheduled) == len(s.workers), err
	})
	pods, err := s.set.CoreV1().Pods(s.namespace).List(s.ctx, metav1.ListOptions{LabelSelector: "app=each"})
	s.must(err)
	var nodes []string
	for _, p := range pods.Items {
		nodes = append(nodes, p.Spec.NodeName)
	}
	slices.Sort(nodes)
	if want := slices.Sorted(slices.Values(s.workers)); !slices.Equal(nodes, want) {
		s.Errorf("they are on %v, want %v", nodes, want)
	}
}

func (s *scope) job(name, script string, change func(*batchv1.JobSpec)) {
	s.Helper()
	t := s.template(name, script)
	t.Spec.RestartPolicy = corev1.RestartPolicyNever
	spec := batchv1.JobSpec{Template: t}
	change(&spec)
	_, err := s.set.BatchV1().Jobs(s.namespace).Create(s.ctx, &batchv1.Job{ObjectMeta: meta(name), Spec: spec}, metav1.CreateOptions{})
	s.must(err)
}

// jobEnds waits for a condition of a job.
func (s *scope) jobEnds(name string, condition batchv1.JobConditionType) *batchv1.Job {
	s.Helper()
	var job *batchv1.Job
	s.until(fmt.Sprintf("job %s is %s", name, condition), func() (ok bool, err error) {
		job, err = s.set.BatchV1().Jobs(s.namespace).Get(s.ctx, name, metav1.GetOptions{})
		return err == nil && slices.ContainsFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool {
			return c.Type == condition && c.Status == corev1.ConditionTrue
		}), err
	})
	return job
}

func indexedJob(s *scope) {
	s.job("work", "echo index-$JOB_COMPLETION_INDEX", func(j *batchv1.JobSpec) {
		j.CompletionMode, j.Completions, j.Parallelism = ptr.To(batchv1.IndexedCompletion), ptr.To(int32(3)), ptr.To(int32(2))
	})
	if got := s.jobEnds("work", batchv1.JobComplete).Status; got.CompletedIndexes != "0-2" || got.Succeeded != 3 {
		s.Errorf("%d pods did the indexes %s", got.Succeeded, got.CompletedIndexes)
	}
	pods, err := s.set.CoreV1().Pods(s.namespace).List(s.ctx, metav1.ListOptions{LabelSelector: "job-name=work"})
	s.must(err)
	var said []string
	for _, p := range pods.Items {
		said = append(said, strings.TrimSpace(s.logs(p.Name)))
	}
	slices.Sort(said)
	if strings.Join(said, " ") != "index-0 index-1 index-2" {
		s.Errorf("the pods said %v", said)
	}
}

func failingJob(s *scope) {
	s.job("hopeless", "exit 1", func(j *batchv1.JobSpec) { j.BackoffLimit = ptr.To(int32(0)) })
	if got := s.jobEnds("hopeless", batchv1.JobFailed).Status; got.Failed != 1 {
		s.Errorf("%d pods failed", got.Failed)
	}
}

func finishedJob(s *scope) {
	s.job("brief", "true", func(j *batchv1.JobSpec) { j.TTLSecondsAfterFinished = ptr.To(int32(1)) })
	s.until("the job and its pod are gone", func() (bool, error) {
		_, err := s.set.BatchV1().Jobs(s.namespace).Get(s.ctx, "brief", metav1.GetOptions{})
		pods, other := s.set.CoreV1().Pods(s.namespace).List(s.ctx, metav1.ListOptions{LabelSelector: "job-name=brief"})
		return apierrors.IsNotFound(err) && other == nil && len(pods.Items) == 0, other
	})
}

func cronJob(s *scope) {
	t := s.template("tick", "echo tick")
	t.Spec.RestartPolicy = corev1.RestartPolicyNever
	crons := s.set.BatchV1().CronJobs(s.namespace)
	for _, name := range []string{"tick", "sleeps"} {
		_, err := crons.Create(s.ctx, &batchv1.CronJob{ObjectMeta: meta(name), Spec: batchv1.CronJobSpec{
			Schedule: "* * * * *", Suspend: ptr.To(name == "sleeps"), JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: t}},
		}}, metav1.CreateOptions{})
		s.must(err)
	}
	s.until("a job was done", func() (bool, error) {
		c, err := crons.Get(s.ctx, "tick", metav1.GetOptions{})
		return err == nil && c.Status.LastSuccessfulTime != nil, err
	})
	if c, err := crons.Get(s.ctx, "sleeps", metav1.GetOptions{}); err != nil || c.Status.LastScheduleTime != nil {
		s.Errorf("the suspended one: %v, %v", c.Status.LastScheduleTime, err)
	}
}
