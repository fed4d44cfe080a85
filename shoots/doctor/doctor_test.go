package doctor_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/shoots/doctor"
	"github.com/loam-cloud/loam/shoots/insight"
)

// sound is a host on which nothing is wrong.
func sound() doctor.Host {
	return doctor.Host{
		Engine: doctor.Engine{
			Address: "unix:///var/run/docker.sock", Local: true, Version: "28.1.0", System: "Debian", CgroupDriver: "systemd",
			StorageDriver: "overlay2", Backing: "extfs", Root: "/var/lib/docker", Nodes: 2,
		},
		CgroupVersion: 2, Controllers: []string{"cpu", "cpuset", "io", "memory", "pids"},
		Inotify:     doctor.Inotify{MaxInstances: 1024, MaxWatches: 524288, Used: 40},
		Disks:       []doctor.Disk{{Use: "the garden's data", Path: "/data", Total: 100 << 30, Free: 50 << 30, Inodes: 1000, FreeInodes: 900}},
		MemoryTotal: 16 << 30, MemoryAvailable: 8 << 30, Clock: doctor.Clock{Synchronised: true},
		Kernel: doctor.Kernel{Release: "6.12.0", Overlay: true, Forwarding: true}, Iptables: "iptables v1.8.9 (nf_tables)",
		Ports:      []doctor.Port{{Address: "127.0.0.1:6440", Use: "the garden"}},
		NodeImages: []string{"v1.36.3"}, Unknown: map[string]string{},
	}
}

// expectation is what is to be found beyond what is in order.
type expectation struct {
	severity  doctor.Severity
	check     string
	what, fix string
}

func compare(t *testing.T, found []doctor.Finding, want []expectation) {
	t.Helper()
	var bad []doctor.Finding
	for _, f := range found {
		if f.Severity != doctor.OK {
			bad = append(bad, f)
			if f.Severity != doctor.Note && (f.Why == "" || f.Fix == "") {
				t.Errorf("%+v says not why, or not what to do", f)
			}
		}
	}
	if len(bad) != len(want) {
		t.Fatalf("found %+v, want %+v", bad, want)
	}
	for i, w := range want {
		if f := bad[i]; f.Severity != w.severity || f.Check != w.check || !strings.Contains(f.What, w.what) || !strings.Contains(f.Fix, w.fix) {
			t.Errorf("found %+v, want %+v", f, w)
		}
	}
}

