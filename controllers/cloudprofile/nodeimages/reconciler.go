// Package nodeimages keeps the CloudProfile local in step with the node images
// of this host: a version whose image is built while the garden runs is offered
// soon after, one whose image went no longer. It is part of the agent; app adds
// it.
//
// It must not touch versions that a user added or took out: package
// garden/bootstrap keeps them apart. Clusters keep the version they have.
package nodeimages

import (
	"context"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/policy"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/bootstrap"
)

// Name is the controller's name.
const Name = "cloudprofile.nodeimages"

// interval is how often the images are looked at.
const interval = 10 * time.Second

// Reconciler keeps spec.kubernetes.versions of CloudProfile local.
type Reconciler struct {
	Client client.Client
	// Versions lists the Kubernetes versions that have a node image: v1.36.3.
	Versions func(context.Context) ([]string, error)
}

// AddToManager adds the controller. Fields left nil are filled from the manager.
func (r *Reconciler) AddToManager(mgr manager.Manager) error {
	if r.Client == nil {
		r.Client = mgr.GetClient()
	}
	return builder.ControllerManagedBy(mgr).
		Named(Name).
		For(&gardencorev1beta1.CloudProfile{}, builder.WithPredicates(
			predicate.NewPredicateFuncs(func(o client.Object) bool { return o.GetName() == bootstrap.Name }),
			// Images do not announce themselves: one event starts the rounds.
			predicate.ResourceVersionChangedPredicate{},
		)).
		Complete(r)
}

// Reconcile offers the versions that there are images of.
func (r *Reconciler) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	again := reconcile.Result{RequeueAfter: interval}
	versions, err := r.Versions(ctx)
	if err != nil {
		// The seed's conditions tell that there is no engine. What was offered
		// stays: images do not go because nobody can be asked for them.
		log.FromContext(ctx).V(1).Info("No node images are known", "problem", err.Error())
		return again, nil //nolint:nilerr // told by controllers/seed/heartbeat
	}
	if err := bootstrap.RefreshVersions(ctx, r.Client, versions); err != nil {
		return policy.Result(fault.Wrap(fault.Transient, err))
	}
	return again, nil
}
