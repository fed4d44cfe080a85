package lifecycle

import (
	"strings"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// decide says which operation a Shoot is due; the empty type means none.
//
// An operation that failed for a reason that only its user can mend is not due
// again before the Shoot's generation moves.
func decide(shoot *gardencorev1beta1.Shoot) gardencorev1beta1.LastOperationType {
	last := shoot.Status.LastOperation
	switch {
	case shoot.DeletionTimestamp != nil:
		return gardencorev1beta1.LastOperationTypeDelete
	case last == nil:
		return gardencorev1beta1.LastOperationTypeCreate
	case shoot.Generation == shoot.Status.ObservedGeneration && (last.State == gardencorev1beta1.LastOperationStateSucceeded || last.State == gardencorev1beta1.LastOperationStateFailed):
		return ""
	case last.Type == gardencorev1beta1.LastOperationTypeCreate && last.State != gardencorev1beta1.LastOperationStateSucceeded:
		return gardencorev1beta1.LastOperationTypeCreate
	default:
		return gardencorev1beta1.LastOperationTypeReconcile
	}
}

// technicalID is the name of a Shoot's cluster outside its project, by
// Gardener's rule: shoot--<project>--<name>.
func technicalID(project, name string) string {
	return "shoot--" + project + "--" + name
}

// operation builds status.lastOperation.
func operation(kind gardencorev1beta1.LastOperationType, state gardencorev1beta1.LastOperationState, progress int32, description string, now metav1.Time) *gardencorev1beta1.LastOperation {
	return &gardencorev1beta1.LastOperation{Type: kind, State: state, Progress: progress, Description: description, LastUpdateTime: now}
}

// reason turns the name of a step into the reason of an event: "joining
// workers" becomes JoiningWorkers.
func reason(step string) string {
	var b strings.Builder
	for _, word := range strings.Fields(step) {
		b.WriteString(strings.ToUpper(word[:1]))
		b.WriteString(word[1:])
	}
	return b.String()
}
