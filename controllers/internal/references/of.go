// Package references protects Secrets, ConfigMaps and WorkloadIdentities that
// Shoots, Seeds and ControllerDeployments refer to by a finalizer, which the three
// kinds share.
//
//	refers        -> finalizer on the object, then on all that it refers to
//	refers no more -> what no object of any kind refers to is released
//	deleted       -> the same, then the object's own finalizer goes
//
// The reference controllers of the three kinds are this. It must not know what is
// in a referenced object.
package references

import (
	"slices"

	gardencorev1 "github.com/gardener/gardener/pkg/apis/core/v1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	securityv1alpha1 "github.com/gardener/gardener/pkg/apis/security/v1alpha1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Reference names what is referred to.
type Reference struct {
	Kind schema.GroupVersionKind
	types.NamespacedName
}

// String is like "Secret garden-dev/audit".
func (r Reference) String() string { return r.Kind.Kind + " " + r.NamespacedName.String() }

// secrets, configMaps and identities are the kinds that are protected; references
// to others, or to other versions, do not count.
func secrets() schema.GroupVersionKind { return corev1.SchemeGroupVersion.WithKind("Secret") }

func configMaps() schema.GroupVersionKind { return corev1.SchemeGroupVersion.WithKind("ConfigMap") }

func identities() schema.GroupVersionKind {
	return securityv1alpha1.SchemeGroupVersion.WithKind("WorkloadIdentity")
}

func kinds() []schema.GroupVersionKind {
	return []schema.GroupVersionKind{secrets(), configMaps(), identities()}
}

// metadata is an empty object to read the metadata of a referenced one into.
func metadata(kind schema.GroupVersionKind) *metav1.PartialObjectMetadata {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(kind)
	return object
}

// collector gathers the references of one object, each once, in order.
type collector struct {
	namespace string
	all       []Reference
}

func (c *collector) add(kind schema.GroupVersionKind, name string) {
	ref := Reference{kind, types.NamespacedName{Namespace: c.namespace, Name: name}}
	if name != "" && !slices.Contains(c.all, ref) {
		c.all = append(c.all, ref)
	}
}

// addKnown adds a reference to one of the given kinds.
func (c *collector) addKnown(ref autoscalingv1.CrossVersionObjectReference, kinds ...schema.GroupVersionKind) {
	if kind := schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind); slices.Contains(kinds, kind) {
		c.add(kind, ref.Name)
	}
}

// OfShoot lists what a Shoot refers to, all in its namespace.
func OfShoot(shoot *gardencorev1beta1.Shoot) []Reference {
	c := &collector{namespace: shoot.Namespace}
	for _, resource := range shoot.Spec.Resources {
		c.addKnown(resource.ResourceRef, kinds()...)
	}
	if dns := shoot.Spec.DNS; dns != nil {
		for _, provider := range dns.Providers {
			if provider.CredentialsRef != nil {
				c.addKnown(*provider.CredentialsRef, secrets(), identities())
			}
		}
	}
	if server := shoot.Spec.Kubernetes.KubeAPIServer; server != nil {
		ofServer(c, server)
	}
	for _, worker := range shoot.Spec.Provider.Workers {
		if worker.ControlPlane == nil || worker.ControlPlane.Backup == nil || worker.ControlPlane.Backup.CredentialsRef == nil {
			continue
		}
		ref := worker.ControlPlane.Backup.CredentialsRef
		if ref.Namespace == "" || ref.Namespace == shoot.Namespace {
			c.addKnown(autoscalingv1.CrossVersionObjectReference{APIVersion: ref.APIVersion, Kind: ref.Kind, Name: ref.Name}, secrets(), identities())
		}
	}
	return c.all
}

func ofServer(c *collector, server *gardencorev1beta1.KubeAPIServerConfig) {
	if audit := server.AuditConfig; audit != nil && audit.AuditPolicy != nil && audit.AuditPolicy.ConfigMapRef != nil {
		c.add(configMaps(), audit.AuditPolicy.ConfigMapRef.Name)
	}
	if authentication := server.StructuredAuthentication; authentication != nil {
		c.add(configMaps(), authentication.ConfigMapName)
	}
	if authorization := server.StructuredAuthorization; authorization != nil {
		c.add(configMaps(), authorization.ConfigMapName)
		for _, kubeconfig := range authorization.Kubeconfigs {
			c.add(secrets(), kubeconfig.SecretName)
		}
	}
	for _, plugin := range server.AdmissionPlugins {
		c.add(secrets(), ptr.Deref(plugin.KubeconfigSecretName, ""))
	}
}

// OfSeed lists what a Seed refers to in the garden's namespace.
func OfSeed(seed *gardencorev1beta1.Seed, namespace string) []Reference {
	c := &collector{namespace: namespace}
	for _, resource := range seed.Spec.Resources {
		c.addKnown(resource.ResourceRef, kinds()...)
	}
	return c.all
}

// OfDeployment lists what a ControllerDeployment refers to in the garden's
// namespace.
func OfDeployment(deployment *gardencorev1.ControllerDeployment, namespace string) []Reference {
	c := &collector{namespace: namespace}
	for _, resource := range deployment.Resources {
		c.addKnown(resource.ResourceRef, secrets(), configMaps())
	}
	if deployment.Helm != nil && deployment.Helm.OCIRepository != nil {
		for _, ref := range []*corev1.LocalObjectReference{deployment.Helm.OCIRepository.PullSecretRef, deployment.Helm.OCIRepository.CABundleSecretRef} {
			if ref != nil {
				c.add(secrets(), ref.Name)
			}
		}
	}
	return c.all
}

// refers tells whether an object still needs what it refers to: until the
// controllers that look after it are done with its deletion.
func refers(object client.Object) bool {
	return object.GetDeletionTimestamp() == nil || slices.ContainsFunc(object.GetFinalizers(), func(name string) bool {
		// The second one holds ControllerDeployments for their registrations.
		return name == gardencorev1beta1.GardenerName || name == "core.gardener.cloud/controllerdeployment"
	})
}
