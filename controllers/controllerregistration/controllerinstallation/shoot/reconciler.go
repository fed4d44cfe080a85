// Package shoot installs extensions in Shoots that look after themselves, by
// ControllerInstallations, and removes those that nobody needs any more.
// controllerregistration adds it.
//
// It must not know how an extension is deployed: that is the cluster's agent's.
package shoot

import (
	"context"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/controllerregistration/internal/installer"
	"github.com/loam-cloud/loam/controllers/controllerregistration/internal/wanted"
	"github.com/loam-cloud/loam/controllers/declaration"
)

// Name is the controller's name.
const Name = "controllerinstallation.shoot"

// Reconciler installs extensions in Shoots.
type Reconciler struct {
	Client client.Client
	// Live reads without a cache.
	Live     client.Reader
	Recorder events.EventRecorder
	Config   controllermanagerconfigv1alpha1.ControllerRegistrationControllerConfiguration

	metadata client.Reader
	reporter installer.Reporter
}

// Declare tells what the controller reads and writes.
func (r *Reconciler) Declare() declaration.Declaration { return installer.Declare(Name) }

func (r *Reconciler) installer() installer.Installer {
	i := installer.Installer{Client: r.Client, Live: r.Live, Metadata: r.metadata}
	if i.Metadata == nil {
		i.Metadata = r.Live
	}
	return i
}

// Reconcile brings the extensions of one Shoot to what is wanted.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	shoot := &gardencorev1beta1.Shoot{}
	if err := r.Client.Get(ctx, request.NamespacedName, shoot); err != nil {
		r.reporter.Forget(request.NamespacedName)
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	i := r.installer()
	registrations, err := i.Registrations(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	facts, all, err := i.ObserveShoot(ctx, shoot, registrations)
	if err != nil {
		return reconcile.Result{}, err
	}
	choice := wanted.ForShoot(facts)
	r.reporter.Report(ctx, r.Recorder, shoot, choice)
	return installer.Result(r.install(ctx, facts, all, choice))
}

// install writes the installations of a Shoot. One that fails keeps no other from
// being written.
func (r *Reconciler) install(ctx context.Context, f wanted.ShootFacts, all []gardencorev1beta1.ControllerInstallation, choice wanted.Choice) []error {
	i := r.installer()
	have, superfluous := installer.ByRegistration(all)
	var errs []error
	for j := range f.Registrations {
		if registration := &f.Registrations[j]; choice.Registrations.Has(registration.Name) {
			errs = append(errs, i.Ensure(ctx, registration, have[registration.Name], func(s *wanted.Source) { s.Shoot = f.Shoot }))
		}
	}
	for name, installation := range have {
		switch {
		case choice.Registrations.Has(name), wanted.OnlySeed(installation):
		case installation.Spec.SeedRef != nil && installation.DeletionTimestamp == nil:
			// The Seed says when it does not need it any more.
			errs = append(errs, i.Change(ctx, installation, func(c *gardencorev1beta1.ControllerInstallation) error {
				wanted.Leave(c)
				return nil
			}))
		default:
			superfluous = append(superfluous, installation)
		}
	}
	for _, installation := range superfluous {
		errs = append(errs, i.Delete(ctx, installation))
	}
	return errs
}
