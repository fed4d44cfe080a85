// Package observe counts how controllers fail: by the kind of fault, so that an
// alert can tell what a user has to mend from what is a defect.
//
// Every reconciler is added through it; how often they run, how long, and what
// waits in their queues is counted by controller-runtime. It must not change
// what a reconciler returns, but for conflicts: that somebody else was faster is
// no error, and goes back to the queue without the log of one.
package observe

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/fault"
)

// Failures is the name of the metric.
const Failures = "loam_reconcile_failures_total"

// Conflicts in a row are quiet for some seconds: the first pause is for the cache
// to catch up, and each is twice as long. Writers that agree no more than that are
// an error like others.
const (
	firstPause = 20 * time.Millisecond
	lastPause  = time.Minute
	quiet      = 8
)

// Reconciler counts the failures of inner in the metrics of the process.
func Reconciler[R comparable](controller string, inner reconcile.TypedReconciler[R]) reconcile.TypedReconciler[R] {
	return In(metrics.Registry, controller, inner)
}

// In counts in another registry.
func In[R comparable](registry prometheus.Registerer, controller string, inner reconcile.TypedReconciler[R]) reconcile.TypedReconciler[R] {
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: Failures, Help: "Reconciliations that failed, by controller and by what it would take to succeed.",
	}, []string{"controller", "fault"})
	if err := registry.Register(counter); err != nil {
		// All controllers count in one.
		var same prometheus.AlreadyRegisteredError
		if !errors.As(err, &same) {
			panic(err)
		}
		counter = same.ExistingCollector.(*prometheus.CounterVec)
	}
	own := counter.MustCurryWith(prometheus.Labels{"controller": controller})
	for _, kind := range []fault.Kind{fault.Invalid, fault.Waiting, fault.Transient, fault.Exhausted, fault.Denied, fault.Missing, fault.Internal} {
		own.WithLabelValues(string(kind)) // at 0: the first failure is an increase, too
	}
	return observed[R]{inner, own, workqueue.NewTypedItemExponentialFailureRateLimiter[R](firstPause, lastPause)}
}

type observed[R comparable] struct {
	inner    reconcile.TypedReconciler[R]
	failures *prometheus.CounterVec
	pauses   workqueue.TypedRateLimiter[R]
}

// Reconcile implements reconcile.TypedReconciler.
func (o observed[R]) Reconcile(ctx context.Context, request R) (reconcile.Result, error) {
	result, err := o.inner.Reconcile(ctx, request)
	if err != nil {
		o.failures.WithLabelValues(string(kind(err))).Inc()
	}
	if isConflict(err) && o.pauses.NumRequeues(request) < quiet {
		log.FromContext(ctx).V(1).Info("Somebody else was faster, looking again", "conflict", err.Error())
		return reconcile.Result{RequeueAfter: o.pauses.When(request)}, nil
	}
	if !isConflict(err) {
		o.pauses.Forget(request)
	}
	return result, err
}

// isConflict tells whether an error is a conflict and nothing else: of several
// that were joined each has to be one.
func isConflict(err error) bool {
	switch e := err.(type) { //nolint:errorlint // the tree is walked by hand, for errors.As finds one leaf only
	case interface{ Unwrap() []error }:
		return len(e.Unwrap()) > 0 && !slices.ContainsFunc(e.Unwrap(), func(one error) bool { return !isConflict(one) })
	case interface{ Unwrap() error }:
		return isConflict(e.Unwrap())
	}
	return apierrors.IsConflict(err)
}

// kind is the error's own, or what an API server's answer means.
func kind(err error) fault.Kind {
	if own := fault.KindOf(err); own != fault.Internal {
		return own
	}
	switch {
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return fault.Denied
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return fault.Invalid
	case apierrors.IsNotFound(err), apierrors.IsGone(err):
		return fault.Missing
	case apierrors.IsTooManyRequests(err):
		return fault.Exhausted
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsServerTimeout(err), apierrors.IsTimeout(err),
		apierrors.IsServiceUnavailable(err), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return fault.Transient
	}
	return fault.Internal
}
