package retry_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/controllers/shoot/retry"
	"github.com/loam-cloud/loam/garden/gardentest"
	"github.com/loam-cloud/loam/garden/scheme"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

const (
	period = 10 * time.Minute
	jitter = 5 * time.Minute
)

func config() controllermanagerconfigv1alpha1.ShootRetryControllerConfiguration {
	c := controllermanagerconfigv1alpha1.ShootRetryControllerConfiguration{}
	controllermanagerconfigv1alpha1.SetDefaults_ShootRetryControllerConfiguration(&c)
	return c
}

// failed is a Shoot that ran into a rate limit at a time.
func failed(at time.Time) *gardencorev1beta1.Shoot {
	shoot := controllertest.Shoot("garden-p", "demo")
	shoot.UID, shoot.Generation = "b2e0", 3
	shoot.Status.ObservedGeneration = 3
	shoot.Status.LastOperation = controllertest.LastOperation(gardencorev1beta1.LastOperationTypeReconcile, gardencorev1beta1.LastOperationStateFailed, at)
	shoot.Status.LastErrors = []gardencorev1beta1.LastError{{Codes: []gardencorev1beta1.ErrorCode{gardencorev1beta1.ErrorInfraUnauthorized}}, {Codes: []gardencorev1beta1.ErrorCode{gardencorev1beta1.ErrorInfraRateLimitsExceeded}}}
	return shoot
}

// TestWhich has a row per condition under which a Shoot is retried. Time is that
// of the injected clock: the real one is years off.
func TestWhich(t *testing.T) {
	at := time.Date(2031, 1, 1, 12, 0, 0, 0, time.UTC)
	for name, row := range map[string]struct {
		change  func(*gardencorev1beta1.Shoot)
		after   time.Duration
		retried bool
	}{
		"a quarter of an hour after the failure": {after: period + jitter, retried: true},
		"within the period":                      {after: period - time.Second},
		"another error":                          {after: time.Hour, change: func(s *gardencorev1beta1.Shoot) { s.Status.LastErrors = s.Status.LastErrors[:1] }},
		"no error":                               {after: time.Hour, change: func(s *gardencorev1beta1.Shoot) { s.Status.LastErrors = nil }},
		"not failed": {after: time.Hour, change: func(s *gardencorev1beta1.Shoot) {
			s.Status.LastOperation.State = gardencorev1beta1.LastOperationStateError
		}},
		"no operation":  {after: time.Hour, change: func(s *gardencorev1beta1.Shoot) { s.Status.LastOperation = nil }},
		"changed since": {after: time.Hour, change: func(s *gardencorev1beta1.Shoot) { s.Generation++ }},
		"asked for something else": {after: time.Hour, change: func(s *gardencorev1beta1.Shoot) {
			metav1.SetMetaDataAnnotation(&s.ObjectMeta, v1beta1constants.GardenerOperation, "maintain")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			shoot := failed(at)
			if row.change != nil {
				row.change(shoot)
			}
			before := shoot.Annotations[v1beta1constants.GardenerOperation]
			c := fake.NewClientBuilder().WithScheme(scheme.Client()).WithObjects(shoot).Build()
			r := &retry.Reconciler{Client: c, Clock: clocktesting.NewFakeClock(at.Add(row.after)), Config: config()}
			result, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(shoot)})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(shoot), shoot); err != nil {
				t.Fatal(err)
			}
			want := before
			if row.retried {
				want = "retry"
			}
			if got := shoot.Annotations[v1beta1constants.GardenerOperation]; got != want {
				t.Errorf("the operation is %q, want %q", got, want)
			}
			if waits := name == "within the period"; waits != (result.RequeueAfter > 0) {
				t.Errorf("requeued after %s", result.RequeueAfter)
			}
		})
	}
}

