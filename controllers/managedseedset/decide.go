package managedseedset

import (
	"slices"
	"strconv"
	"strings"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	seedmanagementv1alpha1 "github.com/gardener/gardener/pkg/apis/seedmanagement/v1alpha1"
	seedmanagementconstants "github.com/gardener/gardener/pkg/apis/seedmanagement/v1alpha1/constants"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// ready is the state of a replica that nothing has to be waited for.
const ready seedmanagementv1alpha1.PendingReplicaReason = ""

// healthy is the value of the label that says how a Shoot is.
const healthy = "healthy"

// replica is a Shoot of a set with what it became; the others are nil where they
// are not there.
type replica struct {
	shoot   *gardencorev1beta1.Shoot
	managed *seedmanagementv1alpha1.ManagedSeed
	seed    *gardencorev1beta1.Seed
}

// state is what has to be waited for.
func (r replica) state() seedmanagementv1alpha1.PendingReplicaReason {
	switch s := shootState(r.shoot); {
	case s != ready && s != seedmanagementv1alpha1.ShootNotHealthyReason:
		return s
	case r.managed == nil:
		return seedmanagementv1alpha1.ManagedSeedPreparingReason
	case managedState(r.managed) != ready:
		return managedState(r.managed)
	case !seedReady(r.seed):
		return seedmanagementv1alpha1.SeedNotReadyReason
	default:
		return s
	}
}

// shootState is what has to be waited for of a Shoot alone.
func shootState(shoot *gardencorev1beta1.Shoot) seedmanagementv1alpha1.PendingReplicaReason {
	operation := ptr.Deref(shoot.Status.LastOperation, gardencorev1beta1.LastOperation{})
	current := shoot.Generation == shoot.Status.ObservedGeneration && shoot.Annotations[v1beta1constants.GardenerOperation] == ""
	failed := current && operation.State == gardencorev1beta1.LastOperationStateFailed
	deletion := operation.Type == gardencorev1beta1.LastOperationTypeDelete
	switch {
	case shoot.DeletionTimestamp != nil && failed && deletion:
		return seedmanagementv1alpha1.ShootDeleteFailedReason
	case shoot.DeletionTimestamp != nil:
		return seedmanagementv1alpha1.ShootDeletingReason
	case failed:
		return seedmanagementv1alpha1.ShootReconcileFailedReason
	case !current || operation.State != gardencorev1beta1.LastOperationStateSucceeded:
		return seedmanagementv1alpha1.ShootReconcilingReason
	case shoot.Labels[v1beta1constants.ShootStatus] != healthy:
		return seedmanagementv1alpha1.ShootNotHealthyReason
	}
	return ready
}

// managedState is what has to be waited for of a ManagedSeed alone.
func managedState(managed *seedmanagementv1alpha1.ManagedSeed) seedmanagementv1alpha1.PendingReplicaReason {
	registered := slices.ContainsFunc(managed.Status.Conditions, func(c gardencorev1beta1.Condition) bool {
		return c.Type == seedmanagementv1alpha1.SeedRegistered && c.Status == gardencorev1beta1.ConditionTrue
	})
	switch {
	case managed.DeletionTimestamp != nil:
		return seedmanagementv1alpha1.ManagedSeedDeletingReason
	case !registered || managed.Generation != managed.Status.ObservedGeneration:
		return seedmanagementv1alpha1.ManagedSeedPreparingReason
	}
	return ready
}

// seedReady tells whether a Seed takes clusters: its agent lives, and nothing that
// is known about it is bad.
func seedReady(seed *gardencorev1beta1.Seed) bool {
	if seed == nil || seed.DeletionTimestamp != nil || seed.Generation != seed.Status.ObservedGeneration {
		return false
	}
	alive := false
	for _, c := range seed.Status.Conditions {
		switch c.Type {
		case gardencorev1beta1.GardenletReady:
			alive = c.Status == gardencorev1beta1.ConditionTrue
		case gardencorev1beta1.SeedBackupBucketsReady, gardencorev1beta1.SeedExtensionsReady, gardencorev1beta1.SeedSystemComponentsHealthy:
			if c.Status != gardencorev1beta1.ConditionTrue && c.Status != gardencorev1beta1.ConditionProgressing {
				return false
			}
		}
	}
	return alive
}

// protected tells whether a replica must not be chosen for deletion.
func (r replica) protected() bool {
	const key = seedmanagementconstants.AnnotationProtectFromDeletion
	return r.shoot.Annotations[key] == "true" || r.managed != nil && r.managed.Annotations[key] == "true"
}

// step is the one thing that is done for a set at a time.
type step string

const (
	wait              step = "" // for the pending replica, or for nothing
	createReplica     step = "create the shoot of a new replica"
	createManagedSeed step = "make the shoot a managed seed"
	retryShoot        step = "retry the shoot"
	deleteManagedSeed step = "delete the managed seed"
	deleteShoot       step = "delete the shoot"
)

// decision is what to do, and the status that follows.
type decision struct {
	step step
	// name is that of the replica that the step is for.
	name   string
	status seedmanagementv1alpha1.ManagedSeedSetStatus
}

// decide takes one step towards the number of replicas that is wanted. There is
// never more than one replica that something was begun with: while one is
// pending, nothing is begun with another. A ready one is given up only if there
// are too many, and none that is not ready could go instead.
func decide(set *seedmanagementv1alpha1.ManagedSeedSet, replicas []replica, maxRetries int32, now time.Time) decision {
	slices.SortFunc(replicas, func(a, b replica) int { return ordinal(set.Name, a.shoot.Name) - ordinal(set.Name, b.shoot.Name) })
	d := decision{status: *set.Status.DeepCopy()}
	d.status.ObservedGeneration, d.status.PendingReplica = set.Generation, nil
	d.status.Replicas, d.status.ReadyReplicas = 0, 0
	for _, r := range replicas {
		d.status.Replicas++
		if r.state() == ready {
			d.status.ReadyReplicas++
		}
		// Numbers are never given twice, also if the status was lost.
		d.status.NextReplicaNumber = max(d.status.NextReplicaNumber, int32(ordinal(set.Name, r.shoot.Name))+1)
	}
	surplus := len(replicas) - wantedReplicas(set)
	chosen := choose(set, replicas, surplus)
	switch {
	case chosen != nil:
		d.proceed(set, *chosen, surplus > 0, maxRetries, now)
	case surplus < 0:
		d.step, d.name = createReplica, replicaName(set.Name, d.status.NextReplicaNumber)
		d.status.NextReplicaNumber++
		d.status.Replicas++
		d.pend(set, seedmanagementv1alpha1.ShootReconcilingReason, nil, now)
	}
	return d
}

func wantedReplicas(set *seedmanagementv1alpha1.ManagedSeedSet) int {
	if set.DeletionTimestamp != nil {
		return 0
	}
	return int(ptr.Deref(set.Spec.Replicas, 1))
}

// choose finds the replica to go on with: one that is in deletion, one that is in
// the making, one that is not ready for another reason, and if there are too many
// the newest that may go. Among equals it is the one that is pending already.
// Thereby what was begun is ended first, also if the status was lost.
func choose(set *seedmanagementv1alpha1.ManagedSeedSet, replicas []replica, surplus int) *replica {
	const spare = 3
	var found [spare + 1]*replica
	for i := range replicas {
		r := &replicas[i]
		rank := spare
		switch state := r.state(); {
		case state == ready && (surplus <= 0 || r.protected()):
			continue
		case state == ready:
		case inDeletion(state):
			rank = 0
		case state != seedmanagementv1alpha1.SeedNotReadyReason && state != seedmanagementv1alpha1.ShootNotHealthyReason:
			rank = 1
		default:
			rank = 2
		}
		pending := set.Status.PendingReplica != nil && set.Status.PendingReplica.Name == r.shoot.Name
		if found[rank] == nil || pending || rank == spare {
			found[rank] = r
		}
	}
	for _, r := range found {
		if r != nil {
			return r
		}
	}
	return nil
}

func inDeletion(state seedmanagementv1alpha1.PendingReplicaReason) bool {
	switch state {
	case seedmanagementv1alpha1.ShootDeletingReason, seedmanagementv1alpha1.ShootDeleteFailedReason, seedmanagementv1alpha1.ManagedSeedDeletingReason:
		return true
	}
	return false
}

// proceed takes the next step with one replica.
func (d *decision) proceed(set *seedmanagementv1alpha1.ManagedSeedSet, r replica, surplus bool, maxRetries int32, now time.Time) {
	d.name = r.shoot.Name
	state := r.state()
	switch {
	case state == seedmanagementv1alpha1.ShootDeleteFailedReason:
		d.retry(set, state, seedmanagementv1alpha1.ShootDeletingReason, maxRetries, now)
	case inDeletion(state):
		d.pend(set, state, d.retries(set, state), now)
	case surplus && !r.protected() && r.managed != nil:
		d.step = deleteManagedSeed
		d.pend(set, seedmanagementv1alpha1.ManagedSeedDeletingReason, nil, now)
	case surplus && !r.protected():
		d.step = deleteShoot
		d.pend(set, seedmanagementv1alpha1.ShootDeletingReason, nil, now)
	case state == seedmanagementv1alpha1.ShootReconcileFailedReason:
		d.retry(set, state, seedmanagementv1alpha1.ShootReconcilingReason, maxRetries, now)
	case state == seedmanagementv1alpha1.ManagedSeedPreparingReason && r.managed == nil:
		d.step = createManagedSeed
		d.pend(set, state, nil, now)
	default:
		d.pend(set, state, d.retries(set, state), now)
	}
}

// retry tries a failed Shoot again as often as it may: then it has failed.
func (d *decision) retry(set *seedmanagementv1alpha1.ManagedSeedSet, failed, running seedmanagementv1alpha1.PendingReplicaReason, maxRetries int32, now time.Time) {
	before := set.Status.PendingReplica
	exhausted := before != nil && before.Name == d.name && before.Reason == failed
	tried := ptr.Deref(d.retries(set, running), 0)
	if exhausted || tried >= maxRetries {
		d.pend(set, failed, nil, now)
		return
	}
	d.step = retryShoot
	d.pend(set, running, ptr.To(tried+1), now)
}

// retries are those counted so far for the same replica and reason.
func (d *decision) retries(set *seedmanagementv1alpha1.ManagedSeedSet, reason seedmanagementv1alpha1.PendingReplicaReason) *int32 {
	if before := set.Status.PendingReplica; before != nil && before.Name == d.name && before.Reason == reason {
		return before.Retries
	}
	return nil
}

// pend says for whom the set waits, and why; the time is that of the reason.
func (d *decision) pend(set *seedmanagementv1alpha1.ManagedSeedSet, reason seedmanagementv1alpha1.PendingReplicaReason, retries *int32, now time.Time) {
	if reason == ready {
		return
	}
	since := metav1.NewTime(now)
	if before := set.Status.PendingReplica; before != nil && before.Name == d.name && before.Reason == reason {
		since = before.Since
	}
	d.status.PendingReplica = &seedmanagementv1alpha1.PendingReplica{Name: d.name, Reason: reason, Since: since, Retries: retries}
}

func replicaName(set string, number int32) string { return set + "-" + strconv.Itoa(int(number)) }

// ordinal is the number in a replica's name, -1 for other names.
func ordinal(set, name string) int {
	text, found := strings.CutPrefix(name, set+"-")
	number, err := strconv.Atoi(text)
	if !found || err != nil || number < 0 {
		return -1
	}
	return number
}
