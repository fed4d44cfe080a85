package provider

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/api/v1alpha1"
)

// Families of addresses, as a Shoot calls them.
const (
	IPv4 = "IPv4"
	IPv6 = "IPv6"
)

// Ranges of IPv6 that a cluster has when nothing is said: those of kind, as its
// documentation has them. They stay what they are, since clusters do not record them.
const (
	DefaultPods6     = "fd00:10:244::/56"
	DefaultServices6 = "fd00:10:96::/112"
)

// Lengths of ranges of IPv6 that kubeadm takes. Each node gets a /64 of the pods', of
// which there are 65536 at most; services are at most 2^20, and at least ten.
const (
	nodeBits6                          = 64
	shortestPods6                      = 48
	shortestServices6, longestService6 = 108, 124
)

// Networks are a cluster's own ranges of addresses, as its Shoot says them.
type Networks struct {
	// Families are those of spec.networking.ipFamilies: IPv4 when empty, and IPv4
	// first of two.
	Families []string
	// Pods and Services are those of spec.networking, of the first family.
	Pods, Services string
	// Own are those of IPv6 that stand in the provider configuration of a cluster of
	// both families.
	Own *v1alpha1.Ranges
}

func (n Networks) dual() bool { return len(n.Families) == 2 }

func (n Networks) ipv6() bool { return slices.Contains(n.Families, IPv6) }

// ranges6 are those of IPv6, by default where nothing is said.
func (n Networks) ranges6() (pods, services string) {
	if !n.dual() {
		return cmp.Or(n.Pods, DefaultPods6), cmp.Or(n.Services, DefaultServices6)
	}
	own := v1alpha1.Ranges{}
	if n.Own != nil {
		own = *n.Own
	}
	return cmp.Or(own.Pods, DefaultPods6), cmp.Or(own.Services, DefaultServices6)
}

// Ranges are those of pods and of services: one, or one of each family with a comma
// between. Those of IPv4 have no default here.
func (n Networks) Ranges() (pods, services string) {
	if !n.ipv6() {
		return n.Pods, n.Services
	}
	pods, services = n.ranges6()
	if n.dual() {
		return n.Pods + "," + pods, n.Services + "," + services
	}
	return pods, services
}

// Check reports what a cluster cannot have of IPv6. The paths are those of
// spec.networking and of ipv6 in the provider configuration.
func (n Networks) Check(networking, own *field.Path) field.ErrorList {
	var errs field.ErrorList
	if n.Own != nil && !n.dual() {
		what := "a cluster of IPv4 has no such ranges: with spec.networking.ipFamilies: [IPv4, IPv6] it has both"
		if n.ipv6() {
			what = "it is for clusters of both families: one of IPv6 alone has its ranges in spec.networking.pods and .services"
		}
		errs = append(errs, field.Forbidden(own, what))
	}
	if !n.ipv6() {
		return errs
	}
	at := networking
	if n.dual() {
		at = own
		errs = append(errs, first4(n.Pods, networking.Child("pods"), own.Child("pods"))...)
		errs = append(errs, first4(n.Services, networking.Child("services"), own.Child("services"))...)
	}
	podText, serviceText := n.ranges6()
	pods, podErrs := range6(podText, shortestPods6, nodeBits6, at.Child("pods"))
	services, serviceErrs := range6(serviceText, shortestServices6, longestService6, at.Child("services"))
	errs = append(append(errs, podErrs...), serviceErrs...)
	if len(podErrs)+len(serviceErrs) == 0 && pods.Overlaps(services) {
		errs = append(errs, field.Invalid(at.Child("services"), serviceText, "must not overlap the range of pods, "+podText))
	}
	return errs
}

// first4 wants the range of the first of both families.
func first4(text string, path, second *field.Path) field.ErrorList {
	if prefix, err := netip.ParsePrefix(text); err == nil && prefix.Addr().Is6() {
		return field.ErrorList{field.Invalid(path, text, fmt.Sprintf("must be a range of IPv4, the cluster's first family: that of IPv6 is %s", second))}
	}
	return nil
}

// range6 reads a range of IPv6 whose length is between two bounds.
func range6(text string, shortest, longest int, path *field.Path) (netip.Prefix, field.ErrorList) {
	prefix, err := netip.ParsePrefix(text)
	var what string
	switch {
	case err != nil || !prefix.Addr().Is6() || prefix.Addr().Is4In6():
		what = "must be a range of IPv6 such as " + DefaultPods6
	case prefix != prefix.Masked():
		what = "must be " + prefix.Masked().String()
	case prefix.Bits() < shortest || prefix.Bits() > longest:
		what = fmt.Sprintf("must have a length from /%d to /%d", shortest, longest)
	default:
		return prefix, nil
	}
	return netip.Prefix{}, field.ErrorList{field.Invalid(path, text, what)}
}
