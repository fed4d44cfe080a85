// Package nodeimages keeps the CloudProfile local in step with the node images
// of this host: a version whose image is built while the garden runs is offered
// soon after. It is part of the agent; app adds it.
//
// It must not have a rule of its own for what is offered: that of the garden's
// start, package garden/bootstrap, is asked again and again.
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

	"github.com/loam-cloud/loam/controllers/internal/observe"
	"github.com/loam-cloud/loam/controllers/policy"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/bootstrap"
)

// Name is the controller's name.
const Name = "cloudprofile.nodeimages"

// interval is how often the images are looked at: they do not announce
// themselves.
const interval = 10 * time.Second

// Reconciler keeps the versions that CloudProfile local offers. It reads and
// writes spec.kubernetes.versions of that profile, and the annotation by which
// it knows which of them came from here.
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
			predicate.GenerationChangedPredicate{},
		)).
		Complete(observe.Reconciler(Name, r))
}

// Reconcile offers what there are images for. A profile that was deleted stays
// so until the garden's next start.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	if err := r.Client.Get(ctx, request.NamespacedName, &gardencorev1beta1.CloudProfile{}); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	again := reconcile.Result{RequeueAfter: interval}
	versions, err := r.Versions(ctx)
	if err != nil {
		// The seed's conditions tell users that there is no engine to ask.
		log.FromContext(ctx).V(1).Info("Node images are not known", "problem", err.Error())
		return again, nil
	}
	if err := bootstrap.RefreshVersions(ctx, r.Client, versions); err != nil {
		return policy.Result(fault.Wrap(fault.Transient, err))
	}
	return again, nil
}
