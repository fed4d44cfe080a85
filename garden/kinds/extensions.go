package kinds

import (
	"context"
	"fmt"
	"strings"

	"github.com/gardener/gardener/pkg/apis/core"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/garden/kinds/internal/cells"
	"github.com/loam-cloud/loam/garden/kinds/internal/lookup"
	"github.com/loam-cloud/loam/garden/strategy"
	"github.com/loam-cloud/loam/garden/validation/extensions"
)

func controllerRegistrationKind(r rules) strategy.Kind {
	return strategy.Define[core.ControllerRegistration, core.ControllerRegistrationList](strategy.Definition[core.ControllerRegistration]{
		Resource: "controllerregistrations", Singular: "controllerregistration", ShortNames: []string{"ctrlreg"}, ClusterScoped: true,
		Columns: []strategy.Column[core.ControllerRegistration]{
			{Name: "Resources", Description: "What the extension takes care of.", Cell: func(r *core.ControllerRegistration) any {
				var resources []string
				for _, resource := range r.Spec.Resources {
					resources = append(resources, resource.Kind+"/"+resource.Type)
				}
				return strings.Join(resources, ", ")
			}},
		},
		Validate: whenChanged(func(c *core.ControllerRegistration) any { return c.Spec }, r.validateRegistration),
	})
}

func controllerDeploymentKind() strategy.Kind {
	return strategy.Define[core.ControllerDeployment, core.ControllerDeploymentList](strategy.Definition[core.ControllerDeployment]{
		Resource: "controllerdeployments", Singular: "controllerdeployment", ShortNames: []string{"ctrldeploy"}, ClusterScoped: true,
		OtherVersions: []string{"v1"}, StorageVersion: "v1",
		Columns: []strategy.Column[core.ControllerDeployment]{
			{Name: "Type", Description: "How the extension is deployed.", Cell: func(d *core.ControllerDeployment) any {
				if d.Helm != nil {
					return "helm"
				}
				return d.Type
			}},
		},
		Validate: whenChanged(
			func(d *core.ControllerDeployment) any { return []any{d.Type, d.Helm, d.Resources} },
			alone(func(d, _ *core.ControllerDeployment) field.ErrorList { return extensions.ValidateDeployment(d) })),
	})
}

func controllerInstallationKind(r rules) strategy.Kind {
	condition := func(name core.ConditionType) func(*core.ControllerInstallation) any {
		return func(i *core.ControllerInstallation) any { return cells.Condition(i.Status.Conditions, name) }
	}
	return strategy.Define[core.ControllerInstallation, core.ControllerInstallationList](strategy.Definition[core.ControllerInstallation]{
		Resource: "controllerinstallations", Singular: "controllerinstallation", ShortNames: []string{"ctrlinst"}, ClusterScoped: true,
		Columns: []strategy.Column[core.ControllerInstallation]{
			{Name: "Registration", Description: "What is installed.", Cell: func(i *core.ControllerInstallation) any { return i.Spec.RegistrationRef.Name }},
			{Name: "Seed", Description: "Where it is installed.", Cell: func(i *core.ControllerInstallation) any {
				return ptr.Deref(i.Spec.SeedRef, corev1.ObjectReference{}).Name
			}},
			{Name: "Valid", Description: "Whether it can be installed.", Cell: condition(core.ControllerInstallationValid)},
			{Name: "Installed", Description: "Whether it is installed.", Cell: condition(core.ControllerInstallationInstalled)},
			{Name: "Healthy", Description: "Whether it is healthy.", Cell: condition(core.ControllerInstallationHealthy)},
			{Name: "Progressing", Description: "Whether it is being rolled out.", Cell: condition(core.ControllerInstallationProgressing)},
		},
		Fields: func(i *core.ControllerInstallation) fields.Set {
			shoot := ptr.Deref(i.Spec.ShootRef, corev1.ObjectReference{})
			return fields.Set{
				core.RegistrationRefName: i.Spec.RegistrationRef.Name,
				core.SeedRefName:         ptr.Deref(i.Spec.SeedRef, corev1.ObjectReference{}).Name,
				core.ShootRefName:        shoot.Name,
				core.ShootRefNamespace:   shoot.Namespace,
			}
		},
		Validate: whenChanged(func(c *core.ControllerInstallation) any { return c.Spec }, r.validateInstallation),
	})
}

