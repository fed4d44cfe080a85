package workers

import (
	"github.com/gardener/gardener/pkg/apis/core"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

// validateSettings checks how the machines of a pool are managed.
func validateSettings(worker *core.Worker, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if strategy := worker.UpdateStrategy; strategy != nil {
		errs = append(errs, check.OneOf(path.Child("updateStrategy"), *strategy, core.AutoRollingUpdate, core.AutoInPlaceUpdate, core.ManualInPlaceUpdate)...)
	}
	errs = append(errs, validateMachineManager(worker, path.Child("machineControllerManagerSettings"))...)
	scaler := worker.ClusterAutoscaler
	if scaler == nil {
		return errs
	}
	at := path.Child("clusterAutoscaler")
	errs = append(errs, check.Fraction(at.Child("scaleDownUtilizationThreshold"), scaler.ScaleDownUtilizationThreshold)...)
	errs = append(errs, check.Fraction(at.Child("scaleDownGpuUtilizationThreshold"), scaler.ScaleDownGpuUtilizationThreshold)...)
	errs = append(errs, check.NonNegativeDuration(at.Child("scaleDownUnneededTime"), scaler.ScaleDownUnneededTime)...)
	errs = append(errs, check.NonNegativeDuration(at.Child("scaleDownUnreadyTime"), scaler.ScaleDownUnreadyTime)...)
	return append(errs, check.PositiveDuration(at.Child("maxNodeProvisionTime"), scaler.MaxNodeProvisionTime)...)
}

func validateMachineManager(worker *core.Worker, path *field.Path) field.ErrorList {
	settings := worker.MachineControllerManagerSettings
	if settings == nil {
		return nil
	}
	errs := check.NonNegativeDuration(path.Child("machineDrainTimeout"), settings.MachineDrainTimeout)
	errs = append(errs, check.NonNegativeDuration(path.Child("machineHealthTimeout"), settings.MachineHealthTimeout)...)
	errs = append(errs, check.NonNegativeDuration(path.Child("machineCreationTimeout"), settings.MachineCreationTimeout)...)
	errs = append(errs, check.NonNegativeDuration(path.Child("machineInPlaceUpdateTimeout"), settings.MachineInPlaceUpdateTimeout)...)
	errs = append(errs, check.NonNegativeDuration(path.Child("machinePreserveTimeout"), settings.MachinePreserveTimeout)...)
	if settings.MaxEvictRetries != nil {
		errs = append(errs, check.AtLeast(path.Child("maxEvictRetries"), *settings.MaxEvictRetries, 0)...)
	}
	if most := settings.AutoPreserveFailedMachineMax; most != nil {
		errs = append(errs, check.AtLeast(path.Child("autoPreserveFailedMachineMax"), *most, 0)...)
		if *most > worker.Maximum {
			errs = append(errs, field.Invalid(path.Child("autoPreserveFailedMachineMax"), *most, "must not be more than the pool's maximum"))
		}
	}
	if !inPlace(worker) {
		const only = "is for pools that are updated in place only (updateStrategy)"
		if settings.MachineInPlaceUpdateTimeout != nil {
			errs = append(errs, field.Forbidden(path.Child("machineInPlaceUpdateTimeout"), only))
		}
		if settings.DisableHealthTimeout != nil && *settings.DisableHealthTimeout {
			errs = append(errs, field.Forbidden(path.Child("disableHealthTimeout"), only))
		}
	}
	return append(errs, check.UniqueStrings(path.Child("nodeConditions"), settings.NodeConditions)...)
}

func inPlace(worker *core.Worker) bool {
	strategy := worker.UpdateStrategy
	return strategy != nil && (*strategy == core.AutoInPlaceUpdate || *strategy == core.ManualInPlaceUpdate)
}

func validateVolumes(worker *core.Worker, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if volume := worker.Volume; volume != nil {
		errs = append(errs, validateVolumeSize(path.Child("volume", "size"), volume.VolumeSize)...)
		if volume.Name != nil {
			errs = append(errs, check.DNSLabel(path.Child("volume", "name"), *volume.Name)...)
		}
	}
	volumes := path.Child("dataVolumes")
	if len(worker.DataVolumes) > 0 && worker.Volume == nil {
		errs = append(errs, field.Required(path.Child("volume"), "data volumes come beside a root volume"))
	}
	errs = append(errs, check.Unique(volumes, "name", worker.DataVolumes, func(v core.DataVolume) string { return v.Name })...)
	kubelet := worker.KubeletDataVolumeName
	found := kubelet == nil
	for i, volume := range worker.DataVolumes {
		at := volumes.Index(i)
		errs = append(errs, check.DNSLabel(at.Child("name"), volume.Name)...)
		errs = append(errs, validateVolumeSize(at.Child("size"), volume.VolumeSize)...)
		found = found || *kubelet == volume.Name
	}
	if !found {
		errs = append(errs, field.Invalid(path.Child("kubeletDataVolumeName"), *kubelet, "must be the name of one of dataVolumes"))
	}
	return errs
}

func validateVolumeSize(path *field.Path, size string) field.ErrorList {
	if size == "" {
		return field.ErrorList{field.Required(path, "is how large the volume is, for example 50Gi")}
	}
	quantity, err := resource.ParseQuantity(size)
	if err != nil {
		return field.ErrorList{field.Invalid(path, size, "must be a size, for example 50Gi")}
	}
	return check.Positive(path, quantity)
}

// minimum of storage: of the machine type, else of the volume type.
func minimumSize(machine *core.MachineType, volume *core.VolumeType) *resource.Quantity {
	if machine != nil && machine.Storage != nil && machine.Storage.MinSize != nil {
		return machine.Storage.MinSize
	}
	if volume != nil {
		return volume.MinSize
	}
	return nil
}
