package conformance_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
)

// image is the one that every node has and that has a shell.
const image = "loam.dev/node/busybox:v1"

// world is the cluster under test.
type world struct {
	config *rest.Config
	set    kubernetes.Interface
	// workers are the names of nodes that pods may run on, addresses those of all
	// nodes by name.
	workers   []string
	addresses map[string]string
}

func (w *world) findNodes(t *testing.T) {
	nodes, err := w.set.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.addresses = map[string]string{}
	for _, n := range nodes.Items {
		for _, a := range n.Status.Addresses {
			if a.Type == corev1.NodeInternalIP {
				w.addresses[n.Name] = a.Address
			}
		}
		if !slices.ContainsFunc(n.Spec.Taints, func(taint corev1.Taint) bool { return taint.Effect == corev1.TaintEffectNoSchedule }) {
			w.workers = append(w.workers, n.Name)
		}
	}
	if len(w.workers) < 2 {
		t.Fatalf("workers are %v, want two", w.workers)
	}
}

// scope is what a check works with. Its helpers end the check when they fail.
type scope struct {
	*testing.T
	*world
	ctx       context.Context
	namespace string
}

func (s *scope) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// eventually asks until there is no problem left, or the check's time is up.
func (s *scope) eventually(ask func() error) {
	s.Helper()
	for {
		problem := ask()
		if problem == nil {
			return
		}
		select {
		case <-s.ctx.Done():
			s.Fatalf("still: %v", problem)
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// until is eventually for a condition.
func (s *scope) until(what string, holds func() (bool, error)) {
	s.Helper()
	s.eventually(func() error {
		ok, err := holds()
		if err == nil && !ok {
			err = fmt.Errorf("not yet: %s", what)
		}
		return err
	})
}

// stay is what containers do that have nothing to do.
const stay = "trap 'exit 0' TERM; while :; do sleep 0.2; done"

// pod describes one that runs a script, changed by the options.
func (s *scope) pod(name, script string, options ...func(*corev1.Pod)) *corev1.Pod {
	none := int64(1)
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: s.namespace, Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, TerminationGracePeriodSeconds: &none,
			Containers: []corev1.Container{container("main", script)},
		},
	}
	for _, option := range options {
		option(p)
	}
	return p
}

func container(name, script string) corev1.Container {
	return corev1.Container{
		Name: name, Image: image, ImagePullPolicy: corev1.PullIfNotPresent, Command: []string{"sh", "-c", script},
		Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("4Mi")}},
	}
}

func onNode(name string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.NodeSelector = map[string]string{corev1.LabelHostname: name}
		p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{Operator: corev1.TolerationOpExists})
	}
}

func labelled(key, value string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Labels[key] = value }
}

func (s *scope) create(p *corev1.Pod) *corev1.Pod {
	s.Helper()
	created, err := s.set.CoreV1().Pods(s.namespace).Create(s.ctx, p, metav1.CreateOptions{})
	s.must(err)
	return created
}

func (s *scope) get(name string) *corev1.Pod {
	s.Helper()
	p, err := s.set.CoreV1().Pods(s.namespace).Get(s.ctx, name, metav1.GetOptions{})
	s.must(err)
	return p
}

// running starts a pod and waits until it is ready.
func (s *scope) running(p *corev1.Pod) *corev1.Pod {
	s.Helper()
	s.create(p)
	return s.ready(p.Name)
}

func (s *scope) ready(name string) *corev1.Pod {
	s.Helper()
	var p *corev1.Pod
	s.until("pod "+name+" is ready", func() (bool, error) {
		p = s.get(name)
		if p.Status.Phase == corev1.PodFailed {
			s.Fatalf("pod %s failed: %s %s\n%s", name, p.Status.Reason, p.Status.Message, s.logs(name))
		}
		return isReady(p), nil
	})
	return p
}

func isReady(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// ended waits until a pod has ended.
func (s *scope) ended(name string) *corev1.Pod {
	s.Helper()
	var p *corev1.Pod
	s.until("pod "+name+" has ended", func() (bool, error) {
		p = s.get(name)
		return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed, nil
	})
	return p
}

// output runs a pod to its successful end and returns what it said.
func (s *scope) output(p *corev1.Pod) string {
	s.Helper()
	s.create(p)
	if done := s.ended(p.Name); done.Status.Phase != corev1.PodSucceeded {
		s.Fatalf("pod %s ended as %s: %s\n%s", p.Name, done.Status.Phase, done.Status.Message, s.logs(p.Name))
	}
	return s.logs(p.Name)
}

func (s *scope) logs(name string) string {
	return s.containerLogs(name, &corev1.PodLogOptions{})
}

func (s *scope) containerLogs(name string, options *corev1.PodLogOptions) string {
	stream, err := s.set.CoreV1().Pods(s.namespace).GetLogs(name, options).Stream(s.ctx)
	if err != nil {
		return fmt.Sprintf("(no logs: %v)", err)
	}
	defer func() { _ = stream.Close() }()
	text, err := io.ReadAll(stream)
	if err != nil {
		return fmt.Sprintf("%s(logs ended: %v)", text, err)
	}
	return string(text)
}

// exec runs a script in a container of a pod.
func (s *scope) exec(pod, container, script string) (string, error) {
	request := s.set.CoreV1().RESTClient().Post().Resource("pods").Namespace(s.namespace).Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: container, Command: []string{"sh", "-c", script}, Stdout: true, Stderr: true}, scheme.ParameterCodec)
	executor, err := remotecommand.NewWebSocketExecutor(s.config, "GET", request.URL().String())
	if err != nil {
		return "", err
	}
	var out, problem bytes.Buffer
	if err = executor.StreamWithContext(s.ctx, remotecommand.StreamOptions{Stdout: &out, Stderr: &problem}); err != nil {
		err = fmt.Errorf("%w: %s%s", err, out.String(), problem.String())
	}
	return out.String(), err
}

// sh runs a script in a pod until it succeeds.
func (s *scope) sh(pod, script string) string {
	s.Helper()
	var out string
	s.eventually(func() (err error) {
		out, err = s.exec(pod, "main", script)
		return err
	})
	return strings.TrimSpace(out)
}

// says wants a text to hold another.
func (s *scope) says(text, want string) {
	s.Helper()
	if !strings.Contains(text, want) {
		s.Errorf("%q does not hold %q", text, want)
	}
}

// background is for cleaning up: a test's own context has ended by then.
func background() context.Context { return context.Background() }

func configMapNamed(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func merge(change any) []byte {
	text, err := json.Marshal(change)
	if err != nil {
		panic(err) // changes are maps
	}
	return text
}

// dump shows what helps to understand a failure.
func (s *scope) dump() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	pods, err := s.set.CoreV1().Pods(s.namespace).List(ctx, metav1.ListOptions{})
	if err == nil {
		for _, p := range pods.Items {
			status, _ := json.Marshal(p.Status.ContainerStatuses)
			s.Logf("pod %s on %s is %s: %s", p.Name, p.Spec.NodeName, p.Status.Phase, status)
		}
	}
	events, err := s.set.CoreV1().Events(s.namespace).List(ctx, metav1.ListOptions{})
	if err == nil {
		for _, e := range events.Items {
			s.Logf("event of %s %s: %s: %s", e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Reason, e.Message)
		}
	}
}
