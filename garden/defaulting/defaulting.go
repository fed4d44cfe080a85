// Package defaulting fills in what a Shoot leaves out and its cloud profile, its
// seed or its project knows. What depends on the Shoot alone, the module of the
// API's types fills in before.
//
// The garden's table of kinds calls it, on create and on update. It is pure: it
// must not know stores, and draws nothing at random.
package defaulting

import (
	"slices"
	"time"

	"github.com/gardener/gardener/pkg/apis/core"
	"github.com/gardener/gardener/pkg/apis/core/v1beta1"

	"github.com/loam-cloud/loam/garden/offers"
	"github.com/loam-cloud/loam/nodeconfig/provider"
)

// NetworkingType is the network that a cluster gets when its Shoot names none
// (what node images bring).
const NetworkingType = "flannel"

// Facts are what defaults come from. Each may be nil: what it would decide is
// then left open.
type Facts struct {
	Profile *core.CloudProfileSpec
	Seed    *core.Seed
	Project *core.Project
	Now     time.Time
}

// Create fills in a new Shoot:
//
//   - The Kubernetes version, empty or partial ("1", "1.36"), becomes the newest
//     that is supported, else the newest that is deprecated; never one in
//     preview, not yet there or expired. The version of a worker pool likewise,
//     except that the control plane's is taken where it matches.
//   - The architecture of a pool is that of its machine type.
//   - The machine image is the first of the profile, its version the newest that
//     fits the machine type, the container runtimes and the kubelet; a partial
//     version ("12", "12.0") is completed.
//   - The networks of pods and services are the seed's defaults for clusters,
//     else those of the API (100.96.0.0/11 and 100.64.0.0/13), unless one would
//     overlap what is given; only for IPv4, as for IPv6 there is none.
//   - The tolerations of the project are added.
//
// What cannot be decided stays as it is, for validation to name.
func Create(shoot *core.Shoot, facts Facts) {
	if facts.Profile != nil {
		shoot.Spec.Kubernetes.Version = complete(shoot.Spec.Kubernetes.Version, facts.Profile.Kubernetes.Versions, facts.Now)
		for i := range shoot.Spec.Provider.Workers {
			fillWorker(shoot, &shoot.Spec.Provider.Workers[i], nil, facts)
		}
	}
	if len(shoot.Spec.Provider.Workers) > 0 || shoot.Spec.Provider.Type == ProviderLocal {
		fillNetworks(shoot, facts)
	}
	if project := facts.Project; project != nil && project.Spec.Tolerations != nil {
		addTolerations(shoot, project.Spec.Tolerations.Defaults)
	}
}

// ProviderLocal is the provider whose control planes are machines too, so that
// a cluster without workers has a network of pods.
const ProviderLocal = "local"

// MachineTypeUnbounded is the machine type of that provider whose machines share all
// that their host has. Machines of other types are bounded by their CPU and memory.
const MachineTypeUnbounded = "local"

// Update fills in a Shoot that replaces old. What is left out, or given in part,
// is what it was, so that applying one manifest again changes nothing; a partial
// version that no longer matches asks for the newest that does. Pools that are
// new get what pools of a new Shoot get.
func Update(shoot, old *core.Shoot, facts Facts) {
	if version := &shoot.Spec.Kubernetes.Version; offers.IsPrefix(*version) {
		if offers.HasPrefix(old.Spec.Kubernetes.Version, *version) {
			*version = old.Spec.Kubernetes.Version
		} else if facts.Profile != nil {
			*version = complete(*version, facts.Profile.Kubernetes.Versions, facts.Now)
		}
	}
	keepNetworks(shoot, old)
	for i := range shoot.Spec.Provider.Workers {
		worker := &shoot.Spec.Provider.Workers[i]
		was := slices.IndexFunc(old.Spec.Provider.Workers, func(w core.Worker) bool { return w.Name == worker.Name })
		switch {
		case was >= 0:
			fillWorker(shoot, worker, &old.Spec.Provider.Workers[was], facts)
		case facts.Profile != nil:
			fillWorker(shoot, worker, nil, facts)
		}
	}
}

// complete turns a partial version into one on offer.
func complete(version string, offered []core.ExpirableVersion, now time.Time) string {
	if !offers.IsPrefix(version) {
		return version
	}
	if newest, found := offers.Newest(offered, version, now); found {
		return newest
	}
	return version
}

func fillNetworks(shoot *core.Shoot, facts Facts) {
	if shoot.Spec.Networking == nil {
		shoot.Spec.Networking = &core.Networking{}
	}
	networking := shoot.Spec.Networking
	if networking.Type == nil && shoot.Spec.Provider.Type == ProviderLocal {
		networking.Type = new(NetworkingType)
	}
	pods, services := v1beta1.DefaultPodNetworkCIDR, v1beta1.DefaultServiceNetworkCIDR
	if facts.Seed != nil && facts.Seed.Spec.Networks.ShootDefaults != nil {
		pods = orElse(facts.Seed.Spec.Networks.ShootDefaults.Pods, pods)
		services = orElse(facts.Seed.Spec.Networks.ShootDefaults.Services, services)
	}
	switch ipv6 := core.IsIPv6SingleStack(networking.IPFamilies); {
	case ipv6 && shoot.Spec.Provider.Type == ProviderLocal:
		networking.Pods, networking.Services = new(orElse(networking.Pods, provider.DefaultPods6)), new(orElse(networking.Services, provider.DefaultServices6))
	case !ipv6:
		if networking.Pods == nil && !overlapsAny(pods, networking.Services, networking.Nodes) {
			networking.Pods = &pods
		}
		if networking.Services == nil && !overlapsAny(services, networking.Pods, networking.Nodes) {
			networking.Services = &services
		}
	}
}

func orElse(given *string, otherwise string) string {
	if given != nil {
		return *given
	}
	return otherwise
}

func keepNetworks(shoot, old *core.Shoot) {
	if old.Spec.Networking == nil {
		return
	}
	if shoot.Spec.Networking == nil {
		shoot.Spec.Networking = old.Spec.Networking.DeepCopy()
		return
	}
	for _, part := range []struct{ now, was **string }{
		{&shoot.Spec.Networking.Type, &old.Spec.Networking.Type},
		{&shoot.Spec.Networking.Pods, &old.Spec.Networking.Pods},
		{&shoot.Spec.Networking.Services, &old.Spec.Networking.Services},
	} {
		if *part.now == nil && *part.was != nil {
			*part.now = new(**part.was)
		}
	}
}

// addTolerations adds those whose key the Shoot does not tolerate yet.
func addTolerations(shoot *core.Shoot, defaults []core.Toleration) {
	for _, toleration := range defaults {
		if !slices.ContainsFunc(shoot.Spec.Tolerations, func(t core.Toleration) bool { return t.Key == toleration.Key }) {
			shoot.Spec.Tolerations = append(shoot.Spec.Tolerations, *toleration.DeepCopy())
		}
	}
}
