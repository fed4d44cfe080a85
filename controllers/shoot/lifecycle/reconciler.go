// Package lifecycle makes Shoots real: it runs the flow that creates, changes,
// hibernates, wakes or deletes a Shoot's cluster, and reports it in the Shoot's
// last operation, its events, its Machines and its kubeconfig Secret. It is
// part of the seed's agent; app adds it.
//
// It must not know how a machine is made; conditions are those of
// controllers/shoot/care.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/policy"
	"github.com/loam-cloud/loam/controllers/shoot/internal/target"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/shoots"
)

// Name is the controller's name, and with it that of its logger, its events
// and its fields.
const Name = "shoot.lifecycle"

// Reconciler runs the flow for Shoots of one seed.
//
// It reads Shoots, Projects and InternalSecrets, and writes the Shoots'
// finalizer and status (all but conditions), the InternalSecrets <shoot>.pki and
// <shoot>.ca-client, the ConfigMap <shoot>.ca-cluster, the Secret
// <shoot>.kubeconfig, Machines, and events; in clusters, roles of their users.
type Reconciler struct {
	Client client.Client
	// Live reads past the manager's memory what the API selects by fields.
	Live     client.Reader
	Clock    clock.WithTicker
	Recorder events.EventRecorder
	// Config says which Shoots are served, and as whom.
	Config Config
	// Machines is the driver for provider type local.
	Machines machines.Driver
	// Image finds the node image for a Kubernetes version, v1.36.3. Faults:
	// Invalid when there is none.
	Image func(ctx context.Context, version string) (string, error)
	// Room tells whether the host has room for the cluster's machines that do
	// not exist yet; nil means always. Faults: Exhausted, Invalid (a machine larger
	// than the host).
	Room func(ctx context.Context, c shoots.Cluster) error
	// Restarted returns once what runs machines has ended and answers again, or with
	// the context's error; nil means that it never does.
	Restarted func(ctx context.Context) error
	// Cache says where a machine finds the image cache of its host, as the flow wants
	// it; nil means that there is none.
	Cache func(machines.Machine) (netip.AddrPort, error)
	// Connect makes a client for a cluster; nil means a real one.
	Connect func(*rest.Config) (client.Client, error)

	// looked has the UIDs of Shoots whose machines were looked at since this process
	// began, and since what runs machines did.
	looked sync.Map
}

// Config is what the controller is told once.
type Config struct {
	// SeedName is the seed whose Shoots are served.
	SeedName string
	// Identity is written to status.gardener.
	Identity gardencorev1beta1.Gardener
	// ConcurrentSyncs is how many Shoots are worked on at once; zero means 5.
	ConcurrentSyncs int
}

// Reconcile brings one Shoot's cluster to what the Shoot asks for.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	shoot := &gardencorev1beta1.Shoot{}
	if err := r.Client.Get(ctx, request.NamespacedName, shoot); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if seedOf(shoot) != r.Config.SeedName {
		return reconcile.Result{}, nil // it went elsewhere while it waited for its turn
	}
	run := &operationRun{Reconciler: r, shoot: shoot, kind: decide(shoot)}
	if first := r.first(shoot); first && run.kind == "" {
		off, err := run.off(ctx)
		if err != nil {
			return policy.Result(err)
		}
		if off {
			run.kind = gardencorev1beta1.LastOperationTypeReconcile
		}
	}
	if run.kind == "" {
		if err := run.keepAccess(ctx); err != nil {
			return policy.Result(err)
		}
		return reconcile.Result{RequeueAfter: accessInterval}, nil
	}
	flowContext, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go r.cancelWhenOutdated(flowContext, shoot.DeepCopy(), cancel)

	var err error
	if run.kind == gardencorev1beta1.LastOperationTypeDelete {
		err = run.delete(flowContext)
	} else {
		err = run.grow(flowContext)
	}
	return run.conclude(ctx, err, context.Cause(flowContext))
}

// first tells whether a Shoot is looked at for the first time since this process
// began, or what runs machines. The host may have been switched off before.
func (r *Reconciler) first(shoot *gardencorev1beta1.Shoot) bool {
	_, again := r.looked.LoadOrStore(shoot.UID, true)
	return !again
}

