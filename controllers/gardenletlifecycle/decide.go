package gardenletlifecycle

import (
	"slices"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/loam-cloud/loam/controllers/condition"
)

// reason is that of every condition that only the agent could know.
const reason = "StatusUnknown"

// stopped is what is reported of an agent that does not renew its Lease.
func stopped() gardencorev1beta1.Condition {
	return condition.New(gardencorev1beta1.GardenletReady, gardencorev1beta1.ConditionUnknown, reason, "The agent has stopped sending heartbeats.")
}

// renewed tells whether a Lease was renewed within a period before now.
func renewed(lease *coordinationv1.Lease, period time.Duration, now time.Time) bool {
	return lease.Spec.RenewTime != nil && now.Sub(lease.Spec.RenewTime.Time) <= period
}

// overdue tells whether an agent has been unknown for longer than a period.
func overdue(conditions []gardencorev1beta1.Condition, period time.Duration, now time.Time) bool {
	return slices.ContainsFunc(conditions, func(c gardencorev1beta1.Condition) bool {
		return c.Type == gardencorev1beta1.GardenletReady && c.Status == gardencorev1beta1.ConditionUnknown && now.Sub(c.LastTransitionTime.Time) > period
	})
}

// unknown returns the conditions and constraints of a Shoot without an agent.
func unknown(shoot *gardencorev1beta1.Shoot, now time.Time) (conditions, constraints []gardencorev1beta1.Condition) {
	kinds := []gardencorev1beta1.ConditionType{
		gardencorev1beta1.ShootAPIServerAvailable, gardencorev1beta1.ShootControlPlaneHealthy,
		gardencorev1beta1.ShootObservabilityComponentsHealthy, gardencorev1beta1.ShootSystemComponentsHealthy,
	}
	if len(shoot.Spec.Provider.Workers) > 0 {
		kinds = append(kinds, gardencorev1beta1.ShootEveryNodeReady)
	}
	conditions = unsure(shoot.Status.Conditions, now, kinds...)
	constraints = unsure(shoot.Status.Constraints, now, gardencorev1beta1.ShootHibernationPossible, gardencorev1beta1.ShootMaintenancePreconditionsSatisfied)
	return conditions, constraints
}

func unsure(old []gardencorev1beta1.Condition, now time.Time, kinds ...gardencorev1beta1.ConditionType) []gardencorev1beta1.Condition {
	for _, kind := range kinds {
		old = condition.Merge(old, now, condition.New(kind, gardencorev1beta1.ConditionUnknown, reason, "The agent of the seed has stopped sending heartbeats."))
	}
	return old
}
