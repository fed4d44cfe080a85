package kinds

import (
	"context"
	"strconv"
	"strings"

	"github.com/gardener/gardener/pkg/apis/core"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"

	"github.com/loam-cloud/loam/garden/strategy"
)

func coreKinds(shoots shootRules) []strategy.Kind {
	return []strategy.Kind{
		shootKind(shoots),
		projectKind(),
		seedKind(),
		cloudProfileKind(),
		namespacedCloudProfileKind(),
		backupBucketKind(),
		backupEntryKind(),
		controllerRegistrationKind(),
		controllerDeploymentKind(),
		controllerInstallationKind(),
		exposureClassKind(),
		quotaKind(),
		secretBindingKind(),
		internalSecretKind(),
		shootStateKind(),
	}
}

func projectKind() strategy.Kind {
	return strategy.Define[core.Project, core.ProjectList](strategy.Definition[core.Project]{
		Resource: "projects", Singular: "project", ClusterScoped: true,
		Columns: []strategy.Column[core.Project]{
			{Name: "Namespace", Description: "Namespace of the project.", Cell: func(p *core.Project) any { return deref(p.Spec.Namespace) }},
			{Name: "Status", Description: "Phase of the project.", Cell: func(p *core.Project) any { return string(p.Status.Phase) }},
			{Name: "Owner", Description: "Who owns the project.", Cell: func(p *core.Project) any { return subjectName(p.Spec.Owner) }},
			{Name: "Creator", Description: "Who created the project.", Wide: true, Cell: func(p *core.Project) any { return subjectName(p.Spec.CreatedBy) }},
		},
		Fields: func(p *core.Project) fields.Set {
			return fields.Set{core.ProjectNamespace: deref(p.Spec.Namespace)}
		},
		Index:            []string{core.ProjectNamespace},
		PrepareForCreate: recordProjectCreator,
		ValidateName:     projectName,
		Validate:         validateProject,
	})
}

func seedKind() strategy.Kind {
	return strategy.Define[core.Seed, core.SeedList](strategy.Definition[core.Seed]{
		Resource: "seeds", Singular: "seed", ClusterScoped: true,
		Columns: []strategy.Column[core.Seed]{
			{Name: "Status", Description: "Whether the seed is ready for clusters.", Cell: func(s *core.Seed) any { return readiness(s.Status.Conditions) }},
			{Name: "Last Operation", Description: "What was last done to the seed.", Cell: func(s *core.Seed) any { return lastOperation(s.Status.LastOperation) }},
			{Name: "Provider", Description: "Type of the seed's infrastructure.", Cell: func(s *core.Seed) any { return s.Spec.Provider.Type }},
			{Name: "Region", Description: "Region of the seed.", Cell: func(s *core.Seed) any { return s.Spec.Provider.Region }},
			{Name: "Version", Description: "Version of the seed's agent.", Cell: func(s *core.Seed) any { return agentVersion(s.Status.Gardener) }},
			{Name: "K8S Version", Description: "Kubernetes version of the seed.", Cell: func(s *core.Seed) any { return deref(s.Status.KubernetesVersion) }},
		},
		Validate: validateSeed,
	})
}

func cloudProfileKind() strategy.Kind {
	return strategy.Define[core.CloudProfile, core.CloudProfileList](strategy.Definition[core.CloudProfile]{
		Resource: "cloudprofiles", Singular: "cloudprofile", ShortNames: []string{"cprofile", "cpfl"}, ClusterScoped: true,
		WithoutGeneration: true,
		Columns: []strategy.Column[core.CloudProfile]{
			{Name: "Type", Description: "Type of infrastructure.", Cell: func(p *core.CloudProfile) any { return p.Spec.Type }},
			{Name: "Kubernetes", Description: "Kubernetes versions on offer.", Wide: true, Cell: func(p *core.CloudProfile) any { return versionList(p.Spec.Kubernetes.Versions) }},
		},
		Validate: validateCloudProfile,
	})
}

