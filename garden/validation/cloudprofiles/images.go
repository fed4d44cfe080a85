package cloudprofiles

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gardener/gardener/pkg/apis/core"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

func machineImages(path *field.Path, images []core.MachineImage, definitions []core.CapabilityDefinition) field.ErrorList {
	var errs field.ErrorList
	for i := range images {
		path, image := path.Index(i), &images[i]
		errs = append(errs, machineImage(path, image)...)
		for j := range image.Versions {
			errs = append(errs, imageVersion(path.Child("versions").Index(j), &image.Versions[j], definitions)...)
		}
	}
	return append(errs, check.Unique(path, "name", images, func(i core.MachineImage) string { return i.Name })...)
}

// machineImage checks an image but for what each version says.
func machineImage(path *field.Path, image *core.MachineImage) field.ErrorList {
	errs := check.Required(path.Child("name"), image.Name, "names the image")
	if image.UpdateStrategy != nil {
		errs = append(errs, check.OneOf(path.Child("updateStrategy"), *image.UpdateStrategy, core.UpdateStrategyPatch, core.UpdateStrategyMinor, core.UpdateStrategyMajor)...)
	}
	versions := path.Child("versions")
	if len(image.Versions) == 0 {
		errs = append(errs, field.Required(versions, "an image has at least one version"))
	}
	return append(errs, check.Unique(versions, "version", image.Versions, func(v core.MachineImageVersion) string { return v.Version })...)
}

func imageVersion(path *field.Path, version *core.MachineImageVersion, definitions []core.CapabilityDefinition) field.ErrorList {
	errs := expirableVersion(path, &version.ExpirableVersion)
	errs = append(errs, containerRuntimes(path.Child("cri"), version.CRI)...)
	if version.KubeletVersionConstraint != nil {
		errs = append(errs, check.Constraint(path.Child("kubeletVersionConstraint"), *version.KubeletVersionConstraint)...)
	}
	if update := version.InPlaceUpdates; update != nil && update.MinVersionForUpdate != nil {
		errs = append(errs, check.Version(path.Child("inPlaceUpdates", "minVersionForUpdate"), *update.MinVersionForUpdate)...)
	}
	architectures := path.Child("architectures")
	for i, architecture := range version.Architectures {
		errs = append(errs, check.OneOf(architectures.Index(i), architecture, v1beta1constants.ValidArchitectures...)...)
	}
	errs = append(errs, check.UniqueStrings(architectures, version.Architectures)...)
	return append(errs, capabilityFlavors(path, version, definitions)...)
}

func containerRuntimes(path *field.Path, cris []core.CRI) field.ErrorList {
	var errs field.ErrorList
	for i, cri := range cris {
		path := path.Index(i)
		errs = append(errs, check.OneOf(path.Child("name"), cri.Name, core.CRINameContainerD)...)
		runtimes := path.Child("containerRuntimes")
		for j, runtime := range cri.ContainerRuntimes {
			errs = append(errs, check.Required(runtimes.Index(j).Child("type"), runtime.Type, "is the type of the container runtime, for example gvisor")...)
		}
		errs = append(errs, check.Unique(runtimes, "type", cri.ContainerRuntimes, func(r core.ContainerRuntime) string { return r.Type })...)
	}
	return append(errs, check.Unique(path, "name", cris, func(c core.CRI) core.CRIName { return c.Name })...)
}

// capabilityFlavors wants flavors that differ, and architectures by field to be
// those by capability.
func capabilityFlavors(path *field.Path, version *core.MachineImageVersion, definitions []core.CapabilityDefinition) field.ErrorList {
	var errs field.ErrorList
	flavors := path.Child("capabilityFlavors")
	if len(version.CapabilityFlavors) > 0 && len(definitions) == 0 {
		return field.ErrorList{field.Forbidden(flavors, "need spec.machineCapabilities, which define what there is")}
	}
	for i, flavor := range version.CapabilityFlavors {
		errs = append(errs, capabilities(flavors.Index(i), flavor.Capabilities, definitions)...)
		for _, before := range version.CapabilityFlavors[:i] {
			if apiequality.Semantic.DeepEqual(before.Capabilities, flavor.Capabilities) {
				errs = append(errs, field.Duplicate(flavors.Index(i), fmt.Sprint(flavor.Capabilities)))
				break
			}
		}
	}
	if len(definitions) == 0 || len(version.Architectures) == 0 {
		return errs
	}
	offered := flavorArchitectures(version, definitions)
	for i, architecture := range version.Architectures {
		if !slices.Contains(offered, architecture) {
			errs = append(errs, field.Invalid(path.Child("architectures").Index(i), architecture, fmt.Sprintf("must be one of %s, as the capabilities say, or be left out", quoted(offered))))
		}
	}
	return errs
}

func flavorArchitectures(version *core.MachineImageVersion, definitions []core.CapabilityDefinition) []string {
	all := capabilitiesOf(definitions)[v1beta1constants.ArchitectureName]
	if len(version.CapabilityFlavors) == 0 {
		return all
	}
	var offered []string
	for _, flavor := range version.CapabilityFlavors {
		if own, given := flavor.Capabilities[v1beta1constants.ArchitectureName]; given {
			offered = append(offered, own...)
		} else {
			offered = append(offered, all...)
		}
	}
	return offered
}

func quoted(values []string) string {
	texts := make([]string, len(values))
	for i, value := range values {
		texts[i] = strconv.Quote(value)
	}
	return strings.Join(texts, ", ")
}
