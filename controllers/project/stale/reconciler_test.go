package stale_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	securityv1alpha1 "github.com/gardener/gardener/pkg/apis/security/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testclock "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/index"
	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/controllers/project/stale"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

const day = 24 * time.Hour

type harness struct {
	*testing.T
	client.Client
	writes     *controllertest.Writes
	namespace  string
	clock      *testclock.FakeClock
	reconciler *stale.Reconciler
	project    *gardencorev1beta1.Project
}

// newHarness has a project that was made 31 days ago.
func newHarness(t *testing.T) *harness {
	h := &harness{T: t, namespace: gardentest.Namespace(t), clock: testclock.NewFakeClock(time.Now().Add(31 * day).Truncate(time.Second))}
	h.Client, h.writes = controllertest.Indexed(t, index.EnsureBindings, index.EnsureShootBindings)
	h.reconciler = &stale.Reconciler{Client: h.Client, Clock: h.clock}
	controllermanagerconfigv1alpha1.SetDefaults_ProjectControllerConfiguration(&h.reconciler.Config)
	h.project = controllertest.Refresh(t, &gardencorev1beta1.Project{ObjectMeta: metav1.ObjectMeta{Name: strings.TrimPrefix(h.namespace, "garden-")}})
	return h
}

func (h *harness) look() {
	h.Helper()
	result, err := h.reconciler.Reconcile(h.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(h.project)})
	if err != nil || result.RequeueAfter <= 0 || result.RequeueAfter > 12*time.Hour {
		h.Fatalf("%+v, %v", result, err)
	}
}

// stale wants a look to find the Project so.
func (h *harness) stale(want bool) {
	h.Helper()
	h.look()
	if since := controllertest.Refresh(h.T, h.project).Status.StaleSinceTimestamp; since != nil != want {
		h.Errorf("stale since %v, want %v", since, want)
	}
}

func (h *harness) delete(object client.Object) {
	h.Helper()
	if err := h.Delete(h.Context(), object); err != nil {
		h.Fatal(err)
	}
}

func (h *harness) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: h.namespace, Name: name}
}

// TestTheWayToTheEnd: unused, announced, deleted.
func TestTheWayToTheEnd(t *testing.T) {
	h := newHarness(t)
	h.stale(true)
	since := h.project.Status.StaleSinceTimestamp
	if !since.Time.Equal(h.clock.Now()) || h.project.Status.StaleAutoDeleteTimestamp != nil {
		t.Errorf("status is %+v", h.project.Status)
	}
	h.clock.Step(10 * day)
	h.writes.Fail(0)
	h.stale(true)
	if !h.project.Status.StaleSinceTimestamp.Equal(since) || h.writes.Count() > 0 {
		t.Errorf("the second time: since %v, %d writes", h.project.Status.StaleSinceTimestamp, h.writes.Count())
	}
	h.clock.Step(4 * day)
	h.stale(true)
	if end := h.project.Status.StaleAutoDeleteTimestamp; end == nil || end.Sub(since.Time) != 90*day {
		t.Errorf("the end is announced for %v", end)
	}
	h.clock.Step(76 * day)
	if result, err := h.reconciler.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(h.project)}); err != nil || !result.IsZero() {
		t.Errorf("%+v, %v", result, err)
	}
	controllertest.Gone(t, h, h.project)
}

// TestSpared: new, used lately, left out; the garden's own project is looked at
// like all others.
func TestSpared(t *testing.T) {
	h := newHarness(t)
	h.stale(true)
	namespace := controllertest.Refresh(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: h.namespace}})
	controllertest.Change(t, h, namespace, func(n *corev1.Namespace) {
		n.Annotations = map[string]string{"project.gardener.cloud/skip-stale-check": "true"}
	})
	h.stale(false)
	controllertest.Change(t, h, namespace, func(n *corev1.Namespace) { n.Annotations = nil })
	h.stale(true)

	base := h.project.DeepCopy()
	h.project.Status.LastActivityTimestamp = ptr.To(metav1.NewTime(h.clock.Now()))
	if err := h.Status().Patch(t.Context(), h.project, client.MergeFrom(base)); err != nil {
		t.Fatal(err)
	}
	h.stale(false)
	h.clock.Step(14 * day)
	h.stale(true)
	h.clock.SetTime(time.Now().Add(29 * day))
	h.stale(false)

	h = newHarness(t)
	controllertest.GardenProject(t)
	h.project = controllertest.Refresh(t, &gardencorev1beta1.Project{ObjectMeta: metav1.ObjectMeta{Name: "garden"}})
	h.stale(true)
}

// TestShootsAndBackups count while they are there to stay, not while they are
// being deleted.
func TestShootsAndBackups(t *testing.T) {
	h := newHarness(t)
	shoot := controllertest.NewShoot(t, h.namespace, func(s *gardencorev1beta1.Shoot) { s.Finalizers = []string{"gardener"} })
	h.stale(false)
	h.delete(shoot)
	h.stale(true)

	seed := controllertest.NewSeed(t)
	secret := &corev1.Secret{ObjectMeta: h.meta("key")}
	entry := &gardencorev1beta1.BackupEntry{ObjectMeta: h.meta("entry"), Spec: gardencorev1beta1.BackupEntrySpec{BucketName: seed.Name, SeedName: &seed.Name}}
	entry.Finalizers = []string{"gardener"}
	controllertest.Create(t, h, secret, &gardencorev1beta1.BackupBucket{
		ObjectMeta: metav1.ObjectMeta{Name: seed.Name},
		Spec: gardencorev1beta1.BackupBucketSpec{
			Provider: gardencorev1beta1.BackupBucketProvider{Type: "local", Region: "local"}, SeedName: &seed.Name,
			CredentialsRef: &corev1.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: h.namespace, Name: "key"},
		},
	}, entry)
	h.stale(false)
	h.delete(entry)
	h.stale(true)
}

