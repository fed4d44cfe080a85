package namespacedcloudprofile

import (
	"slices"
	"strings"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// merge is what a namespaced profile offers: what its parent does, with the ends
// of versions changed, and with what it adds. The parent's entries come first, in
// their order. Neither argument is changed.
//
// Merging two profiles one after the other is the same as merging the second into
// the first and then that into the parent; merging one twice is the same as once.
func merge(parent *gardencorev1beta1.CloudProfileSpec, own *gardencorev1beta1.NamespacedCloudProfileSpec) gardencorev1beta1.CloudProfileSpec {
	spec, own := *parent.DeepCopy(), own.DeepCopy()
	if own.Kubernetes != nil {
		spec.Kubernetes.Versions = prolong(spec.Kubernetes.Versions, own.Kubernetes.Versions)
	}
	spec.MachineImages = overlayImages(spec.MachineImages, own.MachineImages)
	spec.MachineTypes = overlay(spec.MachineTypes, own.MachineTypes, func(t gardencorev1beta1.MachineType) string { return t.Name }, replace)
	spec.VolumeTypes = overlay(spec.VolumeTypes, own.VolumeTypes, func(t gardencorev1beta1.VolumeType) string { return t.Name }, replace)
	spec.CABundle = joinBundles(spec.CABundle, own.CABundle)
	if own.Limits != nil && ptr.Deref(own.Limits.MaxNodesTotal, 0) > 0 {
		if spec.Limits == nil {
			spec.Limits = &gardencorev1beta1.Limits{}
		}
		spec.Limits.MaxNodesTotal = own.Limits.MaxNodesTotal
	}
	if spec.Regions == nil {
		spec.Regions = []gardencorev1beta1.Region{}
	}
	complete(&spec)
	return spec
}

// overlay lays items over others by name: one that is there becomes what combine
// makes of both, others follow in their order. The result is never nil, which
// would be null in JSON.
func overlay[T any](base, over []T, name func(T) string, combine func(base, over T) T) []T {
	result := append(make([]T, 0, len(base)+len(over)), base...)
	at := make(map[string]int, cap(result))
	for i, item := range result {
		at[name(item)] = i
	}
	for _, item := range over {
		if i, found := at[name(item)]; found {
			result[i] = combine(result[i], item)
			continue
		}
		at[name(item)] = len(result)
		result = append(result, item)
	}
	return result
}

func replace[T any](_, over T) T { return over }

// prolong changes the ends of versions, and adds none.
func prolong(base, over []gardencorev1beta1.ExpirableVersion) []gardencorev1beta1.ExpirableVersion {
	for _, version := range over {
		same := func(v gardencorev1beta1.ExpirableVersion) bool { return v.Version == version.Version }
		if i := slices.IndexFunc(base, same); i >= 0 {
			base[i] = withEnd(base[i], end(version))
		}
	}
	return base
}

func overlayImages(base, over []gardencorev1beta1.MachineImage) []gardencorev1beta1.MachineImage {
	return overlay(base, over, func(i gardencorev1beta1.MachineImage) string { return i.Name }, func(base, over gardencorev1beta1.MachineImage) gardencorev1beta1.MachineImage {
		if over.UpdateStrategy != nil {
			base.UpdateStrategy = over.UpdateStrategy
		}
		base.Versions = overlay(base.Versions, over.Versions, func(v gardencorev1beta1.MachineImageVersion) string { return v.Version }, overlayImageVersion)
		return base
	})
}

// overlayImageVersion takes over a version that describes an image, and from one
// that does not only when it ends.
func overlayImageVersion(base, over gardencorev1beta1.MachineImageVersion) gardencorev1beta1.MachineImageVersion {
	if len(over.Architectures) > 0 || len(over.CapabilityFlavors) > 0 || len(over.CRI) > 0 || over.KubeletVersionConstraint != nil || over.Classification != nil {
		return over
	}
	base.ExpirableVersion = withEnd(base.ExpirableVersion, end(over.ExpirableVersion))
	return base
}

// end is when a version expires; nil when it does not.
func end(version gardencorev1beta1.ExpirableVersion) *metav1.Time {
	for _, stage := range version.Lifecycle {
		if stage.Classification == gardencorev1beta1.ClassificationExpired {
			return stage.StartTime
		}
	}
	return version.ExpirationDate
}

// withEnd gives a version another end in the form that it has: the last stage of
// its lifecycle, or the field that lifecycles replace. Both at once are not valid.
func withEnd(version gardencorev1beta1.ExpirableVersion, end *metav1.Time) gardencorev1beta1.ExpirableVersion {
	if len(version.Lifecycle) == 0 {
		version.ExpirationDate = end
		return version
	}
	stages := slices.DeleteFunc(slices.Clone(version.Lifecycle), func(s gardencorev1beta1.LifecycleStage) bool {
		return s.Classification == gardencorev1beta1.ClassificationExpired
	})
	if end != nil {
		stages = append(stages, gardencorev1beta1.LifecycleStage{Classification: gardencorev1beta1.ClassificationExpired, StartTime: end})
	}
	version.Lifecycle = stages
	return version
}

// joinBundles puts certificates behind those of the parent, each once. A bundle
// that nothing is added to stays as it is written.
func joinBundles(parent, own *string) *string {
	if strings.TrimSpace(ptr.Deref(own, "")) == "" {
		return parent
	}
	if strings.TrimSpace(ptr.Deref(parent, "")) == "" {
		return own
	}
	all := certificates(*parent)
	added := false
	for _, certificate := range certificates(*own) {
		if !slices.Contains(all, certificate) {
			all, added = append(all, certificate), true
		}
	}
	if !added {
		return parent
	}
	return ptr.To(strings.Join(all, "\n") + "\n")
}

// certificates cuts a bundle after every line that ends a certificate. What
// stands before one belongs to it.
func certificates(bundle string) []string {
	var all []string
	var current []string
	flush := func() {
		if text := strings.TrimSpace(strings.Join(current, "\n")); text != "" {
			all = append(all, text)
		}
		current = nil
	}
	for line := range strings.Lines(bundle) {
		line = strings.TrimRight(line, "\r\n")
		current = append(current, line)
		if strings.HasPrefix(line, "-----END") {
			flush()
		}
	}
	flush()
	return all
}
