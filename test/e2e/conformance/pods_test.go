package conformance_test

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

func podChecks() []check {
	return []check{
		{"pod runs to its end", "a container's output, exit code and reason are reported", runsToEnd},
		{"pod restarts on failure", "a container that fails is started again, and the former one's logs stay", restartsOnFailure},
		{"init containers in order", "init containers run one after the other before the others", initContainers},
		{"sidecar around a job's container", "an init container that always restarts starts before and ends after the main one", sidecar},
		{"lifecycle hooks", "postStart runs at the start, preStop before the end", lifecycleHooks},
		{"readiness gates endpoints", "a service leads to a pod only while its readiness probe succeeds", readiness},
		{"liveness restarts", "a container whose liveness probe fails is started again", liveness},
		{"startup probe holds liveness back", "a slow start is not ended by the liveness probe", startup},
		{"termination", "SIGTERM reaches the process, and its message is kept", termination},
		{"active deadline", "a pod is ended when its deadline is over", deadline},
		{"memory limit", "a container that takes more memory than its limit is killed for that", memoryLimit},
		{"ephemeral container", "a container can be added to a running pod and sees its processes", ephemeral},
		{"resize in place", "the CPU of a running container changes without a restart", resize},
	}
}

func runsToEnd(s *scope) {
	s.create(s.pod("fails", "echo said; exit 7"))
	p := s.ended("fails")
	state := p.Status.ContainerStatuses[0].State.Terminated
	if p.Status.Phase != corev1.PodFailed || state.ExitCode != 7 || state.Reason != "Error" {
		s.Errorf("phase %s, state %+v", p.Status.Phase, state)
	}
	s.says(s.logs("fails"), "said")
}

func restartsOnFailure(s *scope) {
	p := s.pod("again", `test -e /state/second && exec sleep 600; touch /state/second; echo first; exit 1`, volume("state", corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}, "/state"))
	p.Spec.RestartPolicy = corev1.RestartPolicyOnFailure
	s.create(p)
	s.until("it runs again", func() (bool, error) {
		c := s.get("again").Status.ContainerStatuses
		return len(c) == 1 && c[0].RestartCount == 1 && c[0].State.Running != nil, nil
	})
	s.says(s.containerLogs("again", &corev1.PodLogOptions{Previous: true}), "first")
}

// volume mounts a volume in all containers of a pod.
func volume(name string, source corev1.VolumeSource, path string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: source})
		for _, all := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
			for i := range all {
				all[i].VolumeMounts = append(all[i].VolumeMounts, corev1.VolumeMount{Name: name, MountPath: path})
			}
		}
	}
}

func scratch() corev1.VolumeSource {
	return corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
}

func initContainers(s *scope) {
	p := s.pod("order", "echo main >>/state/order; cat /state/order")
	p.Spec.InitContainers = []corev1.Container{container("one", "sleep 0.5; echo one >>/state/order"), container("two", "echo two >>/state/order")}
	volume("state", scratch(), "/state")(p)
	if got := strings.Fields(s.output(p)); strings.Join(got, " ") != "one two main" {
		s.Errorf("the order is %v", got)
	}
}

func sidecar(s *scope) {
	p := s.pod("pair", "test -e /state/up && echo beside")
	helper := container("helper", "touch /state/up; trap 'exit 0' TERM; while :; do sleep 0.2; done")
	helper.RestartPolicy = ptr.To(corev1.ContainerRestartPolicyAlways)
	helper.StartupProbe = probe("test -e /state/up")
	p.Spec.InitContainers = []corev1.Container{helper}
	volume("state", scratch(), "/state")(p)
	s.create(p)
	if done := s.ended("pair"); done.Status.Phase != corev1.PodSucceeded {
		s.Errorf("it ended as %s", done.Status.Phase)
	}
	s.says(s.containerLogs("pair", &corev1.PodLogOptions{Container: "main"}), "beside")
}

func probe(script string) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"sh", "-c", script}}},
		PeriodSeconds: 1, FailureThreshold: 30, TimeoutSeconds: 10,
	}
}

