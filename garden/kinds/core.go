package kinds

import (
	"context"
	"fmt"
	"strconv"

	"github.com/gardener/gardener/pkg/apis/core"
	rbacv1 "k8s.io/api/rbac/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/garden/kinds/internal/cells"
	"github.com/loam-cloud/loam/garden/kinds/internal/lookup"
	"github.com/loam-cloud/loam/garden/kinds/shoots"
	"github.com/loam-cloud/loam/garden/strategy"
	"github.com/loam-cloud/loam/garden/validation/cloudprofiles"
	"github.com/loam-cloud/loam/garden/validation/projects"
	"github.com/loam-cloud/loam/garden/validation/seeds"
)

func coreKinds(r rules) []strategy.Kind {
	return []strategy.Kind{
		shoots.Kind(r.Objects, r.clock),
		projectKind(r),
		seedKind(r),
		cloudProfileKind(),
		namespacedCloudProfileKind(r),
		backupBucketKind(r),
		backupEntryKind(r),
		controllerRegistrationKind(r),
		controllerDeploymentKind(),
		controllerInstallationKind(r),
		exposureClassKind(),
		quotaKind(),
		secretBindingKind(r),
		internalSecretKind(),
		shootStateKind(),
	}
}

func projectKind(r rules) strategy.Kind {
	return strategy.Define[core.Project, core.ProjectList](strategy.Definition[core.Project]{
		Resource: "projects", Singular: "project", ClusterScoped: true,
		Columns: []strategy.Column[core.Project]{
			{Name: "Namespace", Description: "Namespace of the project.", Cell: func(p *core.Project) any { return ptr.Deref(p.Spec.Namespace, "") }},
			{Name: "Status", Description: "Phase of the project.", Cell: func(p *core.Project) any { return string(p.Status.Phase) }},
			{Name: "Owner", Description: "Who owns the project.", Cell: func(p *core.Project) any { return ptr.Deref(p.Spec.Owner, rbacv1.Subject{}).Name }},
			{Name: "Creator", Description: "Who created the project.", Wide: true, Cell: func(p *core.Project) any { return ptr.Deref(p.Spec.CreatedBy, rbacv1.Subject{}).Name }},
		},
		Fields: func(p *core.Project) fields.Set {
			return fields.Set{core.ProjectNamespace: ptr.Deref(p.Spec.Namespace, "")}
		},
		Index:            []string{core.ProjectNamespace},
		PrepareForCreate: prepareProjectForCreate,
		PrepareForUpdate: func(_ context.Context, p, old *core.Project) { prepareProjectForUpdate(p, old) },
		ValidateName:     projects.Name,
		Validate:         whenChanged(func(p *core.Project) any { return p.Spec }, r.validateProject),
		ValidateDelete:   confirmed[*core.Project](core.Resource("projects")),
	})
}

func seedKind(r rules) strategy.Kind {
	return strategy.Define[core.Seed, core.SeedList](strategy.Definition[core.Seed]{
		Resource: "seeds", Singular: "seed", ClusterScoped: true,
		Columns: []strategy.Column[core.Seed]{
			{Name: "Status", Description: "Whether the seed is ready for clusters.", Cell: func(s *core.Seed) any { return cells.Readiness(s.Status.Conditions) }},
			{Name: "Last Operation", Description: "What was last done to the seed.", Cell: func(s *core.Seed) any { return cells.LastOperation(s.Status.LastOperation) }},
			{Name: "Provider", Description: "Type of the seed's infrastructure.", Cell: func(s *core.Seed) any { return s.Spec.Provider.Type }},
			{Name: "Region", Description: "Region of the seed.", Cell: func(s *core.Seed) any { return s.Spec.Provider.Region }},
			{Name: "Version", Description: "Version of the seed's agent.", Cell: func(s *core.Seed) any { return ptr.Deref(s.Status.Gardener, core.Gardener{}).Version }},
			{Name: "K8S Version", Description: "Kubernetes version of the seed.", Cell: func(s *core.Seed) any { return ptr.Deref(s.Status.KubernetesVersion, "") }},
		},
		ValidateName:   seeds.Name,
		Validate:       whenChanged(func(s *core.Seed) any { return s.Spec }, alone(seeds.Validate)),
		ValidateStatus: alone(seeds.ValidateStatus),
		ValidateDelete: r.seedIsUnused,
	})
}

