package quota_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	securityv1alpha1 "github.com/gardener/gardener/pkg/apis/security/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/controllers/shoot/quota"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

const day = 24 * time.Hour

type harness struct {
	*testing.T
	client.WithWatch
	writes     *controllertest.Writes
	clock      *clocktesting.FakeClock
	events     *events.FakeRecorder
	reconciler *quota.Reconciler
	namespace  string
	shoot      *gardencorev1beta1.Shoot
}

// newHarness has a credentials binding with quotas of these lifetimes, and no
// Shoot yet. A lifetime of 0 is none.
func newHarness(t *testing.T, days ...int32) *harness {
	t.Helper()
	h := &harness{T: t, clock: clocktesting.NewFakeClock(time.Now()), events: events.NewFakeRecorder(10), namespace: gardentest.Namespace(t)}
	h.WithWatch, h.writes = controllertest.Client(t)
	h.reconciler = &quota.Reconciler{Client: h, Clock: h.clock, Recorder: h.events, Config: controllermanagerconfigv1alpha1.ShootQuotaControllerConfiguration{}}
	controllermanagerconfigv1alpha1.SetDefaults_ShootQuotaControllerConfiguration(&h.reconciler.Config)
	var refs []corev1.ObjectReference
	// A binding takes one quota per scope.
	scopes := []corev1.ObjectReference{
		{APIVersion: "core.gardener.cloud/v1beta1", Kind: "Project"}, {APIVersion: "v1", Kind: "Secret"}, {APIVersion: "security.gardener.cloud/v1alpha1", Kind: "WorkloadIdentity"},
	}
	for i, n := range days {
		q := &gardencorev1beta1.Quota{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: fmt.Sprint("q", i)}, Spec: gardencorev1beta1.QuotaSpec{
			Scope: scopes[i], Metrics: corev1.ResourceList{"cpu": resource.MustParse("1000")},
		}}
		if n > 0 {
			q.Spec.ClusterLifetimeDays = &n
		}
		controllertest.Create(t, h, q)
		refs = append(refs, corev1.ObjectReference{Namespace: q.Namespace, Name: q.Name})
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "s"}}
	binding := &securityv1alpha1.CredentialsBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "b"}, Quotas: refs, Provider: securityv1alpha1.CredentialsBindingProvider{Type: "local"},
		CredentialsRef: corev1.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: h.namespace, Name: "s"},
	}
	controllertest.Create(t, h, secret, binding)
	h.fresh()
	return h
}

// fresh makes another Shoot.
func (h *harness) fresh() {
	h.Helper()
	h.shoot = controllertest.Shoot(h.namespace, fmt.Sprintf("s%d", time.Now().UnixNano()%1e9))
	h.shoot.Spec.CredentialsBindingName = ptr.To("b")
	// Keeps a deleted one where it can be looked at.
	h.shoot.Finalizers = []string{"example.org/test"}
	controllertest.Create(h.T, h, h.shoot)
}

func (h *harness) run() (reconcile.Result, error) {
	return h.reconciler.Reconcile(h.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(h.shoot)})
}

func (h *harness) reconcile() time.Duration {
	h.Helper()
	result, err := h.run()
	if err != nil {
		h.Fatal(err)
	}
	if err := h.Get(h.Context(), client.ObjectKeyFromObject(h.shoot), h.shoot); err != nil {
		h.Fatal(err)
	}
	return result.RequeueAfter
}

func (h *harness) end() string { return h.shoot.Annotations[v1beta1constants.ShootExpirationTimestamp] }

