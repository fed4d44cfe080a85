package activity_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testclock "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/controllers/project/activity"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

type harness struct {
	*testing.T
	client.Client
	namespace string
	clock     *testclock.FakeClock
}

// newHarness has a project, and a clock that goes when the test says so. It has to
// be behind the time at which the garden makes objects, where it matters that
// these are new.
func newHarness(t *testing.T, after time.Duration) *harness {
	c, _ := controllertest.Client(t)
	return &harness{T: t, Client: c, namespace: gardentest.Namespace(t), clock: testclock.NewFakeClock(time.Now().Add(after).Truncate(time.Second))}
}

func (h *harness) run() (end func()) {
	return controllertest.Run(h.T, &activity.Reconciler{Clock: h.clock})
}

func (h *harness) project() *gardencorev1beta1.Project {
	h.Helper()
	return controllertest.Refresh(h.T, &gardencorev1beta1.Project{ObjectMeta: metav1.ObjectMeta{Name: strings.TrimPrefix(h.namespace, "garden-")}})
}

// noted wants what is done to be noted at a time of its own, or not to be.
func (h *harness) noted(what string, want bool, do func()) {
	h.Helper()
	h.clock.Step(time.Minute)
	before := h.project()
	do()
	if !want {
		// What comes after it is noted, so that this was looked at before.
		h.clock.Step(time.Minute)
		marker := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, GenerateName: "marker-", Labels: label("secretbinding")}}
		controllertest.Create(h.T, h, marker)
		defer func() {
			if got := h.project(); got.ResourceVersion == before.ResourceVersion {
				h.Errorf("%s: nothing is noted any more", what)
			}
		}()
	}
	controllertest.Eventually(h.T, func() error {
		if got := h.project().Status.LastActivityTimestamp; !got.Equal(ptr.To(metav1.NewTime(h.clock.Now()))) {
			return fmt.Errorf("%s: noted at %v, want %v", what, got, h.clock.Now())
		}
		return nil
	})
}

func label(kind string) map[string]string {
	return map[string]string{"reference.gardener.cloud/" + kind: "true"}
}

func (h *harness) delete(object client.Object) {
	h.Helper()
	if err := h.Delete(h.Context(), object); err != nil {
		h.Fatal(err)
	}
}

// TestWhatIsActivity goes through the kinds.
func TestWhatIsActivity(t *testing.T) {
	h := newHarness(t, -50*time.Minute)
	h.run()
	var shoot *gardencorev1beta1.Shoot
	h.noted("a Shoot is made", true, func() { shoot = controllertest.NewShoot(t, h.namespace) })
	h.noted("a Shoot is changed", true, func() {
		controllertest.Change(t, h, shoot, func(s *gardencorev1beta1.Shoot) { s.Spec.Purpose = ptr.To(gardencorev1beta1.ShootPurposeTesting) })
	})
	h.noted("a Shoot reports something", false, func() {
		controllertest.SetStatus(t, h, shoot, func(s *gardencorev1beta1.ShootStatus) { s.TechnicalID = "x" })
	})
	h.noted("a Shoot is deleted", true, func() { h.delete(shoot) })

	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "key"}}
	h.noted("a Secret that no binding refers to is made", false, func() { controllertest.Create(t, h, secret) })
	h.noted("a binding refers to it", true, func() {
		controllertest.Change(t, h, secret, func(s *corev1.Secret) { s.Labels = label("credentialsbinding") })
	})
	h.noted("it changes", true, func() {
		controllertest.Change(t, h, secret, func(s *corev1.Secret) { s.Data = map[string][]byte{"a": []byte("b")} })
	})
	h.noted("no binding refers to it any more", true, func() { controllertest.Change(t, h, secret, func(s *corev1.Secret) { s.Labels = nil }) })
	h.noted("it changes without a binding", false, func() {
		controllertest.Change(t, h, secret, func(s *corev1.Secret) { s.Data = map[string][]byte{"a": []byte("c")} })
	})

	for kind, object := range map[string]client.Object{
		"an InternalSecret": &gardencorev1beta1.InternalSecret{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "i", Labels: label("credentialsbinding")}},
		"a Quota": &gardencorev1beta1.Quota{
			ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "q", Labels: label("secretbinding")},
			Spec:       gardencorev1beta1.QuotaSpec{Scope: corev1.ObjectReference{APIVersion: "core.gardener.cloud/v1beta1", Kind: "Project"}},
		},
		"a BackupEntry": &gardencorev1beta1.BackupEntry{
			ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "b"},
			Spec:       gardencorev1beta1.BackupEntrySpec{BucketName: "bucket", SeedName: ptr.To(controllertest.NewSeed(t).Name)},
		},
	} {
		if kind == "a BackupEntry" {
			bucket := &gardencorev1beta1.BackupBucket{
				ObjectMeta: metav1.ObjectMeta{Name: "bucket"},
				Spec: gardencorev1beta1.BackupBucketSpec{
					Provider: gardencorev1beta1.BackupBucketProvider{Type: "local", Region: "local"}, SeedName: object.(*gardencorev1beta1.BackupEntry).Spec.SeedName,
					CredentialsRef: &corev1.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: h.namespace, Name: "key"},
				},
			}
			controllertest.Create(t, h, bucket)
		}
		h.noted(kind+" is made", true, func() { controllertest.Create(t, h, object) })
		h.noted(kind+" is deleted", true, func() { h.delete(object) })
	}
}

// TestAStartNotesNothing: neither old objects, nor young ones that were noted
// before.
func TestAStartNotesNothing(t *testing.T) {
	h := newHarness(t, 10*time.Minute)
	end := h.run()
	h.noted("a Shoot is made", true, func() { controllertest.NewShoot(t, h.namespace) })
	end()
	before := h.project().ResourceVersion
	end = h.run()
	h.clock.Step(time.Minute)
	// Another project's object, seen at the same start or later, is noted.
	other := &harness{T: t, Client: h.Client, namespace: gardentest.Namespace(t), clock: h.clock}
	other.noted("a Shoot is made elsewhere", true, func() { controllertest.NewShoot(t, other.namespace) })
	if h.project().ResourceVersion != before {
		t.Error("a start noted what was noted before")
	}
	end()

	aged := newHarness(t, 2*time.Hour)
	controllertest.NewShoot(t, aged.namespace)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: aged.namespace, Name: "key", Labels: label("secretbinding")}}
	controllertest.Create(t, aged, secret)
	aged.run()
	other = &harness{T: t, Client: h.Client, namespace: gardentest.Namespace(t), clock: aged.clock}
	changing := controllertest.NewShoot(t, other.namespace)
	controllertest.Eventually(t, func() error {
		// Changes count at any age, so that they tell when the start is over.
		controllertest.Change(t, h, changing, func(s *gardencorev1beta1.Shoot) {
			s.Spec.Hibernation = &gardencorev1beta1.Hibernation{Enabled: ptr.To(s.Spec.Hibernation == nil || !*s.Spec.Hibernation.Enabled)}
		})
		if other.project().Status.LastActivityTimestamp == nil {
			return errors.New("not started")
		}
		return nil
	})
	if at := aged.project().Status.LastActivityTimestamp; at != nil {
		t.Errorf("what is two hours old was noted at %v", at)
	}
	aged.noted("an old Secret is deleted", true, func() { aged.delete(secret) })
}
