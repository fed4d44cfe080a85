// Package extensions has the rules of what extends a landscape:
// ControllerRegistrations, ControllerDeployments, ControllerInstallations, and
// ExposureClasses.
//
// Package kinds calls it, and package seedmanagement for charts. It is pure and
// must not know where objects are kept.
package extensions

import (
	"fmt"
	"slices"

	"github.com/gardener/gardener/pkg/apis/core"
	extensionsv1alpha1 "github.com/gardener/gardener/pkg/apis/extensions/v1alpha1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

// resourceKinds returns the kinds that an extension can take care of.
func resourceKinds() []string {
	return []string{
		extensionsv1alpha1.BackupBucketResource, extensionsv1alpha1.BackupEntryResource, extensionsv1alpha1.BastionResource,
		extensionsv1alpha1.ContainerRuntimeResource, extensionsv1alpha1.ControlPlaneResource, extensionsv1alpha1.DNSRecordResource,
		extensionsv1alpha1.ExtensionResource, extensionsv1alpha1.InfrastructureResource, extensionsv1alpha1.NetworkResource,
		extensionsv1alpha1.OperatingSystemConfigResource, extensionsv1alpha1.SelfHostedShootExposureResource, extensionsv1alpha1.WorkerResource,
	}
}

// Resource is a kind of extension and a type of it.
type Resource struct{ Kind, Type string }

// Primaries returns the resources for which a registration is responsible.
func Primaries(registration *core.ControllerRegistration) []Resource {
	var all []Resource
	for _, resource := range registration.Spec.Resources {
		if isPrimary(resource) {
			all = append(all, Resource{resource.Kind, resource.Type})
		}
	}
	return all
}

func isPrimary(resource core.ControllerResource) bool {
	return resource.Primary == nil || *resource.Primary
}

// ValidateRegistration returns every problem of a ControllerRegistration; old is
// nil on create. Primaries says which other registration is responsible for a
// resource.
func ValidateRegistration(registration, old *core.ControllerRegistration, primaries map[Resource]string) field.ErrorList {
	path := field.NewPath("spec")
	if old != nil && registration.DeletionTimestamp != nil {
		return check.Immutable(path, registration.Spec, old.Spec)
	}
	resources := path.Child("resources")
	var errs field.ErrorList
	for i := range registration.Spec.Resources {
		resource, path := &registration.Spec.Resources[i], resources.Index(i)
		errs = append(errs, controllerResource(path, resource)...)
		if other := primaries[Resource{resource.Kind, resource.Type}]; other != "" && isPrimary(*resource) {
			errs = append(errs, field.Invalid(path.Child("primary"), true, fmt.Sprintf("must be false: %q is the primary one for %s %q", other, resource.Kind, resource.Type)))
		}
		if old != nil {
			errs = append(errs, samePrimary(path.Child("primary"), *resource, old.Spec.Resources)...)
		}
	}
	errs = append(errs, check.Unique(resources, "", registration.Spec.Resources, func(r core.ControllerResource) Resource {
		if r.Kind == "" || r.Type == "" {
			return Resource{}
		}
		return Resource{r.Kind, r.Type}
	})...)
	return append(errs, registrationDeployment(path.Child("deployment"), registration.Spec.Deployment)...)
}

func samePrimary(path *field.Path, resource core.ControllerResource, old []core.ControllerResource) field.ErrorList {
	at := slices.IndexFunc(old, func(r core.ControllerResource) bool { return r.Kind == resource.Kind && r.Type == resource.Type })
	if at < 0 {
		return nil
	}
	return check.Immutable(path, isPrimary(resource), isPrimary(old[at]))
}

func controllerResource(path *field.Path, resource *core.ControllerResource) field.ErrorList {
	errs := check.OneOf(path.Child("kind"), resource.Kind, resourceKinds()...)
	errs = append(errs, check.Required(path.Child("type"), resource.Type, "is a type of that kind, for example local")...)
	if timeout := resource.ReconcileTimeout; timeout != nil && timeout.Duration <= 0 {
		errs = append(errs, field.Invalid(path.Child("reconcileTimeout"), timeout.Duration.String(), "must be more than 0"))
	}
	if resource.Kind != extensionsv1alpha1.ExtensionResource {
		return append(errs, onlyForExtensions(path, resource)...)
	}
	if steps := resource.Lifecycle; steps != nil {
		for _, step := range []struct {
			name     string
			strategy *core.ControllerResourceLifecycleStrategy
			more     []core.ControllerResourceLifecycleStrategy
		}{
			{"reconcile", steps.Reconcile, []core.ControllerResourceLifecycleStrategy{core.AfterWorker}},
			{"delete", steps.Delete, nil},
			{"migrate", steps.Migrate, nil},
		} {
			if step.strategy != nil {
				errs = append(errs, check.OneOf(path.Child("lifecycle", step.name), *step.strategy, append([]core.ControllerResourceLifecycleStrategy{core.BeforeKubeAPIServer, core.AfterKubeAPIServer}, step.more...)...)...)
			}
		}
	}
	errs = append(errs, clusterTypes(path.Child("clusterCompatibility"), resource.ClusterCompatibility, nil)...)
	return append(errs, clusterTypes(path.Child("autoEnable"), resource.AutoEnable, resource.ClusterCompatibility)...)
}

// clusterTypes wants known types that are among allowed, if there are any.
func clusterTypes(path *field.Path, types, allowed []core.ClusterType) field.ErrorList {
	if len(allowed) == 0 {
		allowed = []core.ClusterType{core.ClusterTypeShoot, core.ClusterTypeSeed}
	}
	allowed = slices.Compact(slices.Sorted(slices.Values(allowed)))
	var errs field.ErrorList
	for i, kind := range types {
		errs = append(errs, check.OneOf(path.Index(i), kind, allowed...)...)
	}
	return append(errs, check.UniqueStrings(path, types)...)
}

func onlyForExtensions(path *field.Path, resource *core.ControllerResource) field.ErrorList {
	var errs field.ErrorList
	for _, part := range []struct {
		name string
		set  bool
	}{
		{"reconcileTimeout", resource.ReconcileTimeout != nil},
		{"lifecycle", resource.Lifecycle != nil},
		{"workerlessSupported", resource.WorkerlessSupported != nil},
		{"autoEnable", len(resource.AutoEnable) > 0},
		{"clusterCompatibility", len(resource.ClusterCompatibility) > 0},
	} {
		if part.set {
			errs = append(errs, field.Forbidden(path.Child(part.name), `only resources of kind "Extension" have it`))
		}
	}
	return errs
}

func registrationDeployment(path *field.Path, deployment *core.ControllerRegistrationDeployment) field.ErrorList {
	if deployment == nil {
		return nil
	}
	var errs field.ErrorList
	if deployment.Policy != nil {
		errs = append(errs, check.OneOf(path.Child("policy"), *deployment.Policy,
			core.ControllerDeploymentPolicyOnDemand, core.ControllerDeploymentPolicyAlways, core.ControllerDeploymentPolicyAlwaysExceptNoShoots)...)
	}
	errs = append(errs, check.Selector(path.Child("seedSelector"), deployment.SeedSelector)...)
	refs := path.Child("deploymentRefs")
	if len(deployment.DeploymentRefs) > 1 {
		errs = append(errs, field.TooMany(refs, len(deployment.DeploymentRefs), 1))
	}
	for i, ref := range deployment.DeploymentRefs {
		errs = append(errs, check.Required(refs.Index(i).Child("name"), ref.Name, "names a ControllerDeployment")...)
	}
	return errs
}
