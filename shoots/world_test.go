package shoots_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientset "k8s.io/client-go/kubernetes/fake"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/machines"
	driver "github.com/loam-cloud/loam/machines/fake"
	"github.com/loam-cloud/loam/nodeconfig"
	"github.com/loam-cloud/loam/shoots"
	"github.com/loam-cloud/loam/shoots/graph"
)

// world is what a flow works on: a host, machines and an API server. The API
// server answers once kubeadm has made its files and while its machine runs, nodes
// appear when their kubelet has its files, and get ready when there is a network.
type world struct {
	t           *testing.T
	cluster     shoots.Cluster
	authorities shoots.Authorities
	machines    *driver.Driver
	// inside is the API server as its own components reach it, api as the flow does.
	inside, api client.WithWatch
	// refuse is asked before each call of the API server.
	refuse func(call string) error

	mutex sync.Mutex
	up    bool
	// kubeadm counts its runs by machine and verb; broken makes the next run in
	// a machine fail.
	kubeadm map[string]int
	broken  map[string]bool
	// held are pods that a disruption budget keeps, evicted those that went.
	held map[string]bool
	// etcd are its members.
	etcd []etcdMember
	// images are those that were carried into machines, by the machine's ID.
	images  map[string][]string
	written []string
	steps   []string
}

func newWorld(t *testing.T, workers int) *world {
	w := &world{
		t: t, machines: driver.New(), authorities: newAuthorities(t),
		kubeadm: map[string]int{}, broken: map[string]bool{}, held: map[string]bool{}, images: map[string][]string{},
		inside: fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).Build(),
		cluster: shoots.Cluster{
			ID: "shoot--local--demo", Name: "demo", KubernetesVersion: "v1.36.3", Image: "node",
			PodCIDR: "100.96.0.0/11", ServiceCIDR: "100.64.0.0/13", DefaultNetwork: true,
			APIServer: machines.Port{MachinePort: shoots.APIServerPort, Protocol: machines.TCP},
			Pools: []shoots.Pool{
				{Name: "control-plane", Role: v1alpha1.RoleControlPlane, Count: 1},
				{Name: "worker", Role: v1alpha1.RoleWorker},
			},
		},
	}
	w.setWorkers(workers)
	w.machines.Script = w.run
	w.api = interceptor.NewClient(w.inside, w.intercept())
	return w
}

func (w *world) setWorkers(n int) {
	w.cluster.Pools[0].Schedulable = n == 0
	w.cluster.Pools[1].Count = n
}

func (w *world) flow() *shoots.Flow {
	return &shoots.Flow{
		Machines:  w.machines,
		Clock:     clock.RealClock{},
		Connect:   func(*rest.Config) (client.Client, error) { return w.api, nil },
		Clientset: func(*rest.Config) (kubernetes.Interface, error) { return w.clientset(), nil },
		Observe: func(c graph.Change) {
			if c.State == graph.Succeeded {
				w.steps = append(w.steps, c.Step)
			}
		},
	}
}

func (w *world) reconcile(ctx context.Context) error {
	return w.flow().Reconcile(ctx, w.cluster, w.authorities)
}

