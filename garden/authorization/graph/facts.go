package graph

import (
	"strings"

	"github.com/gardener/gardener/pkg/apis/core"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	"github.com/gardener/gardener/pkg/apis/operations"
	"github.com/gardener/gardener/pkg/apis/security"
	"github.com/gardener/gardener/pkg/apis/seedmanagement"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	loamv1alpha1 "github.com/loam-cloud/loam/api/v1alpha1"
)

// Of returns what an object says; found is false for kinds that say nothing.
// Objects of Gardener's groups are the internal types.
func Of(obj runtime.Object) (key Key, facts Facts, found bool) {
	found = true
	switch o := obj.(type) {
	case *core.Shoot:
		key, facts = Key{Shoot, o.Namespace, o.Name}, ofShoot(o)
	case *core.Seed:
		key, facts = Key{Seed, "", o.Name}, ofSeed(o)
	case *core.Project:
		key = Key{Project, "", o.Name}
		if o.Spec.Namespace != nil {
			facts.Led = []Key{{Namespace, "", *o.Spec.Namespace}}
		}
	case *core.NamespacedCloudProfile:
		key = Key{NamespacedCloudProfile, o.Namespace, o.Name}
		facts.Leads = []Key{{CloudProfile, "", o.Spec.Parent.Name}}
	case *core.BackupBucket:
		key, facts = Key{BackupBucket, "", o.Name}, ofBackupBucket(o)
	case *core.BackupEntry:
		key = Key{BackupEntry, o.Namespace, o.Name}
		facts.Seeds = names(o.Spec.SeedName, o.Status.SeedName)
		facts.Leads = []Key{{BackupBucket, "", o.Spec.BucketName}, {Namespace, "", o.Namespace}}
	case *core.ControllerInstallation:
		key, facts = Key{ControllerInstallation, "", o.Name}, ofInstallation(o)
	case *core.ControllerRegistration:
		key = Key{ControllerRegistration, "", o.Name}
		if o.Spec.Deployment != nil {
			for _, ref := range o.Spec.Deployment.DeploymentRefs {
				facts.Leads = append(facts.Leads, Key{ControllerDeployment, "", ref.Name})
			}
		}
	case *core.ControllerDeployment:
		key, facts = Key{ControllerDeployment, "", o.Name}, ofDeployment(o)
	case *core.SecretBinding:
		key = Key{SecretBinding, o.Namespace, o.Name}
		facts.Leads = append(quotas(o.Quotas), Key{Secret, o.SecretRef.Namespace, o.SecretRef.Name})
	case *security.CredentialsBinding:
		key = Key{CredentialsBinding, o.Namespace, o.Name}
		facts.Leads = append(quotas(o.Quotas), reference(o.CredentialsRef.Namespace, o.CredentialsRef.Kind, o.CredentialsRef.Name)...)
	case *operations.Bastion:
		key = Key{Bastion, o.Namespace, o.Name}
		facts.Seeds = names(o.Spec.SeedName)
	case *seedmanagement.ManagedSeed:
		key, facts = Key{ManagedSeed, o.Namespace, o.Name}, ofManagedSeed(o)
	case *seedmanagement.Gardenlet:
		key = Key{Gardenlet, o.Namespace, o.Name}
		if o.Namespace == v1beta1constants.GardenNamespace {
			facts.Seeds = []string{o.Name}
		}
	case *loamv1alpha1.Machine:
		key = Key{Machine, o.Namespace, o.Name}
		facts.Led = []Key{{Shoot, o.Namespace, o.Spec.ShootName}}
	case *certificatesv1.CertificateSigningRequest:
		key = Key{CertificateSigningRequest, "", o.Name}
		if seed, ok := strings.CutPrefix(o.Spec.Username, v1beta1constants.SeedUserNamePrefix); ok {
			facts.Seeds = []string{seed}
		}
	default:
		found = false
	}
	return key, facts, found
}

