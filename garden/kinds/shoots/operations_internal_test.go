package shoots

import (
	"testing"
	"time"

	"github.com/gardener/gardener/pkg/apis/core"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// asked is a cluster that was created, with an operation and a phase of every
// rotation.
func asked(operation, version string, phase core.CredentialsRotationPhase) *core.Shoot {
	shoot := &core.Shoot{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"gardener.cloud/operation": operation}}}
	shoot.Spec.Kubernetes.Version = version
	shoot.Status.LastOperation = &core.LastOperation{Type: core.LastOperationTypeCreate, State: core.LastOperationStateSucceeded}
	if phase != "" {
		shoot.Status.Credentials = &core.ShootCredentials{Rotation: &core.ShootCredentialsRotation{
			CertificateAuthorities: &core.CARotation{Phase: phase}, ServiceAccountKey: &core.ServiceAccountKeyRotation{Phase: phase}, ETCDEncryptionKey: &core.ETCDEncryptionKeyRotation{Phase: phase},
		}}
	}
	return shoot
}

// TestRotations wants every rotation to leave its mark in the status, because
// its request is gone afterwards.
func TestRotations(t *testing.T) {
	now := time.Now()
	for operation, phase := range map[string]core.CredentialsRotationPhase{
		"rotate-credentials-start": "", "rotate-credentials-start-without-workers-rollout": core.RotationCompleted, "rotate-credentials-complete": core.RotationPrepared,
		"rotate-ca-start": "", "rotate-ca-start-without-workers-rollout": "", "rotate-ca-complete": core.RotationPrepared,
		"rotate-serviceaccount-key-start": "", "rotate-serviceaccount-key-start-without-workers-rollout": core.RotationCompleted, "rotate-serviceaccount-key-complete": core.RotationPrepared,
		"rotate-etcd-encryption-key": "", "rotate-etcd-encryption-key-start": "", "rotate-etcd-encryption-key-complete": core.RotationPrepared,
		"rotate-ssh-keypair": "", "rotate-observability-credentials": "",
	} {
		shoot := asked(operation, "1.33.1", phase)
		before := shoot.DeepCopy().Status.Credentials
		if !takeOperations(shoot, now) || len(shoot.Annotations) > 0 {
			t.Errorf("%s: not taken: %v", operation, shoot.Annotations)
		}
		credentials := shoot.Status.Credentials
		if credentials == nil || credentials.Rotation == nil || *credentials.Rotation == (core.ShootCredentialsRotation{}) {
			t.Errorf("%s: no mark in the status: %+v", operation, credentials)
		}
		if before != nil && credentials.Rotation.CertificateAuthorities.Phase == phase && credentials.Rotation.ServiceAccountKey.Phase == phase && credentials.Rotation.ETCDEncryptionKey.Phase == phase {
			t.Errorf("%s: all phases stayed %s", operation, phase)
		}
	}
}

// TestOperationsThatStay wants what others act on, and what is out of order, to
// be left where it is.
func TestOperationsThatStay(t *testing.T) {
	for operation, phase := range map[string]core.CredentialsRotationPhase{
		"maintain": "", "force-in-place-update": "", "": "", "rotate-nothing": "",
		"rotate-ca-complete": core.RotationPreparing, "rotate-ca-start": core.RotationPrepared, "rotate-serviceaccount-key-complete": core.RotationCompleted,
		"rotate-etcd-encryption-key": core.RotationPreparing, "rotate-credentials-complete": "",
	} {
		shoot := asked(operation, "1.36.3", phase)
		before := shoot.DeepCopy()
		if takeOperations(shoot, time.Now()) || shoot.Annotations["gardener.cloud/operation"] != operation {
			t.Errorf("%s in phase %q: taken: %v", operation, phase, shoot.Annotations)
		}
		if phase != "" && shoot.Status.Credentials.Rotation.CertificateAuthorities.Phase != before.Status.Credentials.Rotation.CertificateAuthorities.Phase {
			t.Errorf("%s in phase %q: changed the status", operation, phase)
		}
	}
	shoot := asked("rotate-ssh-keypair;rotate-ca-complete; maintain", "1.36.3", "")
	if !takeOperations(shoot, time.Now()) || shoot.Annotations["gardener.cloud/operation"] != "rotate-ca-complete; maintain" {
		t.Errorf("of three operations %q are left", shoot.Annotations["gardener.cloud/operation"])
	}
}