func cloudProfileKind() strategy.Kind {
	return strategy.Define[core.CloudProfile, core.CloudProfileList](strategy.Definition[core.CloudProfile]{
		Resource: "cloudprofiles", Singular: "cloudprofile", ShortNames: []string{"cprofile", "cpfl"}, ClusterScoped: true,
		WithoutGeneration: true,
		Columns: []strategy.Column[core.CloudProfile]{
			{Name: "Type", Description: "Type of infrastructure.", Cell: func(p *core.CloudProfile) any { return p.Spec.Type }},
			{Name: "Kubernetes", Description: "Kubernetes versions on offer.", Wide: true, Cell: func(p *core.CloudProfile) any { return cells.Versions(p.Spec.Kubernetes.Versions) }},
		},
		Validate: whenChanged(func(p *core.CloudProfile) any { return p.Spec }, alone(cloudprofiles.Validate)),
	})
}

func namespacedCloudProfileKind(r rules) strategy.Kind {
	return strategy.Define[core.NamespacedCloudProfile, core.NamespacedCloudProfileList](strategy.Definition[core.NamespacedCloudProfile]{
		Resource: "namespacedcloudprofiles", Singular: "namespacedcloudprofile", ShortNames: []string{"nscpfl"},
		Columns: []strategy.Column[core.NamespacedCloudProfile]{
			{Name: "Parent", Description: "Cloud profile that it extends.", Cell: func(p *core.NamespacedCloudProfile) any { return p.Spec.Parent.Name }},
			{Name: "Type", Description: "Type of infrastructure.", Cell: func(p *core.NamespacedCloudProfile) any { return p.Status.CloudProfileSpec.Type }},
		},
		Fields: func(p *core.NamespacedCloudProfile) fields.Set {
			return fields.Set{core.NamespacedCloudProfileParentRefName: p.Spec.Parent.Name}
		},
		Validate: whenChanged(func(p *core.NamespacedCloudProfile) any { return p.Spec }, r.validateNamespacedCloudProfile),
	})
}

func quotaKind() strategy.Kind {
	return strategy.Define[core.Quota, core.QuotaList](strategy.Definition[core.Quota]{
		Resource: "quotas", Singular: "quota", ShortNames: []string{"squota"},
		WithoutGeneration: true,
		Columns: []strategy.Column[core.Quota]{
			{Name: "Scope", Description: "What the quota counts over.", Cell: func(q *core.Quota) any { return q.Spec.Scope.Kind }},
			{Name: "Lifetime", Description: "Days that a cluster lives.", Cell: func(q *core.Quota) any {
				if q.Spec.ClusterLifetimeDays == nil {
					return ""
				}
				return strconv.Itoa(int(*q.Spec.ClusterLifetimeDays)) + "d"
			}},
		},
		Validate: whenChanged(func(q *core.Quota) any { return q.Spec }, alone(projects.ValidateQuota)),
	})
}

// prepareProjectForCreate names who made the project, and makes them its owner
// if no other is given.
func prepareProjectForCreate(ctx context.Context, project *core.Project) {
	if user, ok := genericapirequest.UserFrom(ctx); ok {
		creator := rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user.GetName()}
		project.Spec.CreatedBy = &creator
		if project.Spec.Owner == nil {
			project.Spec.Owner = creator.DeepCopy()
		}
	}
	projects.KeepOwner(project, nil)
}

