// Package seed installs in each Seed the extensions that the Seed and its
// clusters need, by ControllerInstallations, and removes those that nobody needs
// any more. controllerregistration adds it.
//
// It must not know how an extension is deployed: that is the seed's agent's.
package seed

import (
	"context"
	"errors"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/controllerregistration/internal/installer"
	"github.com/loam-cloud/loam/controllers/controllerregistration/internal/wanted"
	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/index"
)

// Name is the controller's name.
const Name = "controllerinstallation.seed"

// Reconciler installs extensions in Seeds.
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
func (r *Reconciler) Declare() declaration.Declaration { return installer.Declare(Name, "seeds") }

func (r *Reconciler) installer() installer.Installer {
	i := installer.Installer{Client: r.Client, Live: r.Live, Metadata: r.metadata}
	if i.Metadata == nil {
		i.Metadata = r.Live
	}
	return i
}

// Reconcile brings the extensions of one Seed to what is wanted.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	seed := &gardencorev1beta1.Seed{}
	if err := r.Client.Get(ctx, request.NamespacedName, seed); err != nil {
		r.reporter.Forget(request.NamespacedName)
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	f, err := r.observe(ctx, seed)
	if err != nil {
		return reconcile.Result{}, err
	}
	choice := wanted.ForSeed(f.SeedFacts)
	r.reporter.Report(ctx, r.Recorder, seed, choice)
	install := r.install
	if f.cluster != nil {
		install = r.installBeside
	}
	errs := install(ctx, f, choice)
	for i := range f.strays {
		errs = append(errs, r.leave(ctx, &f.strays[i], false))
	}
	return installer.Result(errs)
}

// facts are what is observed about a Seed.
type facts struct {
	wanted.SeedFacts
	// cluster is the Shoot that the Seed is at once, if it looks after itself, with
	// what that one needs.
	cluster *gardencorev1beta1.Shoot
	others  wanted.Choice
	// all are the installations that may be the Seed's: in its own name, or in that
	// Shoot, whoever needs them.
	all []gardencorev1beta1.ControllerInstallation
	// strays are those of the time before the Seed became such a Shoot, or ceased to
	// be one.
	strays []gardencorev1beta1.ControllerInstallation
}

func (r *Reconciler) observe(ctx context.Context, seed *gardencorev1beta1.Seed) (facts, error) {
	i := r.installer()
	f := facts{SeedFacts: wanted.SeedFacts{Seed: seed}}
	_, selfHosted := seed.Labels[v1beta1constants.LabelSelfHostedShootCluster]
	var errs [6]error
	f.Registrations, errs[0] = i.Registrations(ctx)
	f.Domains, errs[1] = i.Domains(ctx, seed)
	f.Backups, errs[2] = i.Backups(ctx, client.MatchingFields{index.SeedName: seed.Name})
	f.Shoots, errs[3] = i.Shoots(ctx, client.MatchingFields{index.SeedName: seed.Name}, client.MatchingFields{index.StatusSeedName: seed.Name})
	var own []gardencorev1beta1.ControllerInstallation
	own, errs[4] = i.Installations(ctx, client.MatchingFields{index.SeedRefName: seed.Name})
	for j := range own {
		switch alone := own[j].Spec.ShootRef == nil; {
		case alone == selfHosted:
			f.strays = append(f.strays, own[j])
		case alone:
			f.all = append(f.all, own[j])
		}
	}
	f.Installations = f.all
	if selfHosted {
		errs[5] = r.observeCluster(ctx, &f)
	}
	return f, errors.Join(errs[:]...)
}

// install writes the installations of a Seed. One that fails keeps no other from
// being written.
func (r *Reconciler) install(ctx context.Context, f facts, choice wanted.Choice) []error {
	i := r.installer()
	have, superfluous := installer.ByRegistration(f.all)
	var errs []error
	for j := range f.Registrations {
		if registration := &f.Registrations[j]; choice.Registrations.Has(registration.Name) {
			errs = append(errs, i.Ensure(ctx, registration, have[registration.Name], func(s *wanted.Source) { s.Seed = f.Seed }))
		}
	}
	for name, installation := range have {
		if !choice.Registrations.Has(name) {
			superfluous = append(superfluous, installation)
		}
	}
	for _, installation := range superfluous {
		errs = append(errs, i.Delete(ctx, installation))
	}
	return errs
}
