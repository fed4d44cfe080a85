package cloudprofiles

import (
	"fmt"
	"maps"
	"slices"

	"github.com/gardener/gardener/pkg/apis/core"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

func machineTypes(path *field.Path, types []core.MachineType, definitions []core.CapabilityDefinition) field.ErrorList {
	var errs field.ErrorList
	for i := range types {
		errs = append(errs, machineType(path.Index(i), &types[i], definitions)...)
	}
	return append(errs, check.Unique(path, "name", types, func(t core.MachineType) string { return t.Name })...)
}

func machineType(path *field.Path, machine *core.MachineType, definitions []core.CapabilityDefinition) field.ErrorList {
	errs := check.Required(path.Child("name"), machine.Name, "names the machine type")
	errs = append(errs, check.NonNegative(path.Child("cpu"), machine.CPU)...)
	errs = append(errs, check.NonNegative(path.Child("gpu"), machine.GPU)...)
	errs = append(errs, check.NonNegative(path.Child("memory"), machine.Memory)...)
	errs = append(errs, machineStorage(path.Child("storage"), machine.Storage)...)
	if settings := machine.MachineControllerManager; settings != nil && settings.MachineCreationTimeout != nil && settings.MachineCreationTimeout.Duration <= 0 {
		errs = append(errs, field.Invalid(path.Child("machineControllerManager", "machineCreationTimeout"), settings.MachineCreationTimeout.Duration.String(), "must be more than 0"))
	}
	if machine.Architecture != nil {
		errs = append(errs, check.OneOf(path.Child("architecture"), *machine.Architecture, v1beta1constants.ValidArchitectures...)...)
	}
	errs = append(errs, capabilities(path.Child("capabilities"), machine.Capabilities, definitions)...)
	return append(errs, machineArchitecture(path, machine, definitions)...)
}

// machineArchitecture wants one answer to what CPU a machine has, whether it is
// given by field or by capability.
func machineArchitecture(path *field.Path, machine *core.MachineType, definitions []core.CapabilityDefinition) field.ErrorList {
	offered := capabilitiesOf(definitions)[v1beta1constants.ArchitectureName]
	if len(offered) == 0 {
		return nil
	}
	capability := path.Child("capabilities").Key(v1beta1constants.ArchitectureName)
	own, given := machine.Capabilities[v1beta1constants.ArchitectureName]
	switch {
	case !given && len(offered) > 1:
		return field.ErrorList{field.Required(capability, fmt.Sprintf("says which of %s the machine has", quoted(offered)))}
	case len(own) > 1:
		return field.ErrorList{field.Invalid(capability, quoted(own), "must be one: a machine has one architecture")}
	}
	if !given {
		own = offered
	}
	if other := machine.Architecture; other != nil && len(own) == 1 && own[0] != *other {
		return field.ErrorList{field.Invalid(path.Child("architecture"), *other, fmt.Sprintf("must be %q, as the capability says, or be left out", own[0]))}
	}
	return nil
}

func machineStorage(path *field.Path, storage *core.MachineTypeStorage) field.ErrorList {
	if storage == nil {
		return nil
	}
	errs := check.Required(path.Child("class"), storage.Class, "is the class of the root volume")
	errs = append(errs, check.Required(path.Child("type"), storage.Type, "is the type of the root volume")...)
	if storage.StorageSize != nil {
		errs = append(errs, check.Positive(path.Child("size"), *storage.StorageSize)...)
	}
	if storage.MinSize != nil {
		errs = append(errs, check.Positive(path.Child("minSize"), *storage.MinSize)...)
	}
	if storage.StorageSize != nil && storage.MinSize != nil {
		errs = append(errs, field.Forbidden(path.Child("minSize"), "cannot be set beside size, which fixes the size"))
	}
	return errs
}

func volumeTypes(path *field.Path, types []core.VolumeType) field.ErrorList {
	var errs field.ErrorList
	for i, volume := range types {
		path := path.Index(i)
		errs = append(errs, check.Required(path.Child("name"), volume.Name, "names the volume type")...)
		errs = append(errs, check.Required(path.Child("class"), volume.Class, "is the class that quotas count, for example standard or premium")...)
		if volume.MinSize != nil {
			errs = append(errs, check.Positive(path.Child("minSize"), *volume.MinSize)...)
		}
	}
	return append(errs, check.Unique(path, "name", types, func(t core.VolumeType) string { return t.Name })...)
}

// capabilityDefinitions wants the architecture among the capabilities, because
// with capabilities nothing else says it.
func capabilityDefinitions(path *field.Path, definitions []core.CapabilityDefinition) field.ErrorList {
	if len(definitions) == 0 {
		return nil
	}
	var errs field.ErrorList
	architecture := false
	for i, definition := range definitions {
		path := path.Index(i)
		errs = append(errs, check.Required(path.Child("name"), definition.Name, "names the capability")...)
		values := path.Child("values")
		if len(definition.Values) == 0 {
			errs = append(errs, field.Required(values, "are what machines and images can have, the most important first"))
		}
		for j, value := range definition.Values {
			if definition.Name == v1beta1constants.ArchitectureName {
				errs = append(errs, check.OneOf(values.Index(j), value, v1beta1constants.ValidArchitectures...)...)
			} else {
				errs = append(errs, check.Required(values.Index(j), value, "is a value of the capability")...)
			}
		}
		errs = append(errs, check.UniqueStrings(values, definition.Values)...)
		architecture = architecture || definition.Name == v1beta1constants.ArchitectureName
	}
	if !architecture {
		errs = append(errs, field.Required(path, fmt.Sprintf("must define %q: with capabilities nothing else says what CPU a machine has", v1beta1constants.ArchitectureName)))
	}
	return append(errs, check.Unique(path, "name", definitions, func(d core.CapabilityDefinition) string { return d.Name })...)
}

// capabilities wants what a machine type or image claims to be defined.
func capabilities(path *field.Path, claimed core.Capabilities, definitions []core.CapabilityDefinition) field.ErrorList {
	if len(claimed) > 0 && len(definitions) == 0 {
		return field.ErrorList{field.Forbidden(path, "needs spec.machineCapabilities, which define what there is")}
	}
	var errs field.ErrorList
	defined := capabilitiesOf(definitions)
	for _, name := range slices.Sorted(maps.Keys(claimed)) {
		path, values := path.Key(name), claimed[name]
		offered, known := defined[name]
		if !known {
			errs = append(errs, field.NotSupported(path, name, slices.Sorted(maps.Keys(defined))))
			continue
		}
		if len(values) == 0 {
			errs = append(errs, field.Required(path, fmt.Sprintf("is one or more of %s", quoted(offered))))
		}
		for i, value := range values {
			errs = append(errs, check.OneOf(path.Index(i), value, offered...)...)
		}
		errs = append(errs, check.UniqueStrings(path, values)...)
	}
	return errs
}
