package managedseedset

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	seedmanagementv1alpha1 "github.com/gardener/gardener/pkg/apis/seedmanagement/v1alpha1"
	seedmanagementconstants "github.com/gardener/gardener/pkg/apis/seedmanagement/v1alpha1/constants"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

const (
	succeeded  = gardencorev1beta1.LastOperationStateSucceeded
	failed     = gardencorev1beta1.LastOperationStateFailed
	processing = gardencorev1beta1.LastOperationStateProcessing
	reconciles = gardencorev1beta1.LastOperationTypeReconcile
	deletes    = gardencorev1beta1.LastOperationTypeDelete
)

func start() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

func newSet(replicas int32) *seedmanagementv1alpha1.ManagedSeedSet {
	return &seedmanagementv1alpha1.ManagedSeedSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "garden", Name: "set", Generation: 1}, Spec: seedmanagementv1alpha1.ManagedSeedSetSpec{Replicas: &replicas},
	}
}

// fresh is a replica that was just made.
func fresh(name string) replica {
	return replica{shoot: &gardencorev1beta1.Shoot{ObjectMeta: metav1.ObjectMeta{Name: name, Generation: 1}}}
}

// done is a replica that is ready.
func done(name string) replica {
	r := fresh(name)
	operate(r, reconciles, succeeded)
	r.shoot.Labels = map[string]string{"shoot.gardener.cloud/status": "healthy"}
	r.managed = &seedmanagementv1alpha1.ManagedSeed{Status: seedmanagementv1alpha1.ManagedSeedStatus{
		Conditions: []gardencorev1beta1.Condition{{Type: seedmanagementv1alpha1.SeedRegistered, Status: gardencorev1beta1.ConditionTrue}},
	}}
	r.seed = &gardencorev1beta1.Seed{Status: gardencorev1beta1.SeedStatus{Conditions: []gardencorev1beta1.Condition{
		{Type: gardencorev1beta1.GardenletReady, Status: gardencorev1beta1.ConditionTrue},
	}}}
	return r
}

func operate(r replica, kind gardencorev1beta1.LastOperationType, state gardencorev1beta1.LastOperationState) {
	r.shoot.Status.ObservedGeneration = r.shoot.Generation
	r.shoot.Status.LastOperation = &gardencorev1beta1.LastOperation{Type: kind, State: state}
}

