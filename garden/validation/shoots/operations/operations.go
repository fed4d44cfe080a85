// Package operations has the rules for what a Shoot's annotations ask for.
//
// The rules for Shoots call it, and the garden's table of kinds, which acts on
// what is in order. It is pure: the Shoot's status says what was done before.
package operations

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gardener/gardener/pkg/apis/core"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/offers"
	"github.com/loam-cloud/loam/garden/validation/shoots/schedules"
)

// Validate checks the operations that are asked for, if they were not before:
// those for now, and those for the next maintenance, where only the words count
// because the Shoot may be further by then.
func Validate(shoot, old *core.Shoot) field.ErrorList {
	var errs field.ErrorList
	path := field.NewPath("metadata", "annotations")
	for _, key := range []string{v1beta1constants.GardenerOperation, v1beta1constants.GardenerMaintenanceOperation} {
		value, found := shoot.Annotations[key]
		if !found || old != nil && old.Annotations[key] == value {
			continue
		}
		for operation := range strings.SplitSeq(value, v1beta1constants.GardenerOperationsSeparator) {
			operation = strings.TrimSpace(operation)
			problem := Problem(shoot, operation)
			if key == v1beta1constants.GardenerMaintenanceOperation && Known(operation) {
				problem = ""
			}
			if problem != "" {
				errs = append(errs, field.Invalid(path.Key(key), operation, problem))
			}
		}
	}
	return errs
}

// Known tells whether an operation is one that some Shoot can be asked for.
func Known(operation string) bool {
	name, _, takesPools := strings.Cut(operation, "=")
	switch name {
	case v1beta1constants.GardenerOperationReconcile, v1beta1constants.ShootOperationRetry, v1beta1constants.ShootOperationMaintain, v1beta1constants.ShootOperationForceInPlaceUpdate:
		return !takesPools
	case v1beta1constants.OperationRolloutWorkers, v1beta1constants.OperationRotateRolloutWorkers:
		return takesPools
	default:
		_, known := rotations()[operation]
		return known
	}
}

// ForcesUpdate tells whether a Shoot is asked to update machines in place
// although the update before is not through.
func ForcesUpdate(shoot *core.Shoot) bool {
	all := strings.Split(shoot.Annotations[v1beta1constants.GardenerOperation], v1beta1constants.GardenerOperationsSeparator)
	return slices.ContainsFunc(all, func(operation string) bool {
		return strings.TrimSpace(operation) == v1beta1constants.ShootOperationForceInPlaceUpdate
	})
}

// rotation says which secrets an operation is about, and whether it begins or
// ends their rotation.
type rotation struct {
	authorities, serviceAccountKey, encryptionKey bool
	complete                                      bool
}

// rotations in two steps, and what may begin them all at once.
func rotations() map[string]rotation {
	start := rotation{authorities: true, serviceAccountKey: true, encryptionKey: true}
	complete := rotation{authorities: true, serviceAccountKey: true, complete: true}
	authorities := rotation{authorities: true}
	key := rotation{serviceAccountKey: true}
	encryption := rotation{encryptionKey: true}
	return map[string]rotation{
		v1beta1constants.OperationRotateCredentialsStart:                            start,
		v1beta1constants.OperationRotateCredentialsStartWithoutWorkersRollout:       start,
		v1beta1constants.OperationRotateCredentialsComplete:                         complete,
		v1beta1constants.OperationRotateCAStart:                                     authorities,
		v1beta1constants.OperationRotateCAStartWithoutWorkersRollout:                authorities,
		v1beta1constants.OperationRotateCAComplete:                                  {authorities: true, complete: true},
		v1beta1constants.OperationRotateServiceAccountKeyStart:                      key,
		v1beta1constants.OperationRotateServiceAccountKeyStartWithoutWorkersRollout: key,
		v1beta1constants.OperationRotateServiceAccountKeyComplete:                   {serviceAccountKey: true, complete: true},
		v1beta1constants.OperationRotateETCDEncryptionKey:                           encryption,
		v1beta1constants.OperationRotateETCDEncryptionKeyStart:                      encryption,
		v1beta1constants.OperationRotateETCDEncryptionKeyComplete:                   {encryptionKey: true, complete: true},
		v1beta1constants.ShootOperationRotateSSHKeypair:                             {},
		v1beta1constants.OperationRotateObservabilityCredentials:                    {},
	}
}

