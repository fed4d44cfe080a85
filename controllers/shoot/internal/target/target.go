// Package target says what a Shoot asks for in the terms of package shoots, and
// finds the keys that were made for it. The controllers of shoots share it.
//
// It must not change a Shoot or a cluster.
package target

import (
	"context"
	"fmt"
	"strings"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/shoots"
)

// ProviderLocal is the provider type whose nodes are containers on this host.
const ProviderLocal = "local"

// Names of networks that a Shoot may ask for in spec.networking.type.
const (
	// NetworkDefault is the network that the node image brings.
	NetworkDefault = "flannel"
	// NetworkNone leaves the network to the user.
	NetworkNone = "none"
)

// controlPlanePool is the name of the pool that a Shoot gets when none of its
// own holds the control plane.
const controlPlanePool = "control-plane"

// Cluster translates a Shoot, without its image. It reports everything that
// cannot be built as one Invalid fault.
func Cluster(shoot *gardencorev1beta1.Shoot) (shoots.Cluster, error) {
	spec := field.NewPath("spec")
	var problems field.ErrorList
	if t := shoot.Spec.Provider.Type; t != ProviderLocal {
		problems = append(problems, field.NotSupported(spec.Child("provider", "type"), t, []string{ProviderLocal}))
	}
	c := shoots.Cluster{
		ID:                shoot.Status.TechnicalID,
		Name:              shoot.Name,
		KubernetesVersion: "v" + strings.TrimPrefix(shoot.Spec.Kubernetes.Version, "v"),
		DefaultNetwork:    true,
		APIServer:         machines.Port{MachinePort: shoots.APIServerPort, Protocol: machines.TCP},
	}
	problems = append(problems, networkType(&c, shoot.Spec.Networking, spec.Child("networking", "type"))...)
	problems = append(problems, proxy(&c, shoot.Spec.Kubernetes.KubeProxy, spec.Child("kubernetes", "kubeProxy"))...)
	components(&c, shoot.Spec.Kubernetes)
	at := spec.Child("provider", "controlPlaneConfig")
	ranges6, wrong := controlPlaneConfig(&c, shoot.Spec.Provider.ControlPlaneConfig, at)
	problems = append(problems, wrong...)
	problems = append(problems, networks(&c, shoot.Spec.Networking, ranges6, spec.Child("networking"), at.Child("ipv6"))...)
	problems = append(problems, pools(&c, shoot, spec.Child("provider", "workers"))...)
	if err := problems.ToAggregate(); err != nil {
		return shoots.Cluster{}, fault.Wrap(fault.Invalid, err)
	}
	publishByIPv6(&c)
	return c, nil
}

func networkType(c *shoots.Cluster, n *gardencorev1beta1.Networking, path *field.Path) field.ErrorList {
	if n == nil || n.Type == nil {
		return nil
	}
	switch *n.Type {
	case NetworkDefault, "":
	case NetworkNone:
		c.DefaultNetwork = false
	default:
		return field.ErrorList{field.NotSupported(path, *n.Type, []string{NetworkDefault, NetworkNone})}
	}
	return nil
}

func proxy(c *shoots.Cluster, p *gardencorev1beta1.KubeProxyConfig, path *field.Path) field.ErrorList {
	if p == nil {
		return nil
	}
	if p.Enabled != nil && !*p.Enabled {
		c.KubeProxyMode = "none"
		return nil
	}
	if p.Mode == nil {
		return nil
	}
	switch *p.Mode {
	case gardencorev1beta1.ProxyModeIPTables:
		c.KubeProxyMode = "iptables"
	case gardencorev1beta1.ProxyModeNFTables:
		c.KubeProxyMode = "nftables"
	case gardencorev1beta1.ProxyModeIPVS:
		c.KubeProxyMode = "ipvs"
	default:
		return field.ErrorList{field.NotSupported(path.Child("mode"), *p.Mode, []gardencorev1beta1.ProxyMode{
			gardencorev1beta1.ProxyModeIPTables, gardencorev1beta1.ProxyModeNFTables, gardencorev1beta1.ProxyModeIPVS,
		})}
	}
	return nil
}

