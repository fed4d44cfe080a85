package shoots

import (
	"slices"
	"strings"
	"time"

	"github.com/gardener/gardener/pkg/apis/core"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/loam-cloud/loam/garden/validation/shoots/operations"
)

// takeOperations removes from a Shoot's annotation the operations that ask for
// a reconciliation, and tells whether there were any. A rotation is written into
// the status before its request goes, so that it is not forgotten. Other
// operations stay for whoever acts on them, and those that are not in order stay
// for validation to refuse.
func takeOperations(shoot *core.Shoot, now time.Time) bool {
	annotation, found := shoot.Annotations[v1beta1constants.GardenerOperation]
	if !found {
		return false
	}
	all := strings.Split(annotation, v1beta1constants.GardenerOperationsSeparator)
	left := slices.DeleteFunc(slices.Clone(all), func(operation string) bool {
		operation = strings.TrimSpace(operation)
		if operations.Problem(shoot, operation) != "" {
			return false
		}
		switch operation {
		case v1beta1constants.GardenerOperationReconcile, v1beta1constants.ShootOperationRetry:
			return true
		}
		return recordRotation(shoot, operation, metav1.NewTime(now))
	})
	switch {
	case len(left) == len(all):
		return false
	case len(left) == 0:
		delete(shoot.Annotations, v1beta1constants.GardenerOperation)
	default:
		shoot.Annotations[v1beta1constants.GardenerOperation] = strings.Join(left, v1beta1constants.GardenerOperationsSeparator)
	}
	return true
}

// recordRotation starts or completes a rotation in the Shoot's status. It tells
// whether operation is a rotation.
func recordRotation(shoot *core.Shoot, operation string, now metav1.Time) bool {
	const withoutRollout = core.RotationPreparingWithoutWorkersRollout
	is := func(operations ...string) bool { return slices.Contains(operations, operation) }
	all := is(v1beta1constants.OperationRotateCredentialsStart, v1beta1constants.OperationRotateCredentialsStartWithoutWorkersRollout)
	complete := is(v1beta1constants.OperationRotateCredentialsComplete)
	phase := core.RotationPreparing
	if is(v1beta1constants.OperationRotateCredentialsStartWithoutWorkersRollout,
		v1beta1constants.OperationRotateCAStartWithoutWorkersRollout,
		v1beta1constants.OperationRotateServiceAccountKeyStartWithoutWorkersRollout) {
		phase = withoutRollout
	}

	recorded := false
	rotation := func() *core.ShootCredentialsRotation {
		recorded = true
		if shoot.Status.Credentials == nil {
			shoot.Status.Credentials = &core.ShootCredentials{}
		}
		return ensure(&shoot.Status.Credentials.Rotation)
	}
	if all || is(v1beta1constants.OperationRotateCAStart, v1beta1constants.OperationRotateCAStartWithoutWorkersRollout) {
		ca := ensure(&rotation().CertificateAuthorities)
		*ca = core.CARotation{Phase: phase, LastInitiationTime: &now, LastCompletionTime: ca.LastCompletionTime}
	}
	if complete || is(v1beta1constants.OperationRotateCAComplete) {
		ca := ensure(&rotation().CertificateAuthorities)
		ca.Phase, ca.LastCompletionTriggeredTime = core.RotationCompleting, &now
	}
	if all || is(v1beta1constants.OperationRotateServiceAccountKeyStart, v1beta1constants.OperationRotateServiceAccountKeyStartWithoutWorkersRollout) {
		key := ensure(&rotation().ServiceAccountKey)
		*key = core.ServiceAccountKeyRotation{Phase: phase, LastInitiationTime: &now, LastCompletionTime: key.LastCompletionTime}
	}
	if complete || is(v1beta1constants.OperationRotateServiceAccountKeyComplete) {
		key := ensure(&rotation().ServiceAccountKey)
		key.Phase, key.LastCompletionTriggeredTime = core.RotationCompleting, &now
	}
	if all || is(v1beta1constants.OperationRotateETCDEncryptionKey, v1beta1constants.OperationRotateETCDEncryptionKeyStart) {
		key := ensure(&rotation().ETCDEncryptionKey)
		// Only the operation with "start" in its name waits to be completed.
		auto := !is(v1beta1constants.OperationRotateETCDEncryptionKeyStart)
		*key = core.ETCDEncryptionKeyRotation{Phase: core.RotationPreparing, LastInitiationTime: &now, LastCompletionTime: key.LastCompletionTime, AutoCompleteAfterPrepared: &auto}
	}
	if is(v1beta1constants.OperationRotateETCDEncryptionKeyComplete) {
		key := ensure(&rotation().ETCDEncryptionKey)
		key.Phase, key.LastCompletionTriggeredTime = core.RotationCompleting, &now
	}
	if all || is(v1beta1constants.OperationRotateObservabilityCredentials) {
		ensure(&rotation().Observability).LastInitiationTime = &now
	}
	if all || is(v1beta1constants.ShootOperationRotateSSHKeypair) {
		ensure(&rotation().SSHKeypair).LastInitiationTime = &now
	}
	return recorded
}

// ensure returns what pointer points to, made first when there is nothing.
func ensure[T any](pointer **T) *T {
	if *pointer == nil {
		*pointer = new(T)
	}
	return *pointer
}
