// Package gardenletlifecycle notices that an agent has stopped: that of a Seed,
// or of a cluster that looks after itself. What only the agent could know is
// then reported as unknown. app adds it to the fleet's controllers.
//
//	lease renewed -> nothing
//	lease missing or old -> GardenletReady Unknown
//	Unknown for long -> the conditions of the Seed's clusters Unknown
//
// It must not set anything back: an agent that lives reports what it sees.
package gardenletlifecycle

import (
	"context"
	"errors"
	"fmt"
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	seedmanagementv1alpha1 "github.com/gardener/gardener/pkg/apis/seedmanagement/v1alpha1"
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/condition"
	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/index"
)

// Name is the controller's name.
const Name = "gardenletlifecycle"

const (
	// Gardener's defaults for what Config leaves open.
	defaultSync         = 10 * time.Second
	defaultMonitor      = 40 * time.Second
	defaultShootMonitor = 5 * defaultMonitor

	// leasePrefix begins the name of the Lease of a cluster that looks after itself.
	leasePrefix = "self-hosted-shoot-"
)

// Reconciler watches over the Leases of agents.
type Reconciler struct {
	Client client.Client
	Clock  clock.Clock
	// Config is that of the seed controller.
	Config controllermanagerconfigv1alpha1.SeedControllerConfiguration
	// LeaseNamespace is where the Leases of Seeds are; empty means
	// gardener-system-seed-lease.
	LeaseNamespace string
}

// Declare tells what the controller reads and writes.
func (r *Reconciler) Declare() declaration.Declaration {
	unknown := []string{"status.conditions", "status.constraints"}
	return declaration.Declaration{
		Controller: Name,
		Reads: []declaration.Read{
			{Resource: "seeds.core.gardener.cloud"}, {Resource: "shoots.core.gardener.cloud"}, {Resource: "leases.coordination.k8s.io"},
			{Resource: "managedseeds.seedmanagement.gardener.cloud"},
		},
		Writes: []declaration.Write{
			{Resource: "seeds.core.gardener.cloud/status", Verbs: []string{"update"}, Fields: []string{"status.conditions[GardenletReady]"}},
			{Resource: "shoots.core.gardener.cloud/status", Verbs: []string{"patch", "update"}, Fields: unknown},
			{Resource: "managedseeds.seedmanagement.gardener.cloud", Verbs: []string{"patch"}, Fields: []string{"metadata.annotations[gardener.cloud/operation]"}},
		},
	}
}

// Reconcile looks at the agent of one Seed or, with a namespace, one Shoot.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	look := r.seed
	if request.Namespace != "" {
		look = r.shoot
	}
	if again, err := look(ctx, request); err != nil || !again {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: r.sync()}, nil
}

// seed returns whether to look again.
func (r *Reconciler) seed(ctx context.Context, request reconcile.Request) (bool, error) {
	seed := &gardencorev1beta1.Seed{}
	if err := r.Client.Get(ctx, request.NamespacedName, seed); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	alive, err := r.alive(ctx, client.ObjectKey{Namespace: r.leases(), Name: seed.Name})
	if err != nil || alive || len(seed.Status.Conditions) == 0 {
		return true, err
	}
	now := r.Clock.Now()
	if expiry := seed.Status.ClientCertificateExpirationTimestamp; expiry != nil && !now.Before(expiry.Time) {
		if err := r.renewAccess(ctx, seed.Name); err != nil {
			return true, err
		}
	}
	merged := condition.Merge(seed.Status.Conditions, now, stopped())
	if !equality.Semantic.DeepEqual(merged, seed.Status.Conditions) {
		seed.Status.Conditions = merged
		if err := client.IgnoreNotFound(r.Client.Status().Update(ctx, seed)); err != nil {
			return true, fmt.Errorf("reporting that the agent of seed %q has stopped: %w", seed.Name, err)
		}
		log.FromContext(ctx).Info("The agent of a seed has stopped")
	}
	if !overdue(merged, r.shootMonitor(), now) {
		return true, nil
	}
	return true, r.obscure(ctx, seed.Name)
}