func TestHost(t *testing.T) {
	const (
		note, warning, problem = doctor.Note, doctor.Warning, doctor.Problem
	)
	type want = []expectation
	for name, test := range map[string]struct {
		change func(*doctor.Host)
		want   want
	}{
		"nothing wrong": {func(*doctor.Host) {}, nil},
		"no engine": {func(h *doctor.Host) { h.Engine = doctor.Engine{Problem: "Docker is not reachable"} },
			want{{severity: problem, check: "engine", what: "not reachable", fix: "systemctl start docker"}}},
		"no right to the engine": {func(h *doctor.Host) { h.Engine = doctor.Engine{Problem: "no right: `usermod -aG`"} },
			want{{severity: problem, check: "engine", fix: "usermod -aG docker"}}},
		"old engine": {func(h *doctor.Host) { h.Engine.Version = "19.03.8" },
			want{{severity: warning, check: "engine", what: "19.03.8", fix: "apt-get install"}}},
		"engine elsewhere": {func(h *doctor.Host) { h.Engine.Local, h.Engine.Address = false, "tcp://there:1" },
			want{{severity: note, check: "host", what: "tcp://there:1"}}},
		"no image": {func(h *doctor.Host) { h.NodeImages = nil },
			want{{severity: problem, check: "node images", fix: "loam image build"}}},
		"cgroups v1": {func(h *doctor.Host) { h.CgroupVersion = 1 },
			want{{severity: note, check: "cgroups", what: "version 1", fix: "systemd.unified_cgroup_hierarchy=1"}}},
		"memory controller off": {func(h *doctor.Host) { h.Controllers = []string{"cpu", "cpuset", "pids"} },
			want{{severity: problem, check: "cgroups", what: "switched off: memory", fix: "cgroup_enable=memory"}}},
		"no pids controller": {func(h *doctor.Host) { h.Controllers = []string{"cpu", "cpuset", "memory"} },
			want{{severity: problem, check: "cgroups", what: "pids"}}},
		"a capability less": {func(h *doctor.Host) { h.Engine.Missing = []string{"SYS_RESOURCE"} },
			want{{severity: note, check: "capabilities", what: "SYS_RESOURCE"}}},
		"a needed capability less": {func(h *doctor.Host) { h.Engine.Missing = []string{"NET_ADMIN", "SYS_RESOURCE"} },
			want{{severity: problem, check: "capabilities", what: "NET_ADMIN"}}},
		"few inotify instances": {func(h *doctor.Host) { h.Inotify.MaxInstances, h.Inotify.Used = 128, 80 },
			want{{severity: warning, check: "inotify", what: "room for 3 more", fix: "fs.inotify.max_user_instances=1024"}}},
		"no inotify instances": {func(h *doctor.Host) { h.Inotify.MaxInstances, h.Inotify.Used = 128, 120 },
			want{{severity: problem, check: "inotify", what: "room for 0 more", fix: "sysctl --system"}}},
		"more instances than allowed": {func(h *doctor.Host) { h.Inotify.MaxInstances, h.Inotify.Used = 128, 500 },
			want{{severity: problem, check: "inotify", what: "room for 0 more"}}},
		"instances by the number of nodes": {func(h *doctor.Host) { h.Inotify.MaxInstances, h.Inotify.Used, h.Engine.Nodes = 128, -1, 8 },
			want{{severity: warning, check: "inotify", what: "104 of 128"}}},
		"few watches": {func(h *doctor.Host) { h.Inotify.MaxWatches = 8192 },
			want{{severity: warning, check: "inotify", what: "8192 watches", fix: "fs.inotify.max_user_watches=524288"}}},
		"disk short": {func(h *doctor.Host) { h.Disks[0].Free = 5 << 30 },
			want{{severity: warning, check: "disk of the garden's data", what: "5120 MiB free of 100 GiB at /data", fix: "docker system df"}}},
		"disk full": {func(h *doctor.Host) { h.Disks[0].Free = 1 << 30 },
			want{{severity: problem, check: "disk of the garden's data"}}},
		"no inodes": {func(h *doctor.Host) { h.Disks[0].FreeInodes = 10 },
			want{{severity: problem, check: "disk of the garden's data", what: "10 of 1000 inodes"}}},
		"few inodes": {func(h *doctor.Host) { h.Disks[0].FreeInodes = 70 },
			want{{severity: warning, check: "disk of the garden's data"}}},
		"inodes without number": {func(h *doctor.Host) { h.Disks[0].Inodes, h.Disks[0].FreeInodes = 0, 0 }, nil},
		"disk that cannot be measured": {func(h *doctor.Host) {
			h.Disks[0] = doctor.Disk{Use: "x"}
			h.Unknown["disk of x"] = "no right"
		}, want{{severity: note, check: "disk of x", what: "no right"}}},
		"little memory": {func(h *doctor.Host) { h.MemoryAvailable = 1 << 30 },
			want{{severity: warning, check: "memory", what: "1024 MiB available"}}},
		"no memory": {func(h *doctor.Host) { h.MemoryAvailable = 100 << 20 },
			want{{severity: problem, check: "memory", fix: "hibernate"}}},
		"clock alone": {func(h *doctor.Host) { h.Clock.Synchronised = false },
			want{{severity: warning, check: "clock", fix: "chrony"}}},
		"clock unknown": {func(h *doctor.Host) {
			h.Clock.Synchronised = false
			h.Unknown["clock"] = "only Linux says it"
		}, want{{severity: note, check: "clock"}}},
		"no overlay": {func(h *doctor.Host) { h.Kernel.Overlay = false },
			want{{severity: problem, check: "kernel", fix: "modprobe overlay"}}},
		"no forwarding": {func(h *doctor.Host) { h.Kernel.Forwarding = false },
			want{{severity: problem, check: "kernel", fix: "net.ipv4.ip_forward=1"}}},
		"no iptables":     {func(h *doctor.Host) { h.Iptables = "" }, want{{severity: warning, check: "iptables", fix: "apt-get install iptables"}}},
		"legacy iptables": {func(h *doctor.Host) { h.Iptables = "iptables v1.8.9 (legacy)" }, want{{severity: note, check: "iptables", fix: "iptables-nft"}}},
		"port taken": {func(h *doctor.Host) {
			h.Ports[0].Holder = "nginx (process 7)"
			h.Ports[0].Otherwise = ", or choose another"
		},
			want{{severity: problem, check: "ports", what: "127.0.0.1:6440, needed for the garden, is taken by nginx (process 7)", fix: "or choose another"}}},
		"port ours": {func(h *doctor.Host) { h.Ports[0].Holder = "loam"; h.Ports[0].Ours = true }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			h := sound()
			test.change(&h)
			compare(t, doctor.ForHost(h), test.want)
		})
	}
}