func pools(c *shoots.Cluster, shoot *gardencorev1beta1.Shoot, path *field.Path) field.ErrorList {
	var problems field.ErrorList
	var workers, controlPlanes []shoots.Pool
	shared := shoot.Spec.Kubernetes.Kubelet
	names := map[string]bool{}
	for i, w := range shoot.Spec.Provider.Workers {
		if names[w.Name] {
			problems = append(problems, field.Duplicate(path.Index(i).Child("name"), w.Name))
		}
		names[w.Name] = true
		pool := shoots.Pool{Name: w.Name, Role: v1alpha1.RoleWorker, Count: int(w.Minimum), Labels: w.Labels, Taints: w.Taints, Together: together(w)}
		own := shared
		if w.Kubernetes != nil && w.Kubernetes.Kubelet != nil {
			own = w.Kubernetes.Kubelet
		}
		kubelet(&pool, own, shared)
		if k := w.Kubernetes; k != nil && k.Version != nil && strings.TrimPrefix(*k.Version, "v") != strings.TrimPrefix(shoot.Spec.Kubernetes.Version, "v") {
			problems = append(problems, field.NotSupported(path.Index(i).Child("kubernetes", "version"), *k.Version, []string{shoot.Spec.Kubernetes.Version}))
		}
		if w.Minimum < 0 {
			problems = append(problems, field.Invalid(path.Index(i).Child("minimum"), w.Minimum, "must not be negative"))
		}
		problems = append(problems, workerConfig(&pool, w.ProviderConfig, path.Index(i).Child("providerConfig"))...)
		if w.ControlPlane == nil {
			workers = append(workers, pool)
			continue
		}
		if w.Minimum != 1 && w.Minimum != 3 && w.Minimum != 5 {
			problems = append(problems, field.Invalid(path.Index(i).Child("minimum"), w.Minimum, "a control plane has 1, 3 or 5 machines"))
		}
		pool.Role = v1alpha1.RoleControlPlane
		controlPlanes = append(controlPlanes, pool)
	}
	switch len(controlPlanes) {
	case 0:
		if names[controlPlanePool] {
			problems = append(problems, field.Invalid(path, controlPlanePool, "a pool of this name has to hold the control plane: give it controlPlane: {}"))
		}
		controlPlanes = []shoots.Pool{{Name: controlPlanePool, Role: v1alpha1.RoleControlPlane, Count: 1}}
		kubelet(&controlPlanes[0], shared, shared)
	case 1:
	default:
		problems = append(problems, field.TooMany(path, len(controlPlanes), 1))
	}
	controlPlanes[0].Schedulable = total(workers) == 0
	c.Pools = append(controlPlanes, workers...)
	return problems
}

// Hibernated tells whether a Shoot is asked to sleep.
func Hibernated(shoot *gardencorev1beta1.Shoot) bool {
	h := shoot.Spec.Hibernation
	return h != nil && ptr.Deref(h.Enabled, false)
}

func total(pools []shoots.Pool) int {
	n := 0
	for _, p := range pools {
		n += p.Count
	}
	return n
}

// AuthoritiesName is the name of the InternalSecret that keeps a Shoot's keys.
func AuthoritiesName(shoot string) string { return shoot + ".pki" }

// Authorities reads the keys of a Shoot's cluster. Faults: Missing while the
// cluster has none.
func Authorities(ctx context.Context, c client.Reader, shoot *gardencorev1beta1.Shoot) (shoots.Authorities, error) {
	var secret gardencorev1beta1.InternalSecret
	key := client.ObjectKey{Namespace: shoot.Namespace, Name: AuthoritiesName(shoot.Name)}
	if err := c.Get(ctx, key, &secret); err != nil {
		kind := fault.Transient
		if apierrors.IsNotFound(err) {
			kind = fault.Missing
		}
		return nil, fault.Wrap(kind, fmt.Errorf("reading the cluster's keys: %w", err))
	}
	return secret.Data, nil
}