// off tells whether a machine is off, or gone, of a cluster that is ready otherwise.
func (o *operationRun) off(ctx context.Context) (bool, error) {
	if o.shoot.Status.TechnicalID == "" || target.Hibernated(o.shoot) || o.shoot.Status.LastOperation.State != gardencorev1beta1.LastOperationStateSucceeded {
		return false, nil
	}
	all, err := o.Machines.List(ctx, o.shoot.Status.TechnicalID)
	if err != nil {
		o.looked.Delete(o.shoot.UID)
		return false, fmt.Errorf("looking for machines that are off: %w", err)
	}
	for _, m := range all {
		if m.State != machines.StateRunning {
			log.FromContext(ctx).Info("A machine is off: the cluster is started again", "machine", m.Hostname, "state", m.State)
			return true, nil
		}
	}
	cluster, err := target.Cluster(o.shoot)
	if err != nil {
		return false, nil //nolint:nilerr // the last operation says so already
	}
	if absent := cluster.Absent(all); absent != "" {
		log.FromContext(ctx).Info("A machine is gone: the cluster is mended", "machine", absent)
		return true, nil
	}
	return false, nil
}

// conclude says when to look at the Shoot again, and why its operation did not
// get to its end: the operation's own error, and what ended its context.
func (o *operationRun) conclude(ctx context.Context, err, ended error) (reconcile.Result, error) {
	switch {
	case ctx.Err() != nil:
		// This process is to end. The operation stays Processing, and the next
		// process carries on.
		return reconcile.Result{}, nil //nolint:nilerr // the error is that end
	case errors.Is(ended, errOutdated), errors.Is(err, errOutdated):
		return reconcile.Result{RequeueAfter: soon}, nil
	case err == nil && o.kind == gardencorev1beta1.LastOperationTypeDelete:
		o.looked.Delete(o.shoot.UID)
		return reconcile.Result{}, nil
	case err == nil:
		return reconcile.Result{RequeueAfter: accessInterval}, nil
	}
	if unwritten := o.fail(ctx, err); unwritten != nil {
		// Tried again, also where only the user can mend the rest: he has not
		// been told yet.
		return policy.Result(errors.Join(unwritten, err))
	}
	if p := policy.Of(err); !p.Retry {
		log.FromContext(ctx).Info("Waiting for the user to change the shoot", "problem", err.Error())
	}
	return policy.Result(err)
}

// errOutdated ends an operation whose Shoot has changed meanwhile.
var errOutdated = errors.New("the shoot has changed")

// soon is when a Shoot is looked at again that has changed: what is known of it
// here follows within milliseconds.
const soon = 10 * time.Millisecond

// outdatedInterval is how often a running flow looks whether it is still wanted.
const outdatedInterval = time.Second

// cancelWhenOutdated ends the flow when its Shoot gets another spec or is being
// deleted, so that a user who mends a mistake does not wait for its time-out.
func (r *Reconciler) cancelWhenOutdated(ctx context.Context, began *gardencorev1beta1.Shoot, cancel context.CancelCauseFunc) {
	ticker := r.Clock.NewTicker(outdatedInterval)
	defer ticker.Stop()
	deleting := began.DeletionTimestamp != nil
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
		}
		var now gardencorev1beta1.Shoot
		if err := r.Client.Get(ctx, client.ObjectKeyFromObject(began), &now); err != nil {
			continue
		}
		// A flow that deletes is never outdated.
		if !deleting && (now.Generation != began.Generation || now.DeletionTimestamp != nil) {
			cancel(errOutdated)
			return
		}
	}
}

