// Package references lists the objects in a Shoot's namespace that the Shoot
// names.
//
// The garden's table of kinds calls it and looks whether they are there and the
// user may read them. It is pure.
package references

import (
	"github.com/gardener/gardener/pkg/apis/core"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Reference is an object in a Shoot's namespace that the Shoot names, for which
// the user must have the right to read it.
type Reference struct {
	// Group and Resource say where the object is served: "", "secrets".
	Group, Resource string
	Name            string
}

// Of lists what a Shoot names in its namespace, with the path of the
// name. What is not well-formed is left out: other rules name it.
func Of(shoot *core.Shoot) map[Reference]*field.Path {
	all := map[Reference]*field.Path{}
	add := func(path *field.Path, group, resource, name string) {
		ref := Reference{group, resource, name}
		if _, known := all[ref]; name != "" && !known {
			all[ref] = path
		}
	}
	spec, path := &shoot.Spec, field.NewPath("spec")
	if name := spec.CredentialsBindingName; name != nil {
		add(path.Child("credentialsBindingName"), "security.gardener.cloud", "credentialsbindings", *name)
	}
	if name := spec.SecretBindingName; name != nil {
		add(path.Child("secretBindingName"), core.GroupName, "secretbindings", *name)
	}
	for i, resource := range spec.Resources {
		at := path.Child("resources").Index(i).Child("resourceRef", "name")
		addByKind(add, at, resource.ResourceRef.Kind, resource.ResourceRef.Name)
	}
	if spec.DNS != nil {
		for i, provider := range spec.DNS.Providers {
			at := path.Child("dns", "providers").Index(i)
			if provider.SecretName != nil {
				add(at.Child("secretName"), "", "secrets", *provider.SecretName)
			}
			if ref := provider.CredentialsRef; ref != nil {
				addByKind(add, at.Child("credentialsRef", "name"), ref.Kind, ref.Name)
			}
		}
	}
	if server := spec.Kubernetes.KubeAPIServer; server != nil {
		addServerReferences(add, server, path.Child("kubernetes", "kubeAPIServer"))
	}
	for i, worker := range spec.Provider.Workers {
		if worker.ControlPlane == nil || worker.ControlPlane.Backup == nil || worker.ControlPlane.Backup.CredentialsRef == nil {
			continue
		}
		ref := worker.ControlPlane.Backup.CredentialsRef
		if ref.Namespace == "" || ref.Namespace == shoot.Namespace {
			addByKind(add, path.Child("provider", "workers").Index(i).Child("controlPlane", "backup", "credentialsRef", "name"), ref.Kind, ref.Name)
		}
	}
	return all
}

type adder func(path *field.Path, group, resource, name string)

func addByKind(add adder, path *field.Path, kind, name string) {
	switch kind {
	case "Secret":
		add(path, "", "secrets", name)
	case "ConfigMap":
		add(path, "", "configmaps", name)
	case "WorkloadIdentity":
		add(path, "security.gardener.cloud", "workloadidentities", name)
	}
}

func addServerReferences(add adder, server *core.KubeAPIServerConfig, path *field.Path) {
	if audit := server.AuditConfig; audit != nil && audit.AuditPolicy != nil && audit.AuditPolicy.ConfigMapRef != nil {
		add(path.Child("auditConfig", "auditPolicy", "configMapRef", "name"), "", "configmaps", audit.AuditPolicy.ConfigMapRef.Name)
	}
	if authentication := server.StructuredAuthentication; authentication != nil {
		add(path.Child("structuredAuthentication", "configMapName"), "", "configmaps", authentication.ConfigMapName)
	}
	if authorization := server.StructuredAuthorization; authorization != nil {
		at := path.Child("structuredAuthorization")
		add(at.Child("configMapName"), "", "configmaps", authorization.ConfigMapName)
		for i, kubeconfig := range authorization.Kubeconfigs {
			add(at.Child("kubeconfigs").Index(i).Child("secretName"), "", "secrets", kubeconfig.SecretName)
		}
	}
	for i, plugin := range server.AdmissionPlugins {
		if plugin.KubeconfigSecretName != nil {
			add(path.Child("admissionPlugins").Index(i).Child("kubeconfigSecretName"), "", "secrets", *plugin.KubeconfigSecretName)
		}
	}
}
