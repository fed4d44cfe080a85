package observe_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/internal/observe"
	"github.com/loam-cloud/loam/fault"
)

// TestReconciler wants failures counted by controller and fault, also those that
// an API server answered with, from 0 on, and handed on as they are.
func TestReconciler(t *testing.T) {
	registry, resource := prometheus.NewRegistry(), schema.GroupResource{Resource: "shoots"}
	for controller, failures := range map[string][]error{
		"one": {nil, errors.New("x"), fault.New(fault.Waiting, "x"), fmt.Errorf("x: %w", apierrors.NewForbidden(resource, "x", nil))},
		"two": {
			apierrors.NewServerTimeout(resource, "get", 1), apierrors.NewServiceUnavailable("x"), context.DeadlineExceeded,
			apierrors.NewInvalid(schema.GroupKind{Kind: "Shoot"}, "x", nil), apierrors.NewNotFound(resource, "x"), apierrors.NewTooManyRequestsError("x"),
		},
	} {
		for _, want := range failures {
			inner := reconcile.Func(func(context.Context, reconcile.Request) (reconcile.Result, error) {
				return reconcile.Result{RequeueAfter: 7}, want
			})
			result, err := observe.In(registry, controller, inner).Reconcile(t.Context(), reconcile.Request{})
			if !errors.Is(err, want) || result.RequeueAfter != 7 {
				t.Errorf("got %v, %v, want what the reconciler returned: %v", result, err, want)
			}
		}
	}
	want := `# HELP loam_reconcile_failures_total Reconciliations that failed, by controller and by what it would take to succeed.
# TYPE loam_reconcile_failures_total counter
loam_reconcile_failures_total{controller="one",fault="denied"} 1
loam_reconcile_failures_total{controller="one",fault="exhausted"} 0
loam_reconcile_failures_total{controller="one",fault="internal"} 1
loam_reconcile_failures_total{controller="one",fault="invalid"} 0
loam_reconcile_failures_total{controller="one",fault="missing"} 0
loam_reconcile_failures_total{controller="one",fault="transient"} 0
loam_reconcile_failures_total{controller="one",fault="waiting"} 1
loam_reconcile_failures_total{controller="two",fault="denied"} 0
loam_reconcile_failures_total{controller="two",fault="exhausted"} 1
loam_reconcile_failures_total{controller="two",fault="internal"} 0
loam_reconcile_failures_total{controller="two",fault="invalid"} 1
loam_reconcile_failures_total{controller="two",fault="missing"} 1
loam_reconcile_failures_total{controller="two",fault="transient"} 3
loam_reconcile_failures_total{controller="two",fault="waiting"} 0
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), observe.Failures); err != nil {
		t.Error(err)
	}
}

// TestEndlessConflicts wants writers that never agree to be told of.
func TestEndlessConflicts(t *testing.T) {
	conflict := apierrors.NewConflict(schema.GroupResource{Resource: "shoots"}, "x", errors.New("changed"))
	r := observe.In(prometheus.NewRegistry(), "one", reconcile.Func(func(context.Context, reconcile.Request) (reconcile.Result, error) {
		return reconcile.Result{}, conflict
	}))
	quiet := 0
	for range 20 {
		if _, err := r.Reconcile(t.Context(), reconcile.Request{}); err == nil {
			quiet++
		}
	}
	if quiet != 8 {
		t.Errorf("%d of 20 conflicts in a row were quiet", quiet)
	}
}

// TestConflicts wants conflicts counted, and tried again a little later each time
// without an error; what came with them stays one.
func TestConflicts(t *testing.T) {
	registry, ctx := prometheus.NewRegistry(), t.Context()
	conflict := fmt.Errorf("x: %w", apierrors.NewConflict(schema.GroupResource{Resource: "shoots"}, "x", errors.New("changed")))
	var next error
	r := observe.In(registry, "one", reconcile.Func(func(context.Context, reconcile.Request) (reconcile.Result, error) { return reconcile.Result{}, next }))
	pause := func(err error) time.Duration {
		t.Helper()
		next = err
		result, err := r.Reconcile(ctx, reconcile.Request{})
		if err != nil {
			t.Fatal(err)
		}
		return result.RequeueAfter
	}
	first, second := pause(conflict), pause(errors.Join(conflict, fmt.Errorf("y: %w", conflict)))
	if first <= 0 || second <= first {
		t.Errorf("tried again after %s and %s", first, second)
	}
	if got := pause(nil); got != 0 {
		t.Errorf("after success again in %s", got)
	}
	if again := pause(conflict); again != first {
		t.Errorf("after success the first pause is %s, want %s", again, first)
	}
	for _, next = range []error{errors.Join(conflict, errors.New("y")), fmt.Errorf("%w, %w", errors.New("y"), conflict), apierrors.NewAlreadyExists(schema.GroupResource{}, "x")} {
		if _, err := r.Reconcile(ctx, reconcile.Request{}); !errors.Is(err, next) {
			t.Errorf("%v became %v", next, err)
		}
	}
	if n := counted(t, registry); n != 6 {
		t.Errorf("%v failures were counted", n)
	}
}

func counted(t *testing.T, registry *prometheus.Registry) (sum float64) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			sum += metric.GetCounter().GetValue()
		}
	}
	return sum
}
