// Package conditions shows on a Shoot that is a seed how the seed is: whoever
// looks after the cluster sees both in one place. app adds it to the fleet's
// controllers.
//
// It must not judge the seed or the cluster: it copies.
package conditions

import (
	"context"
	"fmt"
	"slices"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	seedmanagementv1alpha1 "github.com/gardener/gardener/pkg/apis/seedmanagement/v1alpha1"
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/index"
)

// Name is the controller's name, and with it that of its logger.
const Name = "shoot.conditions"

// Reconciler copies the conditions of Seeds to the Shoots that they are.
type Reconciler struct {
	Client client.Client
	Config controllermanagerconfigv1alpha1.ShootConditionsControllerConfiguration
}

// Declare says what the controller reads and writes.
func (r *Reconciler) Declare() declaration.Declaration {
	return declaration.Declaration{
		Controller: Name,
		Reads: []declaration.Read{
			{Resource: "shoots.core.gardener.cloud"}, {Resource: "seeds.core.gardener.cloud"}, {Resource: "managedseeds.seedmanagement.gardener.cloud"},
		},
		Writes: []declaration.Write{{Resource: "shoots.core.gardener.cloud/status", Verbs: []string{"update"}, Fields: []string{"status.conditions, but not the five of the cluster itself"}}},
	}
}

// Reconcile gives one Shoot its seed's conditions.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	shoot := &gardencorev1beta1.Shoot{}
	if err := r.Client.Get(ctx, request.NamespacedName, shoot); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	seed, err := r.seedOf(ctx, shoot)
	if err != nil {
		return reconcile.Result{}, err
	}
	merged := decide(shoot.Status.Conditions, seed)
	if equality.Semantic.DeepEqual(merged, shoot.Status.Conditions) {
		return reconcile.Result{}, nil
	}
	shoot.Status.Conditions = merged
	// A whole update, which fails when the agent has written conditions since:
	// a patch of the list would undo those.
	if err := r.Client.Status().Update(ctx, shoot); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(fmt.Errorf("copying the seed's conditions: %w", err))
	}
	log.FromContext(ctx).Info("Copied the seed's conditions to the shoot", "conditions", len(merged))
	return reconcile.Result{}, nil
}

// seedOf finds the Seed that a Shoot is; nil if it is none.
func (r *Reconciler) seedOf(ctx context.Context, shoot *gardencorev1beta1.Shoot) (*gardencorev1beta1.Seed, error) {
	managed := &seedmanagementv1alpha1.ManagedSeedList{}
	if err := r.Client.List(ctx, managed, client.InNamespace(shoot.Namespace), client.MatchingFields{index.ManagedSeedShoot: shoot.Name}); err != nil {
		return nil, fmt.Errorf("listing the managed seeds of the shoot: %w", err)
	}
	if len(managed.Items) == 0 {
		return nil, nil
	}
	seed := &gardencorev1beta1.Seed{}
	if err := r.Client.Get(ctx, client.ObjectKey{Name: managed.Items[0].Name}, seed); err != nil {
		if client.IgnoreNotFound(err) == nil {
			return nil, nil
		}
		return nil, fmt.Errorf("reading the seed: %w", err)
	}
	return seed, nil
}

// ofShoot are the types that a cluster's own agent reports.
func ofShoot(kind gardencorev1beta1.ConditionType) bool {
	switch kind {
	case gardencorev1beta1.ShootAPIServerAvailable, gardencorev1beta1.ShootControlPlaneHealthy, gardencorev1beta1.ShootObservabilityComponentsHealthy,
		gardencorev1beta1.ShootEveryNodeReady, gardencorev1beta1.ShootSystemComponentsHealthy:
		return true
	default:
		return false
	}
}

// decide keeps a Shoot's own conditions, and puts the Seed's behind them instead
// of whatever else was there.
func decide(conditions []gardencorev1beta1.Condition, seed *gardencorev1beta1.Seed) []gardencorev1beta1.Condition {
	merged := slices.DeleteFunc(slices.Clone(conditions), func(c gardencorev1beta1.Condition) bool { return !ofShoot(c.Type) })
	if seed == nil {
		return merged
	}
	for _, condition := range seed.Status.Conditions {
		// A Seed that reports one of the Shoot's types does not get between the
		// cluster and its agent.
		if !ofShoot(condition.Type) {
			merged = append(merged, condition)
		}
	}
	return merged
}