// TestDecide has each state that a replica may be in.
func TestDecide(t *testing.T) {
	now := metav1.Time{Time: start()}
	earlier := metav1.Time{Time: start().Add(-time.Hour)}
	type pending = seedmanagementv1alpha1.PendingReplica
	for name, test := range map[string]struct {
		replica func(r *replica)
		wanted  int32
		before  *pending
		step    step
		after   *pending
	}{
		"ready":                       {func(*replica) {}, 1, nil, wait, nil},
		"ready at last":               {func(*replica) {}, 1, &pending{Name: "set-0", Reason: "SeedNotReady", Since: earlier}, wait, nil},
		"reconciling":                 {func(r *replica) { operate(*r, reconciles, processing) }, 1, nil, wait, &pending{Name: "set-0", Reason: "ShootReconciling", Since: now}},
		"still reconciling":           {func(r *replica) { operate(*r, reconciles, processing) }, 1, &pending{Name: "set-0", Reason: "ShootReconciling", Since: earlier, Retries: ptr.To[int32](2)}, wait, &pending{Name: "set-0", Reason: "ShootReconciling", Since: earlier, Retries: ptr.To[int32](2)}},
		"changed, not yet reconciled": {func(r *replica) { r.shoot.Generation = 2 }, 1, nil, wait, &pending{Name: "set-0", Reason: "ShootReconciling", Since: now}},
		"failed":                      {func(r *replica) { operate(*r, reconciles, failed) }, 1, nil, retryShoot, &pending{Name: "set-0", Reason: "ShootReconciling", Since: now, Retries: ptr.To[int32](1)}},
		"failed again":                {func(r *replica) { operate(*r, reconciles, failed) }, 1, &pending{Name: "set-0", Reason: "ShootReconciling", Since: earlier, Retries: ptr.To[int32](2)}, retryShoot, &pending{Name: "set-0", Reason: "ShootReconciling", Since: earlier, Retries: ptr.To[int32](3)}},
		"failed for good":             {func(r *replica) { operate(*r, reconciles, failed) }, 1, &pending{Name: "set-0", Reason: "ShootReconciling", Since: earlier, Retries: ptr.To[int32](3)}, wait, &pending{Name: "set-0", Reason: "ShootReconcileFailed", Since: now}},
		"left as failed":              {func(r *replica) { operate(*r, reconciles, failed) }, 1, &pending{Name: "set-0", Reason: "ShootReconcileFailed", Since: earlier}, wait, &pending{Name: "set-0", Reason: "ShootReconcileFailed", Since: earlier}},
		"without a managed seed":      {func(r *replica) { r.managed = nil }, 1, &pending{Name: "set-0", Reason: "ShootReconciling", Since: earlier}, createManagedSeed, &pending{Name: "set-0", Reason: "ManagedSeedPreparing", Since: now}},
		"not registered":              {func(r *replica) { r.managed.Status.Conditions = nil }, 1, nil, wait, &pending{Name: "set-0", Reason: "ManagedSeedPreparing", Since: now}},
		"managed seed in deletion":    {func(r *replica) { r.managed.DeletionTimestamp = &now }, 1, nil, wait, &pending{Name: "set-0", Reason: "ManagedSeedDeleting", Since: now}},
		"without a seed":              {func(r *replica) { r.seed = nil }, 1, nil, wait, &pending{Name: "set-0", Reason: "SeedNotReady", Since: now}},
		"agent stopped":               {func(r *replica) { r.seed.Status.Conditions[0].Status = "Unknown" }, 1, nil, wait, &pending{Name: "set-0", Reason: "SeedNotReady", Since: now}},
		"not healthy":                 {func(r *replica) { r.shoot.Labels = nil }, 1, nil, wait, &pending{Name: "set-0", Reason: "ShootNotHealthy", Since: now}},
		"too many":                    {func(*replica) {}, 0, nil, deleteManagedSeed, &pending{Name: "set-0", Reason: "ManagedSeedDeleting", Since: now}},
		"too many, not a seed":        {func(r *replica) { r.managed = nil }, 0, &pending{Name: "set-0", Reason: "ManagedSeedDeleting", Since: earlier}, deleteShoot, &pending{Name: "set-0", Reason: "ShootDeleting", Since: now}},
		"too many, failed":            {func(r *replica) { operate(*r, reconciles, failed) }, 0, nil, deleteManagedSeed, &pending{Name: "set-0", Reason: "ManagedSeedDeleting", Since: now}},
		"too many, protected":         {func(r *replica) { protect(r) }, 0, nil, wait, nil},
		"in deletion":                 {func(r *replica) { r.shoot.DeletionTimestamp = &now }, 0, &pending{Name: "set-0", Reason: "ShootDeleting", Since: earlier}, wait, &pending{Name: "set-0", Reason: "ShootDeleting", Since: earlier}},
		"deletion failed":             {func(r *replica) { r.shoot.DeletionTimestamp = &now; operate(*r, deletes, failed) }, 0, &pending{Name: "set-0", Reason: "ShootDeleting", Since: earlier}, retryShoot, &pending{Name: "set-0", Reason: "ShootDeleting", Since: earlier, Retries: ptr.To[int32](1)}},
		"deletion failed for good":    {func(r *replica) { r.shoot.DeletionTimestamp = &now; operate(*r, deletes, failed) }, 0, &pending{Name: "set-0", Reason: "ShootDeleting", Since: earlier, Retries: ptr.To[int32](3)}, wait, &pending{Name: "set-0", Reason: "ShootDeleteFailed", Since: now}},
		"too few":                     {func(*replica) {}, 2, nil, createReplica, &pending{Name: "set-1", Reason: "ShootReconciling", Since: now}},
	} {
		t.Run(name, func(t *testing.T) {
			r := done("set-0")
			test.replica(&r)
			set := newSet(test.wanted)
			set.Status.PendingReplica = test.before
			d := decide(set, []replica{r}, 3, start())
			if d.step != test.step || fmt.Sprint(d.status.PendingReplica) != fmt.Sprint(test.after) {
				t.Errorf("got %q, %v, want %q, %v", d.step, d.status.PendingReplica, test.step, test.after)
			}
		})
	}
}

