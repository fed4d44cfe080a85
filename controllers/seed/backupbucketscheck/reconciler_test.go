package backupbucketscheck_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/controllers/seed/backupbucketscheck"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

type harness struct {
	*testing.T
	garden     client.Client
	writes     *controllertest.Writes
	clock      *clocktesting.FakeClock
	seed       *gardencorev1beta1.Seed
	reconciler *backupbucketscheck.Reconciler
}

func newHarness(t *testing.T, threshold time.Duration) *harness {
	t.Helper()
	h := &harness{T: t, seed: controllertest.NewSeed(t), clock: clocktesting.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))}
	h.garden, h.writes = controllertest.Client(t)
	h.reconciler = &backupbucketscheck.Reconciler{Client: h.garden, Clock: h.clock}
	if threshold > 0 {
		h.reconciler.Config.ConditionThresholds = []controllermanagerconfigv1alpha1.ConditionThreshold{
			{Type: string(gardencorev1beta1.SeedBackupBucketsReady), Duration: metav1.Duration{Duration: threshold}},
		}
	}
	return h
}

func (h *harness) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *harness) reconcile() time.Duration {
	h.Helper()
	result, err := h.reconciler.Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(h.seed)})
	h.must(err)
	return result.RequeueAfter
}

// want compares the condition with what is expected.
func (h *harness) want(status gardencorev1beta1.ConditionStatus, reason string) {
	h.Helper()
	if err := h.is(status, reason); err != nil {
		h.Error(err)
	}
}

func (h *harness) is(status gardencorev1beta1.ConditionStatus, reason string) error {
	for _, c := range controllertest.Refresh(h.T, h.seed).Status.Conditions {
		if c.Type == gardencorev1beta1.SeedBackupBucketsReady {
			if c.Status != status || c.Reason != reason {
				return fmt.Errorf("got %+v, want %s, %s", c, status, reason)
			}
			return nil
		}
	}
	if status != "" {
		return errors.New("there is no condition")
	}
	return nil
}

func (h *harness) bucket() *gardencorev1beta1.BackupBucket {
	h.Helper()
	bucket := &gardencorev1beta1.BackupBucket{
		ObjectMeta: metav1.ObjectMeta{Name: "b" + rand.String(6)},
		Spec: gardencorev1beta1.BackupBucketSpec{
			Provider: gardencorev1beta1.BackupBucketProvider{Type: "local", Region: "local"}, SeedName: &h.seed.Name,
			CredentialsRef: &corev1.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: "garden", Name: "backup"},
		},
	}
	h.must(h.garden.Create(context.Background(), bucket))
	return bucket
}

func (h *harness) fail(bucket *gardencorev1beta1.BackupBucket, text string) {
	h.Helper()
	bucket.Status.LastError = nil
	if text != "" {
		bucket.Status.LastError = &gardencorev1beta1.LastError{Description: text}
	}
	h.must(h.garden.Status().Update(context.Background(), bucket))
}

func TestSeedWithoutBuckets(t *testing.T) {
	h := newHarness(t, 0)
	if after := h.reconcile(); after != 0 {
		t.Errorf("looked at again after %s", after)
	}
	h.want("", "")
}

func TestBuckets(t *testing.T) {
	h := newHarness(t, 0)
	first, second := h.bucket(), h.bucket()
	if after := h.reconcile(); after != 30*time.Second {
		t.Errorf("looked at again after %s", after)
	}
	h.want(gardencorev1beta1.ConditionTrue, "BackupBucketsAvailable")
	h.fail(second, "no room")
	h.reconcile()
	h.want(gardencorev1beta1.ConditionFalse, "BackupBucketsError")

	before := h.writes.Count()
	h.reconcile()
	if n := h.writes.Count() - before; n != 0 {
		t.Errorf("%d writes though nothing has changed", n)
	}

	h.fail(second, "")
	h.reconcile()
	h.want(gardencorev1beta1.ConditionTrue, "BackupBucketsAvailable")
	h.must(h.garden.Delete(t.Context(), first))
	h.must(h.garden.Delete(t.Context(), second))
	h.reconcile()
	h.want(gardencorev1beta1.ConditionUnknown, "BackupBucketsGone")
}

// TestThreshold has a condition that was true fall slowly, by the injected clock.
func TestThreshold(t *testing.T) {
	h := newHarness(t, 20*time.Second)
	bucket := h.bucket()
	h.reconcile()
	h.fail(bucket, "no room")
	if after := h.reconcile(); after != 20*time.Second {
		t.Errorf("looked at again after %s, want when the threshold is over", after)
	}
	h.want(gardencorev1beta1.ConditionProgressing, "BackupBucketsError")
	h.clock.Step(20 * time.Second)
	h.reconcile()
	h.want(gardencorev1beta1.ConditionProgressing, "BackupBucketsError")
	h.clock.Step(time.Second)
	h.reconcile()
	h.want(gardencorev1beta1.ConditionFalse, "BackupBucketsError")
}

// TestWatches has a manager see errors come, change and go, and the last bucket
// go, long before the next look is due.
func TestWatches(t *testing.T) {
	h := newHarness(t, 0)
	gone := newHarness(t, 0) // its bucket goes while nothing runs
	last := gone.bucket()
	gone.reconcile()
	h.must(h.garden.Delete(t.Context(), last))

	controllertest.Run(t, &backupbucketscheck.Reconciler{})
	eventually := func(h *harness, status gardencorev1beta1.ConditionStatus, reason string) {
		t.Helper()
		controllertest.Eventually(t, func() error { return h.is(status, reason) })
	}
	eventually(gone, gardencorev1beta1.ConditionUnknown, "BackupBucketsGone")
	bucket := h.bucket()
	eventually(h, gardencorev1beta1.ConditionTrue, "BackupBucketsAvailable")
	h.fail(bucket, "no room")
	eventually(h, gardencorev1beta1.ConditionFalse, "BackupBucketsError")
	h.fail(bucket, "no rights")
	controllertest.Eventually(t, func() error {
		if c := controllertest.Refresh(t, h.seed).Status.Conditions[0]; c.Message != "Backup buckets have errors. "+bucket.Name+": no rights" {
			return errors.New(c.Message)
		}
		return nil
	})
	h.fail(bucket, "")
	eventually(h, gardencorev1beta1.ConditionTrue, "BackupBucketsAvailable")
	h.must(h.garden.Delete(t.Context(), bucket))
	eventually(h, gardencorev1beta1.ConditionUnknown, "BackupBucketsGone")
}
