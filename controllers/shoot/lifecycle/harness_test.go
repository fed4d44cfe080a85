package lifecycle_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	clientfake "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/controllers/shoot/lifecycle"
	"github.com/loam-cloud/loam/garden/gardentest"
	"github.com/loam-cloud/loam/garden/scheme"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/machines/fake"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

// patience bounds the wait for what the garden does by itself.
const patience = 30 * time.Second

// harness is a reconciler on a real garden, whose machines are nodes as soon as
// they are switched on.
type harness struct {
	*testing.T
	garden     client.WithWatch
	namespace  string
	clock      *clocktesting.FakeClock
	machines   *fake.Driver
	events     *events.FakeRecorder
	reconciler *lifecycle.Reconciler
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	garden, err := client.NewWithWatch(gardentest.Start(t).RESTConfig(), client.Options{Scheme: scheme.Client()})
	if err != nil {
		t.Fatal(err)
	}
	h := &harness{
		T: t, garden: garden, namespace: gardentest.Namespace(t),
		clock: clocktesting.NewFakeClock(time.Now()), machines: fake.New(), events: events.NewFakeRecorder(1000),
	}
	h.machines.Script = booted
	h.restart()
	return h
}

// restart begins the reconciler anew, as a new process does.
func (h *harness) restart() {
	cluster := runningCluster("demo")
	h.reconciler = &lifecycle.Reconciler{
		Client: h.garden, Live: h.garden, Clock: h.clock, Recorder: h.events, Machines: h.machines,
		Config:  lifecycle.Config{SeedName: "local", Identity: gardencorev1beta1.Gardener{ID: "host", Name: "agent", Version: "v1"}},
		Image:   func(_ context.Context, version string) (string, error) { return "node:" + version, nil },
		Connect: func(*rest.Config) (client.Client, error) { return cluster, nil },
	}
}

// booted answers the flow as a machine on which kubeadm has done its work, with no
// setting of a user's.
func booted(_ context.Context, _ fake.Guest, c machines.Command) error {
	if strings.Contains(c.Args[2], "bootstrapped") {
		_, _ = io.WriteString(c.Stdout, "bootstrapped\n{}\n")
	}
	return nil
}

// runningCluster is the API of a cluster that lacks nothing.
func runningCluster(name string) client.Client {
	objects := []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-system"}},
		&appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "coredns"},
			Spec:       appsv1.DeploymentSpec{Replicas: ptr.To[int32](1)}, Status: appsv1.DeploymentStatus{AvailableReplicas: 1},
		},
	}
	for _, node := range []string{"control-plane-0", "worker-0", "worker-1", "worker-2"} {
		objects = append(objects, &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: name + "-" + node},
			Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}},
		})
	}
	return clientfake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		// Its kubelets have always just said so.
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			err := c.List(ctx, list, options...)
			if nodes, are := list.(*corev1.NodeList); are {
				for i := range nodes.Items {
					nodes.Items[i].Status.Conditions[0].LastHeartbeatTime = metav1.Now()
				}
			}
			return err
		},
	}).Build()
}

// create makes a Shoot with workers; change may alter it before.
func (h *harness) create(workers int32, change func(*gardencorev1beta1.Shoot)) *gardencorev1beta1.Shoot {
	h.Helper()
	shoot := &gardencorev1beta1.Shoot{
		ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "demo"},
		Spec: gardencorev1beta1.ShootSpec{
			CloudProfile: &gardencorev1beta1.CloudProfileReference{Kind: "CloudProfile", Name: "local"},
			Region:       "local",
			Provider:     gardencorev1beta1.Provider{Type: "local"},
			Kubernetes:   gardencorev1beta1.Kubernetes{Version: "1.36.3"},
			SeedName:     ptr.To("local"),
		},
	}
	setWorkers(shoot, workers)
	if change != nil {
		change(shoot)
	}
	if err := h.garden.Create(h.Context(), shoot); err != nil {
		h.Fatalf("creating the shoot: %v", err)
	}
	return shoot
}

func setWorkers(shoot *gardencorev1beta1.Shoot, n int32) {
	shoot.Spec.Provider.Workers = nil
	if n > 0 {
		shoot.Spec.Provider.Workers = []gardencorev1beta1.Worker{{Name: "worker", Minimum: n, Maximum: n, Machine: gardencorev1beta1.Machine{Type: "local"}}}
	}
}

