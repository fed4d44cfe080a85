// Package maintenance keeps Shoots up to date in their time window: versions,
// machine images, credentials, and what a new version no longer has. app adds it
// to the fleet's controllers.
//
//	window, or asked to -> plan -> dry run -> Processing -> changes -> Succeeded
//	                                 refused -> Failed       or Failed, if a part did
//
// It must not know how a cluster gets from one version to another.
package maintenance

import (
	"context"
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"github.com/gardener/gardener/pkg/apis/utils/timewindow"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/internal/spread"
	windows "github.com/loam-cloud/loam/controllers/shoot/maintenance/internal/window"
)

// Name is the controller's name, and with it that of its logger and its events.
const Name = "shoot.maintenance"

// catchUp is over how long the maintenance is spread whose moment passed while
// nobody ran.
const catchUp = 30 * time.Minute

// Reconciler maintains Shoots.
type Reconciler struct {
	Client   client.Client
	Clock    clock.Clock
	Recorder events.EventRecorder
	Config   controllermanagerconfigv1alpha1.ShootMaintenanceControllerConfiguration
	// DisableNginxIngress switches the addon nginxIngress off, which versions
	// below 1.35 still have: Gardener's gate DisableNginxIngressInShoot.
	DisableNginxIngress bool

	start spread.Start
}

// Declare says what the controller reads and writes.
func (r *Reconciler) Declare() declaration.Declaration {
	return declaration.Declaration{
		Controller: Name,
		Reads: []declaration.Read{
			{Resource: "shoots.core.gardener.cloud"}, {Resource: "cloudprofiles.core.gardener.cloud"}, {Resource: "namespacedcloudprofiles.core.gardener.cloud"},
			{Resource: "secretbindings.core.gardener.cloud"}, {Resource: "credentialsbindings.security.gardener.cloud"},
		},
		Writes: []declaration.Write{
			{Resource: "shoots.core.gardener.cloud", Verbs: []string{"patch"}, Fields: []string{
				"spec.kubernetes", "spec.provider.workers", "spec.addons", "spec.dns.providers", "spec.secretBindingName", "spec.credentialsBindingName",
				"metadata.annotations of operations and tasks"}},
			{Resource: "shoots.core.gardener.cloud/status", Verbs: []string{"patch"}, Fields: []string{"status.lastMaintenance"}},
			{Resource: "credentialsbindings.security.gardener.cloud", Verbs: []string{"create"}},
			declaration.Events(),
		},
	}
}

// Reconcile maintains one Shoot if it is time, and looks again when it is.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	shoot := &gardencorev1beta1.Shoot{}
	if err := r.Client.Get(ctx, request.NamespacedName, shoot); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if shoot.DeletionTimestamp != nil {
		return reconcile.Result{}, nil
	}
	w := window(shoot)
	if w == nil {
		w = &gardencorev1beta1.MaintenanceTimeWindow{} // only on request
	}
	daily, err := timewindow.ParseMaintenanceTimeWindow(w.Begin, w.End)
	if err != nil {
		daily = nil
	}
	now := r.Clock.Now()
	t := r.timing(shoot, daily, now)
	switch {
	case t.now:
		if err := r.maintain(ctx, shoot, t); err != nil {
			return reconcile.Result{}, client.IgnoreNotFound(err)
		}
	case daily == nil:
		// Only a change of the window mends it, and that is an event.
		log.FromContext(ctx).Info("The shoot has no time window for maintenance that can be read", "begin", w.Begin, "end", w.End)
	}
	if t.next.IsZero() {
		return reconcile.Result{}, nil
	}
	return reconcile.Result{RequeueAfter: t.next.Sub(now)}, nil
}

// timing is whether a Shoot is maintained now, and when to look again.
type timing struct {
	now bool
	// asked says that a user wants it, or that an interrupted one goes on.
	asked bool
	// moment of the present window, if it is that which is due.
	moment time.Time
	// next is when to look again; zero for never.
	next time.Time
}

// timing decides from the window alone, so that a restart changes nothing. A
// Shoot that was maintained in this window is not maintained again.
func (r *Reconciler) timing(shoot *gardencorev1beta1.Shoot, daily *timewindow.MaintenanceTimeWindow, now time.Time) timing {
	t := timing{asked: asksToMaintain(shoot) || interrupted(shoot)}
	t.now = t.asked
	if daily == nil {
		return t
	}
	t.next = windows.Next(daily, now).Moment(shoot.UID)
	current, inside := windows.Current(daily, now)
	if !inside || t.asked {
		return t
	}
	moment := current.Moment(shoot.UID)
	last := shoot.Status.LastMaintenance
	if last != nil && !last.TriggeredTime.Time.Before(current.Begin) || shoot.CreationTimestamp.After(moment) {
		return t
	}
	due := r.start.Due(moment, shoot.CreationTimestamp.Time, catchUp, shoot.UID)
	if end := current.Last(); due.After(end) && moment.Before(end) {
		due = end
	}
	if now.Before(due) {
		t.next = due
		return t
	}
	t.now, t.moment = true, moment
	return t
}

// interrupted tells whether a maintenance was begun and not ended.
func interrupted(shoot *gardencorev1beta1.Shoot) bool {
	last := shoot.Status.LastMaintenance
	return last != nil && last.State == gardencorev1beta1.LastOperationStateProcessing
}

// reconciledSince tells whether a cluster's agent has gone over it since a time.
func reconciledSince(shoot *gardencorev1beta1.Shoot, moment time.Time) bool {
	last := shoot.Status.LastOperation
	return !moment.IsZero() && last != nil && !last.LastUpdateTime.Time.Before(moment)
}

// planned tells whether an interrupted maintenance still has before it what it
// said it would do. Otherwise that is done: planning on would take a second step,
// such as another minor version, before the cluster has taken the first.
func planned(shoot *gardencorev1beta1.Shoot, p *plan) bool {
	description, _ := describe(p.results)
	return description == shoot.Status.LastMaintenance.Description
}

// maintain plans, tries, and changes one Shoot.
func (r *Reconciler) maintain(ctx context.Context, shoot *gardencorev1beta1.Shoot, t timing) error {
	facts, problem, err := r.observe(ctx, shoot)
	if err != nil {
		return err
	}
	if problem != "" {
		return r.refused(ctx, shoot, problem)
	}
	p, err := decide(shoot, facts)
	if err != nil {
		return err
	}
	switch {
	case interrupted(shoot) && !asksToMaintain(shoot) && !planned(shoot, p):
		return r.finish(ctx, shoot)
	case len(p.results) == 0 && !t.asked && reconciledSince(shoot, t.moment):
		return nil // done, and nothing left a trace
	}
	return r.apply(ctx, shoot, p)
}

func (r *Reconciler) tell(ctx context.Context, shoot *gardencorev1beta1.Shoot, results []result) {
	for _, result := range results {
		reason := "Maintenance"
		switch result.kind {
		case imageVersion:
			reason = gardencorev1beta1.ShootEventImageVersionMaintenance
		case kubernetesVersion:
			reason = gardencorev1beta1.ShootEventK8sVersionMaintenance
		}
		if result.problem != "" {
			r.Recorder.Eventf(shoot, nil, "Warning", gardencorev1beta1.ShootMaintenanceFailed, "Reconcile", "%s: Left %s as it is. It was due because %s; %s", result.subject, result.what, result.reason, result.problem)
			continue
		}
		r.Recorder.Eventf(shoot, nil, "Normal", reason, "Reconcile", "%s.", result.text())
		log.FromContext(ctx).Info("Maintained the shoot", "subject", result.subject, "done", result.done, "reason", result.reason)
	}
}
