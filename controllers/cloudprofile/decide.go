package cloudprofile

import (
	"time"

	"github.com/gardener/gardener/pkg/apis/core"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"

	"github.com/loam-cloud/loam/garden/offers"
)

// decide builds the status that a profile has at a time from nothing but its
// specification, and says how long it holds: until the next stage of any version
// begins. Zero means for ever.
func decide(spec *gardencorev1beta1.CloudProfileSpec, now time.Time) (gardencorev1beta1.CloudProfileStatus, time.Duration) {
	var status gardencorev1beta1.CloudProfileStatus
	var next time.Time
	classified := func(version gardencorev1beta1.ExpirableVersion) gardencorev1beta1.ExpirableVersionStatus {
		for _, at := range changes(version) {
			if at.After(now) && (next.IsZero() || at.Before(next)) {
				next = at
			}
		}
		return gardencorev1beta1.ExpirableVersionStatus{Version: version.Version, Classification: classification(version, now)}
	}
	if versions := spec.Kubernetes.Versions; len(versions) > 0 {
		status.Kubernetes = &gardencorev1beta1.KubernetesStatus{}
		for _, version := range versions {
			status.Kubernetes.Versions = append(status.Kubernetes.Versions, classified(version))
		}
	}
	for _, image := range spec.MachineImages {
		of := gardencorev1beta1.MachineImageStatus{Name: image.Name}
		for _, version := range image.Versions {
			of.Versions = append(of.Versions, classified(version.ExpirableVersion))
		}
		status.MachineImages = append(status.MachineImages, of)
	}
	if next.IsZero() {
		return status, 0
	}
	return status, next.Sub(now)
}

// changes are the moments at which a version gets another classification.
func changes(version gardencorev1beta1.ExpirableVersion) []time.Time {
	var all []time.Time
	for _, stage := range version.Lifecycle {
		if stage.StartTime != nil {
			all = append(all, stage.StartTime.Time)
		}
	}
	if version.ExpirationDate != nil {
		all = append(all, version.ExpirationDate.Time)
	}
	return all
}

// classification is what the garden goes by when it takes a Shoot.
func classification(version gardencorev1beta1.ExpirableVersion, now time.Time) gardencorev1beta1.VersionClassification {
	of := core.ExpirableVersion{ExpirationDate: version.ExpirationDate, Classification: (*core.VersionClassification)(version.Classification)}
	for _, stage := range version.Lifecycle {
		of.Lifecycle = append(of.Lifecycle, core.LifecycleStage{Classification: core.VersionClassification(stage.Classification), StartTime: stage.StartTime})
	}
	return gardencorev1beta1.VersionClassification(offers.Classification(of, now))
}