func lifecycleHooks(s *scope) {
	node := s.workers[0]
	folder := corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/var/tmp/" + s.namespace, Type: ptr.To(corev1.HostPathDirectoryOrCreate)}}
	p := s.pod("hooks", stay, onNode(node), volume("state", folder, "/state"))
	p.Spec.TerminationGracePeriodSeconds = ptr.To(int64(30))
	p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{
		PostStart: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"sh", "-c", "echo started >/state/start"}}},
		PreStop:   &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"sh", "-c", "echo stopping >/state/stop"}}},
	}
	s.running(p)
	s.must(s.set.CoreV1().Pods(s.namespace).Delete(s.ctx, "hooks", metav1.DeleteOptions{}))
	got := s.output(s.pod("look", "until test -e /state/stop; do sleep 0.2; done; cat /state/start /state/stop; rm -r /state/*", onNode(node), volume("state", folder, "/state")))
	if strings.Join(strings.Fields(got), " ") != "started stopping" {
		s.Errorf("the hooks wrote %q", got)
	}
}

func readiness(s *scope) {
	p := s.pod("gated", stay)
	p.Spec.Containers[0].ReadinessProbe = probe("test -e /tmp/ready")
	p.Spec.Containers[0].ReadinessProbe.FailureThreshold = 1
	s.service("gated", 80, nil)
	s.create(p)
	s.until("it runs", func() (bool, error) { return s.get("gated").Status.Phase == corev1.PodRunning, nil })
	if isReady(s.get("gated")) || s.endpoints("gated") != 0 {
		s.Error("it is ready before its probe succeeds")
	}
	s.sh("gated", "touch /tmp/ready")
	s.until("there is an endpoint", func() (bool, error) { return s.endpoints("gated") == 1, nil })
	s.sh("gated", "rm /tmp/ready")
	s.until("there is none", func() (bool, error) { return s.endpoints("gated") == 0, nil })
}

func liveness(s *scope) {
	p := s.pod("live", "touch /tmp/alive; "+stay)
	p.Spec.RestartPolicy = corev1.RestartPolicyAlways
	p.Spec.Containers[0].LivenessProbe = probe("test -e /tmp/alive")
	p.Spec.Containers[0].LivenessProbe.FailureThreshold = 2
	p.Spec.Containers[0].StartupProbe = probe("test -e /tmp/alive")
	s.running(p)
	s.sh("live", "rm /tmp/alive")
	s.until("it was started again", func() (bool, error) {
		return s.get("live").Status.ContainerStatuses[0].RestartCount > 0, nil
	})
}

func startup(s *scope) {
	p := s.pod("slow", "sleep 4; touch /tmp/up; "+stay)
	p.Spec.Containers[0].StartupProbe = probe("test -e /tmp/up")
	p.Spec.Containers[0].StartupProbe.FailureThreshold = 200
	p.Spec.Containers[0].LivenessProbe = probe("test -e /tmp/up")
	p.Spec.Containers[0].LivenessProbe.FailureThreshold = 1
	if got := s.running(p).Status.ContainerStatuses[0]; got.RestartCount != 0 || got.Started == nil || !*got.Started {
		s.Errorf("it started %d times again", got.RestartCount)
	}
}

func termination(s *scope) {
	p := s.pod("ends", "trap 'echo told to go >/dev/termination-log; exit 3' TERM; touch /tmp/up; while :; do sleep 0.1; done", func(p *corev1.Pod) {
		p.Finalizers = []string{"loam.dev/look"}
		p.Spec.TerminationGracePeriodSeconds = ptr.To(int64(60))
		p.Spec.Containers[0].ReadinessProbe = probe("test -e /tmp/up")
	})
	s.running(p)
	s.must(s.set.CoreV1().Pods(s.namespace).Delete(s.ctx, "ends", metav1.DeleteOptions{}))
	state := s.ended("ends").Status.ContainerStatuses[0].State.Terminated
	if state == nil || state.ExitCode != 3 || state.Message != "told to go\n" {
		s.Errorf("it ended with %+v", state)
	}
	_, err := s.set.CoreV1().Pods(s.namespace).Patch(s.ctx, "ends", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	s.must(err)
}

func deadline(s *scope) {
	p := s.pod("bounded", stay)
	p.Spec.ActiveDeadlineSeconds = ptr.To(int64(2))
	s.create(p)
	if got := s.ended("bounded").Status; got.Reason != "DeadlineExceeded" {
		s.Errorf("it ended because of %q", got.Reason)
	}
}

func memoryLimit(s *scope) {
	p := s.pod("greedy", "x=0123456789abcdef; while :; do x=$x$x; done")
	p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("16Mi")}
	s.create(p)
	if state := s.ended("greedy").Status.ContainerStatuses[0].State.Terminated; state == nil || state.Reason != "OOMKilled" {
		s.Errorf("it ended with %+v", state)
	}
}

