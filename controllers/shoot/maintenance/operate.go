package maintenance

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gardener/gardener/pkg/apis/core"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/loam-cloud/loam/garden/validation/shoots/operations"
)

const separator = v1beta1constants.GardenerOperationsSeparator

// asked are the operations that a Shoot is asked for now.
func asked(shoot *gardencorev1beta1.Shoot) []string {
	return split(shoot.Annotations[v1beta1constants.GardenerOperation], separator)
}

func split(text, separator string) []string {
	var parts []string
	for part := range strings.SplitSeq(text, separator) {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

func failed(shoot *gardencorev1beta1.Shoot) bool {
	last := shoot.Status.LastOperation
	return last != nil && last.State == gardencorev1beta1.LastOperationStateFailed
}

// rotations are the operations for credentials that are old enough. A cluster
// that failed, or that cannot be asked now, waits for another maintenance.
func (p *plan) rotations(facts facts) ([]string, error) {
	maintenance := p.shoot.Spec.Maintenance
	if maintenance == nil || maintenance.AutoRotation == nil || maintenance.AutoRotation.Credentials == nil || failed(p.shoot) {
		return nil, nil
	}
	shoot, err := internal(p.shoot)
	if err != nil {
		return nil, err
	}
	wanted, last := maintenance.AutoRotation.Credentials, lastRotations(p.shoot)
	var all []string
	for _, r := range []struct {
		name, operation string
		config          *gardencorev1beta1.MaintenanceRotationConfig
		last            time.Time
		possible        bool
	}{
		{"SSH key pair", v1beta1constants.ShootOperationRotateSSHKeypair, wanted.SSHKeypair, last.ssh, hasSSH(p.shoot)},
		{"observability credentials", v1beta1constants.OperationRotateObservabilityCredentials, wanted.Observability, last.observability, true},
		{"etcd encryption key", v1beta1constants.OperationRotateETCDEncryptionKey, wanted.ETCDEncryptionKey, last.encryption, rotatable(p.shoot)},
	} {
		if r.config == nil || r.config.RotationPeriod == nil || r.config.RotationPeriod.Duration <= 0 || !r.possible ||
			facts.now.Sub(r.last) < r.config.RotationPeriod.Duration || operations.Problem(shoot, r.operation) != "" {
			continue
		}
		all = append(all, r.operation)
		p.add(result{subject: controlPlane, what: r.name, done: "Began to rotate the " + r.name,
			reason: fmt.Sprintf("a rotation is asked for every %s", r.config.RotationPeriod.Duration)})
	}
	return all, nil
}

type rotated struct{ ssh, observability, encryption time.Time }

// lastRotations are when credentials were last rotated: at the latest when the
// cluster was made.
func lastRotations(shoot *gardencorev1beta1.Shoot) rotated {
	latest := func(times ...*metav1.Time) time.Time {
		last := shoot.CreationTimestamp.Time
		for _, t := range times {
			if t != nil && t.After(last) {
				last = t.Time
			}
		}
		return last
	}
	r := rotated{latest(), latest(), latest()}
	if shoot.Status.Credentials == nil || shoot.Status.Credentials.Rotation == nil {
		return r
	}
	is := shoot.Status.Credentials.Rotation
	if is.SSHKeypair != nil {
		r.ssh = latest(is.SSHKeypair.LastInitiationTime, is.SSHKeypair.LastCompletionTime)
	}
	if is.Observability != nil {
		r.observability = latest(is.Observability.LastInitiationTime, is.Observability.LastCompletionTime)
	}
	if is.ETCDEncryptionKey != nil {
		r.encryption = latest(is.ETCDEncryptionKey.LastInitiationTime, is.ETCDEncryptionKey.LastCompletionTime)
	}
	return r
}

// hasSSH tells whether there are machines that can be reached.
func hasSSH(shoot *gardencorev1beta1.Shoot) bool {
	settings := shoot.Spec.Provider.WorkersSettings
	return len(shoot.Spec.Provider.Workers) > 0 && (settings == nil || settings.SSHAccess == nil || settings.SSHAccess.Enabled)
}

// rotatable heeds the constraint that says whether the key can be rotated in
// the next maintenance.
func rotatable(shoot *gardencorev1beta1.Shoot) bool {
	return !slices.ContainsFunc(shoot.Status.Constraints, func(c gardencorev1beta1.Condition) bool {
		return c.Type == gardencorev1beta1.ShootAutomaticCredentialsRotationPossible && c.Status == gardencorev1beta1.ConditionFalse
	})
}

// operate asks for what the cluster's agent has to do: to reconcile, with what
// was put off until maintenance; or, of a cluster that failed, to try again if
// that is wished for, and nothing else.
func (p *plan) operate(rotations []string, facts facts) error {
	annotations := p.shoot.Annotations
	all := slices.DeleteFunc(asked(p.shoot), func(o string) bool { return o == v1beta1constants.ShootOperationMaintain })
	if failed(p.shoot) {
		if annotations[v1beta1constants.FailedShootNeedsRetryOperation] == "true" {
			all = append(all, v1beta1constants.ShootOperationRetry)
			delete(annotations, v1beta1constants.FailedShootNeedsRetryOperation)
		}
	} else {
		later, err := p.later()
		if err != nil {
			return err
		}
		delete(annotations, v1beta1constants.GardenerMaintenanceOperation)
		all = append(append(append(all, later...), v1beta1constants.GardenerOperationReconcile), rotations...)
	}
	setList(p.shoot, v1beta1constants.GardenerOperation, separator, all)

	tasks := []string{
		v1beta1constants.ShootTaskDeployInfrastructure, v1beta1constants.ShootTaskDeployDNSRecordInternal,
		v1beta1constants.ShootTaskDeployDNSRecordExternal, v1beta1constants.ShootTaskDeployDNSRecordIngress,
	}
	if facts.restartControlPlane {
		tasks = append(tasks, v1beta1constants.ShootTaskRestartControlPlanePods)
	}
	if facts.restartAddons {
		tasks = append(tasks, v1beta1constants.ShootTaskRestartCoreAddons)
	}
	setList(p.shoot, v1beta1constants.ShootTasks, ",", append(split(annotations[v1beta1constants.ShootTasks], ","), tasks...))
	return nil
}

// later are the operations that users put off until maintenance. One that is out
// of order by now is left out: it would have everything else refused.
func (p *plan) later() ([]string, error) {
	wished := split(p.shoot.Annotations[v1beta1constants.GardenerMaintenanceOperation], separator)
	if len(wished) == 0 {
		return nil, nil
	}
	shoot, err := internal(p.shoot)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(wished, func(operation string) bool { return p.outOfOrder(shoot, operation) }), nil
}

func (p *plan) outOfOrder(shoot *core.Shoot, operation string) bool {
	problem := operations.Problem(shoot, operation)
	if problem != "" {
		p.add(result{subject: controlPlane, what: fmt.Sprintf("Operation %q", operation), reason: "Annotation " + v1beta1constants.GardenerMaintenanceOperation, problem: problem})
	}
	return problem != ""
}

// setList writes an annotation without doubles; an empty one goes.
func setList(shoot *gardencorev1beta1.Shoot, key, separator string, items []string) {
	var once []string
	for _, item := range items {
		if !slices.Contains(once, item) {
			once = append(once, item)
		}
	}
	if len(once) == 0 {
		delete(shoot.Annotations, key)
		return
	}
	metav1.SetMetaDataAnnotation(&shoot.ObjectMeta, key, strings.Join(once, separator))
}