// prepareProjectForUpdate keeps what was filled in when a manifest without it is
// written again.
func prepareProjectForUpdate(project, old *core.Project) {
	if project.Spec.CreatedBy == nil {
		project.Spec.CreatedBy = old.Spec.CreatedBy.DeepCopy()
	}
	if project.Spec.Owner == nil {
		project.Spec.Owner = old.Spec.Owner.DeepCopy()
	}
	if project.Spec.Namespace == nil && old.Spec.Namespace != nil {
		namespace := *old.Spec.Namespace
		project.Spec.Namespace = &namespace
	}
	projects.KeepOwner(project, old)
}

func (r rules) validateProject(ctx context.Context, project, old *core.Project) field.ErrorList {
	errs := r.mayTolerate(ctx, project, old)
	var facts projects.Facts
	if project.Spec.Namespace != nil && (old == nil || old.Spec.Namespace == nil) {
		others, err := r.Stores.List(ctx, core.Resource("projects"), core.ProjectNamespace, *project.Spec.Namespace, strategy.Current)
		if err != nil {
			return append(errs, field.InternalError(field.NewPath("spec", "namespace"), fmt.Errorf("looking for other projects of namespace %q: %w", *project.Spec.Namespace, err)))
		}
		for _, other := range others {
			if name := other.(*core.Project).Name; name != project.Name {
				facts.NamespaceOwner = name
			}
		}
	}
	return append(errs, projects.Validate(project, old, facts)...)
}

// whitelistVerb is the right to extend a project's list of taints that its
// clusters may tolerate.
const whitelistVerb = "modify-spec-tolerations-whitelist"

// mayTolerate wants a right of its own for who extends the list of taints that a
// project's clusters may tolerate: taints keep seeds for others.
func (r rules) mayTolerate(ctx context.Context, project, old *core.Project) field.ErrorList {
	wanted, had := ptr.Deref(project.Spec.Tolerations, core.ProjectTolerations{}).Whitelist, []core.Toleration(nil)
	if old != nil {
		had = ptr.Deref(old.Spec.Tolerations, core.ProjectTolerations{}).Whitelist
	}
	if apiequality.Semantic.DeepEqual(wanted, had) {
		return nil
	}
	return r.Allowed(ctx, field.NewPath("spec", "tolerations", "whitelist"), authorizer.AttributesRecord{
		Verb: whitelistVerb, APIGroup: core.GroupName, APIVersion: "v1beta1", Resource: "projects", Name: project.Name,
	})
}

// seedIsUnused keeps a seed as long as clusters are bound to it: without it
// nobody would look after them.
func (r rules) seedIsUnused(ctx context.Context, seed *core.Seed) error {
	bound, err := r.Stores.List(ctx, core.Resource("shoots"), core.ShootSeedName, seed.Name, strategy.Current)
	if err != nil {
		return fmt.Errorf("listing the clusters of seed %q: %w", seed.Name, err)
	}
	if len(bound) == 0 {
		return nil
	}
	first := bound[0].(*core.Shoot)
	return apierrors.NewForbidden(core.Resource("seeds"), seed.Name, fmt.Errorf("%d clusters are bound to it, for example %s", len(bound), cache.NewObjectName(first.Namespace, first.Name).String()))
}

func (r rules) validateNamespacedCloudProfile(ctx context.Context, profile, old *core.NamespacedCloudProfile) field.ErrorList {
	return lookup.Again(func(freshness strategy.Freshness) field.ErrorList {
		var parent *core.CloudProfileSpec
		if name := profile.Spec.Parent.Name; name != "" {
			found, err := lookup.Find[*core.CloudProfile](r.Stores.Get(ctx, core.Resource("cloudprofiles"), "", name, freshness))
			if err != nil {
				return field.ErrorList{field.InternalError(field.NewPath("spec", "parent", "name"), fmt.Errorf("reading cloud profile %q: %w", name, err))}
			}
			if found != nil {
				parent = &found.Spec
			}
		}
		return cloudprofiles.ValidateNamespaced(profile, old, parent)
	})
}