func ephemeral(s *scope) {
	p := s.running(s.pod("watched", "exec sleep 4242"))
	p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{
		EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debugger", Image: image, ImagePullPolicy: corev1.PullIfNotPresent, Command: []string{"sh", "-c", "ps; sleep 600"}},
		TargetContainerName:      "main",
	}}
	_, err := s.set.CoreV1().Pods(s.namespace).UpdateEphemeralContainers(s.ctx, "watched", p, metav1.UpdateOptions{})
	s.must(err)
	s.until("it sees the process", func() (bool, error) {
		return strings.Contains(s.containerLogs("watched", &corev1.PodLogOptions{Container: "debugger"}), "sleep 4242"), nil
	})
}

func resize(s *scope) {
	p := s.pod("sized", stay)
	set := func(cpu string) corev1.ResourceRequirements {
		list := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse("16Mi")}
		return corev1.ResourceRequirements{Requests: list, Limits: list}
	}
	p.Spec.Containers[0].Resources = set("20m")
	s.running(p)
	change := merge(map[string]any{"spec": map[string]any{"containers": []any{map[string]any{"name": "main", "resources": set("40m")}}}})
	_, err := s.set.CoreV1().Pods(s.namespace).Patch(s.ctx, "sized", types.StrategicMergePatchType, change, metav1.PatchOptions{}, "resize")
	s.must(err)
	s.until("it has the new size", func() (bool, error) {
		c := s.get("sized").Status.ContainerStatuses[0]
		if c.RestartCount != 0 {
			s.Fatal("it was started again")
		}
		return c.Resources != nil && c.Resources.Limits.Cpu().String() == "40m", nil
	})
	quota := s.sh("sized", "cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || true")
	s.says(strings.Fields(quota)[0], "4000")
}

func (s *scope) service(name string, port int32, change func(*corev1.Service)) *corev1.Service {
	s.Helper()
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: s.namespace},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": name},
			Ports:    []corev1.ServicePort{{Name: "web", Port: port, TargetPort: intstr.FromInt32(8080)}},
		},
	}
	if change != nil {
		change(service)
	}
	created, err := s.set.CoreV1().Services(s.namespace).Create(s.ctx, service, metav1.CreateOptions{})
	s.must(err)
	return created
}

// endpoints counts the ready ones of a service.
func (s *scope) endpoints(service string) int {
	s.Helper()
	slices, err := s.set.DiscoveryV1().EndpointSlices(s.namespace).List(s.ctx, metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=" + service})
	s.must(err)
	n := 0
	for _, slice := range slices.Items {
		for _, e := range slice.Endpoints {
			if ptr.Deref(e.Conditions.Ready, true) {
				n++
			}
		}
	}
	return n
}

// page is the script of a pod that serves its own name at port 8080.
const page = `mkdir -p /tmp/www; hostname >/tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www`

// web starts a pod that serves its own name.
func (s *scope) web(name, app string, options ...func(*corev1.Pod)) *corev1.Pod {
	s.Helper()
	p := s.pod(name, page, append(options, labelled("app", app))...)
	p.Spec.Containers[0].ReadinessProbe = &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/", Port: intstr.FromInt32(8080)}},
		PeriodSeconds: 1, TimeoutSeconds: 10,
	}
	return s.running(p)
}

// asks has a pod get a page until it succeeds.
func (s *scope) asks(pod, url string) string {
	s.Helper()
	return s.sh(pod, fmt.Sprintf("timeout 5 wget -q -O - %s", url))
}
