// Package retry gives Shoots another try that failed because an infrastructure
// answered that it was asked too often. app adds it to the fleet's controllers.
//
// It must not retry anything else: other failures need somebody to look.
package retry

import (
	"context"
	"fmt"
	"slices"
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/internal/observe"
	"github.com/loam-cloud/loam/controllers/internal/spread"
)

// Name is the controller's name, and with it that of its logger.
const Name = "shoot.retry"

// Defaults of the configuration, for one that was not defaulted.
const (
	defaultPeriod = 10 * time.Minute
	defaultJitter = 5 * time.Minute
)

// Reconciler asks for the operation retry.
type Reconciler struct {
	Client client.Client
	Clock  clock.Clock
	Config controllermanagerconfigv1alpha1.ShootRetryControllerConfiguration

	start spread.Start
}

// Declare says what the controller reads and writes.
func (r *Reconciler) Declare() declaration.Declaration {
	return declaration.Declaration{
		Controller: Name,
		Reads:      []declaration.Read{{Resource: "shoots.core.gardener.cloud"}},
		Writes:     []declaration.Write{{Resource: "shoots.core.gardener.cloud", Verbs: []string{"patch"}, Fields: []string{"metadata.annotations[" + v1beta1constants.GardenerOperation + "]"}}},
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
		For(&gardencorev1beta1.Shoot{}, builder.WithPredicates(predicate.NewPredicateFuncs(func(object client.Object) bool {
			shoot, ok := object.(*gardencorev1beta1.Shoot)
			return ok && throttled(shoot)
		}))).
		WatchesRawSource(r.start.Source(r.Clock)).
		WithOptions(controller.Options{MaxConcurrentReconciles: ptr.Deref(r.Config.ConcurrentSyncs, controllermanagerconfigv1alpha1.DefaultControllerConcurrentSyncs)}).
		Complete(observe.Reconciler(Name, r))
}

// Reconcile retries one Shoot when it is time.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	shoot := &gardencorev1beta1.Shoot{}
	if err := r.Client.Get(ctx, request.NamespacedName, shoot); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if !throttled(shoot) {
		return reconcile.Result{}, nil
	}
	if wait := r.due(shoot).Sub(r.Clock.Now()); wait > 0 {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	base := shoot.DeepCopy()
	metav1.SetMetaDataAnnotation(&shoot.ObjectMeta, v1beta1constants.GardenerOperation, v1beta1constants.ShootOperationRetry)
	// Only as it was seen: another operation that was asked for meanwhile wins.
	if err := r.Client.Patch(ctx, shoot, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(fmt.Errorf("asking for a retry: %w", err))
	}
	log.FromContext(ctx).Info("Asked to retry the shoot that ran into a rate limit", "failed", base.Status.LastOperation.LastUpdateTime.Time)
	return reconcile.Result{}, nil
}

// throttled tells whether a Shoot failed because of a rate limit, and not in a
// state that has been changed since. One that is asked for an operation already
// has its next try.
func throttled(shoot *gardencorev1beta1.Shoot) bool {
	last := shoot.Status.LastOperation
	return shoot.DeletionTimestamp == nil && last != nil && last.State == gardencorev1beta1.LastOperationStateFailed &&
		shoot.Status.ObservedGeneration == shoot.Generation &&
		shoot.Annotations[v1beta1constants.GardenerOperation] == "" &&
		slices.ContainsFunc(shoot.Status.LastErrors, func(e gardencorev1beta1.LastError) bool {
			return slices.Contains(e.Codes, gardencorev1beta1.ErrorInfraRateLimitsExceeded)
		})
}

// due is when to retry: the period after the failure, and a time more by which
// Shoots that failed together do not meet again.
func (r *Reconciler) due(shoot *gardencorev1beta1.Shoot) time.Time {
	period, jitter := ptr.Deref(r.Config.RetryPeriod, metav1.Duration{Duration: defaultPeriod}).Duration, ptr.Deref(r.Config.RetryJitterPeriod, metav1.Duration{Duration: defaultJitter}).Duration
	failed := shoot.Status.LastOperation.LastUpdateTime.Time
	due := failed.Add(period + spread.Offset(jitter, shoot.UID, failed.UTC().Format(time.RFC3339)))
	return r.start.Due(due, shoot.CreationTimestamp.Time, jitter, shoot.UID)
}
