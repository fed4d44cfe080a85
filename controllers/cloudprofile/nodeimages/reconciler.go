// Package nodeimages keeps the CloudProfile local in step with the node images
// of this host: a version whose image is built while the garden runs is offered
// soon after. It is part of the agent; app adds it.
//
// It must not take back a version: clusters may run on it. What is offered
// without an image is refused when a cluster is to be grown, with the command
// that builds it.
package nodeimages

import (
	"context"
	"slices"
	"strings"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/policy"
	"github.com/loam-cloud/loam/fault"
)

// Name is the controller's name.
const Name = "cloudprofile.nodeimages"

// profile is the CloudProfile of this host.
const profile = "local"

// interval is how often the images are looked at.
const interval = 10 * time.Second

// Reconciler adds versions to spec.kubernetes.versions of CloudProfile local.
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
			predicate.NewPredicateFuncs(func(o client.Object) bool { return o.GetName() == profile }),
			// Images do not announce themselves: one event starts the rounds.
			predicate.ResourceVersionChangedPredicate{},
		)).
		Complete(r)
}

// Reconcile adds the versions that are missing.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	again := reconcile.Result{RequeueAfter: interval}
	p := &gardencorev1beta1.CloudProfile{}
	if err := r.Client.Get(ctx, request.NamespacedName, p); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	versions, err := r.Versions(ctx)
	if err != nil {
		// The seed's conditions tell that there is no engine.
		return again, nil
	}
	base := p.DeepCopy()
	if !offer(p, versions) {
		return again, nil
	}
	if err := r.Client.Patch(ctx, p, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
		return policy.Result(fault.Wrap(fault.Transient, err))
	}
	return again, nil
}

// offer adds versions to the profile and tells whether there was one to add.
func offer(p *gardencorev1beta1.CloudProfile, versions []string) bool {
	changed := false
	for _, v := range versions {
		v = strings.TrimPrefix(v, "v")
		if !slices.ContainsFunc(p.Spec.Kubernetes.Versions, func(have gardencorev1beta1.ExpirableVersion) bool { return have.Version == v }) {
			p.Spec.Kubernetes.Versions = append(p.Spec.Kubernetes.Versions, gardencorev1beta1.ExpirableVersion{Version: v})
			changed = true
		}
	}
	return changed
}
