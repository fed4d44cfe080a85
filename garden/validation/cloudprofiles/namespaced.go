package cloudprofiles

import (
	"fmt"
	"slices"
	"time"

	"github.com/gardener/gardener/pkg/apis/core"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

// ValidateNamespaced returns every problem of a NamespacedCloudProfile; old is
// nil on create. Parent is the specification of the CloudProfile that it names,
// nil if there is none.
func ValidateNamespaced(profile, old *core.NamespacedCloudProfile, parent *core.CloudProfileSpec) field.ErrorList {
	path, spec := field.NewPath("spec"), &profile.Spec
	errs := caBundle(path, spec.CABundle)
	errs = append(errs, limits(path.Child("limits"), spec.Limits)...)
	errs = append(errs, volumeTypes(path.Child("volumeTypes"), spec.VolumeTypes)...)
	if problems := parentReference(path.Child("parent"), profile, old, parent); len(problems) > 0 {
		// What is added can only be judged beside what there is.
		return append(errs, problems...)
	}
	before := &core.NamespacedCloudProfileSpec{}
	if old != nil {
		before = &old.Spec
	}
	errs = append(errs, addedVersions(path.Child("kubernetes", "versions"), spec.Kubernetes, before.Kubernetes, parent)...)
	errs = append(errs, addedImages(path.Child("machineImages"), spec.MachineImages, before.MachineImages, parent)...)
	types := path.Child("machineTypes")
	errs = append(errs, machineTypes(types, spec.MachineTypes, parent.MachineCapabilities)...)
	errs = append(errs, noneOf(types, spec.MachineTypes, before.MachineTypes, parent.MachineTypes, func(t core.MachineType) string { return t.Name })...)
	return append(errs, noneOf(path.Child("volumeTypes"), spec.VolumeTypes, before.VolumeTypes, parent.VolumeTypes, func(t core.VolumeType) string { return t.Name })...)
}

func parentReference(path *field.Path, profile, old *core.NamespacedCloudProfile, parent *core.CloudProfileSpec) field.ErrorList {
	ref := profile.Spec.Parent
	errs := check.OneOf(path.Child("kind"), ref.Kind, v1beta1constants.CloudProfileReferenceKindCloudProfile)
	errs = append(errs, check.Required(path.Child("name"), ref.Name, "names the cloud profile that it extends")...)
	if old != nil {
		errs = append(errs, check.Immutable(path.Child("name"), ref.Name, old.Spec.Parent.Name)...)
	}
	if len(errs) == 0 && parent == nil {
		errs = append(errs, field.NotFound(path.Child("name"), ref.Name))
	}
	return errs
}

// noneOf wants no item that the parent has already. What was there before may
// stay: the parent may have got it since.
func noneOf[T any](path *field.Path, items, before, parent []T, name func(T) string) field.ErrorList {
	var errs field.ErrorList
	for i, item := range items {
		same := func(other T) bool { return name(other) == name(item) }
		if name(item) != "" && slices.ContainsFunc(parent, same) && !slices.ContainsFunc(before, same) {
			errs = append(errs, field.Invalid(path.Index(i).Child("name"), name(item), "is in the parent already: only others can be added"))
		}
	}
	return errs
}

// addedVersions wants Kubernetes versions of the parent, for longer.
func addedVersions(path *field.Path, settings, before *core.KubernetesSettings, parent *core.CloudProfileSpec) field.ErrorList {
	if settings == nil {
		return nil
	}
	if before == nil {
		before = &core.KubernetesSettings{}
	}
	errs := expirableVersions(path, settings.Versions)
	for i, version := range settings.Versions {
		same := func(v core.ExpirableVersion) bool { return v.Version == version.Version }
		at := slices.IndexFunc(parent.Kubernetes.Versions, same)
		switch was := slices.IndexFunc(before.Versions, same); {
		case version.Version == "":
		case at < 0:
			if was < 0 {
				errs = append(errs, field.Invalid(path.Index(i).Child("version"), version.Version, "must be a version of the parent: only its life can be prolonged"))
			}
		case was < 0 || !sameEnd(before.Versions[was], version):
			errs = append(errs, prolonged(path.Index(i), version, parent.Kubernetes.Versions[at])...)
		}
	}
	return errs
}

func sameEnd(a, b core.ExpirableVersion) bool {
	left, right := end(a), end(b)
	return left == nil && right == nil || left != nil && right != nil && left.Equal(*right)
}

// prolonged wants a version of the parent to end later here than there.
func prolonged(path *field.Path, version, parent core.ExpirableVersion) field.ErrorList {
	var errs field.ErrorList
	if version.Classification != nil {
		errs = append(errs, field.Forbidden(path.Child("classification"), "is the parent's to say"))
	}
	mine, theirs := end(version), end(parent)
	at := path.Child("expirationDate")
	if len(version.Lifecycle) > 0 {
		at = path.Child("lifecycle")
	}
	switch {
	case mine == nil:
		errs = append(errs, field.Required(at, "a version of the parent is listed to give it another end"))
	case theirs != nil && mine.Before(*theirs):
		errs = append(errs, field.Invalid(at, mine.Format(time.RFC3339), fmt.Sprintf("must not be before %s, when the version expires in the parent", theirs.Format(time.RFC3339))))
	}
	return errs
}

// addedImages wants images and versions of their own, or versions of the parent
// for longer.
func addedImages(path *field.Path, images, before []core.MachineImage, parent *core.CloudProfileSpec) field.ErrorList {
	var errs field.ErrorList
	for i := range images {
		path, image := path.Index(i), &images[i]
		errs = append(errs, machineImage(path, image)...)
		theirs, known := imageNamed(parent.MachineImages, image.Name)
		mine, _ := imageNamed(before, image.Name)
		if known && image.UpdateStrategy != nil && theirs.UpdateStrategy != nil && *image.UpdateStrategy != *theirs.UpdateStrategy {
			errs = append(errs, field.Invalid(path.Child("updateStrategy"), *image.UpdateStrategy, fmt.Sprintf("must be %q, as in the parent, or be left out", *theirs.UpdateStrategy)))
		}
		for j := range image.Versions {
			path, version := path.Child("versions").Index(j), &image.Versions[j]
			same := func(v core.MachineImageVersion) bool { return v.Version == version.Version }
			at := slices.IndexFunc(theirs.Versions, same)
			if at < 0 || version.Version == "" {
				errs = append(errs, imageVersion(path, version, parent.MachineCapabilities)...)
				continue
			}
			errs = append(errs, expirableVersion(path, &version.ExpirableVersion)...)
			if was := slices.IndexFunc(mine.Versions, same); was < 0 || !sameEnd(mine.Versions[was].ExpirableVersion, version.ExpirableVersion) {
				errs = append(errs, prolonged(path, version.ExpirableVersion, theirs.Versions[at].ExpirableVersion)...)
				errs = append(errs, onlyProlonged(path, version)...)
			}
		}
	}
	return append(errs, check.Unique(path, "name", images, func(i core.MachineImage) string { return i.Name })...)
}

func imageNamed(images []core.MachineImage, name string) (core.MachineImage, bool) {
	at := slices.IndexFunc(images, func(i core.MachineImage) bool { return i.Name == name })
	if at < 0 {
		return core.MachineImage{}, false
	}
	return images[at], true
}

// onlyProlonged wants nothing said of a parent's image version but its end.
func onlyProlonged(path *field.Path, version *core.MachineImageVersion) field.ErrorList {
	var errs field.ErrorList
	for _, part := range []struct {
		name string
		set  bool
	}{
		{"cri", len(version.CRI) > 0},
		{"architectures", len(version.Architectures) > 0},
		{"kubeletVersionConstraint", version.KubeletVersionConstraint != nil},
		{"inPlaceUpdates", version.InPlaceUpdates != nil},
		{"capabilityFlavors", len(version.CapabilityFlavors) > 0},
	} {
		if part.set {
			errs = append(errs, field.Forbidden(path.Child(part.name), "is the parent's to say for a version that it has"))
		}
	}
	return errs
}
