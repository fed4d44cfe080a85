package conformance_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/utils/ptr"
)

func containerChecks() []check {
	return []check{
		{"environment", "variables come from values, config maps, secrets, the pod and each other", environment},
		{"downward API", "a volume shows the pod's labels, and follows their change", downward},
		{"user and groups", "a container runs as its user and group, and its volumes belong to the pod's group", userAndGroups},
		{"restricted container", "no root folder to write to, no capabilities, no new privileges, a seccomp profile", restricted},
		{"shared process namespace", "containers of a pod see each other's processes if it says so", sharedProcesses},
		{"host network", "a pod on the host's network has its node's address", hostNetwork},
		{"exec", "a command runs in a container, and its exit code comes back", execReturns},
		{"logs", "logs are followed, and their end can be asked for", followLogs},
		{"port-forward", "a port of a pod is reachable through the API", forwardPort},
		{"image that is not there", "a pod that may not pull says so in its status", imageMissing},
	}
}

func (s *scope) configMap(name string, data map[string]string) {
	s.Helper()
	_, err := s.set.CoreV1().ConfigMaps(s.namespace).Create(s.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data}, metav1.CreateOptions{})
	s.must(err)
}

func (s *scope) secret(name string, data map[string]string) {
	s.Helper()
	_, err := s.set.CoreV1().Secrets(s.namespace).Create(s.ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: data}, metav1.CreateOptions{})
	s.must(err)
}

func environment(s *scope) {
	s.configMap("settings", map[string]string{"colour": "red", "ALL": "every"})
	s.secret("keys", map[string]string{"key": "hidden"})
	p := s.pod("env", `echo "$PLAIN $JOINED $COLOUR $KEY $NAME $CPU $ALL"`)
	c := &p.Spec.Containers[0]
	c.Resources.Limits = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2")}
	c.Resources.Requests[corev1.ResourceCPU] = resource.MustParse("1m")
	c.EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}}}
	c.Env = []corev1.EnvVar{
		{Name: "PLAIN", Value: "a"}, {Name: "JOINED", Value: "$(PLAIN)b$$(PLAIN)"},
		{Name: "COLOUR", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}, Key: "colour"}}},
		{Name: "KEY", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "keys"}, Key: "key"}}},
		{Name: "NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}},
		{Name: "CPU", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.cpu"}}},
	}
	if got := strings.TrimSpace(s.output(p)); got != "a ab$(PLAIN) red hidden env 2 every" {
		s.Errorf("the variables are %q", got)
	}
}

func downward(s *scope) {
	items := []corev1.DownwardAPIVolumeFile{{Path: "labels", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels"}}}
	s.running(s.pod("facts", stay, labelled("colour", "red"), volume("facts", corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: items}}, "/facts")))
	s.says(s.sh("facts", "cat /facts/labels"), `colour="red"`)
	_, err := s.set.CoreV1().Pods(s.namespace).Patch(s.ctx, "facts", types.MergePatchType, []byte(`{"metadata":{"labels":{"colour":"blue"}}}`), metav1.PatchOptions{})
	s.must(err)
	s.sh("facts", `grep 'colour="blue"' /facts/labels`)
}

func userAndGroups(s *scope) {
	p := s.pod("who", "id -u; id -g; id -G; touch /data/file; stat -c %g /data/file", volume("data", scratch(), "/data"))
	p.Spec.SecurityContext = &corev1.PodSecurityContext{
		RunAsUser: ptr.To(int64(1234)), RunAsGroup: ptr.To(int64(2345)), FSGroup: ptr.To(int64(3456)), SupplementalGroups: []int64{4567}, RunAsNonRoot: ptr.To(true),
	}
	if got := strings.Fields(s.output(p)); len(got) < 6 || got[0] != "1234" || got[1] != "2345" || !strings.Contains(strings.Join(got, " "), "3456 4567") || got[len(got)-1] != "3456" {
		s.Errorf("user, groups and the file's group are %v", got)
	}
}

