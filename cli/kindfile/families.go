package kindfile

import (
	"cmp"
	"net/netip"
	"strings"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/nodeconfig/provider"
)

// Values of networking.ipFamily.
const (
	FamilyIPv4 = "ipv4"
	FamilyIPv6 = "ipv6"
	FamilyDual = "dual"
)

// Families are those of a Shoot, by kind's word for them; known is false if it is
// none. Nothing means what a Shoot means by none.
func Families(word string) (families []gardencorev1beta1.IPFamily, known bool) {
	switch word {
	case "":
		return nil, true
	case FamilyIPv4:
		return []gardencorev1beta1.IPFamily{gardencorev1beta1.IPFamilyIPv4}, true
	case FamilyIPv6:
		return []gardencorev1beta1.IPFamily{gardencorev1beta1.IPFamilyIPv6}, true
	case FamilyDual:
		return []gardencorev1beta1.IPFamily{gardencorev1beta1.IPFamilyIPv4, gardencorev1beta1.IPFamilyIPv6}, true
	}
	return nil, false
}

// families says which families and ranges the cluster has. It returns those ranges for
// which a Shoot has no word.
func (n networking) families(to *gardencorev1beta1.Networking) (*v1alpha1.Ranges, field.ErrorList) {
	path := field.NewPath("networking")
	families, known := Families(n.IPFamily)
	if !known {
		return nil, field.ErrorList{field.NotSupported(path.Child("ipFamily"), n.IPFamily, []string{FamilyIPv4, FamilyIPv6, FamilyDual})}
	}
	to.IPFamilies = families
	pods, pods6, problems := n.split(n.PodSubnet, path.Child("podSubnet"))
	services, services6, wrong := n.split(n.ServiceSubnet, path.Child("serviceSubnet"))
	if problems = append(problems, wrong...); len(problems) > 0 {
		return nil, problems
	}
	asked := provider.Networks{Pods: cmp.Or(pods, defaultPodSubnet), Services: cmp.Or(services, defaultServiceSubnet)}
	if n.IPFamily == FamilyIPv6 {
		asked.Pods, asked.Services = cmp.Or(pods, provider.DefaultPods6), cmp.Or(services, provider.DefaultServices6)
	}
	if pods6 != "" || services6 != "" {
		asked.Own = &v1alpha1.Ranges{Pods: pods6, Services: services6}
	}
	for _, f := range families {
		asked.Families = append(asked.Families, string(f))
	}
	to.Pods, to.Services = ptr.To(asked.Pods), ptr.To(asked.Services)
	at := field.NewPath("ranges")
	problems = asked.Check(at, at)
	for _, p := range problems {
		p.Field = strings.NewReplacer(at.Child("pods").String(), "networking.podSubnet", at.Child("services").String(), "networking.serviceSubnet").Replace(p.Field)
	}
	return asked.Own, problems
}

// split parts the ranges of both families, of which the second may be left out.
func (n networking) split(text string, path *field.Path) (first, second string, problems field.ErrorList) {
	first, second, two := strings.Cut(text, ",")
	one, err := netip.ParsePrefix(first)
	other, otherErr := netip.ParsePrefix(second)
	var what string
	switch {
	case text == "":
	case n.IPFamily == FamilyDual:
		if err != nil || !one.Addr().Is4() || two && (otherErr != nil || !other.Addr().Is6()) {
			what = "must be a range of IPv4 and one of IPv6 with a comma between, as in 10.244.0.0/16,fd00:10:244::/56"
		}
	case two:
		what = "must be one range: those of both families need ipFamily: dual"
	case n.IPFamily == FamilyIPv6 && (err != nil || !one.Addr().Is6()):
		what = "must be a range of IPv6, as in fd00:10:244::/56: the cluster has ipFamily ipv6"
	case n.IPFamily != FamilyIPv6 && err == nil && one.Addr().Is6():
		what = "must be a range of IPv4, as in 10.244.0.0/16, unless ipFamily is ipv6 or dual"
	}
	if what != "" {
		return "", "", field.ErrorList{field.Invalid(path, text, what)}
	}
	return first, second, nil
}