// shoot returns whether to look again.
func (r *Reconciler) shoot(ctx context.Context, request reconcile.Request) (bool, error) {
	shoot := &gardencorev1beta1.Shoot{}
	if err := r.Client.Get(ctx, request.NamespacedName, shoot); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	if !selfHosted(shoot) {
		return false, nil // a seed took it after it was made
	}
	alive, err := r.alive(ctx, client.ObjectKey{Namespace: shoot.Namespace, Name: leasePrefix + shoot.Name})
	if err != nil || alive || len(shoot.Status.Conditions) == 0 {
		return true, err
	}
	merged := condition.Merge(shoot.Status.Conditions, r.Clock.Now(), stopped())
	if equality.Semantic.DeepEqual(merged, shoot.Status.Conditions) {
		return true, nil
	}
	shoot.Status.Conditions = merged
	if err := client.IgnoreNotFound(r.Client.Status().Update(ctx, shoot)); err != nil {
		return true, fmt.Errorf("reporting that the agent of shoot %s has stopped: %w", request, err)
	}
	log.FromContext(ctx).Info("The agent of a cluster that looks after itself has stopped")
	return true, nil
}

// alive tells whether a Lease was renewed lately.
func (r *Reconciler) alive(ctx context.Context, key client.ObjectKey) (bool, error) {
	lease := &coordinationv1.Lease{}
	if err := r.Client.Get(ctx, key, lease); err != nil {
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return false, fmt.Errorf("reading lease %s: %w", key, err)
	}
	return renewed(lease, r.monitor(), r.Clock.Now()), nil
}

// renewAccess asks whoever deployed the agent to do so again: its certificate
// ended before it came back, and it cannot ask for another.
func (r *Reconciler) renewAccess(ctx context.Context, seed string) error {
	managed := &seedmanagementv1alpha1.ManagedSeed{}
	key := client.ObjectKey{Namespace: v1beta1constants.GardenNamespace, Name: seed}
	if err := r.Client.Get(ctx, key, managed); err != nil {
		return client.IgnoreNotFound(err)
	}
	if managed.Annotations[v1beta1constants.GardenerOperation] == v1beta1constants.GardenerOperationReconcile {
		return nil
	}
	base := managed.DeepCopy()
	metav1.SetMetaDataAnnotation(&managed.ObjectMeta, v1beta1constants.GardenerOperation, v1beta1constants.GardenerOperationReconcile)
	if err := client.IgnoreNotFound(r.Client.Patch(ctx, managed, client.MergeFrom(base))); err != nil {
		return fmt.Errorf("asking for a new agent of managed seed %q: %w", seed, err)
	}
	log.FromContext(ctx).Info("The certificate of an agent has ended, asking to deploy it again", "managedSeed", seed)
	return nil
}

// obscure reports that nothing is known about a Seed's clusters any more. One
// that fails leaves the others alone.
func (r *Reconciler) obscure(ctx context.Context, seed string) error {
	list := &gardencorev1beta1.ShootList{}
	if err := r.Client.List(ctx, list, client.MatchingFields{index.StatusSeedName: seed}, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("listing shoots of seed %q: %w", seed, err)
	}
	var errs []error
	for i := range list.Items {
		base := &list.Items[i]
		conditions, constraints := unknown(base, r.Clock.Now())
		if equality.Semantic.DeepEqual(conditions, base.Status.Conditions) && equality.Semantic.DeepEqual(constraints, base.Status.Constraints) {
			continue
		}
		shoot := base.DeepCopy()
		shoot.Status.Conditions, shoot.Status.Constraints = conditions, constraints
		if err := r.Client.Status().Patch(ctx, shoot, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); client.IgnoreNotFound(err) != nil {
			errs = append(errs, fmt.Errorf("reporting shoot %s as unknown: %w", client.ObjectKeyFromObject(shoot), err))
			continue
		}
		log.FromContext(ctx).Info("Nothing is known about a cluster any more", "shoot", client.ObjectKeyFromObject(shoot).String())
	}
	return errors.Join(errs...)
}

func (r *Reconciler) sync() time.Duration { return orDefault(r.Config.SyncPeriod, defaultSync) }

func (r *Reconciler) monitor() time.Duration {
	return orDefault(r.Config.MonitorPeriod, defaultMonitor)
}

func (r *Reconciler) shootMonitor() time.Duration {
	return orDefault(r.Config.ShootMonitorPeriod, defaultShootMonitor)
}

func orDefault(configured *metav1.Duration, otherwise time.Duration) time.Duration {
	return ptr.Deref(configured, metav1.Duration{Duration: otherwise}).Duration
}