// whole is a cluster on which nothing is wrong.
func whole() doctor.Cluster {
	zero := 0
	node := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "demo-0"}, Status: corev1.NodeStatus{
		Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}, {Type: corev1.NodeDiskPressure, Status: corev1.ConditionFalse}},
	}}
	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Status: corev1.PodStatus{
		Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{Name: "c", Ready: true}},
	}}
	return doctor.Cluster{
		View: &insight.View{
			Page: insight.Page{
				Name: "demo", Project: "local", API: insight.API{Address: "https://127.0.0.1:1", Ready: true},
				Nodes: []insight.Node{{
					Name: "demo-0", Machine: "0", Role: "ControlPlane", Container: "c-0", State: "running",
					Processes: []insight.Process{
						{Name: "kubelet", Kind: "unit", State: "active (running)", PID: 5, Restarts: &zero},
						{Name: "etcd", Kind: "static pod", State: "running, ready", PID: 6, Restarts: &zero},
					},
					Certificates: []insight.Certificate{{File: "/etc/kubernetes/pki/apiserver.crt", Expires: time.Now(), DaysLeft: 300, State: insight.CertificateValid}},
				}},
			},
			Objects:  insight.Objects{Nodes: []corev1.Node{node}, Pods: []corev1.Pod{pod}},
			Machines: []machines.Description{{Machine: machines.Machine{Name: "0", State: machines.StateRunning}}},
		},
		FromNodes: map[string]string{"demo-0": ""},
	}
}

