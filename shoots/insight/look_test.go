package insight_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"flag"
	"io"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/version"
	discoveryfake "k8s.io/client-go/discovery/fake"
	"k8s.io/client-go/kubernetes"
	kubernetesfake "k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	testclock "k8s.io/utils/clock/testing"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/machines/fake"
	"github.com/loam-cloud/loam/shoots/insight"
)

var update = flag.Bool("update", false, "write the golden pages anew")

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const id = "shoot--local--demo"

// signed makes a certificate with its key, as one file of PEM.
func signed(t *testing.T, name string, from, until time.Time) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
}

func kubeconfig(t *testing.T, user string) []byte {
	t.Helper()
	text, err := clientcmd.Write(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"c": {Server: "https://198.18.0.2:6443"}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"u": {ClientKeyData: []byte("key"), ClientCertificateData: signed(t, user, now.AddDate(-1, 0, 0), now.AddDate(0, 0, 20))}},
		Contexts:       map[string]*clientcmdapi.Context{"x": {Cluster: "c", AuthInfo: "u"}},
		CurrentContext: "x",
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

const answer = `# units
MainPID=1
NRestarts=2
Id=containerd.service
ActiveState=active
SubState=running

MainPID=7
NRestarts=0
Id=kubelet.service
ActiveState=activating
SubState=auto-restart

# processes
  1  1024   90 containerd
  7  2048   30 kubelet
 20 65536   60 etcd
 21  4096    5 kube-controller
# paths
/etc/kubernetes/manifests
/var/lib/etcd
/run/log/journal
# logs
/var/log/pods/kube-system_etcd-demo-control-plane-0_1/etcd/0.log
/var/log/pods/kube-system_etcd-demo-control-plane-0_1/etcd/3.log
`

// world is a cluster of a control plane that runs and a worker that is off.
func world(t *testing.T) (*fake.Driver, *insight.Looker) {
	t.Helper()
	d := fake.New()
	create := func(name, role string, ports ...machines.Port) {
		t.Helper()
		_, err := d.Create(t.Context(), machines.Spec{
			Cluster: id, Name: name, Hostname: "demo-" + name, Image: "loam/node:v1.36.3", Ports: ports,
			Labels: map[string]string{"loam.dev/role": role, "loam.dev/pool": strings.TrimSuffix(name, "-0")},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	loopback := netip.MustParseAddr("127.0.0.1")
	create("worker-0", "Worker")
	create("control-plane-0", "ControlPlane",
		machines.Port{HostAddress: loopback, HostPort: 26443, MachinePort: 6443},
		machines.Port{HostAddress: loopback, HostPort: 28080, MachinePort: 30080},
		machines.Port{HostAddress: loopback, HostPort: 28081, MachinePort: 30081, Protocol: machines.UDP})
	for _, name := range []string{"control-plane-0", "worker-0"} {
		if err := d.Start(t.Context(), id, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Stop(t.Context(), id, "worker-0", 0); err != nil {
		t.Fatal(err)
	}
	put(t, d, "control-plane-0", map[string][]byte{
		"/etc/kubernetes/admin.conf":                           kubeconfig(t, "admin"),
		"/etc/kubernetes/manifests/etcd.yaml":                  []byte("spec: {containers: [{name: etcd}]}"),
		"/etc/kubernetes/manifests/c.yaml":                     []byte("spec: {containers: [{name: kube-controller-manager}]}"),
		"/etc/kubernetes/manifests/s.yaml":                     []byte("spec: {containers: [{name: kube-scheduler}]}"),
		"/etc/kubernetes/pki/ca.crt":                           signed(t, "ca", now.AddDate(-1, 0, 0), now.AddDate(9, 0, 0)),
		"/etc/kubernetes/pki/old.crt":                          signed(t, "old", now.AddDate(-2, 0, 0), now.Add(-time.Hour)),
		"/etc/kubernetes/pki/ca.key":                           signed(t, "no certificate", now, now)[:40],
		"/etc/kubernetes/tmp/backup/ca.crt":                    signed(t, "backup", now.AddDate(-2, 0, 0), now.Add(-time.Hour)),
		"/var/lib/kubelet/pki/kubelet-client-2025-11-21.pem":   signed(t, "former", now.AddDate(-2, 0, 0), now.AddDate(-1, 0, 0)),
		"/var/lib/kubelet/pki/kubelet-client-2026-11-20.pem":   signed(t, "present", now.AddDate(0, 0, -1), now.AddDate(0, 0, 10)),
		"/var/lib/kubelet/pki/kubelet-server-2026-11-20.pem":   signed(t, "server", now.AddDate(0, 0, -10), now.AddDate(0, 0, 1)),
		"/var/lib/kubelet/pki/kubelet-client-current.pem.seen": []byte("not PEM"),
	})
	d.Script = func(_ context.Context, _ fake.Guest, c machines.Command) error {
		_, err := io.WriteString(c.Stdout, answer)
		return err
	}
	d.Outside = fake.Outside{
		Describe: func(m *machines.Description) {
			m.ID, m.ImageID = "0123456789abcdef", "sha256:fedcba9876543210"
			m.Disks = []machines.Disk{
				{Name: m.Name + "-kubelet", MachinePath: "/var/lib/kubelet", HostPath: "/disks/" + m.Name + "/kubelet"},
				{Name: m.Name + "-etcd", MachinePath: "/var/lib/etcd", HostPath: "/disks/" + m.Name + "/etcd"},
			}
			if m.Name == "worker-0" {
				m.Condition, m.ExitCode, m.OutOfMemory, m.Stopped = "exited", 137, true, now.Add(-time.Hour)
				m.CPUs, m.MemoryBytes = 1.5, 2<<30
				m.Mounts = []machines.Mount{{HostPath: "/srv", MachinePath: "/data", ReadOnly: true}}
				return
			}
			m.Started, m.Restarts = now.Add(-90*time.Second), 1
		},
		Sizes: map[string]int64{"control-plane-0-etcd": 138 << 20, "control-plane-0-kubelet": 900, "worker-0-kubelet": 3 << 30},
	}
	return d, &insight.Looker{
		Machines: d, Clock: testclock.NewFakePassiveClock(now),
		Connect: func(*rest.Config) (kubernetes.Interface, error) {
			c := kubernetesfake.NewClientset(objects()...)
			c.Discovery().(*discoveryfake.FakeDiscovery).FakedServerVersion = &version.Info{GitVersion: "v1.36.3"}
			return c, nil
		},
	}
}

func put(t *testing.T, d *fake.Driver, name string, files map[string][]byte) {
	t.Helper()
	var list []machines.File
	for path, content := range files {
		list = append(list, machines.File{Path: path, Content: content})
	}
	if err := d.PutFiles(t.Context(), id, name, list); err != nil {
		t.Fatal(err)
	}
}

// look looks, and compares the page with the golden one of the name.
func look(t *testing.T, l *insight.Looker, golden string) insight.Page {
	t.Helper()
	v, err := l.Look(t.Context(), insight.Known{ID: id, Name: "demo", Project: "local", State: "Ready", KubernetesVersion: "v1.36.3"})
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := v.Page.Print(&got); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", golden)
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("the page is\n%s\nwant\n%s", got.String(), want)
	}
	if strings.Contains(got.String(), "PRIVATE") {
		t.Error("a key is on the page")
	}
	return v.Page
}

func TestPage(t *testing.T) {
	_, l := world(t)
	page := look(t, l, "page.txt")
	states := map[string]insight.CertificateState{}
	for _, c := range page.Nodes[0].Certificates {
		states[c.Subject] = c.State
	}
	for subject, want := range map[string]insight.CertificateState{
		"admin": insight.CertificateNear, "ca": insight.CertificateValid, "old": insight.CertificateExpired,
		"present": insight.CertificateValid, "server": insight.CertificateNear,
		// What is kept for the past only.
		"former": "", "backup": "",
	} {
		if states[subject] != want {
			t.Errorf("certificate %q is %q, want %q", subject, states[subject], want)
		}
	}
}

func TestPageOfASilentCluster(t *testing.T) {
	_, l := world(t)
	l.Connect = func(*rest.Config) (kubernetes.Interface, error) {
		return nil, fault.New(fault.Transient, "nobody answers")
	}
	look(t, l, "silent.txt")
}

func TestPageOfMachinesThatNobodyStarted(t *testing.T) {
	d, l := world(t)
	if err := d.Delete(t.Context(), id, "control-plane-0"); err != nil {
		t.Fatal(err)
	}
	look(t, l, "halfmade.txt")
}

func TestLookFaults(t *testing.T) {
	d, l := world(t)
	if _, err := l.Look(t.Context(), insight.Known{ID: "other", Name: "other"}); !errors.Is(err, fault.Missing) {
		t.Errorf("looking at no cluster gives %v, want Missing", err)
	}
	d.Fail = func(c fake.Call) error {
		if c.Method == fake.Describe && c.Name == "worker-0" || c.Method == fake.DiskSizes || c.Method == fake.Run {
			return fault.New(fault.Transient, "the engine stumbled")
		}
		return nil
	}
	v, err := l.Look(t.Context(), insight.Known{ID: id, Name: "demo"})
	if err != nil {
		t.Fatal(err)
	}
	var what []string
	for _, u := range v.Page.Unseen {
		what = append(what, u.What)
	}
	if got := strings.Join(what, "; "); got != "machine worker-0; processes of demo-control-plane-0; sizes of disks" {
		t.Errorf("not seen: %s", got)
	}
}

// objects are what the cluster says of itself.
func objects() []runtime.Object {
	status := corev1.NodeStatus{
		NodeInfo:    corev1.NodeSystemInfo{KubeletVersion: "v1.36.3", ContainerRuntimeVersion: "containerd://2.2.1"},
		Allocatable: corev1.ResourceList{"cpu": resource.MustParse("2"), "memory": resource.MustParse("4Gi")},
		Conditions:  []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
	}
	off := *status.DeepCopy()
	off.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionUnknown, Reason: "NodeStatusUnknown", Message: "Kubelet stopped posting"}}
	pod := func(name, node string, phase corev1.PodPhase) *corev1.Pod {
		p := &corev1.Pod{Spec: corev1.PodSpec{NodeName: node}, Status: corev1.PodStatus{Phase: phase}}
		p.Namespace, p.Name = "kube-system", name
		return p
	}
	etcd := pod("etcd-demo-control-plane-0", "demo-control-plane-0", corev1.PodRunning)
	etcd.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
	etcd.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: "etcd", RestartCount: 4, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}},
	}}
	service := func(name string, kind corev1.ServiceType, ports ...corev1.ServicePort) *corev1.Service {
		s := &corev1.Service{Spec: corev1.ServiceSpec{Type: kind, ClusterIPs: []string{"100.64.0.1"}, Ports: ports}}
		s.Namespace, s.Name = "default", name
		return s
	}
	balanced := service("b", corev1.ServiceTypeLoadBalancer, corev1.ServicePort{Port: 443, NodePort: 30443, Protocol: corev1.ProtocolTCP})
	balanced.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "203.0.113.9"}}
	return []runtime.Object{
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "demo-control-plane-0"}, Status: status},
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "demo-worker-0"}, Status: off, Spec: corev1.NodeSpec{Unschedulable: true}},
		etcd, pod("other", "demo-control-plane-0", corev1.PodPending),
		service("a", corev1.ServiceTypeNodePort, corev1.ServicePort{Port: 80, NodePort: 30080, Protocol: corev1.ProtocolTCP}),
		balanced, service("c", corev1.ServiceTypeClusterIP, corev1.ServicePort{Port: 53, Protocol: corev1.ProtocolUDP}),
	}
}
