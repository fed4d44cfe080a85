package prefill

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/version"
	componentversion "k8s.io/component-base/version"
	schedulingdefaults "k8s.io/kubernetes/pkg/apis/scheduling/v1"
	"k8s.io/kubernetes/pkg/controller/certificates/rootcacertpublisher"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy"
)

// namespaces are those that every API server makes.
var namespaces = [...]string{metav1.NamespaceDefault, corev1.NamespaceNodeLease, metav1.NamespacePublic, metav1.NamespaceSystem}

// objects are what the cluster begins with. Default roles are those of the version
// that this program is built from: another minor's API server makes its own.
func (c Cluster) objects() ([]object, error) {
	of, err := version.ParseSemantic(c.KubernetesVersion)
	if err != nil {
		return nil, err
	}
	all := c.everywhere()
	if fmt.Sprintf("%d.%d", of.Major(), of.Minor()) == componentversion.DefaultKubeBinaryVersion {
		all = append(all, c.roles()...)
	}
	created := metav1.NewTime(c.Created).Rfc3339Copy()
	for _, o := range all {
		o.value.SetUID(c.NewUID())
		o.value.SetCreationTimestamp(created)
	}
	slices.SortFunc(all, func(a, b object) int { return strings.Compare(a.key, b.key) })
	return all, nil
}

// everywhere are the namespaces with what the controllers put into each, and the
// classes of the system's own pods.
func (c Cluster) everywhere() []object {
	var all []object
	for _, name := range namespaces {
		all = append(all,
			object{"/registry/namespaces/" + name, &corev1.Namespace{
				TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
				ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelMetadataName: name}},
				Spec:       corev1.NamespaceSpec{Finalizers: []corev1.FinalizerName{corev1.FinalizerKubernetes}},
				Status:     corev1.NamespaceStatus{Phase: corev1.NamespaceActive},
			}},
			object{"/registry/configmaps/" + name + "/" + rootcacertpublisher.RootCACertConfigMapName, &corev1.ConfigMap{
				TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
				ObjectMeta: metav1.ObjectMeta{
					Name: rootcacertpublisher.RootCACertConfigMapName, Namespace: name,
					Annotations: map[string]string{rootcacertpublisher.DescriptionAnnotation: rootcacertpublisher.Description},
				},
				Data: map[string]string{"ca.crt": string(c.CA)},
			}},
			serviceAccount(name, "default"))
	}
	for _, class := range schedulingdefaults.SystemPriorityClasses() {
		class.TypeMeta = metav1.TypeMeta{APIVersion: schedulingv1.SchemeGroupVersion.String(), Kind: "PriorityClass"}
		class.Generation = 1
		all = append(all, object{"/registry/priorityclasses/" + class.Name, class})
	}
	return all
}

func serviceAccount(namespace, name string) object {
	return object{"/registry/serviceaccounts/" + namespace + "/" + name, &corev1.ServiceAccount{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
	}}
}

// roles are those that an API server looks for at each start, and the accounts of
// the controllers that have them.
func (c Cluster) roles() []object {
	var all []object
	for _, role := range slices.Concat(bootstrappolicy.ClusterRoles(), bootstrappolicy.ControllerRoles()) {
		role.TypeMeta = typeMeta("ClusterRole")
		all = append(all, object{"/registry/clusterroles/" + role.Name, &role})
	}
	controllers := bootstrappolicy.ControllerRoleBindings()
	for _, binding := range slices.Concat(bootstrappolicy.ClusterRoleBindings(), controllers) {
		binding.TypeMeta = typeMeta("ClusterRoleBinding")
		all = append(all, object{"/registry/clusterrolebindings/" + binding.Name, &binding})
	}
	for namespace, roles := range bootstrappolicy.NamespaceRoles() {
		for _, role := range roles {
			role.TypeMeta, role.Namespace = typeMeta("Role"), namespace
			all = append(all, object{"/registry/roles/" + namespace + "/" + role.Name, &role})
		}
	}
	for namespace, bindings := range bootstrappolicy.NamespaceRoleBindings() {
		for _, binding := range bindings {
			binding.TypeMeta, binding.Namespace = typeMeta("RoleBinding"), namespace
			all = append(all, object{"/registry/rolebindings/" + namespace + "/" + binding.Name, &binding})
		}
	}
	for _, binding := range controllers {
		for _, subject := range binding.Subjects {
			all = append(all, serviceAccount(subject.Namespace, subject.Name))
		}
	}
	return all
}

func typeMeta(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: kind}
}