// Problem says why a Shoot cannot be asked for an operation now; empty
// when it can. The Shoot's status tells how far former ones have come.
func Problem(shoot *core.Shoot, operation string) string {
	switch operation {
	case v1beta1constants.GardenerOperationReconcile, v1beta1constants.ShootOperationRetry, v1beta1constants.ShootOperationMaintain:
		return ""
	case v1beta1constants.ShootOperationForceInPlaceUpdate:
		if !slices.ContainsFunc(shoot.Spec.Provider.Workers, updatesInPlace) {
			return "no worker pool is updated in place"
		}
		return ""
	}
	if name, pools, found := strings.Cut(operation, "="); found {
		return rolloutProblem(shoot, name, pools)
	}
	rotation, known := rotations()[operation]
	if !known {
		return unknown()
	}
	return rotationProblem(shoot, operation, rotation)
}

func unknown() string {
	return "is not an operation: known are reconcile, retry, maintain, force-in-place-update, rollout-workers=POOLS, rotate-rollout-workers=POOLS, " +
		strings.Join(slices.Sorted(maps.Keys(rotations())), ", ")
}

func updatesInPlace(worker core.Worker) bool {
	strategy := worker.UpdateStrategy
	return strategy != nil && (*strategy == core.AutoInPlaceUpdate || *strategy == core.ManualInPlaceUpdate)
}

// rolloutProblem is about operations that name pools: their machines are
// replaced, or at last take the credentials that were rotated without them.
func rolloutProblem(shoot *core.Shoot, name, pools string) string {
	switch name {
	case v1beta1constants.OperationRolloutWorkers:
	case v1beta1constants.OperationRotateRolloutWorkers:
		phases := phasesOf(shoot)
		if phases.authorities != core.RotationWaitingForWorkersRollout && phases.serviceAccountKey != core.RotationWaitingForWorkersRollout {
			return "no rotation waits for a rollout of workers"
		}
	default:
		return fmt.Sprintf("%q is not an operation that takes names of pools: rollout-workers and rotate-rollout-workers are", name)
	}
	for _, pool := range strings.Split(pools, ",") {
		if !slices.ContainsFunc(shoot.Spec.Provider.Workers, func(w core.Worker) bool { return w.Name == strings.TrimSpace(pool) }) {
			return fmt.Sprintf("there is no worker pool %q", pool)
		}
	}
	return ""
}

type phases struct {
	authorities, serviceAccountKey, encryptionKey core.CredentialsRotationPhase
}

func phasesOf(shoot *core.Shoot) (all phases) {
	if shoot.Status.Credentials == nil || shoot.Status.Credentials.Rotation == nil {
		return all
	}
	r := shoot.Status.Credentials.Rotation
	if r.CertificateAuthorities != nil {
		all.authorities = r.CertificateAuthorities.Phase
	}
	if r.ServiceAccountKey != nil {
		all.serviceAccountKey = r.ServiceAccountKey.Phase
	}
	if r.ETCDEncryptionKey != nil {
		all.encryptionKey = r.ETCDEncryptionKey.Phase
	}
	return all
}

func rotationProblem(shoot *core.Shoot, operation string, r rotation) string {
	switch {
	case shoot.DeletionTimestamp != nil:
		return "the cluster is being deleted"
	case shoot.Status.LastOperation == nil,
		shoot.Status.LastOperation.Type == core.LastOperationTypeCreate && shoot.Status.LastOperation.State != core.LastOperationStateSucceeded:
		return "the cluster has not been created yet, and has nothing to rotate"
	case (schedules.Hibernates(shoot) || shoot.Status.IsHibernated) && (r.authorities || r.serviceAccountKey || r.encryptionKey):
		return "the cluster is hibernated: what holds its credentials does not run"
	}
	former := operation == v1beta1constants.OperationRotateETCDEncryptionKeyStart || operation == v1beta1constants.OperationRotateETCDEncryptionKeyComplete
	if former && offers.AtLeast(shoot.Spec.Kubernetes.Version, "1.34") {
		return "is not there from Kubernetes 1.34 on: use " + v1beta1constants.OperationRotateETCDEncryptionKey
	}
	now := phasesOf(shoot)
	for _, part := range []struct {
		concerned bool
		name      string
		phase     core.CredentialsRotationPhase
	}{
		{r.authorities, "certificate authorities", now.authorities},
		{r.serviceAccountKey, "service account key", now.serviceAccountKey},
		{r.encryptionKey, "encryption key", now.encryptionKey},
	} {
		switch {
		case !part.concerned:
		case r.complete && part.phase != core.RotationPrepared:
			return fmt.Sprintf("the rotation of the %s can be completed in phase Prepared only, it is in %s", part.name, phaseName(part.phase))
		case !r.complete && part.phase != "" && part.phase != core.RotationCompleted:
			return fmt.Sprintf("the rotation of the %s has begun already, it is in %s", part.name, phaseName(part.phase))
		}
	}
	return ""
}

func phaseName(phase core.CredentialsRotationPhase) string {
	if phase == "" {
		return "none, as it was never begun"
	}
	return "phase " + string(phase)
}