// change alters the Shoot's spec as a user does.
func (h *harness) change(shoot *gardencorev1beta1.Shoot, change func(*gardencorev1beta1.Shoot)) {
	h.Helper()
	fresh := h.get(shoot)
	base := fresh.DeepCopy()
	change(fresh)
	if err := h.garden.Patch(context.Background(), fresh, client.MergeFrom(base)); err != nil {
		h.Errorf("changing the shoot: %v", err)
	}
}

func (h *harness) delete(shoot *gardencorev1beta1.Shoot) {
	h.Helper()
	h.change(shoot, func(s *gardencorev1beta1.Shoot) {
		metav1.SetMetaDataAnnotation(&s.ObjectMeta, "confirmation.gardener.cloud/deletion", "true")
	})
	if err := h.garden.Delete(context.Background(), shoot.DeepCopy()); err != nil {
		h.Errorf("deleting the shoot: %v", err)
	}
}

func (h *harness) get(shoot *gardencorev1beta1.Shoot) *gardencorev1beta1.Shoot {
	h.Helper()
	fresh := &gardencorev1beta1.Shoot{}
	if err := h.garden.Get(context.Background(), client.ObjectKeyFromObject(shoot), fresh); err != nil {
		h.Errorf("reading the shoot: %v", err)
	}
	return fresh
}

func (h *harness) reconcile(shoot *gardencorev1beta1.Shoot) (reconcile.Result, error) {
	return h.reconciler.Reconcile(h.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(shoot)})
}

// settle reconciles, which must succeed, and returns the Shoot after it.
func (h *harness) settle(shoot *gardencorev1beta1.Shoot) *gardencorev1beta1.Shoot {
	h.Helper()
	if result, err := h.reconcile(shoot); err != nil {
		h.Fatalf("got %+v, %v", result, err)
	}
	return h.get(shoot)
}

// wantOperation compares the last operation, in the form "Create Succeeded 100".
func (h *harness) wantOperation(shoot *gardencorev1beta1.Shoot, want string) {
	h.Helper()
	got := "none"
	if last := shoot.Status.LastOperation; last != nil {
		got = fmt.Sprintf("%s %s %d", last.Type, last.State, last.Progress)
	}
	if got != want {
		h.Errorf("the last operation is %s, want %s: %+v", got, want, shoot.Status.LastOperation)
	}
}

// wantMachines compares the driver's machines with their states.
func (h *harness) wantMachines(want ...string) {
	h.Helper()
	all, err := h.machines.List(context.Background(), "")
	if err != nil {
		h.Fatal(err)
	}
	var got []string
	for _, m := range all {
		got = append(got, m.Name+" "+string(m.State))
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		h.Errorf("machines are %q, want %q", got, want)
	}
}

// published are the Machine objects of the namespace.
func (h *harness) published() []v1alpha1.Machine {
	h.Helper()
	var all v1alpha1.MachineList
	if err := h.garden.List(context.Background(), &all, client.InNamespace(h.namespace)); err != nil {
		h.Fatal(err)
	}
	return all.Items
}

func (h *harness) secrets() (kubeconfig *corev1.Secret, keys *gardencorev1beta1.InternalSecret) {
	h.Helper()
	kubeconfig, keys = &corev1.Secret{}, &gardencorev1beta1.InternalSecret{}
	if err := h.garden.Get(context.Background(), client.ObjectKey{Namespace: h.namespace, Name: "demo.kubeconfig"}, kubeconfig); err != nil {
		h.Error(err)
	}
	if err := h.garden.Get(context.Background(), client.ObjectKey{Namespace: h.namespace, Name: "demo.pki"}, keys); err != nil {
		h.Error(err)
	}
	return kubeconfig, keys
}

// recorded returns the events so far.
func (h *harness) recorded() string {
	var all []string
	for {
		select {
		case e := <-h.events.Events:
			all = append(all, e)
		default:
			return strings.Join(all, "\n")
		}
	}
}

// failOnce makes the next call of a method of the driver fail.
func (h *harness) failOnce(method fake.Method, problem error) {
	failed := false
	h.machines.Fail = func(c fake.Call) error {
		if failed || c.Method != method {
			return nil
		}
		failed = true
		return problem
	}
}

func (h *harness) eventually(what string, ask func() bool) {
	h.Helper()
	for end := time.Now().Add(patience); !ask(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			h.Fatalf("after %s still not: %s", patience, what)
		}
	}
}