func protect(r *replica) {
	r.shoot.Annotations = map[string]string{seedmanagementconstants.AnnotationProtectFromDeletion: "true"}
}

// TestChoice wants one that is not ready to go before one that is, and the newest
// of those.
func TestChoice(t *testing.T) {
	bad := done("set-0")
	bad.seed = nil
	kept := done("set-3")
	protect(&kept)
	for name, test := range map[string]struct {
		replicas []replica
		want     string
	}{
		"the newest":              {[]replica{done("set-10"), done("set-9"), done("set-2")}, "set-10"},
		"not a protected one":     {[]replica{done("set-1"), kept}, "set-1"},
		"one that is not ready":   {[]replica{bad, done("set-1"), done("set-2")}, "set-0"},
		"not while one is in use": {[]replica{done("set-1")}, ""},
	} {
		if d := decide(newSet(1), test.replicas, 3, start()); d.name != test.want {
			t.Errorf("%s: got %q, want %q", name, d.name, test.want)
		}
	}
}

// TestNumbers are never given twice.
func TestNumbers(t *testing.T) {
	set := newSet(2)
	if d := decide(set, []replica{done("set-4")}, 3, start()); d.name != "set-5" || d.status.NextReplicaNumber != 6 {
		t.Errorf("with a lost status: %q, next %d", d.name, d.status.NextReplicaNumber)
	}
	set.Status.NextReplicaNumber = 9
	if d := decide(set, []replica{done("set-4")}, 3, start()); d.name != "set-9" || d.status.NextReplicaNumber != 10 {
		t.Errorf("after others have gone: %q, next %d", d.name, d.status.NextReplicaNumber)
	}
}

// world is what happens to replicas.
type world struct {
	*testing.T
	random   *rand.Rand
	set      *seedmanagementv1alpha1.ManagedSeedSet
	replicas []replica
	made     map[string]bool
	now      time.Time
}

// TestProperties plays many sets with random ends of everything that takes time:
// never two are pending, never is a ready one given up that is needed, no name is
// used twice, and once the number stays everything becomes ready.
func TestProperties(t *testing.T) {
	for seed := range uint64(300) {
		w := &world{T: t, random: rand.New(rand.NewPCG(seed, 1)), set: newSet(int32(seed % 4)), made: map[string]bool{}, now: start()}
		for range 300 {
			w.turn(true)
		}
		rounds := 0
		for ; rounds < 200 && !w.settled(); rounds++ {
			w.turn(false)
		}
		if !w.settled() {
			t.Fatalf("seed %d: not settled: %v of %d, %+v", seed, len(w.replicas), *w.set.Spec.Replicas, w.set.Status)
		}
		for range 50 { // until the status is written
			w.turn(false)
		}
		if w.set.Status.PendingReplica != nil || int(w.set.Status.ReadyReplicas) != len(w.replicas) {
			t.Errorf("seed %d: the status is %+v", seed, w.set.Status)
		}
	}
}

func (w *world) settled() bool {
	return len(w.replicas) == int(*w.set.Spec.Replicas) && !slices.ContainsFunc(w.replicas, func(r replica) bool { return r.state() != ready })
}

