// Package policy says what a controller does about a failure: when it tries
// again, what a condition calls it, and which of Gardener's error codes tells
// users of it. Every reconciler that can fail uses the one table here.
//
// It must not know what failed.
package policy

import (
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/fault"
)

// Policy is what follows from one kind of failure.
type Policy struct {
	// Retry is whether trying again makes sense before a user acts.
	Retry bool
	// After is when to try again; zero means exponential backoff.
	After time.Duration
	// Reason is what a condition calls the failure.
	Reason string
	// Codes are Gardener's error codes for status.lastErrors.
	Codes []gardencorev1beta1.ErrorCode
}

// Of returns the policy for an error.
func Of(err error) Policy {
	switch fault.KindOf(err) {
	case fault.Invalid:
		return Policy{Reason: "ConfigurationProblem", Codes: []gardencorev1beta1.ErrorCode{gardencorev1beta1.ErrorConfigurationProblem}}
	case fault.Waiting:
		return Policy{Retry: true, After: 5 * time.Second, Reason: "Waiting"}
	case fault.Transient:
		return Policy{Retry: true, Reason: "TransientProblem", Codes: []gardencorev1beta1.ErrorCode{gardencorev1beta1.ErrorRetryableInfraDependencies}}
	case fault.Exhausted:
		return Policy{Retry: true, After: time.Minute, Reason: "ResourcesDepleted", Codes: []gardencorev1beta1.ErrorCode{gardencorev1beta1.ErrorInfraResourcesDepleted}}
	case fault.Denied:
		return Policy{Retry: true, After: time.Minute, Reason: "Unauthorized", Codes: []gardencorev1beta1.ErrorCode{gardencorev1beta1.ErrorInfraUnauthorized}}
	case fault.Missing:
		return Policy{Retry: true, Reason: "DependencyMissing", Codes: []gardencorev1beta1.ErrorCode{gardencorev1beta1.ErrorInfraDependencies}}
	default:
		return Policy{Retry: true, Reason: "InternalError"}
	}
}

// Result turns an error into what a reconciler returns: failures with a time of
// their own are requeued without an error, so that they do not count or log as
// one; those that only a user can mend are not requeued at all.
func Result(err error) (reconcile.Result, error) {
	p := Of(err)
	switch {
	case err == nil, !p.Retry:
		return reconcile.Result{}, nil
	case p.After > 0:
		return reconcile.Result{RequeueAfter: p.After}, nil
	default:
		return reconcile.Result{}, err
	}
}
