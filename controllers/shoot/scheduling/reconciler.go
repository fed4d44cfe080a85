// Package scheduling gives Shoots without a seed one: the least used of those
// that fit. It is part of the fleet's controllers; app adds it.
//
// It must not know what a seed does with a Shoot, and it binds through the
// subresource shoots/binding only, so that it needs no right to change Shoots.
package scheduling

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	schedulerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/scheduler/v1alpha1"
	"github.com/gardener/gardener/pkg/apis/core"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/policy"
	"github.com/loam-cloud/loam/fault"
)

// Name is the controller's name.
const Name = "shoot.scheduling"

// DefaultScheduler is the value of spec.schedulerName that means this one, as
// the documentation of the field says.
const DefaultScheduler = "default-scheduler"

const (
	// again is when a Shoot is looked at that no seed fits, should nothing change
	// before: the capacity of a seed may come back without an event here.
	again = time.Minute

	reasonScheduled = "Scheduled"
	reasonFailed    = "SchedulingFailed"
	actionSchedule  = "Schedule"
)

// Reconciler schedules Shoots.
//
// It reads Shoots, Seeds, CloudProfiles, NamespacedCloudProfiles,
// ExposureClasses and the ConfigMaps with distances of regions. It writes
// spec.seedName through shoots/binding, status.lastOperation of Shoots that fit
// nowhere, and events.
type Reconciler struct {
	Client client.Client
	// Live reads past the manager's memory what the API selects by fields.
	Live     client.Reader
	Clock    clock.PassiveClock
	Recorder events.EventRecorder
	// Config is the scheduler's section of Gardener's configuration; an empty
	// strategy means SameRegion.
	Config schedulerconfigv1alpha1.ShootSchedulerConfiguration

	// bound are Shoots that were bound here and may not be seen as such yet: what
	// is read is behind what was written, and a seed must not be filled twice.
	mutex sync.Mutex
	bound map[types.UID]string
}

// Reconcile binds one Shoot to a seed, or tells why none fits.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	shoot := &gardencorev1beta1.Shoot{}
	if err := r.Client.Get(ctx, request.NamespacedName, shoot); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if !waiting(shoot) {
		return reconcile.Result{}, nil
	}
	// One at a time: each decision counts on those before it.
	r.mutex.Lock()
	defer r.mutex.Unlock()
	question, err := r.observe(ctx, shoot)
	if errors.Is(err, fault.Missing) {
		return r.refuse(ctx, shoot, fmt.Sprintf("No seed can be chosen: %v.", err))
	}
	if err != nil {
		return policy.Result(fault.Wrap(fault.Transient, err))
	}
	seed, refusals := decide(question)
	if seed == "" {
		return r.refuse(ctx, shoot, explain(refusals))
	}
	return reconcile.Result{}, r.bind(ctx, shoot, seed)
}

// waiting tells whether a Shoot is for this scheduler to act on.
func waiting(shoot *gardencorev1beta1.Shoot) bool {
	mine := shoot.Spec.SchedulerName == nil || *shoot.Spec.SchedulerName == "" || *shoot.Spec.SchedulerName == DefaultScheduler
	return mine && shoot.Spec.SeedName == nil && shoot.DeletionTimestamp == nil
}

// observe reads everything that the decision depends on. The fault is Missing
// when something that the Shoot names is not there.
func (r *Reconciler) observe(ctx context.Context, shoot *gardencorev1beta1.Shoot) (question, error) {
	q := question{shoot: shoot, strategy: r.Config.Strategy, load: map[string]int64{}}
	if q.strategy == "" {
		q.strategy = schedulerconfigv1alpha1.Default
	}
	var seeds gardencorev1beta1.SeedList
	var all gardencorev1beta1.ShootList
	for _, list := range []client.ObjectList{&seeds, &all} {
		if err := r.Client.List(ctx, list); err != nil {
			return q, fmt.Errorf("listing what is there: %w", err)
		}
	}
	q.seeds = seeds.Items
	r.count(all.Items, q.load)
	var err error
	if q.selectors, err = r.selectors(ctx, shoot); err != nil {
		return q, err
	}
	if q.tolerations, err = r.tolerations(ctx, shoot); err != nil {
		return q, err
	}
	if q.strategy == schedulerconfigv1alpha1.MinimalDistance {
		q.distances, err = r.distances(ctx, shoot)
	}
	return q, err
}

// count adds up how many Shoots each seed has, those that leave it included.
func (r *Reconciler) count(all []gardencorev1beta1.Shoot, load map[string]int64) {
	there := map[types.UID]bool{}
	for i := range all {
		shoot := &all[i]
		there[shoot.UID] = true
		names := map[string]bool{}
		if name := r.bound[shoot.UID]; name != "" && shoot.Spec.SeedName == nil {
			names[name] = true
		} else {
			delete(r.bound, shoot.UID)
		}
		for _, name := range []*string{shoot.Spec.SeedName, shoot.Status.SeedName} {
			if name != nil && *name != "" {
				names[*name] = true
			}
		}
		for name := range names {
			load[name]++
		}
	}
	for uid := range r.bound {
		if !there[uid] {
			delete(r.bound, uid)
		}
	}
}

// selectors are what the Shoot, its cloud profile and its exposure class want of
// a seed, by who wants it.
func (r *Reconciler) selectors(ctx context.Context, shoot *gardencorev1beta1.Shoot) ([]selector, error) {
	all := []selector{{"the shoot", shoot.Spec.SeedSelector}}
	profile, err := r.profile(ctx, shoot)
	if err != nil {
		return nil, err
	}
	all = append(all, selector{"its cloud profile", profile.SeedSelector})
	name := shoot.Spec.ExposureClassName
	if name == nil {
		return all, nil
	}
	class := &gardencorev1beta1.ExposureClass{}
	if err := r.get(ctx, client.ObjectKey{Name: *name}, class, "exposure class"); err != nil {
		return nil, err
	}
	if scheduling := class.Scheduling; scheduling != nil {
		all = append(all, selector{"its exposure class", scheduling.SeedSelector})
	}
	return all, nil
}

