// Package care looks after running clusters: it keeps the conditions of Shoots,
// by asking their API servers at a steady pace. It is part of the seed's agent;
// app adds it.
//
// It must not change a cluster; that is controllers/shoot/lifecycle.
package care

import (
	"cmp"
	"context"
	"fmt"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/condition"
	"github.com/loam-cloud/loam/controllers/internal/observe"
	"github.com/loam-cloud/loam/controllers/policy"
	"github.com/loam-cloud/loam/controllers/shoot/internal/target"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/shoots"
)

// Name is the controller's name.
const Name = "shoot.care"

// Reconciler keeps the conditions of one seed's Shoots. It reads Shoots and
// InternalSecrets and writes status.conditions of Shoots.
type Reconciler struct {
	Client   client.Client
	Clock    clock.Clock
	Config   Config
	Machines machines.Driver
	// Connect makes a client for a cluster; nil means a real one.
	Connect func(*rest.Config) (client.Client, error)
}

// Config is what the controller is told once.
type Config struct {
	// SeedName is the seed whose Shoots are served.
	SeedName string
	// Interval is how often a cluster is asked; zero means 30 s.
	Interval time.Duration
	// ConcurrentSyncs is how many clusters are asked at once; zero means 5.
	ConcurrentSyncs int
}

// AddToManager adds the controller. Fields left nil are filled from the manager.
func (r *Reconciler) AddToManager(mgr manager.Manager) error {
	if r.Client == nil {
		r.Client = mgr.GetClient()
	}
	if r.Clock == nil {
		r.Clock = clock.RealClock{}
	}
	return builder.ControllerManagedBy(mgr).
		Named(Name).
		For(&gardencorev1beta1.Shoot{}, builder.WithPredicates(finished())).
		WithOptions(controller.Options{MaxConcurrentReconciles: cmp.Or(r.Config.ConcurrentSyncs, 5)}).
		Complete(observe.Reconciler(Name, r))
}

// finished lets an update through when an operation has ended: its outcome is
// then looked at without waiting for the next round.
func finished() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*gardencorev1beta1.Shoot)
		after, ok2 := e.ObjectNew.(*gardencorev1beta1.Shoot)
		return ok && ok2 && processing(before) && !processing(after)
	}}
}

func processing(shoot *gardencorev1beta1.Shoot) bool {
	last := shoot.Status.LastOperation
	return last == nil || last.State == gardencorev1beta1.LastOperationStateProcessing
}

// Reconcile asks one cluster how it is.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	shoot := &gardencorev1beta1.Shoot{}
	if err := r.Client.Get(ctx, request.NamespacedName, shoot); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if shoot.DeletionTimestamp != nil || shoot.Spec.SeedName == nil || *shoot.Spec.SeedName != r.Config.SeedName || shoot.Status.TechnicalID == "" {
		return reconcile.Result{}, nil
	}
	again := reconcile.Result{RequeueAfter: cmp.Or(r.Config.Interval, 30*time.Second)}
	conditions := r.look(ctx, shoot)
	if ctx.Err() != nil {
		return reconcile.Result{}, nil //nolint:nilerr // what was seen is the end of this process
	}
	base := shoot.DeepCopy()
	shoot.Status.Conditions = condition.Merge(shoot.Status.Conditions, r.Clock.Now(), conditions...)
	if equality.Semantic.DeepEqual(base.Status, shoot.Status) {
		return again, nil
	}
	if err := r.Client.Status().Patch(ctx, shoot, client.MergeFrom(base)); err != nil {
		return policy.Result(fault.Wrap(fault.Transient, client.IgnoreNotFound(err)))
	}
	return again, nil
}

// askLimit bounds all questions to one cluster.
const askLimit = 10 * time.Second

// look finds the conditions that can be told now.
func (r *Reconciler) look(ctx context.Context, shoot *gardencorev1beta1.Shoot) []gardencorev1beta1.Condition {
	known := len(shoot.Status.Conditions) > 0
	switch h := shoot.Spec.Hibernation; {
	case shoot.Status.IsHibernated:
		return asleep()
	case h != nil && h.Enabled != nil && *h.Enabled:
		return nil // it is falling asleep, which is not ill health
	}
	cluster, err := target.Cluster(shoot)
	if err != nil && known {
		return unknown(policy.Of(err).Reason, "Not known while the shoot asks for what cannot be.")
	}
	if err != nil {
		return nil
	}
	authorities, err := target.Authorities(ctx, r.Client, shoot)
	if err != nil {
		return nil // not begun, or the garden hiccups, which says nothing of the cluster
	}
	seen := r.observe(ctx, cluster, authorities)
	if seen.problem != nil && !known && processing(shoot) {
		return nil // it is being made: the last operation tells how far it is
	}
	return decide(seen)
}

// observe asks the cluster.
func (r *Reconciler) observe(ctx context.Context, cluster shoots.Cluster, authorities shoots.Authorities) observation {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	flow := shoots.Flow{Machines: r.Machines, Clock: r.Clock, Connect: r.Connect}
	api, err := flow.Connection(ctx, cluster, authorities)
	if err != nil {
		return observation{problem: err}
	}
	defer api.Close()
	o := observation{}
	for _, pool := range cluster.Pools {
		o.expected += pool.Count
	}
	o.problem = o.ask(ctx, api)
	return o
}

func (o *observation) ask(ctx context.Context, api client.Client) error {
	var nodes corev1.NodeList
	var pods corev1.PodList
	var deployments appsv1.DeploymentList
	var sets appsv1.DaemonSetList
	for _, list := range []struct {
		into    client.ObjectList
		options []client.ListOption
	}{
		{&nodes, nil},
		{&pods, []client.ListOption{client.InNamespace("kube-system"), client.MatchingLabels{"tier": "control-plane"}}},
		{&deployments, []client.ListOption{client.InNamespace("kube-system")}},
		{&sets, []client.ListOption{client.InNamespace("kube-system")}},
	} {
		if err := api.List(ctx, list.into, list.options...); err != nil {
			return fmt.Errorf("listing: %w", err)
		}
	}
	o.nodes, o.controlPlane, o.deployments, o.daemonSets = nodes.Items, pods.Items, deployments.Items, sets.Items
	return nil
}
