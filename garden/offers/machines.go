package offers

import (
	"slices"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/gardener/gardener/pkg/apis/core"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
)

// MachineType finds a machine type by its name; nil if there is none.
func MachineType(profile *core.CloudProfileSpec, name string) *core.MachineType {
	return find(profile.MachineTypes, func(t core.MachineType) bool { return t.Name == name })
}

// VolumeType finds a volume type by its name; nil if there is none.
func VolumeType(profile *core.CloudProfileSpec, name string) *core.VolumeType {
	return find(profile.VolumeTypes, func(t core.VolumeType) bool { return t.Name == name })
}

// Region finds a region by its name; nil if there is none.
func Region(profile *core.CloudProfileSpec, name string) *core.Region {
	return find(profile.Regions, func(r core.Region) bool { return r.Name == name })
}

// Image finds a machine image by its name; nil if there is none.
func Image(profile *core.CloudProfileSpec, name string) *core.MachineImage {
	return find(profile.MachineImages, func(i core.MachineImage) bool { return i.Name == name })
}

// ImageVersion finds a version of an image; nil if there is none.
func ImageVersion(image *core.MachineImage, version string) *core.MachineImageVersion {
	return find(image.Versions, func(v core.MachineImageVersion) bool { return v.Version == version })
}

func find[T any](items []T, wanted func(T) bool) *T {
	if i := slices.IndexFunc(items, wanted); i >= 0 {
		return &items[i]
	}
	return nil
}

// IsUsable reads the flag that takes a type out of use; without one it is in use.
func IsUsable(flag *bool) bool { return flag == nil || *flag }

// Architecture is what machines of a type have; amd64 unless it says otherwise.
func Architecture(profile *core.CloudProfileSpec, machine *core.MachineType) string {
	if machine != nil {
		if architecture := machine.GetArchitecture(profile.MachineCapabilities); architecture != "" {
			return architecture
		}
	}
	return v1beta1constants.ArchitectureAMD64
}

// Need is what an image has to fit.
type Need struct {
	// Machine is the machine type; nil if it is not known.
	Machine *core.MachineType
	// Architecture of the machine's processors.
	Architecture string
	// CRI and Runtimes name the container runtime interface and the runtimes
	// beside its own.
	CRI      core.CRIName
	Runtimes []string
	// Kubelet is a full version without "v"; empty if it is not known.
	Kubelet string
	// InPlace says that machines are updated without being replaced.
	InPlace bool
}

// NeedOf is what the image of a pool has to fit.
func NeedOf(shoot *core.Shoot, worker *core.Worker, profile *core.CloudProfileSpec) Need {
	need := Need{Machine: MachineType(profile, worker.Machine.Type), Kubelet: shoot.Spec.Kubernetes.Version}
	if worker.Machine.Architecture != nil {
		need.Architecture = *worker.Machine.Architecture
	} else {
		need.Architecture = Architecture(profile, need.Machine)
	}
	if worker.CRI != nil {
		need.CRI = worker.CRI.Name
		for _, runtime := range worker.CRI.ContainerRuntimes {
			need.Runtimes = append(need.Runtimes, runtime.Type)
		}
	}
	if worker.Kubernetes != nil && worker.Kubernetes.Version != nil {
		need.Kubelet = *worker.Kubernetes.Version
	}
	if strategy := worker.UpdateStrategy; strategy != nil {
		need.InPlace = *strategy == core.AutoInPlaceUpdate || *strategy == core.ManualInPlaceUpdate
	}
	return need
}

// Misfit says why an image version does not fit, in words that complete "image
// debian 12.0.0 ..."; empty when it fits.
func Misfit(profile *core.CloudProfileSpec, version *core.MachineImageVersion, need Need) string {
	switch {
	case !madeFor(profile, version, need.Architecture):
		return "is not made for architecture " + need.Architecture
	case need.Machine != nil && !capable(profile, version, need.Machine):
		return "has no flavor with the capabilities of machine type " + need.Machine.Name
	case need.CRI != "" && !supportsCRI(version, need):
		return "does not support the container runtimes that the pool wants"
	case need.Kubelet != "" && !allowsKubelet(version, need.Kubelet):
		return "takes kubelets " + *version.KubeletVersionConstraint + " only"
	case need.InPlace && (version.InPlaceUpdates == nil || !version.InPlaceUpdates.Supported):
		return "does not support updates in place"
	default:
		return ""
	}
}

// madeFor looks at architectures, or, where a profile describes images by
// capabilities, at the flavors. An image without flavors has every capability.
func madeFor(profile *core.CloudProfileSpec, version *core.MachineImageVersion, architecture string) bool {
	if len(profile.MachineCapabilities) == 0 {
		return slices.Contains(version.Architectures, architecture)
	}
	return len(version.CapabilityFlavors) == 0 || slices.ContainsFunc(version.CapabilityFlavors, func(flavor core.MachineImageFlavor) bool {
		has := core.GetCapabilitiesWithAppliedDefaults(flavor.Capabilities, profile.MachineCapabilities)
		return slices.Contains(has[v1beta1constants.ArchitectureName], architecture)
	})
}

// capable looks for a flavor that shares a value of every capability with the
// machine type.
func capable(profile *core.CloudProfileSpec, version *core.MachineImageVersion, machine *core.MachineType) bool {
	if len(profile.MachineCapabilities) == 0 || len(version.CapabilityFlavors) == 0 {
		return true
	}
	wanted := core.GetCapabilitiesWithAppliedDefaults(machine.Capabilities, profile.MachineCapabilities)
	return slices.ContainsFunc(version.CapabilityFlavors, func(flavor core.MachineImageFlavor) bool {
		has := core.GetCapabilitiesWithAppliedDefaults(flavor.Capabilities, profile.MachineCapabilities)
		for name, values := range wanted {
			if !slices.ContainsFunc(values, func(value string) bool { return slices.Contains(has[name], value) }) {
				return false
			}
		}
		return true
	})
}

func supportsCRI(version *core.MachineImageVersion, need Need) bool {
	cri := find(version.CRI, func(c core.CRI) bool { return c.Name == need.CRI })
	if cri == nil {
		return false
	}
	return !slices.ContainsFunc(need.Runtimes, func(wanted string) bool {
		return !slices.ContainsFunc(cri.ContainerRuntimes, func(r core.ContainerRuntime) bool { return r.Type == wanted })
	})
}

// allowsKubelet ignores a constraint that does not parse: that is a problem of
// the cloud profile, not of the cluster.
func allowsKubelet(version *core.MachineImageVersion, kubelet string) bool {
	if version.KubeletVersionConstraint == nil {
		return true
	}
	constraint, err := semver.NewConstraint(*version.KubeletVersionConstraint)
	parsed, parseErr := semver.NewVersion(kubelet)
	return err != nil || parseErr != nil || constraint.Check(parsed)
}

// NewestImage is the highest version of an image that begins with prefix and
// fits, chosen as Newest does.
func NewestImage(profile *core.CloudProfileSpec, image *core.MachineImage, prefix string, need Need, now time.Time) (string, bool) {
	var fitting []core.ExpirableVersion
	for i := range image.Versions {
		if Misfit(profile, &image.Versions[i], need) == "" {
			fitting = append(fitting, image.Versions[i].ExpirableVersion)
		}
	}
	return Newest(fitting, prefix, now)
}
