// Package quotas has the rules for what clusters may use and how long they may
// live.
//
// The rules for Shoots call it. It is pure: quotas come with the clusters that
// they count.
package quotas

import (
	"fmt"
	"maps"
	"slices"

	"github.com/gardener/gardener/pkg/apis/core"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/offers"
)

// Metrics that a quota can limit.
const (
	metricCPU             = corev1.ResourceCPU
	metricGPU             = corev1.ResourceName("gpu")
	metricMemory          = corev1.ResourceMemory
	metricStorageStandard = corev1.ResourceStorage + "." + corev1.ResourceName(core.VolumeClassStandard)
	metricStoragePremium  = corev1.ResourceStorage + "." + corev1.ResourceName(core.VolumeClassPremium)
	metricLoadBalancer    = corev1.ResourceName("loadbalancer")
)

// Quota is a limit and who shares it.
type Quota struct {
	// Namespace and Name are the quota's.
	Namespace, Name string
	Spec            core.QuotaSpec
	// Others are the Shoots beside this one that the quota counts.
	Others []Consumer
}

// Consumer is a Shoot with the profile that says what its machines have; nil
// when it is gone.
type Consumer struct {
	Shoot   *core.Shoot
	Profile *core.CloudProfileSpec
}

// Validate checks that a cluster, as large as its pools may become, fits into
// its quotas beside the others. One that does not grow is not refused; before is
// what it was, nil if other quotas counted it.
func Validate(shoot, before Consumer, all []Quota) field.ErrorList {
	own, former := usage(shoot), usage(before)
	path := field.NewPath("spec", "provider", "workers")
	var errs field.ErrorList
	for _, quota := range all {
		others := corev1.ResourceList{}
		for _, consumer := range quota.Others {
			add(others, usage(consumer))
		}
		for _, metric := range slices.Sorted(maps.Keys(quota.Spec.Metrics)) {
			limit, wanted, was := quota.Spec.Metrics[metric], own[metric], former[metric]
			if wanted.Cmp(was) <= 0 {
				continue
			}
			used := others[metric]
			sum := used.DeepCopy()
			sum.Add(wanted)
			if sum.Cmp(limit) > 0 {
				errs = append(errs, field.Forbidden(path, fmt.Sprintf("quota %s/%s allows %s of %s, of which others have %s: this cluster may take %s",
					quota.Namespace, quota.Name, limit.String(), metric, used.String(), wanted.String())))
			}
		}
	}
	return errs
}

func add(to, more corev1.ResourceList) {
	for name, quantity := range more {
		sum := to[name]
		sum.Add(quantity)
		to[name] = sum
	}
}

// usage is what a cluster takes when every pool has its maximum of machines. A
// machine type or volume type that is not on offer any more counts nothing.
func usage(consumer Consumer) corev1.ResourceList {
	if consumer.Shoot == nil {
		return nil
	}
	balancers := int64(1) // for the API server
	if addons := consumer.Shoot.Spec.Addons; addons != nil && addons.NginxIngress != nil && addons.NginxIngress.Enabled {
		balancers++
	}
	used := corev1.ResourceList{metricLoadBalancer: *resource.NewQuantity(balancers, resource.DecimalSI)}
	if consumer.Profile == nil {
		return used
	}
	for i := range consumer.Shoot.Spec.Provider.Workers {
		worker := &consumer.Shoot.Spec.Provider.Workers[i]
		one := machineUsage(consumer.Profile, worker)
		for name, quantity := range one {
			quantity.Mul(int64(worker.Maximum))
			one[name] = quantity
		}
		add(used, one)
	}
	return used
}

// machineUsage is what one machine of a pool takes.
func machineUsage(profile *core.CloudProfileSpec, worker *core.Worker) corev1.ResourceList {
	used := corev1.ResourceList{}
	machine := offers.MachineType(profile, worker.Machine.Type)
	if machine != nil {
		used[metricCPU], used[metricGPU], used[metricMemory] = machine.CPU.DeepCopy(), machine.GPU.DeepCopy(), machine.Memory.DeepCopy()
	}
	if worker.Volume != nil {
		addVolume(used, profile, machine, worker.Volume.Type, worker.Volume.VolumeSize)
	} else if machine != nil && machine.Storage != nil && machine.Storage.StorageSize != nil {
		add(used, corev1.ResourceList{storageMetric(machine.Storage.Class): *machine.Storage.StorageSize})
	}
	for _, volume := range worker.DataVolumes {
		addVolume(used, profile, machine, volume.Type, volume.VolumeSize)
	}
	return used
}

func addVolume(used corev1.ResourceList, profile *core.CloudProfileSpec, machine *core.MachineType, volumeType *string, size string) {
	quantity, err := resource.ParseQuantity(size)
	if err != nil {
		return
	}
	class := core.VolumeClassStandard
	switch {
	case volumeType != nil:
		if known := offers.VolumeType(profile, *volumeType); known != nil {
			class = known.Class
		}
	case machine != nil && machine.Storage != nil:
		class = machine.Storage.Class
	}
	add(used, corev1.ResourceList{storageMetric(class): quantity})
}

func storageMetric(class string) corev1.ResourceName {
	if class == core.VolumeClassPremium {
		return metricStoragePremium
	}
	return metricStorageStandard
}
