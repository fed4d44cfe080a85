package workers

import (
	"fmt"

	"github.com/gardener/gardener/pkg/apis/core"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/defaulting"
)

// Least memory of a machine of provider type local: of a control plane what kubeadm
// demands (1700 MB), of a worker what its programs take before the first pod.
const (
	localControlPlaneMemory = "1700M"
	localWorkerMemory       = "512Mi"
)

// localMachine refuses machine types that are too small to be bounded by.
func (o offered) localMachine(worker *core.Worker, machine *core.MachineType, path *field.Path) field.ErrorList {
	if o.shoot.Spec.Provider.Type != defaulting.ProviderLocal || machine.Name == defaulting.MachineTypeUnbounded {
		return nil
	}
	least, role := resource.MustParse(localWorkerMemory), "worker"
	if worker.ControlPlane != nil {
		least, role = resource.MustParse(localControlPlaneMemory), "control plane"
	}
	if machine.Memory.Cmp(least) >= 0 && machine.CPU.MilliValue() >= 500 {
		return nil
	}
	return field.ErrorList{field.Invalid(path, machine.Name, fmt.Sprintf("has %s CPUs and %s of memory: a %s needs at least 500m and %s",
		&machine.CPU, &machine.Memory, role, &least))}
}