func (r *Reconciler) profile(ctx context.Context, shoot *gardencorev1beta1.Shoot) (*gardencorev1beta1.CloudProfileSpec, error) {
	ref := shoot.Spec.CloudProfile
	if ref == nil {
		return nil, fault.New(fault.Invalid, "spec.cloudProfile: names no cloud profile")
	}
	if ref.Kind == v1beta1constants.CloudProfileReferenceKindNamespacedCloudProfile {
		profile := &gardencorev1beta1.NamespacedCloudProfile{}
		if err := r.get(ctx, client.ObjectKey{Namespace: shoot.Namespace, Name: ref.Name}, profile, "namespaced cloud profile"); err != nil {
			return nil, err
		}
		return &profile.Status.CloudProfileSpec, nil
	}
	profile := &gardencorev1beta1.CloudProfile{}
	if err := r.get(ctx, client.ObjectKey{Name: ref.Name}, profile, "cloud profile"); err != nil {
		return nil, err
	}
	return &profile.Spec, nil
}

// get reads what the Shoot names; the fault is Missing when it is not there.
func (r *Reconciler) get(ctx context.Context, key client.ObjectKey, into client.Object, what string) error {
	switch err := r.Client.Get(ctx, key, into); {
	case apierrors.IsNotFound(err):
		return fault.New(fault.Missing, "%s %q is not there", what, key.Name)
	case err != nil:
		return fmt.Errorf("reading %s %q: %w", what, key.Name, err)
	}
	return nil
}

// tolerations are the Shoot's own and those that its project gives every Shoot.
func (r *Reconciler) tolerations(ctx context.Context, shoot *gardencorev1beta1.Shoot) ([]gardencorev1beta1.Toleration, error) {
	var projects gardencorev1beta1.ProjectList
	if err := r.Live.List(ctx, &projects, client.MatchingFields{core.ProjectNamespace: shoot.Namespace}); err != nil {
		return nil, fmt.Errorf("listing projects: %w", err)
	}
	all := slices.Clone(shoot.Spec.Tolerations)
	for _, project := range projects.Items {
		if project.Spec.Tolerations != nil {
			all = append(all, project.Spec.Tolerations.Defaults...)
		}
	}
	return all, nil
}

// distances are those between regions that an operator has written down for the
// Shoot's cloud profile; nil where there are none.
func (r *Reconciler) distances(ctx context.Context, shoot *gardencorev1beta1.Shoot) (map[string]int, error) {
	var all corev1.ConfigMapList
	if err := r.Live.List(ctx, &all, client.InNamespace(v1beta1constants.GardenNamespace),
		client.MatchingLabels{v1beta1constants.SchedulingPurpose: v1beta1constants.SchedulingPurposeRegionConfig}); err != nil {
		return nil, fmt.Errorf("listing the distances of regions: %w", err)
	}
	for _, config := range all.Items {
		names := strings.Split(config.Annotations[v1beta1constants.AnnotationSchedulingCloudProfiles], ",")
		if slices.ContainsFunc(names, func(name string) bool { return strings.TrimSpace(name) == shoot.Spec.CloudProfile.Name }) {
			return parseDistances(config.Data[shoot.Spec.Region])
		}
	}
	return nil, nil
}

// bind writes the decision. A Shoot that changed meanwhile is looked at again.
func (r *Reconciler) bind(ctx context.Context, shoot *gardencorev1beta1.Shoot, seed string) error {
	bound := shoot.DeepCopy()
	bound.Spec.SeedName = &seed
	err := r.Client.SubResource("binding").Patch(ctx, bound, client.MergeFromWithOptions(shoot, client.MergeFromWithOptimisticLock{}))
	if err != nil {
		return fault.Wrap(fault.Transient, fmt.Errorf("binding to seed %q: %w", seed, err))
	}
	if r.bound == nil {
		r.bound = map[types.UID]string{}
	}
	r.bound[shoot.UID] = seed
	log.FromContext(ctx).Info("Scheduled", "seed", seed)
	r.Recorder.Eventf(shoot, nil, corev1.EventTypeNormal, reasonScheduled, actionSchedule, "Scheduled to seed %q", seed)
	return nil
}

// refuse tells the user, once for the same reasons.
func (r *Reconciler) refuse(ctx context.Context, shoot *gardencorev1beta1.Shoot, text string) (reconcile.Result, error) {
	if last := shoot.Status.LastOperation; last != nil && last.Description == text {
		return reconcile.Result{RequeueAfter: again}, nil
	}
	base := shoot.DeepCopy()
	shoot.Status.LastOperation = &gardencorev1beta1.LastOperation{
		Type: gardencorev1beta1.LastOperationTypeCreate, State: gardencorev1beta1.LastOperationStatePending,
		Description: text, LastUpdateTime: metav1.NewTime(r.Clock.Now()),
	}
	// The lock keeps what an agent reports since then, should somebody else have
	// bound the Shoot meanwhile. One that was merely labelled is tried again at
	// once: no event would bring it back.
	if err := r.Client.Status().Patch(ctx, shoot, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
		return reconcile.Result{}, fault.Wrap(fault.Transient, client.IgnoreNotFound(err))
	}
	r.Recorder.Eventf(shoot, nil, corev1.EventTypeWarning, reasonFailed, actionSchedule, "%s", text)
	return reconcile.Result{RequeueAfter: again}, nil
}
