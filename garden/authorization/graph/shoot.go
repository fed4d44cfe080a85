package graph

import (
	"github.com/gardener/gardener/pkg/apis/core"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
)

// ofShoot lets the seed that has a cluster, and the one that is to have it, see
// what the cluster is made of.
func ofShoot(shoot *core.Shoot) Facts {
	spec := &shoot.Spec
	facts := Facts{
		Seeds: names(spec.SeedName, shoot.Status.SeedName),
		Leads: []Key{{Namespace, "", shoot.Namespace}},
	}
	facts.lead(profile(shoot))
	if spec.SecretBindingName != nil {
		facts.lead([]Key{{SecretBinding, shoot.Namespace, *spec.SecretBindingName}})
	}
	if spec.CredentialsBindingName != nil {
		facts.lead([]Key{{CredentialsBinding, shoot.Namespace, *spec.CredentialsBindingName}})
	}
	if spec.ExposureClassName != nil {
		facts.lead([]Key{{ExposureClass, "", *spec.ExposureClassName}})
	}
	facts.lead(resources(shoot.Namespace, spec.Resources))
	if spec.DNS != nil {
		for _, provider := range spec.DNS.Providers {
			if provider.SecretName != nil {
				facts.lead([]Key{{Secret, shoot.Namespace, *provider.SecretName}})
			}
			if ref := provider.CredentialsRef; ref != nil {
				facts.lead(reference(shoot.Namespace, ref.Kind, ref.Name))
			}
		}
	}
	for _, worker := range spec.Provider.Workers {
		if worker.ControlPlane == nil || worker.ControlPlane.Backup == nil {
			continue
		}
		// Whoever writes a Shoot could name anybody's Secret.
		if ref := worker.ControlPlane.Backup.CredentialsRef; ref != nil && ref.Namespace == shoot.Namespace {
			facts.lead(objectReference(*ref))
		}
	}
	facts.lead(ofAPIServer(shoot.Namespace, spec.Kubernetes.KubeAPIServer))
	return facts
}

func profile(shoot *core.Shoot) []Key {
	switch ref := shoot.Spec.CloudProfile; {
	case ref != nil && ref.Kind == v1beta1constants.CloudProfileReferenceKindNamespacedCloudProfile:
		return []Key{{NamespacedCloudProfile, shoot.Namespace, ref.Name}}
	case ref != nil:
		return []Key{{CloudProfile, "", ref.Name}}
	case shoot.Spec.CloudProfileName != nil:
		return []Key{{CloudProfile, "", *shoot.Spec.CloudProfileName}}
	}
	return nil
}

// ofAPIServer is what a cluster's API server is configured from.
func ofAPIServer(namespace string, server *core.KubeAPIServerConfig) []Key {
	if server == nil {
		return nil
	}
	var keys []Key
	add := func(kind Kind, name string) {
		if name != "" {
			keys = append(keys, Key{kind, namespace, name})
		}
	}
	if audit := server.AuditConfig; audit != nil && audit.AuditPolicy != nil && audit.AuditPolicy.ConfigMapRef != nil {
		add(ConfigMap, audit.AuditPolicy.ConfigMapRef.Name)
	}
	if authentication := server.StructuredAuthentication; authentication != nil {
		add(ConfigMap, authentication.ConfigMapName)
	}
	if authorization := server.StructuredAuthorization; authorization != nil {
		add(ConfigMap, authorization.ConfigMapName)
		for _, kubeconfig := range authorization.Kubeconfigs {
			add(Secret, kubeconfig.SecretName)
		}
	}
	for _, plugin := range server.AdmissionPlugins {
		if plugin.KubeconfigSecretName != nil {
			add(Secret, *plugin.KubeconfigSecretName)
		}
	}
	return keys
}
