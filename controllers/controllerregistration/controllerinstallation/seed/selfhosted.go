package seed

import (
	"context"
	"fmt"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/controllers/controllerregistration/internal/installer"
	"github.com/loam-cloud/loam/controllers/controllerregistration/internal/wanted"
)

// observeCluster reads what the Shoot that the Seed is at once needs: the Seed
// shares it.
func (r *Reconciler) observeCluster(ctx context.Context, f *facts) error {
	f.cluster = &gardencorev1beta1.Shoot{}
	key := client.ObjectKey{Namespace: v1beta1constants.GardenNamespace, Name: f.Seed.Name}
	if err := r.Client.Get(ctx, key, f.cluster); err != nil {
		return fmt.Errorf("reading shoot %s, which is seed %q: %w", key, f.Seed.Name, err)
	}
	facts, all, err := r.installer().ObserveShoot(ctx, f.cluster, f.Registrations)
	if err != nil {
		return err
	}
	f.all = all
	f.others = wanted.ForShoot(facts)
	f.PoliciesElsewhere = true
	for j := range all {
		if wanted.OnlySeed(&all[j]) {
			f.Installations = append(f.Installations, all[j])
		}
	}
	return nil
}

// installBeside writes the installations of a Seed that is a Shoot as well:
//
//	the Shoot needs it too:  it is the Shoot's, and says that the Seed needs it
//	only the Seed needs it:  it is the Seed's, with a label
//	the Seed does not:       one with the label goes, another is left to the Shoot
func (r *Reconciler) installBeside(ctx context.Context, f facts, choice wanted.Choice) []error {
	i := r.installer()
	have, _ := installer.ByRegistration(f.all) // what is superfluous is the Shoot's to remove
	var errs []error
	for j := range f.Registrations {
		registration := &f.Registrations[j]
		installation := have[registration.Name]
		switch needed, shared := choice.Registrations.Has(registration.Name), f.others.Registrations.Has(registration.Name); {
		case needed && shared && installation != nil && installation.DeletionTimestamp == nil:
			errs = append(errs, i.Change(ctx, installation, func(c *gardencorev1beta1.ControllerInstallation) error {
				wanted.Share(c, f.Seed)
				return nil
			}))
		case needed && shared:
			// The Shoot's controller makes it, which wakes this one.
		case needed:
			errs = append(errs, i.Ensure(ctx, registration, installation, func(s *wanted.Source) {
				s.Seed, s.Shoot, s.SeedOnly = f.Seed, f.cluster, true
			}))
		}
	}
	for name, installation := range have {
		if !choice.Registrations.Has(name) {
			errs = append(errs, r.leave(ctx, installation, f.others.Registrations.Has(name)))
		}
	}
	return errs
}

// leave ends that the Seed uses an installation.
func (r *Reconciler) leave(ctx context.Context, installation *gardencorev1beta1.ControllerInstallation, shared bool) error {
	i := r.installer()
	if (wanted.OnlySeed(installation) || installation.Spec.ShootRef == nil) && !shared {
		return i.Delete(ctx, installation)
	}
	if installation.DeletionTimestamp != nil {
		return nil
	}
	return i.Change(ctx, installation, func(c *gardencorev1beta1.ControllerInstallation) error {
		wanted.Unshare(c)
		return nil
	})
}