func ofSeed(seed *core.Seed) Facts {
	facts := Facts{Seeds: []string{seed.Name}}
	if backup := seed.Spec.Backup; backup != nil && backup.CredentialsRef != nil {
		facts.lead(objectReference(*backup.CredentialsRef))
	}
	dns := seed.Spec.DNS
	if dns.Provider != nil && dns.Provider.CredentialsRef != nil {
		facts.lead(objectReference(*dns.Provider.CredentialsRef))
	}
	if dns.Internal != nil {
		facts.lead(objectReference(dns.Internal.CredentialsRef))
	}
	for _, domain := range dns.Defaults {
		facts.lead(objectReference(domain.CredentialsRef))
	}
	facts.lead(resources(v1beta1constants.GardenNamespace, seed.Spec.Resources))
	return facts
}

func ofBackupBucket(bucket *core.BackupBucket) Facts {
	facts := Facts{Seeds: names(bucket.Spec.SeedName)}
	if ref := bucket.Spec.CredentialsRef; ref != nil {
		facts.lead(objectReference(*ref))
	}
	if ref := bucket.Status.GeneratedSecretRef; ref != nil {
		facts.lead([]Key{{Secret, ref.Namespace, ref.Name}})
	}
	return facts
}

func ofInstallation(installation *core.ControllerInstallation) Facts {
	spec := installation.Spec
	facts := Facts{Leads: []Key{{ControllerRegistration, "", spec.RegistrationRef.Name}}}
	if spec.SeedRef != nil {
		facts.Seeds = []string{spec.SeedRef.Name}
	}
	if spec.DeploymentRef != nil {
		facts.Leads = append(facts.Leads, Key{ControllerDeployment, "", spec.DeploymentRef.Name})
	}
	for _, ref := range spec.ResourceRefs {
		facts.lead(objectReference(ref))
	}
	return facts
}

func ofDeployment(deployment *core.ControllerDeployment) Facts {
	var facts Facts
	facts.lead(resources(v1beta1constants.GardenNamespace, deployment.Resources))
	if deployment.Helm != nil && deployment.Helm.OCIRepository != nil {
		for _, ref := range []*corev1.LocalObjectReference{deployment.Helm.OCIRepository.PullSecretRef, deployment.Helm.OCIRepository.CABundleSecretRef} {
			if ref != nil {
				facts.lead([]Key{{Secret, v1beta1constants.GardenNamespace, ref.Name}})
			}
		}
	}
	return facts
}

// ofManagedSeed lets the seed that hosts the cluster see the Seed that the
// cluster becomes. Outside the garden's own namespace a ManagedSeed is anybody's
// and says nothing: it could name any Seed.
func ofManagedSeed(managed *seedmanagement.ManagedSeed) Facts {
	if managed.Namespace != v1beta1constants.GardenNamespace {
		return Facts{}
	}
	facts := Facts{Seeds: []string{managed.Name}, Leads: []Key{{Seed, "", managed.Name}}}
	if managed.Spec.Shoot != nil {
		facts.Led = []Key{{Shoot, managed.Namespace, managed.Spec.Shoot.Name}}
	}
	return facts
}

func (f *Facts) lead(to []Key) { f.Leads = append(f.Leads, to...) }

// names are the names that are there.
func names(all ...*string) []string {
	var found []string
	for _, name := range all {
		if name != nil && *name != "" {
			found = append(found, *name)
		}
	}
	return found
}

func quotas(refs []corev1.ObjectReference) []Key {
	var keys []Key
	for _, ref := range refs {
		keys = append(keys, Key{Quota, ref.Namespace, ref.Name})
	}
	return keys
}

func objectReference(ref corev1.ObjectReference) []Key {
	return reference(ref.Namespace, ref.Kind, ref.Name)
}

// reference is what a reference to credentials or other data leads to; kinds
// that the graph does not know lead nowhere.
func reference(namespace, kind, name string) []Key {
	for known, as := range map[string]Kind{
		"Secret": Secret, "ConfigMap": ConfigMap, "InternalSecret": InternalSecret, "WorkloadIdentity": WorkloadIdentity,
	} {
		if kind == known && name != "" {
			return []Key{{as, namespace, name}}
		}
	}
	return nil
}

func resources(namespace string, refs []core.NamedResourceReference) []Key {
	var keys []Key
	for _, ref := range refs {
		keys = append(keys, reference(namespace, ref.ResourceRef.Kind, ref.ResourceRef.Name)...)
	}
	return keys
}
