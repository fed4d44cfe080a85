package statuslabel

import (
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
)

// health is how a cluster is, in ascending order of badness.
type health int

const (
	healthy health = iota
	progressing
	unhealthy
)

func (h health) String() string { return [...]string{"healthy", "progressing", "unhealthy"}[h] }

// decide sums up a Shoot's status. Before a cluster exists, and when it goes,
// its conditions say nothing: only errors count.
func decide(shoot *gardencorev1beta1.Shoot) string {
	last := shoot.Status.LastOperation
	if last == nil {
		return healthy.String()
	}
	creating := last.Type == gardencorev1beta1.LastOperationTypeCreate && last.State != gardencorev1beta1.LastOperationStateSucceeded
	if creating || last.Type == gardencorev1beta1.LastOperationTypeDelete {
		return bad(len(shoot.Status.LastErrors) > 0).String()
	}
	worst := bad(last.State != gardencorev1beta1.LastOperationStateSucceeded)
	if last.State == gardencorev1beta1.LastOperationStateProcessing {
		worst = bad(len(shoot.Status.LastErrors) > 0)
	}
	for _, condition := range shoot.Status.Conditions {
		worst = max(worst, of(condition.Status))
	}
	return worst.String()
}

func bad(is bool) health {
	if is {
		return unhealthy
	}
	return healthy
}

// of takes what is not known for bad: the agent that would know is silent.
func of(status gardencorev1beta1.ConditionStatus) health {
	switch status {
	case gardencorev1beta1.ConditionTrue:
		return healthy
	case gardencorev1beta1.ConditionProgressing:
		return progressing
	default:
		return unhealthy
	}
}