func namespacedCloudProfileKind() strategy.Kind {
	return strategy.Define[core.NamespacedCloudProfile, core.NamespacedCloudProfileList](strategy.Definition[core.NamespacedCloudProfile]{
		Resource: "namespacedcloudprofiles", Singular: "namespacedcloudprofile", ShortNames: []string{"nscpfl"},
		Columns: []strategy.Column[core.NamespacedCloudProfile]{
			{Name: "Parent", Description: "Cloud profile that it extends.", Cell: func(p *core.NamespacedCloudProfile) any { return p.Spec.Parent.Name }},
			{Name: "Type", Description: "Type of infrastructure.", Cell: func(p *core.NamespacedCloudProfile) any { return p.Status.CloudProfileSpec.Type }},
		},
		Fields: func(p *core.NamespacedCloudProfile) fields.Set {
			return fields.Set{core.NamespacedCloudProfileParentRefName: p.Spec.Parent.Name}
		},
		Validate: validateNamespacedCloudProfile,
	})
}

func backupBucketKind() strategy.Kind {
	return strategy.Define[core.BackupBucket, core.BackupBucketList](strategy.Definition[core.BackupBucket]{
		Resource: "backupbuckets", Singular: "backupbucket", ShortNames: []string{"bbc"}, ClusterScoped: true,
		Columns: []strategy.Column[core.BackupBucket]{
			{Name: "Status", Description: "What was last done to the bucket.", Cell: func(b *core.BackupBucket) any { return lastOperation(b.Status.LastOperation) }},
			{Name: "Provider", Description: "Type of the bucket's infrastructure.", Cell: func(b *core.BackupBucket) any { return b.Spec.Provider.Type }},
			{Name: "Region", Description: "Region of the bucket.", Cell: func(b *core.BackupBucket) any { return b.Spec.Provider.Region }},
			{Name: "Seed", Description: "Seed that uses the bucket.", Cell: func(b *core.BackupBucket) any { return deref(b.Spec.SeedName) }},
		},
		Fields: func(b *core.BackupBucket) fields.Set {
			ref := derefReference(b.Spec.ShootRef)
			return fields.Set{
				core.BackupBucketSeedName:          deref(b.Spec.SeedName),
				core.BackupBucketShootRefName:      ref.Name,
				core.BackupBucketShootRefNamespace: ref.Namespace,
			}
		},
		Validate: validateBackupBucket,
	})
}

func backupEntryKind() strategy.Kind {
	return strategy.Define[core.BackupEntry, core.BackupEntryList](strategy.Definition[core.BackupEntry]{
		Resource: "backupentries", Singular: "backupentry", ShortNames: []string{"bec"},
		Columns: []strategy.Column[core.BackupEntry]{
			{Name: "Status", Description: "What was last done to the entry.", Cell: func(b *core.BackupEntry) any { return lastOperation(b.Status.LastOperation) }},
			{Name: "Bucket", Description: "Bucket that holds the entry.", Cell: func(b *core.BackupEntry) any { return b.Spec.BucketName }},
			{Name: "Seed", Description: "Seed that writes the entry.", Cell: func(b *core.BackupEntry) any { return deref(b.Spec.SeedName) }},
		},
		Fields: func(b *core.BackupEntry) fields.Set {
			ref := derefReference(b.Spec.ShootRef)
			return fields.Set{
				core.BackupEntrySeedName:          deref(b.Spec.SeedName),
				core.BackupEntryBucketName:        b.Spec.BucketName,
				core.BackupEntryShootRefName:      ref.Name,
				core.BackupEntryShootRefNamespace: ref.Namespace,
			}
		},
		Validate: validateBackupEntry,
	})
}

func controllerRegistrationKind() strategy.Kind {
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
		Validate: validateControllerRegistration,
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
	})
}

