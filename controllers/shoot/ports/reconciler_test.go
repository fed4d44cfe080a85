package ports_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	kubefake "k8s.io/client-go/kubernetes/fake"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	clientfake "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	shootports "github.com/loam-cloud/loam/controllers/shoot/ports"
	"github.com/loam-cloud/loam/garden/scheme"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/machines/fake"
	"github.com/loam-cloud/loam/shoots"
	"github.com/loam-cloud/loam/shoots/forward"
	"github.com/loam-cloud/loam/shoots/ports"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// patience bounds waits for what comes soon, on a busy host too.
const patience = 30 * time.Second

// harness is a Shoot in a garden, with a cluster that has one node and one
// service.
type harness struct {
	*testing.T
	garden     client.Client
	cluster    *kubefake.Clientset
	machines   *fake.Driver
	reconciler *shootports.Reconciler
	stop       func()
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	authorities, err := shoots.NewAuthorities(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	shoot := &gardencorev1beta1.Shoot{
		ObjectMeta: metav1.ObjectMeta{Namespace: "garden-local", Name: "demo"},
		Spec: gardencorev1beta1.ShootSpec{
			SeedName: ptr.To("local"), Kubernetes: gardencorev1beta1.Kubernetes{Version: "1.36.3"},
			Provider: gardencorev1beta1.Provider{Type: "local"},
		},
		Status: gardencorev1beta1.ShootStatus{
			TechnicalID:         "shoot--local--demo",
			AdvertisedAddresses: []gardencorev1beta1.ShootAdvertisedAddress{{Name: "external", URL: "https://127.0.0.1:1"}},
		},
	}
	keys := &gardencorev1beta1.InternalSecret{ObjectMeta: metav1.ObjectMeta{Namespace: shoot.Namespace, Name: "demo.pki"}, Data: authorities}
	h := &harness{
		T: t, machines: fake.New(),
		garden:  clientfake.NewClientBuilder().WithScheme(scheme.Client()).WithObjects(shoot, keys).WithStatusSubresource(shoot).Build(),
		cluster: kubefake.NewClientset(objects()...),
	}
	if _, err := h.machines.Create(t.Context(), machines.Spec{
		Cluster: "shoot--local--demo", Name: "control-plane-0", Hostname: "demo-control-plane-0", Image: "node",
		Labels: map[string]string{shoots.LabelRole: "ControlPlane"}, Ports: []machines.Port{{MachinePort: shoots.APIServerPort}},
	}); err != nil {
		t.Fatal(err)
	}
	h.begin()
	return h
}

func objects() []runtime.Object {
	return []runtime.Object{
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "demo-control-plane-0"}, Status: corev1.NodeStatus{
			Addresses:  []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}},
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
		}},
		&corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
			Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Port: 1, NodePort: 30080, Protocol: corev1.ProtocolTCP}}},
		},
		&discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web-1", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
			Endpoints:  []discoveryv1.Endpoint{{NodeName: ptr.To("demo-control-plane-0")}},
			Ports:      []discoveryv1.EndpointPort{{Name: ptr.To(""), Protocol: ptr.To(corev1.ProtocolTCP), Port: ptr.To[int32](8080)}},
		},
	}
}

// begin starts the controller as a process would.
func (h *harness) begin() {
	api := clientfake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).Build()
	h.reconciler = &shootports.Reconciler{
		Client: h.garden, Clock: clock.RealClock{}, Machines: h.machines,
		Config:    shootports.Config{SeedName: "local", Listen: loopback, Advertise: loopback},
		Forward:   forward.New(forward.Config{Dialer: &forward.Reach{Way: forward.WayDirect, Clock: clock.RealClock{}}}),
		Connect:   func(*rest.Config) (client.Client, error) { return api, nil },
		Clientset: func(*rest.Config) (kubernetes.Interface, error) { return h.cluster, nil },
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- h.reconciler.Start(ctx) }()
	stopped := false
	h.stop = func() {
		cancel()
		if !stopped {
			stopped = true
			if err := <-ended; err != nil {
				h.Error(err)
			}
		}
	}
	h.Cleanup(h.stop)
}

func (h *harness) reconcile() {
	h.Helper()
	ctx := log.IntoContext(h.Context(), logr.Discard())
	if _, err := h.reconciler.Reconcile(ctx, reconcile.Request{NamespacedName: client.ObjectKey{Namespace: "garden-local", Name: "demo"}}); err != nil {
		h.Fatal(err)
	}
}

func (h *harness) change(change func(*gardencorev1beta1.Shoot)) {
	h.Helper()
	shoot := &gardencorev1beta1.Shoot{}
	if err := h.garden.Get(h.Context(), client.ObjectKey{Namespace: "garden-local", Name: "demo"}, shoot); err != nil {
		h.Fatal(err)
	}
	change(shoot)
	if err := h.garden.Update(h.Context(), shoot); err != nil {
		h.Fatal(err)
	}
	h.reconcile()
}

// lines waits until what is recorded is as it should be.
func (h *harness) lines(check func([]ports.Line) error) []ports.Line {
	h.Helper()
	var problem error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		record := &corev1.ConfigMap{}
		if problem = h.garden.Get(h.Context(), client.ObjectKey{Namespace: "garden-local", Name: "demo.ports"}, record); problem != nil {
			continue
		}
		lines, err := ports.Read(record.Data)
		if problem = errors.Join(err, check(lines)); problem == nil {
			return lines
		}
	}
	h.Fatal(problem)
	return nil
}