// TestCredentialsAndQuotas of a project count while a Shoot of any project works
// with them, through a binding of either kind.
func TestCredentialsAndQuotas(t *testing.T) {
	for name, newObject := range map[string]func(h *harness) (client.Object, corev1.ObjectReference){
		"Secret": func(h *harness) (client.Object, corev1.ObjectReference) {
			return &corev1.Secret{ObjectMeta: h.meta("key")}, corev1.ObjectReference{APIVersion: "v1", Kind: "Secret"}
		},
		"InternalSecret": func(h *harness) (client.Object, corev1.ObjectReference) {
			return &gardencorev1beta1.InternalSecret{ObjectMeta: h.meta("key")}, corev1.ObjectReference{APIVersion: "core.gardener.cloud/v1beta1", Kind: "InternalSecret"}
		},
		"WorkloadIdentity": func(h *harness) (client.Object, corev1.ObjectReference) {
			return &securityv1alpha1.WorkloadIdentity{ObjectMeta: h.meta("key"), Spec: securityv1alpha1.WorkloadIdentitySpec{
				Audiences: []string{"somebody"}, TargetSystem: securityv1alpha1.TargetSystem{Type: "local"},
			}}, corev1.ObjectReference{APIVersion: "security.gardener.cloud/v1alpha1", Kind: "WorkloadIdentity"}
		},
		"Quota": func(h *harness) (client.Object, corev1.ObjectReference) {
			return &gardencorev1beta1.Quota{ObjectMeta: h.meta("key"), Spec: gardencorev1beta1.QuotaSpec{
				Scope: corev1.ObjectReference{APIVersion: "core.gardener.cloud/v1beta1", Kind: "Project"},
			}}, corev1.ObjectReference{Kind: "Quota"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			object, ref := newObject(h)
			controllertest.Create(t, h, object)
			h.stale(true)
			elsewhere := gardentest.Namespace(t)
			ref.Namespace, ref.Name = h.namespace, "key"
			binding := &securityv1alpha1.CredentialsBinding{
				ObjectMeta: metav1.ObjectMeta{Namespace: elsewhere, Name: "binding"}, Provider: securityv1alpha1.CredentialsBindingProvider{Type: "local"}, CredentialsRef: ref,
			}
			if ref.Kind == "Quota" {
				own := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: elsewhere, Name: "own"}}
				controllertest.Create(t, h, own)
				binding.CredentialsRef = corev1.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: elsewhere, Name: "own"}
				binding.Quotas = []corev1.ObjectReference{{Namespace: h.namespace, Name: "key"}}
			}
			controllertest.Create(t, h, binding)
			h.stale(true) // the binding alone is no use
			shoot := controllertest.NewShoot(t, elsewhere, func(s *gardencorev1beta1.Shoot) {
				s.Spec.Provider.Workers = controllertest.Shoot("", "").Spec.Provider.Workers
				s.Spec.CredentialsBindingName = &binding.Name
			})
			h.stale(false)
			h.delete(shoot)
			h.stale(true)
		})
	}
}

// TestGoing leaves a Project in deletion, and one without a namespace, alone.
func TestGoing(t *testing.T) {
	h := newHarness(t)
	controllertest.Change(t, h, h.project, func(p *gardencorev1beta1.Project) {
		p.Finalizers = []string{"gardener"}
		p.Annotations = map[string]string{"confirmation.gardener.cloud/deletion": "true"}
	})
	h.delete(h.project)
	bare := &gardencorev1beta1.Project{ObjectMeta: metav1.ObjectMeta{Name: "bare"}}
	controllertest.Create(t, h, bare)
	h.writes.Fail(0)
	for _, name := range []string{h.project.Name, "bare", "nobody"} {
		result, err := h.reconciler.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKey{Name: name}})
		if err != nil || !result.IsZero() || h.writes.Count() > 0 {
			t.Errorf("%s: %+v, %v, %d writes", name, result, err, h.writes.Count())
		}
	}
}

// TestRestart kills the controller before each of its writes on the last day.
func TestRestart(t *testing.T) {
	var h *harness
	first := newHarness(t)
	c, writes := first.Client, first.writes
	controllertest.Interrupted(t, writes, func(t *testing.T) {
		h = newHarness(t)
		h.Client, h.writes, h.reconciler.Client = c, writes, c
		base := h.project.DeepCopy()
		h.project.Status.StaleSinceTimestamp = ptr.To(metav1.NewTime(h.clock.Now().Add(-91 * day)))
		if err := h.Status().Patch(t.Context(), h.project, client.MergeFrom(base)); err != nil {
			t.Fatal(err)
		}
	}, func() error {
		_, err := h.reconciler.Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(h.project)})
		return err
	}, func(t *testing.T) {
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(h.project), h.project); !apierrors.IsNotFound(err) {
			t.Errorf("the project is still there: %v", err)
		}
	})
}

// TestWatches has a manager look at a new Project at once, and not at each
// activity.
func TestWatches(t *testing.T) {
	h := newHarness(t)
	controllertest.Run(t, &stale.Reconciler{Clock: h.clock})
	controllertest.Eventually(t, func() error {
		if controllertest.Refresh(t, h.project).Status.StaleSinceTimestamp == nil {
			return context.DeadlineExceeded
		}
		return nil
	})
}
