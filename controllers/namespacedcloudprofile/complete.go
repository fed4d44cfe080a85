package namespacedcloudprofile

import (
	"slices"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
)

// complete fills in what the API server fills in for a CloudProfile, and brings
// images and machine types to the form that the profile describes them in: by
// capabilities if it defines some, else by architectures. A namespaced profile
// may be written in either, and its parent may have changed since.
func complete(spec *gardencorev1beta1.CloudProfileSpec) {
	definitions := spec.MachineCapabilities
	for i := range spec.MachineImages {
		image := &spec.MachineImages[i]
		gardencorev1beta1.SetDefaults_MachineImage(image)
		if image.Versions == nil {
			image.Versions = []gardencorev1beta1.MachineImageVersion{}
		}
		for j := range image.Versions {
			gardencorev1beta1.SetDefaults_MachineImageVersion(&image.Versions[j])
			completeImage(&image.Versions[j], definitions)
		}
	}
	for i := range spec.MachineTypes {
		gardencorev1beta1.SetDefaults_MachineType(&spec.MachineTypes[i])
		completeMachine(&spec.MachineTypes[i], definitions)
	}
	for i := range spec.VolumeTypes {
		gardencorev1beta1.SetDefaults_VolumeType(&spec.VolumeTypes[i])
	}
}

func completeImage(version *gardencorev1beta1.MachineImageVersion, definitions []gardencorev1beta1.CapabilityDefinition) {
	known := withArchitecture(definitions)
	if len(version.CapabilityFlavors) > 0 {
		// Flavors say more than the list, which follows them.
		version.Architectures = nil
	}
	for _, flavor := range version.CapabilityFlavors {
		for _, architecture := range gardencorev1beta1.GetCapabilitiesWithAppliedDefaults(flavor.Capabilities, known)[v1beta1constants.ArchitectureName] {
			if !slices.Contains(version.Architectures, architecture) {
				version.Architectures = append(version.Architectures, architecture)
			}
		}
	}
	if len(version.Architectures) == 0 {
		// An image of which nothing is said has every capability.
		version.Architectures = gardencorev1beta1.GetCapabilitiesWithAppliedDefaults(nil, known)[v1beta1constants.ArchitectureName]
	}
	if len(version.Architectures) == 0 {
		version.Architectures = []string{v1beta1constants.ArchitectureAMD64}
	}
	switch {
	case len(definitions) == 0:
		version.CapabilityFlavors = nil
	case defines(definitions, v1beta1constants.ArchitectureName) && len(version.CapabilityFlavors) == 0:
		for _, architecture := range version.Architectures {
			version.CapabilityFlavors = append(version.CapabilityFlavors, gardencorev1beta1.MachineImageFlavor{Capabilities: only(architecture)})
		}
	}
}

func completeMachine(machine *gardencorev1beta1.MachineType, definitions []gardencorev1beta1.CapabilityDefinition) {
	architecture := machine.GetArchitecture(withArchitecture(definitions))
	if architecture == "" {
		architecture = v1beta1constants.ArchitectureAMD64
	}
	machine.Architecture = &architecture
	switch {
	case len(definitions) == 0:
		machine.Capabilities = nil
	case defines(definitions, v1beta1constants.ArchitectureName) && len(machine.Capabilities[v1beta1constants.ArchitectureName]) == 0:
		if machine.Capabilities == nil {
			machine.Capabilities = gardencorev1beta1.Capabilities{}
		}
		machine.Capabilities[v1beta1constants.ArchitectureName] = []string{architecture}
	}
}

func only(architecture string) gardencorev1beta1.Capabilities {
	return gardencorev1beta1.Capabilities{v1beta1constants.ArchitectureName: []string{architecture}}
}

func defines(definitions []gardencorev1beta1.CapabilityDefinition, name string) bool {
	return slices.ContainsFunc(definitions, func(d gardencorev1beta1.CapabilityDefinition) bool { return d.Name == name })
}

// withArchitecture also reads the architecture where the profile does not define
// it as a capability. It has no value of its own then.
func withArchitecture(definitions []gardencorev1beta1.CapabilityDefinition) []gardencorev1beta1.CapabilityDefinition {
	if defines(definitions, v1beta1constants.ArchitectureName) {
		return definitions
	}
	return append(slices.Clip(definitions), gardencorev1beta1.CapabilityDefinition{Name: v1beta1constants.ArchitectureName})
}
