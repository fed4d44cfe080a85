package managedseedset

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	seedmanagementv1alpha1 "github.com/gardener/gardener/pkg/apis/seedmanagement/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/loam-cloud/loam/fault"
)

// placeholder is what stands for a replica's name in the domains of templates.
const placeholder = "replica-name"

// newShoot is the Shoot of a replica.
func newShoot(set *seedmanagementv1alpha1.ManagedSeedSet, name string) *gardencorev1beta1.Shoot {
	template := set.Spec.ShootTemplate.DeepCopy()
	shoot := &gardencorev1beta1.Shoot{ObjectMeta: metaOf(set, template.ObjectMeta, name), Spec: template.Spec}
	if dns := shoot.Spec.DNS; dns != nil && dns.Domain != nil {
		domain := strings.ReplaceAll(*dns.Domain, placeholder, name)
		dns.Domain = &domain
	}
	return shoot
}

// newManagedSeed is the ManagedSeed of a replica. Faults: Invalid if its
// configuration cannot be read.
func newManagedSeed(set *seedmanagementv1alpha1.ManagedSeedSet, name string) (*seedmanagementv1alpha1.ManagedSeed, error) {
	template := set.Spec.Template.DeepCopy()
	managed := &seedmanagementv1alpha1.ManagedSeed{ObjectMeta: metaOf(set, template.ObjectMeta, name), Spec: template.Spec}
	managed.Spec.Shoot = &seedmanagementv1alpha1.Shoot{Name: name}
	config, err := named(managed.Spec.Gardenlet.Config, name)
	if err != nil {
		return nil, fault.New(fault.Invalid, "spec.template.spec.gardenlet.config cannot be read: %w", err)
	}
	managed.Spec.Gardenlet.Config = config
	return managed, nil
}

// metaOf is a template's with the replica's name, made by the set.
func metaOf(set *seedmanagementv1alpha1.ManagedSeedSet, template metav1.ObjectMeta, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: set.Namespace, Name: name, Labels: template.Labels, Annotations: template.Annotations,
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(set, seedmanagementv1alpha1.SchemeGroupVersion.WithKind("ManagedSeedSet"))},
	}
}

// named writes a replica's name into the ingress domain of a gardenlet's
// configuration. All else stays as it was written, also what is not known here.
func named(config runtime.RawExtension, name string) (runtime.RawExtension, error) {
	if len(config.Raw) == 0 && config.Object != nil {
		text, err := json.Marshal(config.Object)
		if err != nil {
			return config, fmt.Errorf("writing %T: %w", config.Object, err)
		}
		config = runtime.RawExtension{Raw: text}
	}
	if !strings.Contains(string(config.Raw), placeholder) {
		return config, nil
	}
	content := map[string]any{}
	decoder := json.NewDecoder(bytes.NewReader(config.Raw))
	decoder.UseNumber() // large ones stay as they are
	if err := decoder.Decode(&content); err != nil {
		return config, fmt.Errorf("reading JSON: %w", err)
	}
	path := []string{"seedConfig", "spec", "ingress", "domain"}
	domain, found, err := unstructured.NestedString(content, path...)
	if err != nil || !found {
		return config, err
	}
	if err := unstructured.SetNestedField(content, strings.ReplaceAll(domain, placeholder, name), path...); err != nil {
		return config, err
	}
	text, err := json.Marshal(content)
	if err != nil {
		return config, fmt.Errorf("writing JSON: %w", err)
	}
	return runtime.RawExtension{Raw: text}, nil
}
