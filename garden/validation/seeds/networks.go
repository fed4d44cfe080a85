package seeds

import (
	"fmt"
	"slices"

	"github.com/gardener/gardener/pkg/apis/core"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

// networks wants those of the seed and those that its clusters get by default to
// be disjoint: both are routed in one place.
func networks(path *field.Path, networks *core.SeedNetworks) field.ErrorList {
	families := path.Child("ipFamilies")
	var errs field.ErrorList
	for i, family := range networks.IPFamilies {
		errs = append(errs, check.OneOf(families.Index(i), family, core.IPFamilyIPv4, core.IPFamilyIPv6)...)
	}
	errs = append(errs, check.UniqueStrings(families, networks.IPFamilies)...)

	var parsed []check.Network
	add := func(path *field.Path, cidr *string) {
		if cidr == nil {
			return
		}
		network, problems := check.ParseNetwork(path, *cidr)
		if len(problems) == 0 {
			problems = ofFamily(network, networks.IPFamilies)
			parsed = append(parsed, network)
		}
		errs = append(errs, problems...)
	}
	add(path.Child("nodes"), networks.Nodes)
	add(path.Child("pods"), &networks.Pods)
	add(path.Child("services"), &networks.Services)
	if defaults := networks.ShootDefaults; defaults != nil {
		add(path.Child("shootDefaults", "pods"), defaults.Pods)
		add(path.Child("shootDefaults", "services"), defaults.Services)
	}
	errs = append(errs, check.Disjoint(parsed...)...)

	blocked := path.Child("blockCIDRs")
	for i, cidr := range networks.BlockCIDRs {
		errs = append(errs, check.CIDR(blocked.Index(i), cidr)...)
	}
	return append(errs, check.UniqueStrings(blocked, networks.BlockCIDRs)...)
}

func ofFamily(network check.Network, families []core.IPFamily) field.ErrorList {
	family := core.IPFamilyIPv6
	if network.Prefix.Addr().Is4() {
		family = core.IPFamilyIPv4
	}
	if len(families) == 0 || slices.Contains(families, family) {
		return nil
	}
	return field.ErrorList{field.Invalid(network.Path, network.Prefix.String(), fmt.Sprintf("must be a network of %s, as ipFamilies say", families[0]))}
}
