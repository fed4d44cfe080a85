package shootstate

import (
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
)

// verdict is what to do about the finalizer.
type verdict int

const (
	leave verdict = iota
	hold
	release
)

// decide holds a state from the moment when its Shoot starts to leave a seed until
// it has arrived on the other.
func decide(operation gardencorev1beta1.LastOperation) verdict {
	switch operation.Type {
	case gardencorev1beta1.LastOperationTypeMigrate:
		return hold
	case gardencorev1beta1.LastOperationTypeRestore:
		if operation.State == gardencorev1beta1.LastOperationStateSucceeded {
			return release
		}
		return hold
	case gardencorev1beta1.LastOperationTypeReconcile:
		return release
	default:
		return leave
	}
}

// matters tells whether a Shoot's operation came to one that the finalizer
// depends on.
func matters(before, after *gardencorev1beta1.LastOperation) bool {
	if after == nil {
		return false
	}
	if before == nil {
		before = &gardencorev1beta1.LastOperation{}
	}
	restoring := before.Type == gardencorev1beta1.LastOperationTypeRestore && before.State != gardencorev1beta1.LastOperationStateSucceeded
	switch after.Type {
	case gardencorev1beta1.LastOperationTypeMigrate:
		return before.Type != after.Type
	case gardencorev1beta1.LastOperationTypeRestore:
		return before.Type == gardencorev1beta1.LastOperationTypeMigrate || after.State == gardencorev1beta1.LastOperationStateSucceeded && (restoring || before.Type != after.Type)
	case gardencorev1beta1.LastOperationTypeReconcile:
		return restoring
	default:
		return false
	}
}
