package networks

import (
	"fmt"
	"net/netip"

	"github.com/gardener/gardener/pkg/apis/core"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

// defaultMaxPods is how many pods a kubelet takes unless told otherwise.
const defaultMaxPods = 110

// validateMasks checks the size of what each node gets of the range of pods: it
// must fit into the range as often as there are nodes, and have an address for
// each pod.
func validateMasks(shoot *core.Shoot, spec, networking *field.Path) field.ErrorList {
	manager := shoot.Spec.Kubernetes.KubeControllerManager
	if manager == nil || MaxPods(shoot) <= 0 {
		// Where the size was left out it was computed of the number of pods.
		return nil
	}
	path := spec.Child("kubernetes", "kubeControllerManager")
	errs := validateMaskSize(path.Child("nodeCIDRMaskSize"), manager.NodeCIDRMaskSize, 128)
	errs = append(errs, validateMaskSize(path.Child("nodeCIDRMaskSizeIPv6"), manager.NodeCIDRMaskSizeIPv6, 128)...)
	if manager.NodeCIDRMaskSizeIPv6 != nil && core.IsIPv4SingleStack(shoot.Spec.Networking.IPFamilies) {
		errs = append(errs, field.Forbidden(path.Child("nodeCIDRMaskSizeIPv6"), "the cluster has no IPv6 (spec.networking.ipFamilies)"))
	}
	pods := shoot.Spec.Networking.Pods
	if pods == nil || len(errs) > 0 {
		return errs
	}
	prefix, err := netip.ParsePrefix(*pods)
	if err != nil {
		return errs
	}
	mask, at := manager.NodeCIDRMaskSize, path.Child("nodeCIDRMaskSize")
	if prefix.Addr().Is6() && core.IsDualStack(shoot.Spec.Networking.IPFamilies) {
		mask, at = manager.NodeCIDRMaskSizeIPv6, path.Child("nodeCIDRMaskSizeIPv6")
	}
	if mask == nil {
		return errs
	}
	if int(*mask) > prefix.Addr().BitLen() {
		return append(errs, field.Invalid(at, *mask, fmt.Sprintf("must be at most %d, as the range of pods is %s", prefix.Addr().BitLen(), *pods)))
	}
	errs = append(errs, Room(pods, networking.Child("pods"), int(*mask), nodes(shoot))...)
	addresses := prefix.Addr().BitLen() - int(*mask)
	if most := MaxPods(shoot); addresses < 31 && int64(most) > int64(1)<<addresses {
		errs = append(errs, field.Invalid(at, *mask, fmt.Sprintf("leaves a node %d addresses, fewer than the %d pods that a kubelet takes", int64(1)<<addresses, most)))
	}
	return errs
}

func validateMaskSize(path *field.Path, mask *int32, most int32) field.ErrorList {
	if mask == nil || *mask >= 8 && *mask <= most {
		return nil
	}
	return field.ErrorList{field.Invalid(path, *mask, fmt.Sprintf("must be between 8 and %d", most))}
}

// nodes that the pools have at least.
func nodes(shoot *core.Shoot) int64 {
	sum := int64(0)
	for _, worker := range shoot.Spec.Provider.Workers {
		sum += int64(worker.Minimum)
	}
	return sum
}

// MaxPods is the largest number of pods that a kubelet of the cluster takes.
func MaxPods(shoot *core.Shoot) int32 {
	most := int32(defaultMaxPods)
	if kubelet := shoot.Spec.Kubernetes.Kubelet; kubelet != nil && kubelet.MaxPods != nil {
		most = *kubelet.MaxPods
	}
	for _, worker := range shoot.Spec.Provider.Workers {
		if worker.Kubernetes != nil && worker.Kubernetes.Kubelet != nil && worker.Kubernetes.Kubelet.MaxPods != nil {
			most = max(most, *worker.Kubernetes.Kubelet.MaxPods)
		}
	}
	return most
}

// validateMaskChange keeps the sizes that nodes were given ranges by.
func validateMaskChange(shoot, old *core.Shoot, path *field.Path) field.ErrorList {
	if old.Spec.Kubernetes.KubeControllerManager == nil {
		return nil
	}
	now, was := core.KubeControllerManagerConfig{}, old.Spec.Kubernetes.KubeControllerManager
	if manager := shoot.Spec.Kubernetes.KubeControllerManager; manager != nil {
		now = *manager
	}
	errs := check.ImmutableOnceSet(path.Child("nodeCIDRMaskSize"), now.NodeCIDRMaskSize, was.NodeCIDRMaskSize)
	return append(errs, check.ImmutableOnceSet(path.Child("nodeCIDRMaskSizeIPv6"), now.NodeCIDRMaskSizeIPv6, was.NodeCIDRMaskSizeIPv6)...)
}