func TestCluster(t *testing.T) {
	const (
		note, warning, problem = doctor.Note, doctor.Warning, doctor.Problem
	)
	type want = []expectation
	for name, test := range map[string]struct {
		change func(c *doctor.Cluster, n *insight.Node, node *corev1.Node, pod *corev1.Pod)
		want   want
	}{
		"nothing wrong": {func(*doctor.Cluster, *insight.Node, *corev1.Node, *corev1.Pod) {}, nil},
		"stopped": {func(c *doctor.Cluster, n *insight.Node, _ *corev1.Node, _ *corev1.Pod) {
			c.View.Machines[0].State, n.State, n.ExitCode, n.Processes = machines.StateStopped, "exited", 137, nil
		}, want{{severity: problem, check: "machine demo-0", what: "exited, with exit code 137", fix: "docker start c-0"}}},
		"asleep": {func(c *doctor.Cluster, n *insight.Node, _ *corev1.Node, _ *corev1.Pod) {
			c.Hibernated = true
			c.View.Machines[0].State, c.View.Page.API, c.FromNodes = machines.StateStopped, insight.API{}, nil
		}, want{{severity: note, check: "machines", what: "sleeps", fix: `"enabled":false`}}},
		"out of memory": {func(_ *doctor.Cluster, n *insight.Node, _ *corev1.Node, _ *corev1.Pod) {
			n.OutOfMemory, n.MemoryBytes = true, 512<<20
		}, want{{severity: warning, check: "machine demo-0", what: "for their memory"}}},
		"kubelet fails": {func(_ *doctor.Cluster, n *insight.Node, _ *corev1.Node, _ *corev1.Pod) {
			n.Processes[0].State, n.Processes[0].PID = "activating (auto-restart)", 0
		}, want{{severity: problem, check: "machine demo-0", what: "kubelet does not run", fix: "docker exec c-0 journalctl -u kubelet"}}},
		"static pod gone": {func(_ *doctor.Cluster, n *insight.Node, _ *corev1.Node, _ *corev1.Pod) {
			n.Processes[1].State, n.Processes[1].PID = "CrashLoopBackOff", 0
		}, want{{severity: problem, check: "machine demo-0", what: "etcd does not run: CrashLoopBackOff", fix: "_etcd-"}}},
		"static pod started often": {func(_ *doctor.Cluster, n *insight.Node, _ *corev1.Node, _ *corev1.Pod) {
			many := 9
			n.Processes[1].Restarts = &many
		}, want{{severity: warning, check: "machine demo-0", what: "etcd runs, after 9 restarts"}}},
		"certificate near its end": {func(_ *doctor.Cluster, n *insight.Node, _ *corev1.Node, _ *corev1.Pod) {
			n.Certificates[0].State, n.Certificates[0].DaysLeft = insight.CertificateNear, 12
		}, want{{severity: warning, check: "certificates of demo-0", what: "apiserver.crt (12 days)", fix: "kubeadm certs renew all"}}},
		"certificate expired": {func(_ *doctor.Cluster, n *insight.Node, _ *corev1.Node, _ *corev1.Pod) {
			n.Certificates[0].State = insight.CertificateExpired
		}, want{{severity: problem, check: "certificates of demo-0", what: "have expired"}}},
		"kubelet's own": {func(_ *doctor.Cluster, n *insight.Node, _ *corev1.Node, _ *corev1.Pod) {
			n.Certificates[0].File, n.Certificates[0].State = "/var/lib/kubelet/pki/kubelet-client-1.pem", insight.CertificateExpired
		}, want{{severity: problem, check: "certificates of demo-0", fix: "systemctl restart kubelet"}}},
		"authority": {func(_ *doctor.Cluster, n *insight.Node, _ *corev1.Node, _ *corev1.Pod) {
			n.Certificates[0].Authority, n.Certificates[0].State = true, insight.CertificateNear
		}, want{{severity: warning, check: "certificates of demo-0", fix: "create a new cluster"}}},
		"API silent": {func(c *doctor.Cluster, _ *insight.Node, _ *corev1.Node, _ *corev1.Pod) {
			c.View.Page.API.Ready, c.View.Page.API.Problem = false, "connection refused"
			c.FromNodes["demo-0"] = "connection refused"
		}, want{{severity: problem, check: "API server", what: "this host: connection refused", fix: "kube-apiserver"}, {severity: problem, check: "API server", what: "node demo-0"}}},
		"API silent, control plane off": {func(c *doctor.Cluster, n *insight.Node, _ *corev1.Node, _ *corev1.Pod) {
			c.View.Page.API.Ready, c.View.Machines[0].State, n.Processes, c.FromNodes = false, machines.StateStopped, nil, nil
		}, want{{severity: problem, check: "machine demo-0"}, {severity: problem, check: "API server", fix: "start its control plane"}}},
		"not ready": {func(_ *doctor.Cluster, _ *insight.Node, node *corev1.Node, _ *corev1.Pod) {
			node.Status.Conditions[0] = corev1.NodeCondition{Type: corev1.NodeReady, Status: corev1.ConditionFalse, Reason: "KubeletNotReady", Message: "PLEG is not healthy"}
		}, want{{severity: problem, check: "node demo-0", what: "PLEG is not healthy", fix: "docker exec c-0 journalctl -u kubelet"}}},
		"no network": {func(_ *doctor.Cluster, _ *insight.Node, node *corev1.Node, _ *corev1.Pod) {
			node.Status.Conditions[0] = corev1.NodeCondition{Type: corev1.NodeReady, Status: corev1.ConditionFalse, Message: "reason:NetworkPluginNotReady message: cni plugin not initialized"}
		}, want{{severity: problem, check: "node demo-0", fix: "network"}}},
		"silent node": {func(_ *doctor.Cluster, _ *insight.Node, node *corev1.Node, _ *corev1.Pod) {
			node.Status.Conditions = nil
		}, want{{severity: problem, check: "node demo-0", what: "not reported"}}},
		"pressure": {func(_ *doctor.Cluster, _ *insight.Node, node *corev1.Node, _ *corev1.Pod) {
			node.Status.Conditions[1].Status = corev1.ConditionTrue
		}, want{{severity: warning, check: "node demo-0", what: "DiskPressure"}}},
		"cordoned": {func(_ *doctor.Cluster, _ *insight.Node, node *corev1.Node, _ *corev1.Pod) {
			node.Spec.Unschedulable = true
		}, want{{severity: note, check: "node demo-0", fix: "kubectl uncordon demo-0"}}},
		"crash loop": {func(_ *doctor.Cluster, _ *insight.Node, _ *corev1.Node, pod *corev1.Pod) {
			s := &pod.Status.ContainerStatuses[0]
			s.RestartCount, s.State.Waiting = 7, &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}
			s.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{Reason: "OOMKilled", ExitCode: 137}
		}, want{{severity: warning, check: "pods", what: "shop/web, container c: CrashLoopBackOff after 7 restarts: OOMKilled with exit code 137", fix: "kubectl -n shop logs web -c c --previous"}}},
		"no image": {func(_ *doctor.Cluster, _ *insight.Node, _ *corev1.Node, pod *corev1.Pod) {
			pod.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "i", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such host"}}}}
		}, want{{severity: warning, check: "pods", what: "no such host", fix: "kubectl -n shop describe pod web"}}},
		"still being made": {func(_ *doctor.Cluster, _ *insight.Node, _ *corev1.Node, pod *corev1.Pod) {
			pod.Status.ContainerStatuses[0].State.Waiting = &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}
		}, nil},
		"no node takes it": {func(_ *doctor.Cluster, _ *insight.Node, _ *corev1.Node, pod *corev1.Pod) {
			pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "0/1 nodes are available"}}
		}, want{{severity: warning, check: "pods", what: "0/1 nodes are available"}}},
		"port of a stopped machine taken": {func(c *doctor.Cluster, _ *insight.Node, _ *corev1.Node, _ *corev1.Pod) {
			c.Ports = []doctor.Port{{Address: "127.0.0.1:8080", Use: "cluster demo", Holder: "nginx (process 7)"}}
		}, want{{severity: problem, check: "ports", what: "nginx"}}},
	} {
		t.Run(name, func(t *testing.T) {
			c := whole()
			test.change(&c, &c.View.Page.Nodes[0], &c.View.Objects.Nodes[0], &c.View.Objects.Pods[0])
			compare(t, doctor.ForCluster(c), test.want)
		})
	}
}

