package check

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Network is a range of addresses and where it was written.
type Network struct {
	Path   *field.Path
	Prefix netip.Prefix
}

// ParseNetwork reads a CIDR whose address is the first of its range. With
// problems the Network is not to be used.
func ParseNetwork(path *field.Path, value string) (Network, field.ErrorList) {
	if value == "" {
		return Network{}, field.ErrorList{field.Required(path, "is a network, for example 10.3.0.0/16")}
	}
	prefix, err := netip.ParsePrefix(value)
	if err != nil {
		return Network{}, field.ErrorList{field.Invalid(path, value, "must be a network, for example 10.3.0.0/16")}
	}
	if masked := prefix.Masked(); masked != prefix {
		return Network{}, field.ErrorList{field.Invalid(path, value, fmt.Sprintf("must begin with the first address of the network: %s", masked))}
	}
	if prefix.Addr().Is4In6() {
		return Network{}, field.ErrorList{field.Invalid(path, value, "must be a network of IPv4 or IPv6, not one mapped into the other")}
	}
	return Network{path, prefix}, nil
}

// CIDR is ParseNetwork for a caller who needs problems only.
func CIDR(path *field.Path, value string) field.ErrorList {
	_, errs := ParseNetwork(path, value)
	return errs
}

// Disjoint wants no two networks to have an address in common. Each pair is
// reported once, at the later one.
func Disjoint(networks ...Network) field.ErrorList {
	var errs field.ErrorList
	for i, network := range networks {
		for _, before := range networks[:i] {
			if network.Prefix.Overlaps(before.Prefix) {
				errs = append(errs, field.Invalid(network.Path, network.Prefix.String(), fmt.Sprintf("overlaps %s, which is %s", before.Path, before.Prefix)))
			}
		}
	}
	return errs
}

// DisjointFrom wants no network of one set to overlap one of another, which was
// right before: only the first set is to blame.
func DisjointFrom(networks []Network, others map[string]netip.Prefix) field.ErrorList {
	var errs field.ErrorList
	for _, network := range networks {
		for _, name := range slices.Sorted(maps.Keys(others)) {
			if other := others[name]; network.Prefix.Overlaps(other) {
				errs = append(errs, field.Invalid(network.Path, network.Prefix.String(), fmt.Sprintf("overlaps %s, the network of %s", other, name)))
			}
		}
	}
	return errs
}
