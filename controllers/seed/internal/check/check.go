// Package check is what the controllers have in common that judge a Seed by
// objects which belong to it: they are woken by these, report one condition,
// soften its fall by a threshold, and look again from time to time.
//
// It must not know what is judged.
package check

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/condition"
	"github.com/loam-cloud/loam/controllers/internal/observe"
)

// defaultPeriod is Gardener's default of SyncPeriod in both configurations.
const defaultPeriod = 30 * time.Second

// Check judges Seeds by objects of one kind.
type Check struct {
	Client client.Client
	Clock  clock.PassiveClock
	// Syncs, Period and Thresholds are those of the controller's configuration:
	// workers, when to look again at the latest, and for how long a condition that
	// was true is Progressing first.
	Syncs      *int
	Period     *metav1.Duration
	Thresholds []controllermanagerconfigv1alpha1.ConditionThreshold
}

// Watch is what wakes a check.
type Watch struct {
	// Judged is an empty object of the kind; SeedOf is to which Seed one belongs,
	// empty if to none.
	Judged client.Object
	SeedOf func(client.Object) string
	// Changed lets objects through that are to be judged anew.
	Changed predicate.Predicate
}

// AddToManager has r judge each Seed at a start, and when an object that belongs
// to it changes.
func (c Check) AddToManager(mgr manager.Manager, name string, w Watch, r reconcile.Reconciler) error {
	return builder.ControllerManagedBy(mgr).
		Named(name).
		// The last object may have gone while nothing ran.
		For(&gardencorev1beta1.Seed{}, builder.WithPredicates(predicate.Funcs{
			UpdateFunc: func(event.UpdateEvent) bool { return false },
			DeleteFunc: func(event.DeleteEvent) bool { return false },
		})).
		Watches(w.Judged, handler.EnqueueRequestsFromMapFunc(func(_ context.Context, object client.Object) []reconcile.Request {
			if seed := w.SeedOf(object); seed != "" {
				return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: seed}}}
			}
			return nil
		}), builder.WithPredicates(w.Changed)).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: ptr.Deref(c.Syncs, controllermanagerconfigv1alpha1.DefaultControllerConcurrentSyncs),
			ReconciliationTimeout:   c.period(),
		}).
		Complete(observe.Reconciler(name, r))
}

func (c Check) period() time.Duration {
	return cmp.Or(ptr.Deref(c.Period, metav1.Duration{}).Duration, defaultPeriod)
}

// Judge reads what belongs to a Seed into list, by an index, and reports what
// decide makes of it. A Seed that has nothing, and never had, has no condition.
func (c Check) Judge(ctx context.Context, seedName string, kind gardencorev1beta1.ConditionType, list client.ObjectList, index string, decide func() gardencorev1beta1.Condition) (reconcile.Result, error) {
	seed := &gardencorev1beta1.Seed{}
	if err := c.Client.Get(ctx, client.ObjectKey{Name: seedName}, seed); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if err := c.Client.List(ctx, list, client.MatchingFields{index: seedName}); err != nil {
		return reconcile.Result{}, fmt.Errorf("listing what belongs to seed %q: %w", seedName, err)
	}
	if meta.LenList(list) == 0 && !has(seed, kind) {
		return reconcile.Result{}, nil // the first object wakes it
	}
	return c.report(ctx, seed, decide())
}

// report writes a condition if it is new. Conditions are a list with several
// writers, so it is written only over what was read.
func (c Check) report(ctx context.Context, seed *gardencorev1beta1.Seed, fresh gardencorev1beta1.Condition) (reconcile.Result, error) {
	now := c.Clock.Now()
	held, left := condition.Hold(seed.Status.Conditions, fresh, condition.Threshold(c.Thresholds, fresh.Type), now)
	result := reconcile.Result{RequeueAfter: c.period()}
	if left > 0 {
		result.RequeueAfter = min(left, c.period())
	}
	base := seed.DeepCopy()
	seed.Status.Conditions = condition.Merge(seed.Status.Conditions, now, held)
	if equality.Semantic.DeepEqual(base.Status, seed.Status) {
		return result, nil
	}
	if err := c.Client.Status().Patch(ctx, seed, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
		if apierrors.IsNotFound(err) {
			return reconcile.Result{}, nil
		}
		return reconcile.Result{}, fmt.Errorf("reporting condition %s of seed %q: %w", fresh.Type, seed.Name, err)
	}
	log.FromContext(ctx).Info("Reported a condition of a seed", "condition", held.Type, "status", held.Status, "reason", held.Reason)
	return result, nil
}

func has(seed *gardencorev1beta1.Seed, kind gardencorev1beta1.ConditionType) bool {
	return slices.ContainsFunc(seed.Status.Conditions, func(c gardencorev1beta1.Condition) bool { return c.Type == kind })
}