func exposureClassKind() strategy.Kind {
	return strategy.Define[core.ExposureClass, core.ExposureClassList](strategy.Definition[core.ExposureClass]{
		Resource: "exposureclasses", Singular: "exposureclass", ShortNames: []string{"expclass", "expcls"}, ClusterScoped: true,
		WithoutGeneration: true,
		Columns: []strategy.Column[core.ExposureClass]{
			{Name: "Handler", Description: "What exposes the control plane.", Cell: func(c *core.ExposureClass) any { return c.Handler }},
		},
		Validate: whenChanged(func(c *core.ExposureClass) any { return []any{c.Handler, c.Scheduling} }, alone(extensions.ValidateExposureClass)),
	})
}

func (r rules) validateRegistration(ctx context.Context, registration, old *core.ControllerRegistration) field.ErrorList {
	return lookup.Again(func(freshness strategy.Freshness) field.ErrorList {
		others, err := r.Stores.List(ctx, core.Resource("controllerregistrations"), "", "", freshness)
		if err != nil {
			return field.ErrorList{field.InternalError(field.NewPath("spec", "resources"), fmt.Errorf("listing controller registrations: %w", err))}
		}
		primaries := map[extensions.Resource]string{}
		for _, other := range others {
			if other := other.(*core.ControllerRegistration); other.Name != registration.Name {
				for _, resource := range extensions.Primaries(other) {
					primaries[resource] = other.Name
				}
			}
		}
		errs := extensions.ValidateRegistration(registration, old, primaries)
		if registration.DeletionTimestamp != nil {
			return errs
		}
		for i, ref := range ptr.Deref(registration.Spec.Deployment, core.ControllerRegistrationDeployment{}).DeploymentRefs {
			if old != nil && namesDeployment(old, ref.Name) || ref.Name == "" {
				continue
			}
			path := field.NewPath("spec", "deployment", "deploymentRefs").Index(i).Child("name")
			errs = append(errs, r.Exists(ctx, path, core.Resource("controllerdeployments"), "", ref.Name, freshness)...)
		}
		return errs
	})
}

func namesDeployment(registration *core.ControllerRegistration, name string) bool {
	for _, ref := range ptr.Deref(registration.Spec.Deployment, core.ControllerRegistrationDeployment{}).DeploymentRefs {
		if ref.Name == name {
			return true
		}
	}
	return false
}

// validateInstallation looks for what a new installation names. Later it may be
// gone first: then the installation is what is left to clean up.
func (r rules) validateInstallation(ctx context.Context, installation, old *core.ControllerInstallation) field.ErrorList {
	return lookup.Again(func(freshness strategy.Freshness) field.ErrorList {
		errs := extensions.ValidateInstallation(installation, old)
		if old != nil {
			return errs
		}
		path, spec := field.NewPath("spec"), installation.Spec
		errs = append(errs, r.Exists(ctx, path.Child("registrationRef", "name"), core.Resource("controllerregistrations"), "", spec.RegistrationRef.Name, freshness)...)
		errs = append(errs, r.Exists(ctx, path.Child("seedRef", "name"), core.Resource("seeds"), "", ptr.Deref(spec.SeedRef, corev1.ObjectReference{}).Name, freshness)...)
		if shoot := ptr.Deref(spec.ShootRef, corev1.ObjectReference{}); shoot.Namespace != "" {
			errs = append(errs, r.Exists(ctx, path.Child("shootRef", "name"), core.Resource("shoots"), shoot.Namespace, shoot.Name, freshness)...)
		}
		return append(errs, r.Exists(ctx, path.Child("deploymentRef", "name"), core.Resource("controllerdeployments"), "", ptr.Deref(spec.DeploymentRef, corev1.ObjectReference{}).Name, freshness)...)
	})
}
