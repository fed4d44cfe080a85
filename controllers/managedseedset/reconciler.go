// Package managedseedset keeps as many managed seeds of a kind as a
// ManagedSeedSet asks for, one step after the other. app adds it to the fleet's
// controllers.
//
//	Shoot -> reconciled -> ManagedSeed -> Seed registered -> Seed ready, Shoot healthy: ready
//	ready -> ManagedSeed deleted -> gone -> Shoot deleted -> gone
//
// It must not make a seed of a cluster: who looks after ManagedSeeds does.
package managedseedset

import (
	"context"
	"fmt"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	seedmanagementv1alpha1 "github.com/gardener/gardener/pkg/apis/seedmanagement/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/internal/finalizer"
	"github.com/loam-cloud/loam/controllers/policy"
	"github.com/loam-cloud/loam/fault"
)

// Name is the controller's name.
const Name = "managedseedset"

// defaultRetries is Gardener's default of Config.MaxShootRetries.
const defaultRetries = 3

// Reconciler keeps the replicas of ManagedSeedSets.
type Reconciler struct {
	Client client.Client
	// Live reads without a cache.
	Live     client.Reader
	Clock    clock.PassiveClock
	Recorder events.EventRecorder
	Config   controllermanagerconfigv1alpha1.ManagedSeedSetControllerConfiguration
}

// Declare tells what the controller reads and writes.
func (r *Reconciler) Declare() declaration.Declaration {
	const sets, managed, shoots = "managedseedsets.seedmanagement.gardener.cloud", "managedseeds.seedmanagement.gardener.cloud", "shoots.core.gardener.cloud"
	return declaration.Declaration{
		Controller: Name,
		Reads:      []declaration.Read{{Resource: sets}, {Resource: managed}, {Resource: shoots}, {Resource: "seeds.core.gardener.cloud"}},
		Writes: []declaration.Write{
			{Resource: sets, Verbs: []string{"patch"}, Fields: []string{"metadata.finalizers"}},
			{Resource: sets + "/status", Verbs: []string{"patch"}},
			// A set waits for its replicas, which servers may guard.
			{Resource: sets + "/finalizers", Verbs: []string{"update"}},
			{Resource: managed, Verbs: []string{"create", "patch", "delete"}},
			{Resource: shoots, Verbs: []string{"create", "patch", "delete"}},
			declaration.Events(),
		},
	}
}

// Reconcile takes one step for one set.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	set := &seedmanagementv1alpha1.ManagedSeedSet{}
	if err := r.Client.Get(ctx, request.NamespacedName, set); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	// As it was when its replicas were counted: what is written below comes back
	// with a deletion that was asked for since, and a replica may be made since.
	leaves := set.DeletionTimestamp != nil
	if !leaves {
		if err := finalizer.Add(ctx, r.Client, set, gardencorev1beta1.GardenerName); err != nil {
			return reconcile.Result{}, err
		}
	}
	replicas, err := r.observe(ctx, set)
	if err != nil {
		return reconcile.Result{}, err
	}
	d := decide(set, replicas, int32(ptr.Deref(r.Config.MaxShootRetries, defaultRetries)), r.Clock.Now())
	if d.step == createReplica {
		// A number is written down before it is used, so that it is never used again;
		// after a crash between the two it is left out. Thereby the set is seen to be
		// there: servers lose a finalizer that is added in the moment of a deletion.
		if err := r.report(ctx, set, d.status); err != nil {
			return reconcile.Result{}, client.IgnoreNotFound(err)
		}
	}
	if err := r.act(ctx, set, replicas, d); err != nil {
		return policy.Result(err)
	}
	if err := r.report(ctx, set, d.status); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if leaves && len(replicas) == 0 {
		return reconcile.Result{}, finalizer.Remove(ctx, r.Client, set, gardencorev1beta1.GardenerName)
	}
	return reconcile.Result{RequeueAfter: r.period()}, nil
}

// observe finds the replicas of a set. Faults: Transient while the cache does not
// hold what the server has: a decision on less could make one too many.
func (r *Reconciler) observe(ctx context.Context, set *seedmanagementv1alpha1.ManagedSeedSet) ([]replica, error) {
	selector, err := metav1.LabelSelectorAsSelector(&set.Spec.Selector)
	if err != nil {
		return nil, fault.New(fault.Invalid, "spec.selector cannot be read: %w", err)
	}
	list := &gardencorev1beta1.ShootList{}
	if err := r.Client.List(ctx, list, client.InNamespace(set.Namespace), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return nil, fmt.Errorf("listing the shoots of the set: %w", err)
	}
	var replicas []replica
	for i := range list.Items {
		if !metav1.IsControlledBy(&list.Items[i], set) {
			continue // somebody else's is never deleted
		}
		found := replica{shoot: &list.Items[i], managed: &seedmanagementv1alpha1.ManagedSeed{}, seed: &gardencorev1beta1.Seed{}}
		if found.managed, err = get(ctx, r.Client, client.ObjectKeyFromObject(found.shoot), found.managed); err != nil {
			return nil, err
		}
		if found.seed, err = get(ctx, r.Client, client.ObjectKey{Name: found.shoot.Name}, found.seed); err != nil {
			return nil, err
		}
		replicas = append(replicas, found)
	}
	return replicas, r.checkCount(ctx, set, selector, len(replicas))
}

