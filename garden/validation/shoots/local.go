package shoots

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/gardener/gardener/pkg/apis/core"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/garden/defaulting"
	"github.com/loam-cloud/loam/garden/offers"
	"github.com/loam-cloud/loam/garden/validation/internal/check"
	"github.com/loam-cloud/loam/garden/validation/shoots/networks"
	"github.com/loam-cloud/loam/nodeconfig/provider"
)

const (
	// localControlPlane is the pool that a cluster gets when none of its own
	// holds the control plane.
	localControlPlane = "control-plane"
	// localControlPlanes is how many machines a control plane may have. Each write
	// waits for most of them, and with five, two can fail.
	localControlPlanes = 5
	// localMaskSize is the range of pods that each node gets (kubeadm's default
	// for IPv4), localMaskSize6 that of IPv6.
	localMaskSize  = 24
	localMaskSize6 = 64
	// localMaxPods are the addresses of such a range but its first and last.
	localMaxPods = 1<<(32-localMaskSize) - 2
	// localOldest is the first Kubernetes version whose kubeadm reads the
	// configuration that nodes are given (v1beta4).
	localOldest = "1.31.0"
)

// validateLocal checks what a cluster whose nodes are containers on this host
// cannot have. Its flow would find it too, but only once machines are there.
func validateLocal(shoot *core.Shoot, path *field.Path) field.ErrorList {
	if shoot.Spec.Provider.Type != defaulting.ProviderLocal {
		return nil
	}
	errs := validateLocalNetwork(shoot, path)
	if proxy := shoot.Spec.Kubernetes.KubeProxy; proxy != nil {
		at := path.Child("kubernetes", "kubeProxy")
		if proxy.Mode != nil {
			errs = append(errs, check.OneOf(at.Child("mode"), *proxy.Mode, core.ProxyModeIPTables, core.ProxyModeNFTables, core.ProxyModeIPVS)...)
		}
	}
	kubernetes := shoot.Spec.Kubernetes.Version
	if parsed, err := version.ParseSemantic(kubernetes); err == nil && !parsed.AtLeast(version.MustParseSemantic(localOldest)) {
		errs = append(errs, field.Invalid(path.Child("kubernetes", "version"), kubernetes, "must be at least "+localOldest))
	}
	if tolerance := failureTolerance(shoot.Spec.ControlPlane); tolerance != "" {
		errs = append(errs, field.Forbidden(path.Child("controlPlane", "highAvailability"), "a cluster of provider type local says it by the machines of its control plane: minimum: 3 of the pool with controlPlane: {}"))
	}
	errs = append(errs, validateProviderConfigs(shoot, path.Child("provider"))...)
	return append(errs, validateLocalPools(shoot, path.Child("provider", "workers"))...)
}

// validateLocalMembers keeps the number of machines that a control plane began with:
// its store began with all of them.
func validateLocalMembers(shoot, old *core.Shoot, path *field.Path) field.ErrorList {
	if shoot.Spec.Provider.Type != defaulting.ProviderLocal {
		return nil
	}
	var errs field.ErrorList
	for i, worker := range shoot.Spec.Provider.Workers {
		for _, was := range old.Spec.Provider.Workers {
			if worker.Name == was.Name && worker.ControlPlane != nil && was.ControlPlane != nil && worker.Minimum != was.Minimum {
				errs = append(errs, field.Invalid(path.Index(i).Child("minimum"), worker.Minimum, fmt.Sprintf("must stay %d: a control plane keeps the machines that it began with", was.Minimum)))
			}
		}
	}
	return errs
}

// validateLocalChange lets a cluster take one step at a time to another minor
// version. Its machines take that step only while they run, and those that have
// not taken it could not take the next one; the version could not be lowered
// again either. A cluster that could not be made may get any version.
func validateLocalChange(shoot, old *core.Shoot, path *field.Path) field.ErrorList {
	now, err := version.ParseSemantic(shoot.Spec.Kubernetes.Version)
	was, other := version.ParseSemantic(old.Spec.Kubernetes.Version)
	last := old.Status.LastOperation
	if !madeLocal(shoot, old) || err != nil || other != nil || now.Minor() == was.Minor() {
		return nil
	}
	at := path.Child("kubernetes", "version")
	switch {
	case old.Status.IsHibernated || shoot.Spec.Hibernation != nil && shoot.Spec.Hibernation.Enabled != nil && *shoot.Spec.Hibernation.Enabled:
		return field.ErrorList{field.Forbidden(at, fmt.Sprintf("a cluster that sleeps cannot go from %d.%d to %d.%d: wake it first", was.Major(), was.Minor(), now.Major(), now.Minor()))}
	case last.State != core.LastOperationStateSucceeded:
		return field.ErrorList{field.Forbidden(at, fmt.Sprintf("the cluster is on its way to %s: go on to %d.%d once it is there", old.Spec.Kubernetes.Version, now.Major(), now.Minor()))}
	}
	return nil
}