// TestSpreadsRetries wants retries between the period and the jitter after it,
// at different times for Shoots that failed together, and at the same time for
// one whenever it is asked.
func TestSpreadsRetries(t *testing.T) {
	at := time.Date(2031, 1, 1, 12, 0, 0, 0, time.UTC)
	times := map[time.Duration]bool{}
	for i := range 50 {
		shoot := failed(at)
		shoot.UID = types.UID(fmt.Sprint(i))
		clock := clocktesting.NewFakeClock(at)
		r := &retry.Reconciler{Clock: clock, Config: config(), Client: fake.NewClientBuilder().WithScheme(scheme.Client()).WithObjects(shoot).Build()}
		ask := func() time.Duration {
			result, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(shoot)})
			if err != nil {
				t.Fatal(err)
			}
			return result.RequeueAfter
		}
		first := ask()
		if first < period || first >= period+jitter {
			t.Fatalf("retried after %s", first)
		}
		times[first] = true
		clock.Step(time.Minute)
		if later := ask(); later != first-time.Minute {
			t.Errorf("a minute later it is %s instead of %s", later, first)
		}
	}
	if len(times) < 45 {
		t.Errorf("50 shoots are retried at %d times", len(times))
	}
}

// TestAnotherOperationWins lets a user ask for an operation while the retry is
// on its way.
func TestAnotherOperationWins(t *testing.T) {
	at := time.Date(2031, 1, 1, 12, 0, 0, 0, time.UTC)
	shoot := failed(at)
	inner := fake.NewClientBuilder().WithScheme(scheme.Client()).WithObjects(shoot).Build()
	c := interceptor.NewClient(inner, interceptor.Funcs{})
	stale := shoot.DeepCopy()
	controllertest.Change(t, c, stale, func(s *gardencorev1beta1.Shoot) {
		metav1.SetMetaDataAnnotation(&s.ObjectMeta, v1beta1constants.GardenerOperation, "maintain")
	})
	// The cache of the reconciler is behind.
	old := interceptor.NewClient(inner, interceptor.Funcs{Get: func(ctx context.Context, w client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
		if err := w.Get(ctx, key, o, opts...); err != nil {
			return err
		}
		o.SetAnnotations(nil)
		o.SetResourceVersion("1")
		return nil
	}})
	r := &retry.Reconciler{Client: old, Clock: clocktesting.NewFakeClock(at.Add(time.Hour)), Config: config()}
	if _, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(shoot)}); err == nil {
		t.Error("overwrites an operation that it has not seen")
	}
	if err := inner.Get(t.Context(), client.ObjectKeyFromObject(shoot), shoot); err != nil || shoot.Annotations[v1beta1constants.GardenerOperation] != "maintain" {
		t.Errorf("the operation is %q, %v", shoot.Annotations[v1beta1constants.GardenerOperation], err)
	}
}

// TestRetry wants a failed Shoot of a real garden to be asked to try again,
// which the garden counts as a new generation, once.
func TestRetry(t *testing.T) {
	c, writes := controllertest.Client(t)
	now := time.Now()
	clock := clocktesting.NewFakeClock(now)
	shoot := controllertest.Shoot(gardentest.Namespace(t), "demo")
	controllertest.Create(t, c, shoot)
	end := controllertest.Run(t, &retry.Reconciler{Client: c, Clock: clock, Config: config()})
	before := shoot.Generation
	controllertest.SetStatus(t, c, shoot, func(s *gardencorev1beta1.ShootStatus) {
		s.ObservedGeneration = shoot.Generation
		s.LastOperation = controllertest.LastOperation(gardencorev1beta1.LastOperationTypeReconcile, gardencorev1beta1.LastOperationStateFailed, now.Add(-period-jitter))
		s.LastErrors = failed(now).Status.LastErrors
	})
	controllertest.Eventually(t, func() error {
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(shoot), shoot); err != nil {
			return err
		}
		if shoot.Generation != before+1 || shoot.Annotations[v1beta1constants.GardenerOperation] != "" {
			return fmt.Errorf("generation %d after %d, annotations %v", shoot.Generation, before, shoot.Annotations)
		}
		return nil
	})
	end()

	// A failure that was there before the start is spread, and written once.
	controllertest.SetStatus(t, c, shoot, func(s *gardencorev1beta1.ShootStatus) { s.ObservedGeneration = shoot.Generation })
	clock.SetTime(now.Add(24 * time.Hour))
	writes.Fail(0)
	end = controllertest.Run(t, &retry.Reconciler{Client: c, Clock: clock, Config: config()})
	time.Sleep(time.Second)
	end()
	if n := writes.Count(); n != 0 {
		t.Errorf("%d writes right after the start", n)
	}
}
