// Package backupbucketscheck says in the condition BackupBucketsReady of a Seed
// whether the buckets for its clusters' backups work. app adds it to the fleet's
// controllers.
//
// It must not know what a bucket is, only whether it has an error.
package backupbucketscheck

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/condition"
	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/index"
	"github.com/loam-cloud/loam/controllers/internal/observe"
	"github.com/loam-cloud/loam/controllers/seed/internal/check"
)

// Name is the controller's name.
const Name = "seed.backupbucketscheck"

// defaultPeriod is Gardener's default of Config.SyncPeriod.
const defaultPeriod = 30 * time.Second

// Reconciler judges Seeds by their BackupBuckets.
type Reconciler struct {
	Client client.Client
	Clock  clock.Clock
	Config controllermanagerconfigv1alpha1.SeedBackupBucketsCheckControllerConfiguration
}

// Declare tells what the controller reads and writes.
func (r *Reconciler) Declare() declaration.Declaration {
	return declaration.Declaration{
		Controller: Name,
		Reads:      []declaration.Read{{Resource: "seeds.core.gardener.cloud"}, {Resource: "backupbuckets.core.gardener.cloud"}},
		Writes: []declaration.Write{{
			Resource: "seeds.core.gardener.cloud/status", Verbs: []string{"patch"}, Fields: []string{"status.conditions[BackupBucketsReady]"},
		}},
	}
}

// AddToManager adds the controller. Fields left nil are filled from the manager.
func (r *Reconciler) AddToManager(mgr manager.Manager) error {
	if r.Client == nil {
		r.Client = mgr.GetClient()
	}
	if r.Clock == nil {
		r.Clock = clock.RealClock{}
	}
	return builder.ControllerManagedBy(mgr).
		Named(Name).
		// The last bucket may have gone while nothing ran.
		For(&gardencorev1beta1.Seed{}, builder.WithPredicates(predicate.Funcs{
			UpdateFunc: func(event.UpdateEvent) bool { return false },
			DeleteFunc: func(event.DeleteEvent) bool { return false },
		})).
		Watches(&gardencorev1beta1.BackupBucket{}, handler.EnqueueRequestsFromMapFunc(seedOf), builder.WithPredicates(changed())).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: ptr.Deref(r.Config.ConcurrentSyncs, controllermanagerconfigv1alpha1.DefaultControllerConcurrentSyncs),
			ReconciliationTimeout:   r.period(),
		}).
		Complete(observe.Reconciler(Name, r))
}

// changed lets buckets through that came, went, or have another error.
func changed() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*gardencorev1beta1.BackupBucket)
		after, also := e.ObjectNew.(*gardencorev1beta1.BackupBucket)
		return ok && also && (failed(before) != failed(after) || problem(before) != problem(after))
	}}
}

func failed(bucket *gardencorev1beta1.BackupBucket) bool { return bucket.Status.LastError != nil }

func problem(bucket *gardencorev1beta1.BackupBucket) string {
	return ptr.Deref(bucket.Status.LastError, gardencorev1beta1.LastError{}).Description
}

func seedOf(_ context.Context, object client.Object) []reconcile.Request {
	bucket, ok := object.(*gardencorev1beta1.BackupBucket)
	if !ok || bucket.Spec.SeedName == nil {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: *bucket.Spec.SeedName}}}
}

func (r *Reconciler) period() time.Duration {
	return cmp.Or(ptr.Deref(r.Config.SyncPeriod, metav1.Duration{}).Duration, defaultPeriod)
}

// Reconcile judges one Seed.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	seed := &gardencorev1beta1.Seed{}
	if err := r.Client.Get(ctx, request.NamespacedName, seed); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	list := &gardencorev1beta1.BackupBucketList{}
	if err := r.Client.List(ctx, list, client.MatchingFields{index.SeedName: seed.Name}); err != nil {
		return reconcile.Result{}, fmt.Errorf("listing backup buckets of seed %q: %w", seed.Name, err)
	}
	if len(list.Items) == 0 && !check.Has(seed, gardencorev1beta1.SeedBackupBucketsReady) {
		return reconcile.Result{}, nil // the first bucket wakes it
	}
	return check.Reporter{
		Client: r.Client, Clock: r.Clock, Thresholds: r.Config.ConditionThresholds, Period: r.period(),
	}.Report(ctx, seed, decide(list.Items))
}

// decide judges the buckets of a Seed.
func decide(buckets []gardencorev1beta1.BackupBucket) gardencorev1beta1.Condition {
	const kind = gardencorev1beta1.SeedBackupBucketsReady
	if len(buckets) == 0 {
		return condition.New(kind, gardencorev1beta1.ConditionUnknown, "BackupBucketsGone", "The seed has no backup bucket any more.")
	}
	var problems []string
	for i := range buckets {
		if failed(&buckets[i]) {
			problems = append(problems, fmt.Sprintf("%s: %s", buckets[i].Name, problem(&buckets[i])))
		}
	}
	if len(problems) > 0 {
		slices.Sort(problems)
		return condition.New(kind, gardencorev1beta1.ConditionFalse, "BackupBucketsError", "Backup buckets have errors. "+strings.Join(problems, "; "))
	}
	return condition.New(kind, gardencorev1beta1.ConditionTrue, "BackupBucketsAvailable", "All backup buckets are available.")
}