// turn lets something happen, decides, and does what was decided.
func (w *world) turn(wild bool) {
	w.Helper()
	w.now = w.now.Add(time.Minute)
	if wild && w.random.IntN(10) == 0 {
		*w.set.Spec.Replicas = int32(w.random.IntN(5))
	}
	w.happen(wild)
	before := 0
	for _, r := range w.replicas {
		if r.state() == ready {
			before++
		}
	}
	d := decide(w.set, slices.Clone(w.replicas), 3, w.now)
	if d.status.NextReplicaNumber < w.set.Status.NextReplicaNumber {
		w.Errorf("the next number falls from %d to %d", w.set.Status.NextReplicaNumber, d.status.NextReplicaNumber)
	}
	// Sometimes the status is not written. Before a replica is made it is.
	if lost := w.random.IntN(8) == 0; !lost || d.step != createReplica {
		w.do(d)
		if !lost {
			w.set.Status = d.status
		}
	}
	busy, usable := 0, 0
	for _, r := range w.replicas {
		switch {
		case r.state() == ready:
			usable++
		case r.state() != seedmanagementv1alpha1.SeedNotReadyReason: // which comes by itself as well
			busy++
		}
	}
	if busy > 1 {
		w.Fatalf("%d replicas are pending after %q", busy, d.step)
	}
	if usable < before && usable < int(*w.set.Spec.Replicas) {
		w.Fatalf("%q leaves %d ready of %d, %d were", d.step, usable, *w.set.Spec.Replicas, before)
	}
}

// happen moves whatever takes time; in a wild world Seeds fail by themselves.
func (w *world) happen(wild bool) {
	for i := 0; i < len(w.replicas); i++ {
		r := &w.replicas[i]
		if wild && r.seed != nil && w.random.IntN(30) == 0 {
			r.seed.Status.Conditions[0].Status = gardencorev1beta1.ConditionUnknown
			continue
		}
		if w.random.IntN(2) == 0 {
			continue
		}
		switch r.state() {
		case seedmanagementv1alpha1.ShootDeletingReason:
			if w.random.IntN(4) == 0 {
				operate(*r, deletes, failed)
				continue
			}
			w.replicas = slices.Delete(w.replicas, i, i+1)
			i--
		case seedmanagementv1alpha1.ShootDeleteFailedReason: // somebody mends it
			operate(*r, deletes, processing)
		case seedmanagementv1alpha1.ManagedSeedDeletingReason:
			r.managed, r.seed = nil, nil
		case seedmanagementv1alpha1.ShootReconcilingReason:
			state := succeeded
			if w.random.IntN(4) == 0 {
				state = failed
			}
			operate(*r, reconciles, state)
			r.shoot.Labels = done("").shoot.Labels
		case seedmanagementv1alpha1.ShootReconcileFailedReason:
			operate(*r, reconciles, processing)
		case seedmanagementv1alpha1.ManagedSeedPreparingReason:
			if r.managed != nil {
				r.managed, r.seed = done("").managed, done("").seed
			}
		case seedmanagementv1alpha1.SeedNotReadyReason:
			r.seed = done("").seed
		}
	}
}

func (w *world) do(d decision) {
	w.Helper()
	if d.step == createReplica {
		if w.made[d.name] {
			w.Fatalf("%s is made twice", d.name)
		}
		w.made[d.name] = true
		w.replicas = append(w.replicas, fresh(d.name))
		return
	}
	for i := range w.replicas {
		r := &w.replicas[i]
		if r.shoot.Name != d.name {
			continue
		}
		switch d.step {
		case createManagedSeed:
			r.managed = &seedmanagementv1alpha1.ManagedSeed{}
		case deleteManagedSeed:
			r.managed.DeletionTimestamp = &metav1.Time{Time: w.now}
		case deleteShoot:
			r.shoot.DeletionTimestamp = &metav1.Time{Time: w.now}
		case retryShoot:
			if retries := d.status.PendingReplica.Retries; retries == nil || *retries > 3 {
				w.Fatalf("%v retries", retries)
			}
			operate(*r, r.shoot.Status.LastOperation.Type, processing)
		}
	}
}
