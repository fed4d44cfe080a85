package care_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	clientfake "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/shoot/care"
	"github.com/loam-cloud/loam/garden/gardentest"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/machines/fake"
	"github.com/loam-cloud/loam/shoots"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

// harness is a reconciler on a real garden, and one Shoot whose cluster is a
// machine and an API with one control plane node.
type harness struct {
	*testing.T
	garden     client.Client
	shoot      *gardencorev1beta1.Shoot
	clock      *clocktesting.FakeClock
	reconciler *care.Reconciler
	// unreachable is why the cluster's API does not answer.
	unreachable error
}

func newHarness(t *testing.T, last gardencorev1beta1.LastOperationState) *harness {
	t.Helper()
	h := &harness{T: t, garden: gardentest.Client(t), clock: clocktesting.NewFakeClock(time.Now())}
	h.shoot = &gardencorev1beta1.Shoot{
		ObjectMeta: metav1.ObjectMeta{Namespace: gardentest.Namespace(t), Name: "demo"},
		Spec: gardencorev1beta1.ShootSpec{
			CloudProfile: &gardencorev1beta1.CloudProfileReference{Kind: "CloudProfile", Name: "local"},
			Region:       "local",
			Provider:     gardencorev1beta1.Provider{Type: "local"},
			Kubernetes:   gardencorev1beta1.Kubernetes{Version: "1.36.3"},
			SeedName:     ptr.To("local"),
		},
	}
	h.must(h.garden.Create(t.Context(), h.shoot))
	h.status(func(s *gardencorev1beta1.ShootStatus) {
		s.TechnicalID = "shoot--" + h.shoot.Namespace
		s.LastOperation = &gardencorev1beta1.LastOperation{Type: gardencorev1beta1.LastOperationTypeCreate, State: last, LastUpdateTime: metav1.Now()}
	})
	keys, err := shoots.NewAuthorities(time.Now())
	h.must(err)
	h.must(h.garden.Create(t.Context(), &gardencorev1beta1.InternalSecret{ObjectMeta: metav1.ObjectMeta{Namespace: h.shoot.Namespace, Name: "demo.pki"}, Data: keys}))

	driver := fake.New()
	_, err = driver.Create(t.Context(), machines.Spec{
		Cluster: h.shoot.Status.TechnicalID, Name: "control-plane-0", Hostname: "demo-control-plane-0", Image: "node",
		Ports: []machines.Port{{MachinePort: shoots.APIServerPort}},
	})
	h.must(err)
	cluster := clientfake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithObjects(
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "demo-control-plane-0"}, Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}}},
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "etcd", Labels: map[string]string{"tier": "control-plane"}}, Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}},
	).Build()
	h.reconciler = &care.Reconciler{
		Client: h.garden, Clock: h.clock, Machines: driver, Config: care.Config{SeedName: "local"},
		Connect: func(*rest.Config) (client.Client, error) { return cluster, h.unreachable },
	}
	return h
}

func (h *harness) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *harness) status(change func(*gardencorev1beta1.ShootStatus)) {
	h.Helper()
	base := h.shoot.DeepCopy()
	change(&h.shoot.Status)
	h.must(h.garden.Status().Patch(h.Context(), h.shoot, client.MergeFrom(base)))
}

func (h *harness) spec(change func(*gardencorev1beta1.ShootSpec)) {
	h.Helper()
	base := h.shoot.DeepCopy()
	change(&h.shoot.Spec)
	h.must(h.garden.Patch(h.Context(), h.shoot, client.MergeFrom(base)))
}

// reconcile looks once, and returns the statuses of the conditions.
func (h *harness) reconcile() string {
	h.Helper()
	result, err := h.reconciler.Reconcile(h.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(h.shoot)})
	if err != nil || result.RequeueAfter != 30*time.Second {
		h.Errorf("got %+v, %v: want to look again after 30 s", result, err)
	}
	h.must(h.garden.Get(h.Context(), client.ObjectKeyFromObject(h.shoot), h.shoot))
	var all []string
	for _, c := range h.shoot.Status.Conditions {
		all = append(all, string(c.Status))
	}
	return strings.Join(all, " ")
}

func (h *harness) want(what, want string) {
	h.Helper()
	if got := h.reconcile(); got != want {
		h.Errorf("%s: conditions are %q, want %q: %+v", what, got, want, h.shoot.Status.Conditions)
	}
}

const (
	succeeded  = gardencorev1beta1.LastOperationStateSucceeded
	processing = gardencorev1beta1.LastOperationStateProcessing
)

