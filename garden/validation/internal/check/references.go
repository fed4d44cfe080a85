package check

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gardener/gardener/pkg/apis/core"
	securityv1alpha1 "github.com/gardener/gardener/pkg/apis/security/v1alpha1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// What references may lead to.
func secret() schema.GroupVersionKind { return corev1.SchemeGroupVersion.WithKind("Secret") }

func configMap() schema.GroupVersionKind { return corev1.SchemeGroupVersion.WithKind("ConfigMap") }

func workloadIdentity() schema.GroupVersionKind {
	return securityv1alpha1.SchemeGroupVersion.WithKind("WorkloadIdentity")
}

// CredentialsKinds are what credentials for backups, DNS and the like can be in.
func CredentialsKinds() []schema.GroupVersionKind {
	return []schema.GroupVersionKind{secret(), workloadIdentity()}
}

// ResourceKinds are what extensions can be given by name.
func ResourceKinds() []schema.GroupVersionKind {
	return []schema.GroupVersionKind{secret(), configMap(), workloadIdentity()}
}

// ChartResourceKinds are what a chart can be given by name.
func ChartResourceKinds() []schema.GroupVersionKind {
	return []schema.GroupVersionKind{secret(), configMap()}
}

// Reference wants a whole reference to an object in a namespace.
func Reference(path *field.Path, ref corev1.ObjectReference, kinds []schema.GroupVersionKind) field.ErrorList {
	errs := kind(path, ref.APIVersion, ref.Kind, kinds)
	errs = append(errs, objectName(path.Child("name"), ref.Name)...)
	if ref.Namespace == "" {
		return append(errs, field.Required(path.Child("namespace"), "is where the object lives"))
	}
	return append(errs, DNSLabel(path.Child("namespace"), ref.Namespace)...)
}

// NamedResources wants names that differ, each of an object of one of kinds.
func NamedResources(path *field.Path, resources []core.NamedResourceReference, kinds []schema.GroupVersionKind) field.ErrorList {
	var errs field.ErrorList
	for i, resource := range resources {
		path := path.Index(i)
		errs = append(errs, Required(path.Child("name"), resource.Name, "is the name by which configurations refer to the resource")...)
		errs = append(errs, LocalReference(path.Child("resourceRef"), resource.ResourceRef, kinds)...)
	}
	return append(errs, Unique(path, "name", resources, func(r core.NamedResourceReference) string { return r.Name })...)
}

func kind(path *field.Path, apiVersion, kind string, kinds []schema.GroupVersionKind) field.ErrorList {
	at := slices.IndexFunc(kinds, func(k schema.GroupVersionKind) bool { return k.Kind == kind })
	switch {
	case kind == "":
		return field.ErrorList{field.Required(path.Child("kind"), "is "+kindNames(kinds))}
	case at < 0:
		return field.ErrorList{field.Invalid(path.Child("kind"), kind, "must be "+kindNames(kinds))}
	}
	if want := kinds[at].GroupVersion().String(); apiVersion != want {
		return field.ErrorList{field.Invalid(path.Child("apiVersion"), apiVersion, fmt.Sprintf("must be %q for a %s", want, kind))}
	}
	return nil
}

func kindNames(kinds []schema.GroupVersionKind) string {
	names := make([]string, len(kinds))
	for i, kind := range kinds {
		names[i] = kind.Kind
	}
	return strings.Join(names, " or ")
}

func objectName(path *field.Path, name string) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "names the object")}
	}
	return DNSSubdomain(path, name)
}

// LocalReference wants a whole reference to an object in the same namespace.
func LocalReference(path *field.Path, ref autoscalingv1.CrossVersionObjectReference, kinds []schema.GroupVersionKind) field.ErrorList {
	return append(kind(path, ref.APIVersion, ref.Kind, kinds), objectName(path.Child("name"), ref.Name)...)
}

// AccessRestrictions wants names that differ.
func AccessRestrictions(path *field.Path, restrictions []core.AccessRestriction) field.ErrorList {
	var errs field.ErrorList
	for i, restriction := range restrictions {
		errs = append(errs, Required(path.Index(i).Child("name"), restriction.Name, "names the restriction")...)
	}
	return append(errs, Unique(path, "name", restrictions, func(r core.AccessRestriction) string { return r.Name })...)
}

// Extensions wants types that differ.
func Extensions(path *field.Path, extensions []core.Extension) field.ErrorList {
	var errs field.ErrorList
	for i, extension := range extensions {
		errs = append(errs, Required(path.Index(i).Child("type"), extension.Type, "is the type of the extension")...)
	}
	return append(errs, Unique(path, "type", extensions, func(e core.Extension) string { return e.Type })...)
}

// Tolerations wants taint keys that differ.
func Tolerations(path *field.Path, tolerations []core.Toleration) field.ErrorList {
	var errs field.ErrorList
	for i, toleration := range tolerations {
		errs = append(errs, Key(path.Index(i).Child("key"), toleration.Key, "is the key of a seed's taint")...)
	}
	return append(errs, Unique(path, "key", tolerations, func(t core.Toleration) string { return t.Key })...)
}
