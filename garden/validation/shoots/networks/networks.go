// Package networks has the rules for a cluster's networks and its names in DNS.
//
// The rules for Shoots call it. It is pure.
package networks

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/gardener/gardener/pkg/apis/core"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

// Validate checks spec.networking, the sizes of nodes' ranges of pods, and
// spec.dns.
func Validate(shoot *core.Shoot, spec *field.Path) field.ErrorList {
	errs := validateDNS(shoot, spec.Child("dns"))
	networking := shoot.Spec.Networking
	if networking == nil {
		return errs
	}
	path := spec.Child("networking")
	errs = append(errs, validateFamilies(networking.IPFamilies, path.Child("ipFamilies"))...)
	if networking.Type != nil && *networking.Type != "" {
		errs = append(errs, check.DNSLabel(path.Child("type"), *networking.Type)...)
	} else if len(shoot.Spec.Provider.Workers) > 0 {
		errs = append(errs, field.Required(path.Child("type"), "names the network between pods, for example calico or cilium"))
	}
	ranges, problems := parse(networking, path)
	errs = append(errs, problems...)
	errs = append(errs, check.Disjoint(ranges...)...)
	for _, network := range ranges {
		errs = append(errs, validateFamily(network, networking.IPFamilies)...)
		errs = append(errs, validateReserved(network)...)
	}
	return append(errs, validateMasks(shoot, spec, path)...)
}

// ValidateUpdate checks what nodes and addresses already depend on.
func ValidateUpdate(shoot, old *core.Shoot, spec *field.Path) field.ErrorList {
	var errs field.ErrorList
	if was := old.Spec.DNS; was != nil {
		var domain *string
		if shoot.Spec.DNS != nil {
			domain = shoot.Spec.DNS.Domain
		}
		errs = append(errs, check.ImmutableOnceSet(spec.Child("dns", "domain"), domain, was.Domain)...)
	}
	errs = append(errs, validateMaskChange(shoot, old, spec.Child("kubernetes", "kubeControllerManager"))...)
	if old.Spec.Networking == nil {
		return errs
	}
	now, was, path := core.Networking{}, old.Spec.Networking, spec.Child("networking")
	if shoot.Spec.Networking != nil {
		now = *shoot.Spec.Networking
	}
	errs = append(errs, check.ImmutableOnceSet(path.Child("type"), now.Type, was.Type)...)
	errs = append(errs, check.ImmutableOnceSet(path.Child("pods"), now.Pods, was.Pods)...)
	errs = append(errs, check.ImmutableOnceSet(path.Child("services"), now.Services, was.Services)...)
	// A second family can come to the first; nothing else.
	if n := len(was.IPFamilies); n > 0 && (len(now.IPFamilies) < n || !slices.Equal(now.IPFamilies[:n], was.IPFamilies)) {
		errs = append(errs, check.Immutable(path.Child("ipFamilies"), now.IPFamilies, was.IPFamilies)...)
	}
	return errs
}

// DisjointFrom checks that no range of a cluster overlaps one of others, given
// by what they are.
func DisjointFrom(networking *core.Networking, path *field.Path, others map[string]netip.Prefix) field.ErrorList {
	if networking == nil {
		return nil
	}
	ranges, _ := parse(networking, path)
	return check.DisjointFrom(ranges, others)
}

// Room checks that a range of pods has a part of maskSize for each node.
func Room(pods *string, path *field.Path, maskSize int, nodes int64) field.ErrorList {
	if pods == nil {
		return nil
	}
	prefix, err := netip.ParsePrefix(*pods)
	if err != nil {
		return nil
	}
	if prefix.Bits() > maskSize {
		return field.ErrorList{field.Invalid(path, *pods, fmt.Sprintf("is too small: each node gets a range of /%d from it", maskSize))}
	}
	if parts := maskSize - prefix.Bits(); parts < 31 && nodes > int64(1)<<parts {
		return field.ErrorList{field.Invalid(path, *pods, fmt.Sprintf("is too small: it has a range of /%d for %d nodes, and the worker pools have %d", maskSize, int64(1)<<parts, nodes))}
	}
	return nil
}

func parse(networking *core.Networking, path *field.Path) ([]check.Network, field.ErrorList) {
	var ranges []check.Network
	var errs field.ErrorList
	for _, part := range []struct {
		name  string
		value *string
	}{{"pods", networking.Pods}, {"services", networking.Services}, {"nodes", networking.Nodes}} {
		if part.value == nil {
			continue
		}
		network, problems := check.ParseNetwork(path.Child(part.name), *part.value)
		if errs = append(errs, problems...); len(problems) == 0 {
			ranges = append(ranges, network)
		}
	}
	return ranges, errs
}

func validateFamilies(families []core.IPFamily, path *field.Path) field.ErrorList {
	errs := check.UniqueStrings(path, families)
	for i, family := range families {
		errs = append(errs, check.OneOf(path.Index(i), family, core.IPFamilyIPv4, core.IPFamilyIPv6)...)
	}
	if len(errs) == 0 && len(families) == 2 && families[0] != core.IPFamilyIPv4 {
		errs = append(errs, field.Invalid(path, families, "with two families the first must be IPv4, so that services without a family get an IPv4 address"))
	}
	return errs
}

// validateFamily wants a range of one of the cluster's families.
func validateFamily(network check.Network, families []core.IPFamily) field.ErrorList {
	if len(families) == 0 {
		families = []core.IPFamily{core.IPFamilyIPv4}
	}
	family := core.IPFamilyIPv4
	if network.Prefix.Addr().Is6() {
		family = core.IPFamilyIPv6
	}
	if slices.Contains(families, family) {
		return nil
	}
	return field.ErrorList{field.Invalid(network.Path, network.Prefix.String(), fmt.Sprintf("is %s, and ipFamilies has %s only", family, families[0]))}
}

// validateReserved keeps a cluster off the ranges to which the tunnel between
// control plane and nodes maps others.
func validateReserved(network check.Network) field.ErrorList {
	for _, reserved := range []string{
		v1beta1constants.ReservedKubeApiServerMappingRange, v1beta1constants.ReservedSeedPodNetworkMappedRange,
		v1beta1constants.ReservedShootNodeNetworkMappedRange, v1beta1constants.ReservedShootServiceNetworkMappedRange,
		v1beta1constants.ReservedShootPodNetworkMappedRange, v1beta1constants.DefaultVPNRangeV6,
	} {
		if prefix, err := netip.ParsePrefix(reserved); err == nil && prefix.Overlaps(network.Prefix) {
			return field.ErrorList{field.Invalid(network.Path, network.Prefix.String(), "overlaps "+reserved+", which is kept for the way between control plane and nodes")}
		}
	}
	return nil
}
