package scheme

import (
	"fmt"

	authenticationv1alpha1 "github.com/gardener/gardener/pkg/apis/authentication/v1alpha1"
	"github.com/gardener/gardener/pkg/apis/core"
	coreinstall "github.com/gardener/gardener/pkg/apis/core/install"
	corev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	operationsinstall "github.com/gardener/gardener/pkg/apis/operations/install"
	securityinstall "github.com/gardener/gardener/pkg/apis/security/install"
	seedmanagementinstall "github.com/gardener/gardener/pkg/apis/seedmanagement/install"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"

	loamv1alpha1 "github.com/loam-cloud/loam/api/v1alpha1"
)

// ShootCloudProfileName is the field selector for a Shoot's cloud profile as a
// user would spell it. Gardener's own labels have a capital Name and Kind.
const ShootCloudProfileName = "spec.cloudProfile.name"

// MachineShootName is the field selector for the machines of a Shoot.
const MachineShootName = "spec.shootName"

// Server returns a scheme for the API server: all groups that the garden serves
// itself with internal types, defaults and conversions. Each call returns a new
// scheme. It differs from Gardener's in two points:
//
//   - A Shoot without a maintenance window is decoded without one. Gardener's
//     default draws a random hour at every decode, so each replace of a manifest
//     would move it; the Shoot's strategy fills it in once.
//   - spec.cloudProfile.name is a field label of Shoots, beside the capital one.
func Server() *runtime.Scheme {
	scheme := runtime.NewScheme()
	coreinstall.Install(scheme)
	seedmanagementinstall.Install(scheme)
	operationsinstall.Install(scheme)
	securityinstall.Install(scheme)
	installAuthentication(scheme)
	installLoam(scheme)

	// Overrides: the last registration wins.
	scheme.AddTypeDefaultingFunc(&corev1beta1.Shoot{}, func(obj any) { defaultShoot(obj.(*corev1beta1.Shoot)) })
	scheme.AddTypeDefaultingFunc(&corev1beta1.ShootList{}, func(obj any) {
		list := obj.(*corev1beta1.ShootList)
		for i := range list.Items {
			defaultShoot(&list.Items[i])
		}
	})
	shoot := corev1beta1.SchemeGroupVersion.WithKind("Shoot")
	utilruntime.Must(scheme.AddFieldLabelConversionFunc(shoot, shootFieldLabel))
	profile := corev1beta1.SchemeGroupVersion.WithKind("NamespacedCloudProfile")
	utilruntime.Must(scheme.AddFieldLabelConversionFunc(profile, namespacedCloudProfileFieldLabel))

	// What every request and answer needs beside the groups' own types.
	unversioned := schema.GroupVersion{Version: "v1"}
	metav1.AddToGroupVersion(scheme, unversioned)
	scheme.AddUnversionedTypes(unversioned, &metav1.Status{}, &metav1.APIVersions{}, &metav1.APIGroupList{}, &metav1.APIGroup{}, &metav1.APIResourceList{})
	return scheme
}

// installAuthentication registers the requests for kubeconfigs without their
// internal type, which is one for two of them.
func installAuthentication(scheme *runtime.Scheme) {
	utilruntime.Must(authenticationv1alpha1.AddToScheme(scheme))
	internal := schema.GroupVersion{Group: authenticationv1alpha1.GroupName, Version: runtime.APIVersionInternal}
	scheme.AddKnownTypes(internal, &authenticationv1alpha1.AdminKubeconfigRequest{}, &authenticationv1alpha1.ViewerKubeconfigRequest{})
	utilruntime.Must(scheme.SetVersionPriority(authenticationv1alpha1.SchemeGroupVersion))
}

// installLoam registers Loam's types as internal ones too: with one version
// there is nothing to convert, and the storage works on internal types.
func installLoam(scheme *runtime.Scheme) {
	utilruntime.Must(loamv1alpha1.AddToScheme(scheme))
	internal := schema.GroupVersion{Group: loamv1alpha1.GroupName, Version: runtime.APIVersionInternal}
	scheme.AddKnownTypes(internal, &loamv1alpha1.Machine{}, &loamv1alpha1.MachineList{})
	utilruntime.Must(scheme.SetVersionPriority(loamv1alpha1.SchemeGroupVersion))
	machine := loamv1alpha1.SchemeGroupVersion.WithKind("Machine")
	utilruntime.Must(scheme.AddFieldLabelConversionFunc(machine, machineFieldLabel))
}

func machineFieldLabel(label, value string) (string, string, error) {
	switch label {
	case "metadata.name", "metadata.namespace", MachineShootName:
		return label, value, nil
	default:
		return "", "", unknownLabel(label)
	}
}

func defaultShoot(shoot *corev1beta1.Shoot) {
	withoutWindow := shoot.Spec.Maintenance == nil || shoot.Spec.Maintenance.TimeWindow == nil
	corev1beta1.SetObjectDefaults_Shoot(shoot)
	if withoutWindow {
		shoot.Spec.Maintenance.TimeWindow = nil
	}
}

func shootFieldLabel(label, value string) (string, string, error) {
	switch label {
	case ShootCloudProfileName:
		return core.ShootCloudProfileRefName, value, nil
	case "metadata.name", "metadata.namespace", core.ShootSeedName, core.ShootStatusSeedName,
		core.ShootCloudProfileName, core.ShootCloudProfileRefName, core.ShootCloudProfileRefKind:
		return label, value, nil
	default:
		return "", "", unknownLabel(label)
	}
}

func namespacedCloudProfileFieldLabel(label, value string) (string, string, error) {
	switch label {
	case "metadata.name", "metadata.namespace", core.NamespacedCloudProfileParentRefName:
		return label, value, nil
	default:
		return "", "", unknownLabel(label)
	}
}

func unknownLabel(label string) error { return fmt.Errorf("field label not supported: %s", label) }