func validateLocalNetwork(shoot *core.Shoot, path *field.Path) field.ErrorList {
	networking := shoot.Spec.Networking
	if networking == nil {
		return nil
	}
	at := path.Child("networking")
	var errs field.ErrorList
	if networking.Type != nil && *networking.Type != "" {
		errs = append(errs, check.OneOf(at.Child("type"), *networking.Type, defaulting.NetworkingType, "none")...)
	}
	// What is wrong with a configuration is said elsewhere.
	config, _ := provider.ControlPlane(shoot.Spec.Provider.ControlPlaneConfig, path)
	own := path.Child("provider", "controlPlaneConfig", "ipv6")
	asked := provider.Networks{Own: config.IPv6, Pods: ptr.Deref(networking.Pods, ""), Services: ptr.Deref(networking.Services, "")}
	for _, family := range networking.IPFamilies {
		asked.Families = append(asked.Families, string(family))
	}
	errs = append(errs, asked.Check(at, own)...)
	if most := networks.MaxPods(shoot); most > localMaxPods && !core.IsIPv6SingleStack(networking.IPFamilies) {
		errs = append(errs, field.Invalid(path.Child("kubernetes", "kubelet", "maxPods"), most, fmt.Sprintf("a node has addresses for %d pods", localMaxPods)))
	}
	nodes := int64(0)
	for _, worker := range shoot.Spec.Provider.Workers {
		nodes += int64(worker.Minimum)
	}
	if !slices.ContainsFunc(shoot.Spec.Provider.Workers, holdsControlPlane) {
		nodes++
	}
	if core.IsDualStack(networking.IPFamilies) && config.IPv6 != nil && config.IPv6.Pods != "" {
		errs = append(errs, networks.Room(&config.IPv6.Pods, own.Child("pods"), localMaskSize6, nodes)...)
	}
	mask := localMaskSize
	if pods, err := netip.ParsePrefix(asked.Pods); err == nil && pods.Addr().Is6() {
		mask = localMaskSize6
	}
	return append(errs, networks.Room(networking.Pods, at.Child("pods"), mask, nodes)...)
}

// validateLocalFamilies keeps the families of a cluster whose machines are there: its
// certificates and nodes were made with them.
func validateLocalFamilies(shoot, old *core.Shoot, path *field.Path) field.ErrorList {
	if shoot.Spec.Networking == nil || old.Spec.Networking == nil || !madeLocal(shoot, old) {
		return nil
	}
	now, was := shoot.Spec.Networking.IPFamilies, old.Spec.Networking.IPFamilies
	if slices.Equal(now, was) || len(now) < len(was) || !slices.Equal(now[:len(was)], was) {
		// Any other change is no cluster's.
		return nil
	}
	return field.ErrorList{field.Forbidden(path, fmt.Sprintf("must stay %v while there are machines: they were made with it; %s", was, otherCluster))}
}

// madeLocal tells whether a cluster of provider type local has been made: one that
// could not be may change.
func madeLocal(shoot, old *core.Shoot) bool {
	last := old.Status.LastOperation
	made := last != nil && (last.Type != core.LastOperationTypeCreate || last.State == core.LastOperationStateSucceeded)
	return shoot.Spec.Provider.Type == defaulting.ProviderLocal && made
}

func holdsControlPlane(worker core.Worker) bool { return worker.ControlPlane != nil }

func validateLocalPools(shoot *core.Shoot, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, worker := range shoot.Spec.Provider.Workers {
		at := path.Index(i)
		if worker.ControlPlane == nil && worker.Name == localControlPlane && !slices.ContainsFunc(shoot.Spec.Provider.Workers, holdsControlPlane) {
			errs = append(errs, field.Invalid(at.Child("name"), worker.Name, "a pool of this name has to hold the control plane: give it controlPlane: {}"))
		}
		if worker.ControlPlane != nil && worker.Minimum > localControlPlanes {
			errs = append(errs, field.Invalid(at.Child("minimum"), worker.Minimum, fmt.Sprintf("a control plane has %d machines at most", localControlPlanes)))
		}
		if k := worker.Kubernetes; k != nil && k.Version != nil && !offers.IsPrefix(*k.Version) && *k.Version != shoot.Spec.Kubernetes.Version {
			errs = append(errs, field.Invalid(at.Child("kubernetes", "version"), *k.Version, fmt.Sprintf("must be %s, the cluster's version: its nodes share one image", shoot.Spec.Kubernetes.Version)))
		}
	}
	return errs
}
