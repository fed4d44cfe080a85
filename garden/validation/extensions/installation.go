package extensions

import (
	"github.com/gardener/gardener/pkg/apis/core"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

// ValidateInstallation returns every problem of a ControllerInstallation; old is
// nil on create.
func ValidateInstallation(installation, old *core.ControllerInstallation) field.ErrorList {
	path, spec := field.NewPath("spec"), &installation.Spec
	if old != nil && installation.DeletionTimestamp != nil {
		return check.Immutable(path, *spec, old.Spec)
	}
	seed, shoot := path.Child("seedRef"), path.Child("shootRef")
	errs := check.Required(path.Child("registrationRef", "name"), spec.RegistrationRef.Name, "names the ControllerRegistration")
	// Both are set in a cluster that is a Seed and a Shoot at once.
	if spec.SeedRef == nil && spec.ShootRef == nil {
		errs = append(errs, field.Required(seed, "says where to install, if shootRef does not"))
	}
	if spec.SeedRef != nil {
		errs = append(errs, check.Required(seed.Child("name"), spec.SeedRef.Name, "names the Seed")...)
	}
	if spec.ShootRef != nil {
		errs = append(errs, check.Required(shoot.Child("name"), spec.ShootRef.Name, "names the Shoot")...)
		errs = append(errs, check.Required(shoot.Child("namespace"), spec.ShootRef.Namespace, "is where the Shoot lives")...)
	}
	if spec.DeploymentRef != nil {
		errs = append(errs, check.Required(path.Child("deploymentRef", "name"), spec.DeploymentRef.Name, "names the ControllerDeployment")...)
	}
	for i, ref := range spec.ResourceRefs {
		errs = append(errs, check.Required(path.Child("resourceRefs").Index(i).Child("name"), ref.Name, "names the resource")...)
	}
	if old != nil {
		errs = append(errs, check.Immutable(path.Child("registrationRef", "name"), spec.RegistrationRef.Name, old.Spec.RegistrationRef.Name)...)
		// What is installed in a Shoot may come to serve its Seed too, or cease to.
		if spec.ShootRef == nil || spec.SeedRef != nil && old.Spec.SeedRef != nil {
			errs = append(errs, sameObject(seed, spec.SeedRef, old.Spec.SeedRef)...)
		}
		errs = append(errs, sameObject(shoot, spec.ShootRef, old.Spec.ShootRef)...)
	}
	return errs
}

// sameObject wants a reference to lead where it led.
func sameObject(path *field.Path, ref, old *corev1.ObjectReference) field.ErrorList {
	if old == nil {
		old = &corev1.ObjectReference{}
	}
	if ref == nil {
		ref = &corev1.ObjectReference{}
	}
	errs := check.Immutable(path.Child("name"), ref.Name, old.Name)
	return append(errs, check.Immutable(path.Child("namespace"), ref.Namespace, old.Namespace)...)
}

// ValidateExposureClass returns every problem of an ExposureClass; old is nil on
// create.
func ValidateExposureClass(class, old *core.ExposureClass) field.ErrorList {
	handler, scheduling := field.NewPath("handler"), field.NewPath("scheduling")
	var errs field.ErrorList
	if class.Handler == "" {
		errs = append(errs, field.Required(handler, "names what exposes the control plane"))
	} else {
		errs = append(errs, check.DNSLabel(handler, class.Handler)...)
	}
	if class.Scheduling != nil {
		if selector := class.Scheduling.SeedSelector; selector != nil {
			errs = append(errs, check.Selector(scheduling.Child("seedSelector"), &selector.LabelSelector)...)
			errs = append(errs, check.UniqueStrings(scheduling.Child("seedSelector", "providerTypes"), selector.ProviderTypes)...)
		}
		errs = append(errs, check.Tolerations(scheduling.Child("tolerations"), class.Scheduling.Tolerations)...)
	}
	if old != nil {
		errs = append(errs, check.Immutable(handler, class.Handler, old.Handler)...)
		errs = append(errs, check.Immutable(scheduling, class.Scheduling, old.Scheduling)...)
	}
	return errs
}
