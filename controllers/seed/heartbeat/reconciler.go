// Package heartbeat is how a seed's agent says that it lives: it renews the
// seed's Lease and keeps those conditions of the Seed that only its agent can
// know. app adds it to the agent.
//
// It must not judge other seeds: a lease that ran out is for the fleet's
// controllers to see.
package heartbeat

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/condition"
	"github.com/loam-cloud/loam/controllers/internal/observe"
	"github.com/loam-cloud/loam/controllers/policy"
	"github.com/loam-cloud/loam/fault"
)

// Name is the controller's name.
const Name = "seed.heartbeat"

// Reconciler renews one seed's Lease. It reads that Seed and writes the Lease
// gardener-system-seed-lease/<seed> and the Seed's status: who its agent is,
// and the conditions GardenletReady and SeedSystemComponentsHealthy.
type Reconciler struct {
	Client client.Client
	Clock  clock.Clock
	Config Config
	// Ready tells what keeps this host from making machines; nil when nothing
	// does. It has half of the interval to answer.
	Ready func(context.Context) error
}

// Config is what the controller is told once.
type Config struct {
	SeedName string
	// Identity is written to status.gardener.
	Identity gardencorev1beta1.Gardener
	// Interval is how often the lease is renewed; zero means 10 s. The lease
	// lasts four times as long, in whole seconds.
	Interval time.Duration
}

func (c Config) interval() time.Duration { return cmp.Or(c.Interval, 10*time.Second) }

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
		For(&gardencorev1beta1.Seed{}, builder.WithPredicates(
			predicate.NewPredicateFuncs(func(o client.Object) bool { return o.GetName() == r.Config.SeedName }),
			predicate.GenerationChangedPredicate{},
		)).
		Complete(observe.Reconciler(Name, r))
}

// Reconcile renews the lease and reports the seed's state. What fails is tried
// again at the next beat: a growing pause would let the seed count as dead long
// after the garden has come back.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	seed := &gardencorev1beta1.Seed{}
	if err := r.Client.Get(ctx, request.NamespacedName, seed); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if err := errors.Join(r.renew(ctx, seed), r.report(ctx, seed)); err != nil && ctx.Err() == nil {
		log.FromContext(ctx).Error(err, "A heartbeat failed")
	}
	return reconcile.Result{RequeueAfter: r.Config.interval()}, nil
}

func (r *Reconciler) report(ctx context.Context, seed *gardencorev1beta1.Seed) error {
	ready := r.ready(ctx)
	base := seed.DeepCopy()
	seed.Status.Gardener = &r.Config.Identity
	seed.Status.ObservedGeneration = seed.Generation
	seed.Status.ClusterIdentity = ptr.To(string(seed.UID))
	seed.Status.Conditions = condition.Merge(seed.Status.Conditions, r.Clock.Now(), decide(ready)...)
	if equality.Semantic.DeepEqual(base.Status, seed.Status) {
		return nil
	}
	// Conditions are a list that the fleet's controllers write to as well.
	err := r.Client.Status().Patch(ctx, seed, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
	if apierrors.IsConflict(err) {
		return nil // the next beat reports over what is new
	}
	if err := client.IgnoreNotFound(err); err != nil {
		return fmt.Errorf("reporting the state of seed %q: %w", seed.Name, err)
	}
	return nil
}

// ready bounds the time that a host has to answer: one that hangs must not hold
// up the next beat.
func (r *Reconciler) ready(ctx context.Context) error {
	if r.Ready == nil {
		return nil
	}
	limit := r.Config.interval() / 2
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := r.Ready(limited)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return fault.New(fault.Transient, "no answer within %s: %w", limit, err)
	}
	return err
}

// decide says how the seed is, given what keeps it from making machines.
func decide(problem error) []gardencorev1beta1.Condition {
	alive := condition.New(gardencorev1beta1.GardenletReady, gardencorev1beta1.ConditionTrue, "GardenletReady", "The seed's agent is running.")
	if problem != nil {
		p := policy.Of(problem)
		return []gardencorev1beta1.Condition{alive, condition.New(gardencorev1beta1.SeedSystemComponentsHealthy, gardencorev1beta1.ConditionFalse, p.Reason, problem.Error(), p.Codes...)}
	}
	return []gardencorev1beta1.Condition{alive, condition.New(gardencorev1beta1.SeedSystemComponentsHealthy, gardencorev1beta1.ConditionTrue, "MachinesAvailable", "This host can make machines.")}
}

func (r *Reconciler) renew(ctx context.Context, seed *gardencorev1beta1.Seed) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: gardencorev1beta1.GardenerSeedLeaseNamespace}}
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: namespace.Name, Name: seed.Name}}
	change := func() error {
		lease.OwnerReferences = []metav1.OwnerReference{{APIVersion: gardencorev1beta1.SchemeGroupVersion.String(), Kind: "Seed", Name: seed.Name, UID: seed.UID}}
		lease.Spec.HolderIdentity = &r.Config.Identity.Name
		lease.Spec.LeaseDurationSeconds = ptr.To(max(1, int32(4*r.Config.interval()/time.Second)))
		lease.Spec.RenewTime = &metav1.MicroTime{Time: r.Clock.Now()}
		return nil
	}
	_, err := controllerutil.CreateOrPatch(ctx, r.Client, lease, change)
	if apierrors.IsNotFound(err) {
		if err := r.Client.Create(ctx, namespace); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("creating namespace %q: %w", namespace.Name, err)
		}
		_, err = controllerutil.CreateOrPatch(ctx, r.Client, lease, change)
	}
	if err != nil {
		return fmt.Errorf("renewing the lease of seed %q: %w", seed.Name, err)
	}
	return nil
}
