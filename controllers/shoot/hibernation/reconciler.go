// Package hibernation puts clusters to sleep and wakes them by the schedules of
// their Shoots. app adds it to the fleet's controllers.
//
//	a schedule fires -> spec.hibernation.enabled -> status.lastHibernationTriggerTime
//
// It must not know what it means for a cluster to sleep.
package hibernation

import (
	"context"
	"fmt"
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/internal/spread"
)

// Name is the controller's name, and with it that of its logger and its events.
const Name = "shoot.hibernation"

const (
	// margin keeps a timer that is early from missing its time.
	margin = 100 * time.Millisecond
	// late is from when on a trigger was caught up rather than kept.
	late = time.Minute
	// catchUp is over how long the work is spread that fell due before the start.
	catchUp = 5 * time.Minute
)

// Reconciler keeps the schedules of Shoots.
type Reconciler struct {
	Client   client.Client
	Clock    clock.Clock
	Recorder events.EventRecorder
	Config   controllermanagerconfigv1alpha1.ShootHibernationControllerConfiguration

	start spread.Start
}

// Declare says what the controller reads and writes.
func (r *Reconciler) Declare() declaration.Declaration {
	return declaration.Declaration{
		Controller: Name,
		Reads:      []declaration.Read{{Resource: "shoots.core.gardener.cloud"}},
		Writes: []declaration.Write{
			{Resource: "shoots.core.gardener.cloud", Verbs: []string{"patch"}, Fields: []string{"spec.hibernation.enabled"}},
			{Resource: "shoots.core.gardener.cloud/status", Verbs: []string{"patch"}, Fields: []string{"status.lastHibernationTriggerTime"}},
			declaration.Events(),
		},
	}
}

// Reconcile does what the schedules of one Shoot say, and looks again when the
// next one fires.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	shoot := &gardencorev1beta1.Shoot{}
	if err := r.Client.Get(ctx, request.NamespacedName, shoot); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if shoot.DeletionTimestamp != nil || shoot.Spec.Hibernation == nil || len(shoot.Spec.Hibernation.Schedules) == 0 {
		return reconcile.Result{}, nil
	}
	triggers, err := parse(shoot.Spec.Hibernation.Schedules)
	if err != nil {
		// Only a change of the schedules mends it, and that is an event.
		log.FromContext(ctx).Error(err, "The shoot has a schedule that cannot be read")
		return reconcile.Result{}, nil
	}
	now := r.Clock.Now()
	deadline := ptr.Deref(r.Config.TriggerDeadlineDuration, metav1.Duration{}).Duration
	last, found := latest(triggers, since(shoot, deadline, now), now)
	if found && !stuck(shoot) {
		if wait := r.due(shoot, last, deadline).Sub(now); wait > 0 {
			return reconcile.Result{RequeueAfter: wait}, nil
		}
		if err := r.act(ctx, shoot, last, now); err != nil {
			return reconcile.Result{}, client.IgnoreNotFound(err)
		}
	}
	upcoming := next(triggers, now)
	if upcoming.IsZero() {
		return reconcile.Result{}, nil
	}
	return reconcile.Result{RequeueAfter: upcoming.Sub(now) + margin}, nil
}

// due is when to act on a trigger: at once, or, if it fired before this process
// began, soon, but in no case after the deadline.
func (r *Reconciler) due(shoot *gardencorev1beta1.Shoot, last fired, deadline time.Duration) time.Time {
	due := r.start.Due(last.at, shoot.CreationTimestamp.Time, catchUp, shoot.UID)
	if deadline <= 0 {
		return due
	}
	if latest := last.at.Add(deadline - late); due.After(latest) {
		return latest
	}
	return due
}

// act sets what the trigger wants, and notes that it is done. Interrupted
// between the two it is done again, which changes nothing.
func (r *Reconciler) act(ctx context.Context, shoot *gardencorev1beta1.Shoot, last fired, now time.Time) error {
	if ptr.Deref(shoot.Spec.Hibernation.Enabled, false) != last.sleep {
		base := shoot.DeepCopy()
		shoot.Spec.Hibernation.Enabled = &last.sleep
		// Only with the schedules that were read: they may have been changed meanwhile.
		if err := r.Client.Patch(ctx, shoot, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
			return fmt.Errorf("setting spec.hibernation.enabled: %w", err)
		}
		r.tell(ctx, shoot, last, now)
	}
	base := shoot.DeepCopy()
	shoot.Status.LastHibernationTriggerTime = &metav1.Time{Time: now}
	if err := r.Client.Status().Patch(ctx, shoot, client.MergeFrom(base)); err != nil {
		return fmt.Errorf("noting when the schedule was kept: %w", err)
	}
	return nil
}

func (r *Reconciler) tell(ctx context.Context, shoot *gardencorev1beta1.Shoot, last fired, now time.Time) {
	reason, what := gardencorev1beta1.ShootEventHibernationDisabled, "Waking the cluster up"
	if last.sleep {
		reason, what = gardencorev1beta1.ShootEventHibernationEnabled, "Putting the cluster to sleep"
	}
	note := what + " because of its hibernation schedule"
	if delay := now.Sub(last.at); delay > late {
		note += fmt.Sprintf(", which was due at %s and is caught up %s later", last.at.UTC().Format(time.RFC3339), delay.Round(time.Second))
	}
	r.Recorder.Eventf(shoot, nil, corev1.EventTypeNormal, reason, "Reconcile", "%s", note)
	log.FromContext(ctx).Info("Kept a hibernation schedule of the shoot", "hibernated", last.sleep, "due", last.at)
}