func restricted(s *scope) {
	p := s.pod("narrow", "touch /file 2>&1; grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status")
	p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{
		ReadOnlyRootFilesystem: ptr.To(true), AllowPrivilegeEscalation: ptr.To(false), RunAsUser: ptr.To(int64(1000)),
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	got := strings.ReplaceAll(s.output(p), "\t", " ")
	for _, want := range []string{"Read-only file system", "CapEff: 0000000000000000", "NoNewPrivs: 1", "Seccomp: 2"} {
		s.says(got, want)
	}
}

func sharedProcesses(s *scope) {
	p := s.pod("shared", "exec sleep 4243")
	p.Spec.ShareProcessNamespace = ptr.To(true)
	p.Spec.Containers = append(p.Spec.Containers, container("other", "sleep 600"))
	s.running(p)
	s.eventually(func() error {
		out, err := s.exec("shared", "other", "ps")
		if err == nil && !strings.Contains(out, "sleep 4243") {
			err = fmt.Errorf("the processes are %s", out)
		}
		return err
	})
}

func hostNetwork(s *scope) {
	p := s.pod("bare", stay, onNode(s.workers[1]))
	p.Spec.HostNetwork = true
	got := s.running(p)
	if got.Status.PodIP != s.addresses[s.workers[1]] || got.Status.HostIP != got.Status.PodIP {
		s.Errorf("its address is %s, its node's %s", got.Status.PodIP, s.addresses[s.workers[1]])
	}
}

func execReturns(s *scope) {
	s.running(s.pod("target", stay))
	s.says(s.sh("target", "echo out; hostname"), "target")
	if _, err := s.exec("target", "main", "exit 42"); err == nil || !strings.Contains(err.Error(), "42") {
		s.Errorf("the error is %v, want exit code 42", err)
	}
}

func followLogs(s *scope) {
	s.running(s.pod("talks", "for i in 1 2 3 4 5; do echo line $i; sleep 0.3; done; sleep 600"))
	stream, err := s.set.CoreV1().Pods(s.namespace).GetLogs("talks", &corev1.PodLogOptions{Follow: true}).Stream(s.ctx)
	s.must(err)
	defer func() { _ = stream.Close() }()
	var seen bytes.Buffer
	for !strings.Contains(seen.String(), "line 5\n") {
		if _, err := io.CopyN(&seen, stream, 1); err != nil {
			s.Fatalf("after %q: %v", seen.String(), err)
		}
	}
	if got := s.containerLogs("talks", &corev1.PodLogOptions{TailLines: ptr.To(int64(2))}); got != "line 4\nline 5\n" {
		s.Errorf("the last two lines are %q", got)
	}
}

func forwardPort(s *scope) {
	s.web("page", "page")
	transport, upgrader, err := spdy.RoundTripperFor(s.config)
	s.must(err)
	url := s.set.CoreV1().RESTClient().Post().Resource("pods").Namespace(s.namespace).Name("page").SubResource("portforward").URL()
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	stop, ready := make(chan struct{}), make(chan struct{})
	forwarder, err := portforward.New(dialer, []string{"0:8080"}, stop, ready, io.Discard, os.Stderr)
	s.must(err)
	ended := make(chan error, 1)
	go func() { ended <- forwarder.ForwardPorts() }()
	defer func() { close(stop); <-ended }()
	select {
	case <-ready:
	case err := <-ended:
		ended <- err
		s.Fatalf("forwarding ended: %v", err)
	}
	ports, err := forwarder.GetPorts()
	s.must(err)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	response, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", ports[0].Local))
	s.must(err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	s.must(err)
	s.says(string(body), "page")
}

func imageMissing(s *scope) {
	p := s.pod("nothing", "true")
	p.Spec.Containers[0].Image, p.Spec.Containers[0].ImagePullPolicy = "loam.dev/none:v0", corev1.PullNever
	s.create(p)
	s.until("it says why it does not start", func() (bool, error) {
		c := s.get("nothing").Status.ContainerStatuses
		return len(c) == 1 && c[0].State.Waiting != nil && c[0].State.Waiting.Reason == "ErrImageNeverPull", nil
	})
}