// grow creates, changes, hibernates or wakes the cluster.
func (o *operationRun) grow(ctx context.Context) error {
	if !controllerutil.ContainsFinalizer(o.shoot, gardencorev1beta1.GardenerName) {
		if err := o.changeFinalizer(ctx, controllerutil.AddFinalizer); err != nil {
			return fmt.Errorf("adding the finalizer: %w", err)
		}
	}
	if err := o.begin(ctx); err != nil {
		return err
	}
	cluster, err := target.Cluster(o.shoot)
	if err != nil {
		return err
	}
	if cluster.Established, err = o.established(ctx); err != nil {
		return err
	}
	if cluster.Image, err = o.Image(ctx, cluster.KubernetesVersion); err != nil {
		return err
	}
	authorities, err := o.authorities(ctx)
	if err != nil {
		return err
	}
	flow := o.flow(ctx)
	if target.Hibernated(o.shoot) {
		err = flow.Hibernate(ctx, cluster)
	} else {
		err = target.Bound(ctx, o.Live, o.shoot, &cluster)
		if err == nil && o.Room != nil {
			err = o.Room(ctx, cluster)
		}
		if err == nil {
			err = flow.Reconcile(ctx, cluster, authorities)
		}
		if err == nil {
			err = o.grantAccess(ctx, flow, cluster, authorities)
		}
	}
	// What exists is shown and can be reached also when the flow failed.
	err = errors.Join(err, o.publishMachines(ctx, flow, cluster), o.publishKubeconfig(ctx, flow, cluster, authorities),
		o.publishAccess(ctx, flow, cluster, authorities))
	if err != nil {
		return err
	}
	return o.succeed(ctx)
}

// delete removes the cluster and lets the Shoot go. What was written for it goes
// before it does, so that a new Shoot of its name finds no keys of this one.
func (o *operationRun) delete(ctx context.Context) error {
	if !controllerutil.ContainsFinalizer(o.shoot, gardencorev1beta1.GardenerName) {
		return nil
	}
	// Without a technical id nothing was ever made for the Shoot.
	if o.shoot.Status.TechnicalID != "" {
		if err := o.begin(ctx); err != nil {
			return err
		}
		cluster, err := target.Cluster(o.shoot)
		if err != nil {
			// A spec that is wrong does not keep what exists from going.
			cluster = shoots.Cluster{ID: o.shoot.Status.TechnicalID}
		}
		if err := o.flow(ctx).Delete(ctx, cluster); err != nil {
			return err
		}
	}
	if err := o.unpublish(ctx); err != nil {
		return err
	}
	o.event(corev1.EventTypeNormal, gardencorev1beta1.EventDeleted, gardencorev1beta1.EventActionDelete, "The cluster is gone")
	if err := client.IgnoreNotFound(o.changeFinalizer(ctx, controllerutil.RemoveFinalizer)); err != nil {
		return fmt.Errorf("removing the finalizer: %w", err)
	}
	return nil
}

// changeFinalizer writes the whole list of finalizers, therefore only if nobody
// else has written the Shoot meanwhile.
func (o *operationRun) changeFinalizer(ctx context.Context, change func(client.Object, string) bool) error {
	fresh := o.shoot.DeepCopy()
	change(fresh, gardencorev1beta1.GardenerName)
	err := o.Client.Patch(ctx, fresh, client.MergeFromWithOptions(o.shoot, client.MergeFromWithOptimisticLock{}))
	switch {
	case apierrors.IsConflict(err):
		return errOutdated
	case err != nil:
		return fault.Wrap(fault.Transient, err)
	}
	o.learn(fresh)
	return nil
}

// authorities returns the cluster's keys, which are made once and kept.
func (o *operationRun) authorities(ctx context.Context) (shoots.Authorities, error) {
	have, err := target.Authorities(ctx, o.Client, o.shoot)
	if err == nil || !errors.Is(err, fault.Missing) {
		return have, err
	}
	made, err := shoots.NewAuthorities(o.Clock.Now())
	if err != nil {
		return nil, err
	}
	secret := &gardencorev1beta1.InternalSecret{
		ObjectMeta: o.owned(target.AuthoritiesName(o.shoot.Name)),
		Type:       corev1.SecretTypeOpaque,
		Data:       made,
	}
	switch err := o.Client.Create(ctx, secret); {
	case apierrors.IsAlreadyExists(err):
		return target.Authorities(ctx, o.Client, o.shoot)
	case err != nil:
		return nil, fmt.Errorf("keeping the cluster's keys: %w", fault.Wrap(fault.Transient, err))
	}
	return made, nil
}

// owned is the metadata of an object that goes with the Shoot.
func (o *operationRun) owned(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace:       o.shoot.Namespace,
		Name:            name,
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(o.shoot, gardencorev1beta1.SchemeGroupVersion.WithKind("Shoot"))},
	}
}
