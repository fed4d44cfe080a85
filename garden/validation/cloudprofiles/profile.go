// Package cloudprofiles has the rules of CloudProfiles and
// NamespacedCloudProfiles: what a landscape may offer to its clusters.
//
// Package kinds calls it with the object, what it was before, and the parent of
// a namespaced profile. It is pure and must not know where objects are kept.
package cloudprofiles

import (
	"slices"

	"github.com/gardener/gardener/pkg/apis/core"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

// Validate returns every problem of a CloudProfile; old is nil on create.
func Validate(profile, old *core.CloudProfile) field.ErrorList {
	path, spec := field.NewPath("spec"), &profile.Spec
	errs := check.Required(path.Child("type"), spec.Type, "says what the machines are")
	if old != nil && old.Spec.Type != "" {
		errs = append(errs, check.Immutable(path.Child("type"), spec.Type, old.Spec.Type)...)
	}
	errs = append(errs, caBundle(path, spec.CABundle)...)
	versions := path.Child("kubernetes", "versions")
	errs = append(errs, expirableVersions(versions, spec.Kubernetes.Versions)...)
	errs = append(errs, capabilityDefinitions(path.Child("machineCapabilities"), spec.MachineCapabilities)...)

	images := path.Child("machineImages")
	if len(spec.MachineImages) == 0 {
		errs = append(errs, field.Required(images, "clusters need at least one image for their machines"))
	}
	errs = append(errs, machineImages(images, spec.MachineImages, spec.MachineCapabilities)...)
	types := path.Child("machineTypes")
	if len(spec.MachineTypes) == 0 {
		errs = append(errs, field.Required(types, "clusters need at least one type of machine"))
	}
	errs = append(errs, machineTypes(types, spec.MachineTypes, spec.MachineCapabilities)...)
	errs = append(errs, volumeTypes(path.Child("volumeTypes"), spec.VolumeTypes)...)
	errs = append(errs, regions(path.Child("regions"), spec)...)
	errs = append(errs, seedSelector(path.Child("seedSelector"), spec.SeedSelector)...)
	errs = append(errs, bastion(path.Child("bastion"), spec)...)
	return append(errs, limits(path.Child("limits"), spec.Limits)...)
}

func caBundle(spec *field.Path, bundle *string) field.ErrorList {
	if bundle == nil {
		return nil
	}
	return check.Certificates(spec.Child("caBundle"), *bundle)
}

func limits(path *field.Path, limits *core.Limits) field.ErrorList {
	if limits == nil || limits.MaxNodesTotal == nil {
		return nil
	}
	return check.AtLeast(path.Child("maxNodesTotal"), *limits.MaxNodesTotal, 1)
}

func seedSelector(path *field.Path, selector *core.SeedSelector) field.ErrorList {
	if selector == nil {
		return nil
	}
	errs := check.Selector(path, &selector.LabelSelector)
	types := path.Child("providerTypes")
	for i, kind := range selector.ProviderTypes {
		errs = append(errs, check.Required(types.Index(i), kind, `is the provider type of a seed, or "*" for all`)...)
	}
	return append(errs, check.UniqueStrings(types, selector.ProviderTypes)...)
}

func regions(path *field.Path, spec *core.CloudProfileSpec) field.ErrorList {
	var errs field.ErrorList
	if len(spec.Regions) == 0 {
		errs = append(errs, field.Required(path, "clusters need at least one region to be in"))
	}
	for i, region := range spec.Regions {
		path := path.Index(i)
		errs = append(errs, check.Required(path.Child("name"), region.Name, "names the region")...)
		errs = append(errs, check.Labels(path.Child("labels"), region.Labels)...)
		errs = append(errs, check.AccessRestrictions(path.Child("accessRestrictions"), region.AccessRestrictions)...)
		zones := path.Child("zones")
		for j, zone := range region.Zones {
			errs = append(errs, availabilityZone(zones.Index(j), zone, spec)...)
		}
		errs = append(errs, check.Unique(zones, "name", region.Zones, func(z core.AvailabilityZone) string { return z.Name })...)
	}
	return append(errs, check.Unique(path, "name", spec.Regions, func(r core.Region) string { return r.Name })...)
}

func availabilityZone(path *field.Path, zone core.AvailabilityZone, spec *core.CloudProfileSpec) field.ErrorList {
	errs := check.Required(path.Child("name"), zone.Name, "names the zone")
	machines := path.Child("unavailableMachineTypes")
	for i, name := range zone.UnavailableMachineTypes {
		if !slices.ContainsFunc(spec.MachineTypes, func(t core.MachineType) bool { return t.Name == name }) {
			errs = append(errs, field.Invalid(machines.Index(i), name, "must be one of spec.machineTypes"))
		}
	}
	errs = append(errs, check.UniqueStrings(machines, zone.UnavailableMachineTypes)...)
	volumes := path.Child("unavailableVolumeTypes")
	for i, name := range zone.UnavailableVolumeTypes {
		if !slices.ContainsFunc(spec.VolumeTypes, func(t core.VolumeType) bool { return t.Name == name }) {
			errs = append(errs, field.Invalid(volumes.Index(i), name, "must be one of spec.volumeTypes"))
		}
	}
	return append(errs, check.UniqueStrings(volumes, zone.UnavailableVolumeTypes)...)
}

// bastion wants what bastions are made of to be offered as well.
func bastion(path *field.Path, spec *core.CloudProfileSpec) field.ErrorList {
	if spec.Bastion == nil {
		return nil
	}
	machine, image := spec.Bastion.MachineType, spec.Bastion.MachineImage
	if machine == nil && image == nil {
		return field.ErrorList{field.Required(path, "has a machineType, a machineImage or both, or is left out")}
	}
	var errs field.ErrorList
	architecture := ""
	if machine != nil {
		name := path.Child("machineType", "name")
		at := slices.IndexFunc(spec.MachineTypes, func(t core.MachineType) bool { return t.Name == machine.Name })
		switch {
		case machine.Name == "":
			errs = append(errs, field.Required(name, "is one of spec.machineTypes"))
		case at < 0:
			errs = append(errs, field.Invalid(name, machine.Name, "must be one of spec.machineTypes"))
		default:
			architecture = spec.MachineTypes[at].GetArchitecture(spec.MachineCapabilities)
		}
	}
	if image != nil {
		errs = append(errs, bastionImage(path.Child("machineImage"), image, architecture, spec)...)
	}
	return errs
}

func bastionImage(path *field.Path, image *core.BastionMachineImage, architecture string, spec *core.CloudProfileSpec) field.ErrorList {
	at := slices.IndexFunc(spec.MachineImages, func(i core.MachineImage) bool { return i.Name == image.Name })
	switch {
	case image.Name == "":
		return field.ErrorList{field.Required(path.Child("name"), "is one of spec.machineImages")}
	case at < 0:
		return field.ErrorList{field.Invalid(path.Child("name"), image.Name, "must be one of spec.machineImages")}
	case image.Version == nil:
		return nil
	}
	versions := spec.MachineImages[at].Versions
	at = slices.IndexFunc(versions, func(v core.MachineImageVersion) bool { return v.Version == *image.Version })
	if at < 0 {
		return field.ErrorList{field.Invalid(path.Child("version"), *image.Version, "must be a version of this image in spec.machineImages")}
	}
	if architecture != "" && !versions[at].SupportsArchitecture(capabilitiesOf(spec.MachineCapabilities), architecture) {
		return field.ErrorList{field.Invalid(path.Child("version"), *image.Version, "must be for "+architecture+", the architecture of the bastion's machine type")}
	}
	return nil
}

// capabilitiesOf is the same as a map. Of those with one name the first counts.
func capabilitiesOf(definitions []core.CapabilityDefinition) core.Capabilities {
	all := make(core.Capabilities, len(definitions))
	for _, definition := range definitions {
		if _, known := all[definition.Name]; !known {
			all[definition.Name] = definition.Values
		}
	}
	return all
}