func find(lines []ports.Line, id string) (ports.Line, error) {
	for _, l := range lines {
		if strings.HasPrefix(l.ID, id) {
			return l, nil
		}
	}
	return ports.Line{}, fmt.Errorf("no line begins with %s in %+v", id, lines)
}

func served(id string) func([]ports.Line) error {
	return func(lines []ports.Line) error {
		l, err := find(lines, id)
		if err == nil && (!l.Reachable || !l.Address.IsValid()) {
			err = fmt.Errorf("it is not reachable: %+v", l)
		}
		return err
	}
}

const balanced = "service/default/web/1/TCP"

func TestFollows(t *testing.T) {
	h := newHarness(t)
	h.reconcile()
	lines := h.lines(served(balanced))
	if l, err := find(lines, "published/"); err != nil || l.Title() != "API server" {
		t.Errorf("the API server's line is %+v, %v", l, err)
	}
	// The service was told, and the follower sees what changes.
	h.lines(func([]ports.Line) error {
		s, err := h.cluster.CoreV1().Services("default").Get(h.Context(), "web", metav1.GetOptions{})
		if err == nil && (len(s.Status.LoadBalancer.Ingress) != 1 || s.Status.LoadBalancer.Ingress[0].IP != "127.0.0.1") {
			err = fmt.Errorf("the service's status is %+v", s.Status)
		}
		return err
	})
	if err := h.cluster.CoreV1().Services("default").Delete(h.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.lines(func(lines []ports.Line) error {
		if l, err := find(lines, balanced); err == nil {
			return fmt.Errorf("a service that is gone has line %+v", l)
		}
		return nil
	})
}

func TestMappingsChangeWhileItRuns(t *testing.T) {
	h := newHarness(t)
	h.reconcile()
	before, _ := find(h.lines(served(balanced)), balanced)
	mapped := func(text string) {
		h.change(func(s *gardencorev1beta1.Shoot) {
			s.Spec.Provider.ControlPlaneConfig = &runtime.RawExtension{Raw: []byte(`{"apiVersion":"loam.dev/v1alpha1","kind":"ControlPlaneConfig","portMappings":[` + text + `]}`)}
		})
	}
	mapped(`{"containerPort":30080},{"containerPort":30080}`)
	var addresses []netip.AddrPort
	lines := h.lines(func(lines []ports.Line) error {
		return errors.Join(served("mapping/127.0.0.1/0/30080/TCP/1")(lines), served("mapping/127.0.0.1/0/30080/TCP/2")(lines))
	})
	for _, l := range lines {
		if l.Kind == ports.KindMapping {
			addresses = append(addresses, l.Address)
		}
	}
	if len(addresses) != 2 || addresses[0] == addresses[1] {
		t.Errorf("two free ports are %v", addresses)
	}
	mapped(``)
	after, _ := find(h.lines(func(lines []ports.Line) error {
		if l, err := find(lines, "mapping/"); err == nil {
			return fmt.Errorf("a mapping is left: %+v", l)
		}
		return nil
	}), balanced)
	if after.Address != before.Address {
		t.Errorf("the service was at %s and is at %s", before.Address, after.Address)
	}
}

func TestPortsStayOverARestart(t *testing.T) {
	h := newHarness(t)
	h.reconcile()
	before, _ := find(h.lines(served(balanced)), balanced)
	h.stop()
	h.begin()
	h.reconcile()
	after, _ := find(h.lines(served(balanced)), balanced)
	if after.Address != before.Address {
		t.Errorf("the port was %s and is %s", before.Address, after.Address)
	}
}

func TestSleepAndEnd(t *testing.T) {
	h := newHarness(t)
	h.reconcile()
	before, _ := find(h.lines(served(balanced)), balanced)
	h.change(func(s *gardencorev1beta1.Shoot) {
		s.Spec.Hibernation = &gardencorev1beta1.Hibernation{Enabled: ptr.To(true)}
	})
	asleep, _ := find(h.lines(func(lines []ports.Line) error {
		l, err := find(lines, balanced)
		if err == nil && l.Note != "the cluster is hibernated" {
			err = fmt.Errorf("it says %q", l.Note)
		}
		return err
	}), balanced)
	if asleep.Reachable || asleep.Address != before.Address {
		t.Errorf("asleep it is %+v, awake it was %+v", asleep, before)
	}
	h.change(func(s *gardencorev1beta1.Shoot) { s.Spec.Hibernation = nil })
	if after, _ := find(h.lines(served(balanced)), balanced); after.Address != before.Address {
		t.Errorf("it woke at %s and was at %s", after.Address, before.Address)
	}
	h.change(func(s *gardencorev1beta1.Shoot) { s.Spec.SeedName = ptr.To("other") })
	// What another seed serves is not listened for here any more.
	free := forward.New(forward.Config{})
	defer free.Close()
	w := ports.Want{Line: ports.Line{ID: "x", Protocol: corev1.ProtocolTCP}, Listen: loopback, Preferred: before.Address.Port(), Fixed: true}
	if o := free.Serve(forward.Cluster{ID: "x"}, []ports.Want{w})["x"]; !o.Address.IsValid() {
		t.Errorf("the port is still open: %+v", o)
	}
}
