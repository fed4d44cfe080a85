// Package check is what the controllers have in common that judge a Seed by
// objects which belong to it: they report one condition, soften its fall by a
// threshold, and look again from time to time.
//
// It must not know what is judged.
package check

import (
	"context"
	"fmt"
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/condition"
)

// Reporter writes conditions of Seeds.
type Reporter struct {
	Client client.Client
	Clock  clock.PassiveClock
	// Thresholds say for how long a condition that was true is Progressing first.
	Thresholds []controllermanagerconfigv1alpha1.ConditionThreshold
	// Period is when to look again at the latest.
	Period time.Duration
}

// Report writes a condition if it is new. Conditions are a list with several
// writers, so it is written only over what was read.
func (r Reporter) Report(ctx context.Context, seed *gardencorev1beta1.Seed, fresh gardencorev1beta1.Condition) (reconcile.Result, error) {
	now := r.Clock.Now()
	held, left := condition.Hold(seed.Status.Conditions, fresh, condition.Threshold(r.Thresholds, fresh.Type), now)
	result := reconcile.Result{RequeueAfter: r.Period}
	if left > 0 {
		result.RequeueAfter = min(left, r.Period)
	}
	base := seed.DeepCopy()
	seed.Status.Conditions = condition.Merge(seed.Status.Conditions, now, held)
	if equality.Semantic.DeepEqual(base.Status, seed.Status) {
		return result, nil
	}
	if err := r.Client.Status().Patch(ctx, seed, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
		if apierrors.IsNotFound(err) {
			return reconcile.Result{}, nil
		}
		return reconcile.Result{}, fmt.Errorf("reporting condition %s of seed %q: %w", fresh.Type, seed.Name, err)
	}
	log.FromContext(ctx).Info("Reported a condition of a seed", "condition", held.Type, "status", held.Status, "reason", held.Reason)
	return result, nil
}

// Has tells whether a Seed has a condition.
func Has(seed *gardencorev1beta1.Seed, kind gardencorev1beta1.ConditionType) bool {
	for _, c := range seed.Status.Conditions {
		if c.Type == kind {
			return true
		}
	}
	return false
}
