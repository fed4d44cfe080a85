package target

import (
	"context"
	"slices"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/defaulting"
	"github.com/loam-cloud/loam/shoots"
)

// Bound bounds a cluster's machines by what the cloud profile says of their types.
// The profile is not read for machines without a bound. Faults: Invalid with every
// type that is not there, Transient (the profile).
func Bound(ctx context.Context, reader client.Reader, shoot *gardencorev1beta1.Shoot, c *shoots.Cluster) error {
	var problems field.ErrorList
	var types []gardencorev1beta1.MachineType
	for i, w := range shoot.Spec.Provider.Workers {
		at := slices.IndexFunc(c.Pools, func(p shoots.Pool) bool { return p.Name == w.Name })
		if at < 0 || w.Machine.Type == "" || w.Machine.Type == defaulting.MachineTypeUnbounded {
			continue
		}
		if types == nil {
			var err error
			if types, err = machineTypes(ctx, reader, shoot); err != nil {
				return err
			}
		}
		path := field.NewPath("spec", "provider", "workers").Index(i).Child("machine", "type")
		known := slices.IndexFunc(types, func(t gardencorev1beta1.MachineType) bool { return t.Name == w.Machine.Type })
		if known < 0 {
			var offered []string
			for _, t := range types {
				offered = append(offered, t.Name)
			}
			slices.Sort(offered)
			problems = append(problems, field.NotSupported(path, w.Machine.Type, offered))
			continue
		}
		pool := &c.Pools[at]
		pool.MachineType, pool.MachineTypePath = w.Machine.Type, path.String()
		pool.CPUs, pool.MemoryBytes = types[known].CPU.AsApproximateFloat64(), types[known].Memory.Value()
	}
	return fault.Wrap(fault.Invalid, problems.ToAggregate())
}

// machineTypes are those of the cloud profile that a Shoot names.
func machineTypes(ctx context.Context, reader client.Reader, shoot *gardencorev1beta1.Shoot) ([]gardencorev1beta1.MachineType, error) {
	ref := ptr.Deref(shoot.Spec.CloudProfile, gardencorev1beta1.CloudProfileReference{Name: ptr.Deref(shoot.Spec.CloudProfileName, "")})
	if ref.Kind == "NamespacedCloudProfile" {
		var own gardencorev1beta1.NamespacedCloudProfile
		if err := reader.Get(ctx, client.ObjectKey{Namespace: shoot.Namespace, Name: ref.Name}, &own); err != nil {
			return nil, profileError(ref.Name, err)
		}
		return own.Status.CloudProfileSpec.MachineTypes, nil
	}
	var profile gardencorev1beta1.CloudProfile
	if err := reader.Get(ctx, client.ObjectKey{Name: ref.Name}, &profile); err != nil {
		return nil, profileError(ref.Name, err)
	}
	return profile.Spec.MachineTypes, nil
}

func profileError(name string, err error) error {
	return fault.New(fault.Transient, "reading cloud profile %q: %w", name, err)
}