func TestARunningCluster(t *testing.T) {
	h := newHarness(t, succeeded)
	h.want("healthy", "True True True True")
	version := h.shoot.ResourceVersion
	h.clock.Step(time.Minute)
	h.want("still healthy", "True True True True")
	if h.shoot.ResourceVersion != version {
		t.Error("the same conditions were written again")
	}
	h.unreachable = errors.New("no route to host")
	h.want("unreachable", "False Unknown Unknown Unknown")
	if m := h.shoot.Status.Conditions[0].Message; !strings.Contains(m, "no route to host") {
		t.Errorf("the message is %q", m)
	}
	h.unreachable = nil
	h.spec(func(s *gardencorev1beta1.ShootSpec) {
		s.Provider.Workers = []gardencorev1beta1.Worker{{Name: "worker", Minimum: 1, Maximum: 1, Machine: gardencorev1beta1.Machine{Type: "local"}}}
	})
	h.want("a worker is missing", "True True False True")
	if last := h.shoot.Status.LastOperation; last.State != succeeded || last.Type != gardencorev1beta1.LastOperationTypeCreate {
		t.Errorf("the last operation became %+v", last)
	}
}

func TestAClusterThatIsBeingMade(t *testing.T) {
	h := newHarness(t, processing)
	h.unreachable = errors.New("connection refused")
	h.want("no news yet", "")
	h.unreachable = nil
	h.want("it answers", "True True True True")
	h.unreachable = errors.New("connection refused")
	h.want("it answered before", "False Unknown Unknown Unknown")
}

func TestSleep(t *testing.T) {
	h := newHarness(t, succeeded)
	h.want("awake", "True True True True")
	h.spec(func(s *gardencorev1beta1.ShootSpec) {
		s.Hibernation = &gardencorev1beta1.Hibernation{Enabled: ptr.To(true)}
	})
	h.unreachable = errors.New("connection refused")
	h.want("falling asleep", "True True True True")
	h.status(func(s *gardencorev1beta1.ShootStatus) { s.IsHibernated = true })
	h.want("asleep", "True True True True")
	if !slices.ContainsFunc(h.shoot.Status.Conditions, func(c gardencorev1beta1.Condition) bool { return c.Reason == "ConditionNotChecked" }) {
		t.Errorf("conditions are %+v", h.shoot.Status.Conditions)
	}
	h.spec(func(s *gardencorev1beta1.ShootSpec) { s.Hibernation.Enabled = ptr.To(false) })
	h.want("waking", "True True True True")
}

// TestASpecThatCannotBe has a Shoot of a provider that this host does not serve.
func TestASpecThatCannotBe(t *testing.T) {
	h := newHarness(t, succeeded)
	h.want("before", "True True True True")
	profile := &gardencorev1beta1.CloudProfile{}
	h.must(h.garden.Get(t.Context(), client.ObjectKey{Name: "local"}, profile))
	other := &gardencorev1beta1.CloudProfile{ObjectMeta: metav1.ObjectMeta{Name: "other"}, Spec: profile.Spec}
	other.Spec.Type = "other"
	h.must(h.garden.Create(t.Context(), other))
	last := h.shoot.Status
	h.shoot = &gardencorev1beta1.Shoot{ObjectMeta: metav1.ObjectMeta{Namespace: h.shoot.Namespace, Name: "other"}, Spec: h.shoot.Spec}
	h.shoot.Spec.CloudProfile.Name, h.shoot.Spec.Provider.Type = other.Name, other.Spec.Type
	h.must(h.garden.Create(t.Context(), h.shoot))
	h.status(func(s *gardencorev1beta1.ShootStatus) {
		s.TechnicalID, s.LastOperation, s.Conditions = last.TechnicalID, last.LastOperation, last.Conditions
	})
	h.want("after", "Unknown Unknown Unknown Unknown")
}

func TestAProcessThatEnds(t *testing.T) {
	h := newHarness(t, succeeded)
	ctx, cancel := context.WithCancel(t.Context())
	h.reconciler.Connect = func(*rest.Config) (client.Client, error) {
		cancel()
		return nil, context.Canceled
	}
	if result, err := h.reconciler.Reconcile(ctx, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(h.shoot)}); err != nil || !result.IsZero() {
		t.Errorf("got %+v, %v", result, err)
	}
	h.must(h.garden.Get(t.Context(), client.ObjectKeyFromObject(h.shoot), h.shoot))
	if len(h.shoot.Status.Conditions) > 0 {
		t.Errorf("conditions are %+v", h.shoot.Status.Conditions)
	}
}

func TestShootsOfOthers(t *testing.T) {
	h := newHarness(t, succeeded)
	h.reconciler.Config.SeedName = "another"
	result, err := h.reconciler.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(h.shoot)})
	if err != nil || !result.IsZero() {
		t.Errorf("got %+v, %v", result, err)
	}
	h.must(h.garden.Get(t.Context(), client.ObjectKeyFromObject(h.shoot), h.shoot))
	if len(h.shoot.Status.Conditions) > 0 {
		t.Errorf("conditions are %+v", h.shoot.Status.Conditions)
	}
}