// get reads an object; the zero value if there is none.
func get[T client.Object](ctx context.Context, c client.Client, key client.ObjectKey, into T) (T, error) {
	var none T
	err := c.Get(ctx, key, into)
	switch {
	case apierrors.IsNotFound(err):
		return none, nil
	case err != nil:
		return none, fmt.Errorf("reading %T %s: %w", into, key, err)
	}
	return into, nil
}

// checkCount compares the number of replicas with what the server has now.
func (r *Reconciler) checkCount(ctx context.Context, set *seedmanagementv1alpha1.ManagedSeedSet, selector labels.Selector, known int) error {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(gardencorev1beta1.SchemeGroupVersion.WithKind("ShootList"))
	if err := r.Live.List(ctx, list, client.InNamespace(set.Namespace), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return fmt.Errorf("counting the shoots of the set: %w", err)
	}
	live := 0
	for i := range list.Items {
		if metav1.IsControlledBy(&list.Items[i], set) {
			live++
		}
	}
	if live != known {
		return fault.New(fault.Transient, "%d shoots of the set are known, there are %d", known, live)
	}
	return nil
}

// act takes the step of a decision.
func (r *Reconciler) act(ctx context.Context, set *seedmanagementv1alpha1.ManagedSeedSet, replicas []replica, d decision) error {
	if d.step == wait {
		return nil
	}
	var err error
	switch d.step {
	case createReplica:
		err = r.Client.Create(ctx, newShoot(set, d.name))
	case createManagedSeed:
		err = r.createManagedSeed(ctx, set, d.name)
	default:
		for _, found := range replicas {
			if found.shoot.Name == d.name {
				err = r.change(ctx, found, d.step)
			}
		}
	}
	if err != nil {
		r.Recorder.Eventf(set, nil, corev1.EventTypeWarning, "ReplicaFailed", "Reconcile", "Replica %q: cannot %s: %s", d.name, string(d.step), err)
		return fmt.Errorf("replica %q: cannot %s: %w", d.name, d.step, err)
	}
	log.FromContext(ctx).Info("Took a step with a replica", "replica", d.name, "step", string(d.step))
	r.Recorder.Eventf(set, nil, corev1.EventTypeNormal, "ReplicaChanged", "Reconcile", "Replica %q: %s", d.name, string(d.step))
	return nil
}

func (r *Reconciler) createManagedSeed(ctx context.Context, set *seedmanagementv1alpha1.ManagedSeedSet, name string) error {
	managed, err := newManagedSeed(set, name)
	if err != nil {
		return err
	}
	// It may be there already and not be known yet.
	return client.IgnoreAlreadyExists(r.Client.Create(ctx, managed))
}

func (r *Reconciler) change(ctx context.Context, found replica, s step) error {
	switch s {
	case retryShoot:
		return r.annotate(ctx, found.shoot, v1beta1constants.GardenerOperation, v1beta1constants.ShootOperationRetry)
	case deleteManagedSeed:
		return r.delete(ctx, found.managed)
	default:
		return r.delete(ctx, found.shoot)
	}
}

// delete confirms a deletion before it asks for it.
func (r *Reconciler) delete(ctx context.Context, object client.Object) error {
	if err := r.annotate(ctx, object, v1beta1constants.ConfirmationDeletion, "true"); err != nil {
		return client.IgnoreNotFound(err)
	}
	return client.IgnoreNotFound(r.Client.Delete(ctx, object))
}

func (r *Reconciler) annotate(ctx context.Context, object client.Object, key, value string) error {
	if object.GetAnnotations()[key] == value {
		return nil
	}
	base, ok := object.DeepCopyObject().(client.Object)
	if !ok {
		return fmt.Errorf("a copy of %T is no object", object)
	}
	annotations := object.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[key] = value
	object.SetAnnotations(annotations)
	return r.Client.Patch(ctx, object, client.MergeFrom(base))
}

// report writes the status if it is new, over the set that it was decided on: not
// over one that was deleted or made anew since.
func (r *Reconciler) report(ctx context.Context, set *seedmanagementv1alpha1.ManagedSeedSet, status seedmanagementv1alpha1.ManagedSeedSetStatus) error {
	if equality.Semantic.DeepEqual(set.Status, status) {
		return nil
	}
	base := set.DeepCopy()
	set.Status = status
	if err := r.Client.Status().Patch(ctx, set, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("reporting the state of the set: %w", err)
	}
	return nil
}
