package defaulting

import (
	"maps"
	"strings"

	"github.com/gardener/gardener/pkg/apis/core"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/loam-cloud/loam/garden/offers"
)

// Canonicalize brings two spellings of one thing to one: the former field for
// the cloud profile, whose kind may be left out, and Kubernetes versions with a
// "v", as image names have them. It tells which former fields were given.
func Canonicalize(shoot *core.Shoot) (former []string) {
	spec := &shoot.Spec
	if name := spec.CloudProfileName; name != nil {
		former = append(former, "spec.cloudProfileName: is a former field: use cloudProfile")
		if spec.CloudProfile == nil {
			spec.CloudProfile = &core.CloudProfileReference{Name: *name}
		}
		if spec.CloudProfile.Name == *name {
			// Two names that differ are left for validation.
			spec.CloudProfileName = nil
		}
	}
	if profile := spec.CloudProfile; profile != nil && profile.Kind == "" && profile.Name != "" {
		profile.Kind = v1beta1constants.CloudProfileReferenceKindCloudProfile
	}
	spec.Kubernetes.Version = offers.Plain(spec.Kubernetes.Version)
	for i := range spec.Provider.Workers {
		if kubernetes := spec.Provider.Workers[i].Kubernetes; kubernetes != nil && kubernetes.Version != nil {
			kubernetes.Version = new(offers.Plain(*kubernetes.Version))
		}
	}
	return former
}

// withoutSecretName is the first Kubernetes version with which credentials of
// DNS providers are named by credentialsRef only.
const withoutSecretName = "1.35"

// SyncDNS keeps the former and the present name of a DNS provider's credentials
// the same, up to the Kubernetes version with which the former goes; old is nil
// for a new Shoot.
func SyncDNS(shoot, old *core.Shoot) {
	if shoot.Spec.DNS == nil {
		return
	}
	gone := offers.AtLeast(shoot.Spec.Kubernetes.Version, withoutSecretName)
	for i := range shoot.Spec.DNS.Providers {
		provider := &shoot.Spec.DNS.Providers[i]
		ref := provider.CredentialsRef
		switch {
		case gone && old != nil && !offers.AtLeast(old.Spec.Kubernetes.Version, withoutSecretName) && ref != nil:
			// It may have been filled in here, so the user need not take it out.
			provider.SecretName = nil
		case gone:
		case provider.SecretName != nil && *provider.SecretName != "" && ref == nil:
			provider.CredentialsRef = &autoscalingv1.CrossVersionObjectReference{APIVersion: "v1", Kind: "Secret", Name: *provider.SecretName}
		case provider.SecretName == nil && ref != nil && ref.Kind == "Secret":
			provider.SecretName = new(ref.Name)
		}
	}
}

// Label keeps the labels by which extensions are found that a Shoot needs: one
// per type, with the value true. Those of former types go.
func Label(shoot *core.Shoot) {
	wanted := extensionLabels(shoot)
	maps.DeleteFunc(shoot.Labels, func(key, _ string) bool {
		_, keep := wanted[key]
		return !keep && isExtensionLabel(key)
	})
	if len(wanted) == 0 {
		return
	}
	if shoot.Labels == nil {
		shoot.Labels = map[string]string{}
	}
	maps.Copy(shoot.Labels, wanted)
}

func extensionLabelPrefixes() []string {
	return []string{
		v1beta1constants.LabelExtensionExtensionTypePrefix,
		v1beta1constants.LabelExtensionProviderTypePrefix,
		v1beta1constants.LabelExtensionDNSRecordTypePrefix,
		v1beta1constants.LabelExtensionNetworkingTypePrefix,
		v1beta1constants.LabelExtensionOperatingSystemConfigTypePrefix,
		v1beta1constants.LabelExtensionContainerRuntimeTypePrefix,
		v1beta1constants.LabelExtensionSelfHostedShootExposureTypePrefix,
	}
}

func isExtensionLabel(key string) bool {
	for _, prefix := range extensionLabelPrefixes() {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

func extensionLabels(shoot *core.Shoot) map[string]string {
	labels := map[string]string{}
	add := func(prefix, kind string) {
		// A type that makes no label is refused by validation.
		if key := prefix + kind; kind != "" && len(validation.IsQualifiedName(key)) == 0 {
			labels[key] = "true"
		}
	}
	spec := &shoot.Spec
	add(v1beta1constants.LabelExtensionProviderTypePrefix, spec.Provider.Type)
	for _, extension := range spec.Extensions {
		if extension.Disabled == nil || !*extension.Disabled {
			add(v1beta1constants.LabelExtensionExtensionTypePrefix, extension.Type)
		}
	}
	if spec.Networking != nil && spec.Networking.Type != nil {
		add(v1beta1constants.LabelExtensionNetworkingTypePrefix, *spec.Networking.Type)
	}
	if spec.DNS != nil {
		for _, provider := range spec.DNS.Providers {
			if provider.Type != nil && *provider.Type != "unmanaged" {
				add(v1beta1constants.LabelExtensionDNSRecordTypePrefix, *provider.Type)
			}
		}
	}
	for _, worker := range spec.Provider.Workers {
		if worker.Machine.Image != nil {
			add(v1beta1constants.LabelExtensionOperatingSystemConfigTypePrefix, worker.Machine.Image.Name)
		}
		if worker.CRI != nil {
			for _, runtime := range worker.CRI.ContainerRuntimes {
				add(v1beta1constants.LabelExtensionContainerRuntimeTypePrefix, runtime.Type)
			}
		}
		if worker.ControlPlane != nil && worker.ControlPlane.Exposure != nil && worker.ControlPlane.Exposure.Extension != nil && worker.ControlPlane.Exposure.Extension.Type != nil {
			add(v1beta1constants.LabelExtensionSelfHostedShootExposureTypePrefix, *worker.ControlPlane.Exposure.Extension.Type)
		}
	}
	return labels
}
