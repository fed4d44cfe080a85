// Package backupbucketscheck says in the condition BackupBucketsReady of a Seed
// whether the buckets for its clusters' backups work. app adds it to the fleet's
// controllers.
//
// It must not know what a bucket is, only whether it has an error.
package backupbucketscheck

import (
	"context"
	"fmt"
	"slices"
	"strings"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/condition"
	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/index"
	"github.com/loam-cloud/loam/controllers/seed/internal/check"
)

// Name is the controller's name.
const Name = "seed.backupbucketscheck"

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
	return r.check().AddToManager(mgr, Name, check.Watch{Judged: &gardencorev1beta1.BackupBucket{}, SeedOf: seedOf, Changed: changed()}, r)
}

func (r *Reconciler) check() check.Check {
	return check.Check{
		Client: r.Client, Clock: r.Clock,
		Syncs: r.Config.ConcurrentSyncs, Period: r.Config.SyncPeriod, Thresholds: r.Config.ConditionThresholds,
	}
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

func seedOf(object client.Object) string {
	if bucket, ok := object.(*gardencorev1beta1.BackupBucket); ok {
		return ptr.Deref(bucket.Spec.SeedName, "")
	}
	return ""
}

// Reconcile judges one Seed.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	list := &gardencorev1beta1.BackupBucketList{}
	return r.check().Judge(ctx, request.Name, gardencorev1beta1.SeedBackupBucketsReady, list, index.SeedName, func() gardencorev1beta1.Condition { return decide(list.Items) })
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
