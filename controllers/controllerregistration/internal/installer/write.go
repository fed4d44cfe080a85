package installer

import (
	"context"
	"errors"
	"fmt"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/controllerregistration/internal/wanted"
	"github.com/loam-cloud/loam/controllers/policy"
	"github.com/loam-cloud/loam/fault"
)

// ByRegistration finds the installation of each registration. Of several the
// first that is not in deletion counts; the others are superfluous.
func ByRegistration(installations []gardencorev1beta1.ControllerInstallation) (found map[string]*gardencorev1beta1.ControllerInstallation, superfluous []*gardencorev1beta1.ControllerInstallation) {
	found = map[string]*gardencorev1beta1.ControllerInstallation{}
	for j := range installations {
		installation := &installations[j]
		name := installation.Spec.RegistrationRef.Name
		switch have := found[name]; {
		case have == nil:
			found[name] = installation
		case have.DeletionTimestamp != nil && installation.DeletionTimestamp == nil:
			found[name] = installation
		default:
			superfluous = append(superfluous, installation)
		}
	}
	return found, superfluous
}

// Result turns the errors of several installations into what a reconciler
// returns. Those that only wait are looked at again soon; with any other all are
// tried again, for nobody watches everything that may be missing.
func Result(errs []error) (reconcile.Result, error) {
	var others []error
	result := reconcile.Result{}
	for _, err := range errs {
		switch {
		case err == nil:
		case errors.Is(err, fault.Waiting):
			result.RequeueAfter = policy.Of(err).After
		default:
			others = append(others, err)
		}
	}
	if len(others) > 0 {
		return reconcile.Result{}, errors.Join(others...)
	}
	return result, nil
}

// Ensure makes an installation, or brings the one that is there to its source. A
// registration in deletion gets none and changes none. Faults: Waiting while the
// one that is there goes.
func (i Installer) Ensure(ctx context.Context, registration *gardencorev1beta1.ControllerRegistration, have *gardencorev1beta1.ControllerInstallation, where func(*wanted.Source)) error {
	if registration.DeletionTimestamp != nil {
		return nil
	}
	if have != nil && have.DeletionTimestamp != nil {
		return fault.New(fault.Waiting, "controller installation %q of registration %q has to go before there is another", have.Name, registration.Name)
	}
	source, err := i.Source(ctx, registration)
	if err != nil {
		return err
	}
	where(&source)
	if have != nil {
		return i.Change(ctx, have, source.Apply)
	}
	made := &gardencorev1beta1.ControllerInstallation{ObjectMeta: metav1.ObjectMeta{GenerateName: registration.Name + "-"}}
	if err := source.Apply(made); err != nil {
		return err
	}
	if err := i.Client.Create(ctx, made); err != nil {
		return fmt.Errorf("making an installation of controller registration %q: %w", registration.Name, err)
	}
	log.FromContext(ctx).Info("Installing an extension", "registration", registration.Name, "installation", made.Name)
	return nil
}

// Change writes what change makes different.
func (i Installer) Change(ctx context.Context, installation *gardencorev1beta1.ControllerInstallation, change func(*gardencorev1beta1.ControllerInstallation) error) error {
	base := installation.DeepCopy()
	if err := change(installation); err != nil {
		return err
	}
	if equality.Semantic.DeepEqual(base, installation) {
		return nil
	}
	if err := client.IgnoreNotFound(i.Client.Patch(ctx, installation, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))); err != nil {
		return fmt.Errorf("changing controller installation %q: %w", installation.Name, err)
	}
	log.FromContext(ctx).Info("Changed the installation of an extension", "registration", installation.Spec.RegistrationRef.Name, "installation", installation.Name)
	return nil
}

// Delete ends an installation, once.
func (i Installer) Delete(ctx context.Context, installation *gardencorev1beta1.ControllerInstallation) error {
	if installation.DeletionTimestamp != nil {
		return nil
	}
	if err := client.IgnoreNotFound(i.Client.Delete(ctx, installation, client.Preconditions{UID: &installation.UID})); err != nil {
		return fmt.Errorf("deleting controller installation %q: %w", installation.Name, err)
	}
	log.FromContext(ctx).Info("Removing an extension", "registration", installation.Spec.RegistrationRef.Name, "installation", installation.Name)
	return nil
}