// TestLifetime follows a Shoot to its end: the smallest lifetime counts, the end
// can be put off, and after it the Shoot is deleted.
func TestLifetime(t *testing.T) {
	h := newHarness(t, 7, 0, 2)
	after := h.reconcile()
	want := h.shoot.CreationTimestamp.Add(2 * day)
	if h.end() != want.UTC().Format(time.RFC3339) {
		t.Errorf("ends at %q, want %s", h.end(), want)
	}
	if after <= 0 || after > time.Hour {
		t.Errorf("looks again after %s", after)
	}
	h.writes.Fail(0)
	h.reconcile()
	if n := h.writes.Count(); n != 0 {
		t.Errorf("%d writes when nothing changed", n)
	}
	later := h.shoot.CreationTimestamp.Add(3 * day).UTC().Truncate(time.Second)
	controllertest.Change(t, h, h.shoot, func(s *gardencorev1beta1.Shoot) {
		s.Annotations[v1beta1constants.ShootExpirationTimestamp] = later.Format(time.RFC3339)
	})
	h.clock.SetTime(later.Add(-time.Second))
	if after := h.reconcile(); after != time.Second || h.shoot.DeletionTimestamp != nil {
		t.Errorf("looks again after %s, want 1 s before the end; deleted %v", after, h.shoot.DeletionTimestamp)
	}
	h.clock.Step(time.Second)
	h.reconcile()
	if h.shoot.DeletionTimestamp == nil || h.shoot.Annotations[v1beta1constants.ConfirmationDeletion] != "true" {
		t.Errorf("not deleted: %v %v", h.shoot.DeletionTimestamp, h.shoot.Annotations)
	}
	if event := <-h.events.Events; !strings.Contains(event, "its life ended at "+later.Format(time.RFC3339)) {
		t.Errorf("event %q", event)
	}
	h.writes.Fail(0)
	h.reconcile()
	if n := h.writes.Count(); n != 0 {
		t.Errorf("%d writes on a Shoot in deletion", n)
	}
}

func TestWithoutLifetime(t *testing.T) {
	h := newHarness(t, 0)
	controllertest.Change(t, h, h.shoot, func(s *gardencorev1beta1.Shoot) {
		metav1.SetMetaDataAnnotation(&s.ObjectMeta, v1beta1constants.ShootExpirationTimestamp, "2020-01-01T00:00:00Z")
	})
	h.reconcile()
	if h.end() != "" || h.shoot.DeletionTimestamp != nil {
		t.Errorf("ends at %q, deleted %v", h.end(), h.shoot.DeletionTimestamp)
	}
}

// TestMissingQuota wants neither errors nor a hurry when a quota is gone, and
// the other quotas to count.
func TestMissingQuota(t *testing.T) {
	h := newHarness(t, 5, 3)
	if err := h.Delete(t.Context(), &gardencorev1beta1.Quota{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "q1"}}); err != nil {
		t.Fatal(err)
	}
	after := h.reconcile()
	if want := h.shoot.CreationTimestamp.Add(5 * day).UTC().Format(time.RFC3339); h.end() != want || after <= 0 {
		t.Errorf("ends at %q, want %q; looks again after %s", h.end(), want, after)
	}
}

func TestGone(t *testing.T) {
	h := newHarness(t)
	controllertest.Change(t, h, h.shoot, func(s *gardencorev1beta1.Shoot) {
		s.Finalizers = nil
		metav1.SetMetaDataAnnotation(&s.ObjectMeta, v1beta1constants.ConfirmationDeletion, "true")
	})
	if err := h.Delete(t.Context(), h.shoot); err != nil {
		t.Fatal(err)
	}
	if result, err := h.run(); err != nil || result.RequeueAfter != 0 {
		t.Errorf("%+v, %v", result, err)
	}
}

// TestInterrupted lets every write of the way from no annotation to a deletion
// fail once.
func TestInterrupted(t *testing.T) {
	h := newHarness(t, 1)
	h.clock.Step(2 * day)
	controllertest.Interrupted(t, h.writes, func(*testing.T) { h.fresh() }, func() error { _, err := h.run(); return err }, func(t *testing.T) {
		err := h.Get(t.Context(), client.ObjectKeyFromObject(h.shoot), h.shoot)
		if err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
		if h.shoot.DeletionTimestamp == nil || h.end() == "" {
			t.Errorf("not deleted, or without its end: %v", h.shoot.ObjectMeta)
		}
	})
}

// TestController wants a Shoot to be looked at when it is made, with nothing but
// its configuration given.
func TestController(t *testing.T) {
	h := newHarness(t, 9)
	controllertest.Run(t, &quota.Reconciler{Config: h.reconciler.Config})
	h.fresh()
	controllertest.Eventually(t, func() error {
		if err := h.Get(t.Context(), client.ObjectKeyFromObject(h.shoot), h.shoot); err != nil {
			return err
		}
		if h.end() == "" {
			return fmt.Errorf("no end: %v", h.shoot.Annotations)
		}
		return nil
	})
}