// call is one call of the API server: refused while none listens, recorded when
// it writes.
func (w *world) call(call string) error {
	if w.refuse != nil {
		if err := w.refuse(call); err != nil {
			return err
		}
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if !w.up || !w.served() {
		return errors.New("dial tcp 127.0.0.1:20000: connect: connection refused")
	}
	if !strings.HasPrefix(call, "get ") && !strings.HasPrefix(call, "list ") {
		w.written = append(w.written, call)
	}
	return nil
}

// served tells whether an API server runs in a machine, whose kubelet is not held.
func (w *world) served() bool {
	return slices.ContainsFunc(w.guests(v1alpha1.RoleControlPlane), func(m driver.Guest) bool {
		_, held := m.ReadFile("/etc/loam/kubelet-held")
		_, made := m.ReadFile(madeFile)
		return m.State == machines.StateRunning && made && !held
	})
}

// guests are the machines of a role.
func (w *world) guests(role v1alpha1.MachineRole) []driver.Guest {
	var all []driver.Guest
	for i := range 10 {
		name := fmt.Sprintf("control-plane-%d", i)
		if role == v1alpha1.RoleWorker {
			name = fmt.Sprintf("worker-%d", i)
		}
		if m, err := w.machines.Guest(w.cluster.ID, name); err == nil {
			all = append(all, m)
		}
	}
	return all
}

// named leaves out the names of Secrets, which are random.
func named(verb string, o client.Object) string {
	if _, secret := o.(*corev1.Secret); secret {
		return verb + " Secret"
	}
	return fmt.Sprintf("%s %s %s", verb, strings.TrimPrefix(fmt.Sprintf("%T", o), "*v1."), o.GetName())
}

func (w *world) intercept() interceptor.Funcs {
	return interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
			if err := w.call("get " + key.Name); err != nil {
				return err
			}
			return c.Get(ctx, key, o, options...)
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			if err := w.call(fmt.Sprintf("list %T", list)); err != nil {
				return err
			}
			return c.List(ctx, list, options...)
		},
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
			if err := w.call(named("create", o)); err != nil {
				return err
			}
			// The kubelet takes the node's word, and refuses static pods for good.
			if node, is := o.(*corev1.Node); is && (node.Status.Allocatable.Cpu().Value() != 4 || node.Status.Allocatable.Memory().Value() != 8<<30 || node.Status.Allocatable.Pods().Value() != 110) {
				w.t.Errorf("node %q is introduced with %v", node.Name, node.Status.Allocatable)
			}
			return c.Create(ctx, o, options...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.DeleteOption) error {
			if err := w.call(named("delete", o)); err != nil {
				return err
			}
			return c.Delete(ctx, o, options...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, options ...client.PatchOption) error {
			if err := w.call(named("patch", o)); err != nil {
				return err
			}
			return c.Patch(ctx, o, patch, options...)
		},
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, options ...client.ApplyOption) error {
			applied := o.(interface {
				GetKind() string
				GetName() string
			})
			if err := w.call("apply " + applied.GetKind() + " " + applied.GetName()); err != nil {
				return err
			}
			if err := c.Apply(ctx, o, options...); err != nil {
				return err
			}
			w.settle(ctx)
			return nil
		},
	}
}

// settle starts the pods of Deployments, and makes nodes ready once there is a
// network.
func (w *world) settle(ctx context.Context) {
	var deployments appsv1.DeploymentList
	if err := w.inside.List(ctx, &deployments); err != nil {
		w.t.Error(err)
	}
	for _, d := range deployments.Items {
		base, n := d.DeepCopy(), ptr.Deref(d.Spec.Replicas, 1)
		d.Status = appsv1.DeploymentStatus{Replicas: n, UpdatedReplicas: n, AvailableReplicas: n}
		if err := w.inside.Status().Patch(ctx, &d, client.MergeFrom(base)); client.IgnoreNotFound(err) != nil {
			w.t.Error(err)
		}
	}
	if w.inside.Get(ctx, client.ObjectKey{Namespace: "kube-system", Name: "network"}, &corev1.ConfigMap{}) != nil {
		return
	}
	var nodes corev1.NodeList
	if err := w.inside.List(ctx, &nodes); err != nil {
		w.t.Error(err)
	}
	for _, n := range nodes.Items {
		base := n.DeepCopy()
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Now()}}
		if err := w.inside.Status().Patch(ctx, &n, client.MergeFrom(base)); client.IgnoreNotFound(err) != nil {
			w.t.Error(err)
		}
	}
}

// clientset is the same API server for the library that drains nodes.
func (w *world) clientset() kubernetes.Interface {
	set := clientset.NewClientset()
	set.Resources = []*metav1.APIResourceList{{GroupVersion: "v1", APIResources: []metav1.APIResource{
		{Name: "pods/eviction", Namespaced: true, Kind: "Eviction", Group: "policy", Version: "v1"},
	}}}
	ctx := w.t.Context()
	set.PrependReactor("patch", "nodes", func(a clienttesting.Action) (bool, runtime.Object, error) {
		patch := a.(clienttesting.PatchAction)
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: patch.GetName()}}
		return true, node, w.api.Patch(ctx, node, client.RawPatch(patch.GetPatchType(), patch.GetPatch()))
	})
	set.PrependReactor("list", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
		var all corev1.PodList
		err := w.inside.List(ctx, &all)
		wanted, _ := a.(clienttesting.ListAction).GetListRestrictions().Fields.RequiresExactMatch("spec.nodeName")
		mine := &corev1.PodList{}
		for _, p := range all.Items {
			if p.Spec.NodeName == wanted {
				mine.Items = append(mine.Items, p)
			}
		}
		return true, mine, err
	})
	set.PrependReactor("get", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
		pod := &corev1.Pod{}
		err := w.inside.Get(ctx, client.ObjectKey{Namespace: a.GetNamespace(), Name: a.(clienttesting.GetAction).GetName()}, pod)
		return true, pod, err
	})
	set.PrependReactor("create", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
		eviction := a.(clienttesting.CreateAction).GetObject().(*policyv1.Eviction)
		if w.held[eviction.Name] {
			return true, nil, apierrors.NewTooManyRequests("a disruption budget keeps it", 0)
		}
		w.mutex.Lock()
		w.written = append(w.written, "evict Pod "+eviction.Name)
		w.mutex.Unlock()
		return true, nil, w.inside.Delete(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: eviction.Namespace, Name: eviction.Name}})
	})
	return set
}