func controllerInstallationKind() strategy.Kind {
	condition := func(name core.ConditionType) func(*core.ControllerInstallation) any {
		return func(i *core.ControllerInstallation) any { return conditionStatus(i.Status.Conditions, name) }
	}
	return strategy.Define[core.ControllerInstallation, core.ControllerInstallationList](strategy.Definition[core.ControllerInstallation]{
		Resource: "controllerinstallations", Singular: "controllerinstallation", ShortNames: []string{"ctrlinst"}, ClusterScoped: true,
		Columns: []strategy.Column[core.ControllerInstallation]{
			{Name: "Registration", Description: "What is installed.", Cell: func(i *core.ControllerInstallation) any { return i.Spec.RegistrationRef.Name }},
			{Name: "Seed", Description: "Where it is installed.", Cell: func(i *core.ControllerInstallation) any { return derefReference(i.Spec.SeedRef).Name }},
			{Name: "Valid", Description: "Whether it can be installed.", Cell: condition(core.ControllerInstallationValid)},
			{Name: "Installed", Description: "Whether it is installed.", Cell: condition(core.ControllerInstallationInstalled)},
			{Name: "Healthy", Description: "Whether it is healthy.", Cell: condition(core.ControllerInstallationHealthy)},
			{Name: "Progressing", Description: "Whether it is being rolled out.", Cell: condition(core.ControllerInstallationProgressing)},
		},
		Fields: func(i *core.ControllerInstallation) fields.Set {
			shoot := derefReference(i.Spec.ShootRef)
			return fields.Set{
				core.RegistrationRefName: i.Spec.RegistrationRef.Name,
				core.SeedRefName:         derefReference(i.Spec.SeedRef).Name,
				core.ShootRefName:        shoot.Name,
				core.ShootRefNamespace:   shoot.Namespace,
			}
		},
		Validate: validateControllerInstallation,
	})
}

func exposureClassKind() strategy.Kind {
	return strategy.Define[core.ExposureClass, core.ExposureClassList](strategy.Definition[core.ExposureClass]{
		Resource: "exposureclasses", Singular: "exposureclass", ShortNames: []string{"expclass", "expcls"}, ClusterScoped: true,
		WithoutGeneration: true,
		Columns: []strategy.Column[core.ExposureClass]{
			{Name: "Handler", Description: "What exposes the control plane.", Cell: func(c *core.ExposureClass) any { return c.Handler }},
		},
		Validate: validateExposureClass,
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
		Validate: validateQuota,
	})
}

func secretBindingKind() strategy.Kind {
	return strategy.Define[core.SecretBinding, core.SecretBindingList](strategy.Definition[core.SecretBinding]{
		Resource: "secretbindings", Singular: "secretbinding", ShortNames: []string{"sb"},
		WithoutGeneration: true,
		Columns: []strategy.Column[core.SecretBinding]{
			{Name: "Provider", Description: "Type of infrastructure.", Cell: func(b *core.SecretBinding) any {
				if b.Provider == nil {
					return ""
				}
				return b.Provider.Type
			}},
			{Name: "Secret", Description: "Namespace and name of the secret.", Cell: func(b *core.SecretBinding) any {
				return namespacedName(b.SecretRef.Namespace, b.SecretRef.Name)
			}},
		},
		Validate: validateSecretBinding,
	})
}

func internalSecretKind() strategy.Kind {
	return strategy.Define[core.InternalSecret, core.InternalSecretList](strategy.Definition[core.InternalSecret]{
		Resource: "internalsecrets", Singular: "internalsecret", ShortNames: []string{"isec"},
		WithoutGeneration: true,
		Columns: []strategy.Column[core.InternalSecret]{
			{Name: "Type", Description: "What kind of secret it is.", Cell: func(s *core.InternalSecret) any { return string(s.Type) }},
			{Name: "Data", Description: "Number of entries.", Cell: func(s *core.InternalSecret) any { return int64(len(s.Data)) }},
		},
		Fields: func(s *core.InternalSecret) fields.Set {
			return fields.Set{core.InternalSecretType: string(s.Type)}
		},
		PrepareForCreate: func(_ context.Context, s *core.InternalSecret) { defaultSecretType(s) },
		PrepareForUpdate: func(_ context.Context, s, _ *core.InternalSecret) { defaultSecretType(s) },
		Validate:         validateInternalSecret,
	})
}

// defaultSecretType names the type of a secret without one, as for Secrets.
func defaultSecretType(secret *core.InternalSecret) {
	if secret.Type == "" {
		secret.Type = corev1.SecretTypeOpaque
	}
}

func shootStateKind() strategy.Kind {
	return strategy.Define[core.ShootState, core.ShootStateList](strategy.Definition[core.ShootState]{
		Resource: "shootstates", Singular: "shootstate", ShortNames: []string{"ss"},
		Columns: []strategy.Column[core.ShootState]{
			{Name: "Extensions", Description: "Number of extension states.", Cell: func(s *core.ShootState) any { return int64(len(s.Spec.Extensions)) }},
			{Name: "Resources", Description: "Number of resources kept.", Cell: func(s *core.ShootState) any { return int64(len(s.Spec.Resources)) }},
		},
	})
}