func TestReport(t *testing.T) {
	finding := func(s doctor.Severity) doctor.Finding {
		return doctor.Finding{Severity: s, Check: "c", What: "of two\nlines", Why: "w", Fix: "f"}
	}
	for worst, test := range map[doctor.Severity]struct {
		found []doctor.Finding
		code  int
	}{
		doctor.OK:      {nil, 0},
		doctor.Note:    {[]doctor.Finding{finding(doctor.OK), finding(doctor.Note)}, 0},
		doctor.Warning: {[]doctor.Finding{finding(doctor.Note), finding(doctor.Warning)}, 2},
		doctor.Problem: {[]doctor.Finding{finding(doctor.Warning), finding(doctor.Problem), finding(doctor.OK)}, 3},
	} {
		if r := doctor.NewReport(test.found); r.Worst != worst || r.ExitCode() != test.code {
			t.Errorf("%v: worst is %s with exit code %d, want %s and %d", test.found, r.Worst, r.ExitCode(), worst, test.code)
		}
	}
	var out bytes.Buffer
	if err := doctor.NewReport([]doctor.Finding{finding(doctor.OK)}, []doctor.Finding{finding(doctor.Problem)}).Print(&out); err != nil {
		t.Fatal(err)
	}
	const want = "✗ c: of two\n         lines\n    why: w\n    fix: f\n✓ c: of two\n         lines\n    why: w\n    fix: f\n\nproblems: 1, warnings: 0, notes: 0, in order: 1\n"
	if out.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", out.String(), want)
	}
}