const networkManifest = `
apiVersion: v1
kind: ConfigMap
metadata: {name: network, namespace: kube-system}
data: {range: "{{ .PodSubnet }}"}
`

const storageManifest = `
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: standard}
provisioner: example.org/folders
`

const addonsManifest = `---
apiVersion: apps/v1
kind: Deployment
metadata: {name: coredns, namespace: kube-system}
spec: {replicas: 2}
`

// does names what a shell script of the flow does.
func does(args []string) (what string, rest []string) {
	if len(args) < 4 || args[0] != "/bin/sh" {
		return "unknown", args
	}
	text := args[2]
	switch {
	case strings.Contains(text, "daemon-reload"):
		return "revive", nil
	case strings.Contains(text, "systemctl start loam-balancer"):
		return "balancer", args[4:]
	case strings.Contains(text, "get --raw /readyz"):
		return "ready", nil // addresses are given in any order
	case strings.Contains(text, "admin.sock"):
		return "order", args[4:]
	}
	for name, part := range map[string]string{
		"release": "etcd local", "apply": "kubeadm upgrade apply", "upgrade-node": "kubeadm upgrade node --skip-phases=preflight --patches",
		"follow": "kubeadm upgrade node --skip-phases=preflight,control-plane",
		"init":   "\nnproc\n", "record": "for phase; do", "join": "kubeadm join", "addons": "--print-manifest", "controllers": "/etc/loam/held",
		"forget": "rm -f /etc/loam/settings.json", "leader": "init phase kubelet-start", "upload": "upload-config all --config=/etc/loam/kubeadm.yaml >/var/log/loam/configure.log",
		"follower": "phase kubelet-config", "crash": "-newer /etc/kubernetes/manifests",
		"etcd": "create --raw", "images": "images ls -q", "digest": "images ls \"name", "content": "content get", "root": "snapshots view", "import": "images import",
	} {
		if strings.Contains(text, part) {
			return name, args[4:]
		}
	}
	switch {
	case strings.Contains(text, "echo bootstrapped"):
		return "probe", nil
	case text == `cat "$1"`:
		return "cat", args[4:]
	}
	return "unknown", args
}

// run answers what is run inside a machine.
func (w *world) run(ctx context.Context, guest driver.Guest, c machines.Command) error {
	what, rest := does(c.Args)
	_, bootstrapped := guest.ReadFile(marker)
	_, upgrading := guest.ReadFile(upgradingFile)
	_, made := guest.ReadFile(madeFile)
	switch {
	case slices.Contains([]string{"images", "digest", "content", "root", "import"}, what):
		return w.containerd(guest, what, rest, c)
	case what == "balancer":
		if config, found := guest.ReadFile(nodeconfig.BalancerPath); !found || !strings.Contains(string(config.Content), "-control-plane-2 ") {
			w.t.Errorf("the balancer's configuration is %q", config.Content)
		}
	case what == "release" || what == "apply" || what == "follow" || what == "upgrade-node":
		if upgrading {
			return w.upgrade(ctx, guest, what, rest)
		}
	case what == "etcd":
		return w.askEtcd(guest, rest, c)
	case what == "revive":
		return w.revive(guest)
	case what == "probe":
		settings, _ := guest.ReadFile(nodeconfig.SettingsPath)
		state := ""
		switch {
		case upgrading:
			state = "upgrading\n"
		case bootstrapped:
			state = "bootstrapped\n"
		case has(guest, "/etc/loam/joining"):
			state = "joining\n"
		case has(guest, etcdFile):
			state = "kept\n"
		}
		_, _ = io.WriteString(c.Stdout, state+string(settings.Content))
	case slices.Contains([]string{"forget", "leader", "upload", "follower", "crash"}, what):
		return w.configure(ctx, guest, what, c)
	case what == "ready":
		if !made {
			return &machines.ExitError{Code: 1}
		}
	case what == "controllers", what == "order":
	case what == "addons":
		_, _ = io.WriteString(c.Stdout, addonsManifest)
	case what == "cat" && strings.Contains(rest[0], "cni"):
		_, _ = io.WriteString(c.Stdout, networkManifest)
	case what == "cat":
		_, _ = io.WriteString(c.Stdout, storageManifest)
	case bootstrapped && slices.Contains([]string{"init", "record", "join"}, what):
	case what == "init" && made:
		_, _ = io.WriteString(c.Stdout, "4\n8388608\n")
	case what == "init", what == "record", what == "join":
		if err := w.runKubeadm(ctx, guest, what, c.Stderr); err != nil {
			return err
		}
		path := marker
		if what == "init" {
			path = madeFile
			w.joinEtcd(guest)
		}
		guest.WriteFile(machines.File{Path: path})
		if what == "join" {
			guest.RemoveFile("/etc/loam/joining")
		}
		if what == "init" {
			_, _ = io.WriteString(c.Stdout, "4\n8388608\n")
		}
	default:
		w.t.Errorf("machine %q was to run %q", guest.Name, c.Args)
	}
	return nil
}

const (
	// marker is the file by which a machine remembers that kubeadm has run.
	marker = "/etc/loam/bootstrapped"
	// madeFile is one of those that kubeadm makes at boot.
	madeFile = "/etc/kubernetes/admin.conf"
)

var tokenLine = regexp.MustCompile(`(?i)token: "?([a-z0-9]{6})\.([a-z0-9]{16})`)

func (w *world) runKubeadm(ctx context.Context, guest driver.Guest, verb string, stderr io.Writer) error {
	w.mutex.Lock()
	w.kubeadm[guest.Name+" "+verb]++
	w.mutex.Unlock()
	failed := &machines.ExitError{Program: "/bin/sh", Code: 1}
	if w.isBroken(guest) {
		for i := range 40 {
			fmt.Fprintf(stderr, "line %d of the log\n", i+1)
		}
		return failed
	}
	config, _ := guest.ReadFile(nodeconfig.KubeadmConfigPath)
	token := tokenLine.FindSubmatch(config.Content)
	if token == nil {
		w.t.Errorf("machine %q: kubeadm %s finds no token in %q", guest.Name, verb, config.Content)
		return failed
	}
	objects := []client.Object{&corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: guest.Hostname}, Status: corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{KubeletVersion: version(guest)}},
	}}
	switch verb {
	case "init":
		for _, path := range []string{"/etc/kubernetes/pki/ca.key", "/etc/kubernetes/kubelet.conf", "/var/lib/kubelet/pki/kubelet-client-current.pem"} {
			if _, found := guest.ReadFile(path); !found {
				w.t.Errorf("machine %q was initialised without %s", guest.Name, path)
			}
		}
		objects = append(objects, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-system"}})
	case "join":
		var secret corev1.Secret
		err := w.inside.Get(ctx, client.ObjectKey{Namespace: "kube-system", Name: "bootstrap-token-" + string(token[1])}, &secret)
		if err != nil || secret.StringData["token-secret"] != string(token[2]) {
			w.t.Errorf("machine %q joins with a token that the cluster does not know: %v", guest.Name, err)
			return failed
		}
		if guest.Labels[shoots.LabelRole] == string(v1alpha1.RoleControlPlane) {
			if err := w.joinControlPlane(ctx, guest); err != nil {
				return err
			}
		}
	case "record":
		objects = append(objects, w.kubeadmConfig(version(guest)))
	}
	for _, o := range objects {
		if err := w.inside.Create(ctx, o); err != nil && !apierrors.IsAlreadyExists(err) {
			w.t.Errorf("creating %T: %v", o, err)
		}
	}
	w.mutex.Lock()
	w.up = true
	w.mutex.Unlock()
	w.settle(ctx)
	return nil
}

func machineOfAnother() machines.Spec {
	return machines.Spec{Cluster: "shoot--local--other", Name: "other", Hostname: "other", Image: "node"}
}
