package shoots

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/gardener/gardener/pkg/apis/core"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/validation/shoots/networks"
)

// zonesForZoneTolerance is how many zones it takes to lose one and keep a
// majority of etcd.
const zonesForZoneTolerance = 3

// validateSeed checks the seed that a Shoot names. Shoots without one wait for a
// scheduler.
func validateSeed(shoot, old *core.Shoot, facts Facts) field.ErrorList {
	path := field.NewPath("spec", "seedName")
	changed := old == nil || !apiequality.Semantic.DeepEqual(shoot.Spec.SeedName, old.Spec.SeedName)
	if old != nil && changed {
		switch {
		case !facts.Binds:
			return field.ErrorList{field.Forbidden(path, "can be set and changed through the subresource shoots/binding only")}
		case shoot.Spec.SeedName == nil:
			return field.ErrorList{field.Forbidden(path, "cannot be taken back: a cluster stays with a seed")}
		case old.Spec.SeedName != nil:
			if errs := validateMove(path, shoot, facts); len(errs) > 0 {
				return errs
			}
		}
	}
	if shoot.Spec.SeedName == nil || *shoot.Spec.SeedName == "" {
		return nil
	}
	seed := facts.Seed
	if seed == nil {
		if changed {
			return field.ErrorList{field.NotFound(path, *shoot.Spec.SeedName)}
		}
		return nil
	}
	var errs field.ErrorList
	if changed {
		errs = append(errs, validateNewSeed(path, shoot, seed, facts)...)
	}
	if changed || !apiequality.Semantic.DeepEqual(shoot.Spec.SeedSelector, old.Spec.SeedSelector) {
		errs = append(errs, validateSelector(field.NewPath("spec", "seedSelector"), shoot.Spec.SeedSelector, seed)...)
	}
	if changed || !apiequality.Semantic.DeepEqual(shoot.Spec.Networking, old.Spec.Networking) {
		errs = append(errs, networks.DisjointFrom(shoot.Spec.Networking, field.NewPath("spec", "networking"), seedNetworks(seed))...)
	}
	if changed || !apiequality.Semantic.DeepEqual(shoot.Spec.ControlPlane, old.Spec.ControlPlane) {
		errs = append(errs, validateSeedZones(field.NewPath("spec", "controlPlane"), shoot.Spec.ControlPlane, seed)...)
	}
	return errs
}

// validateMove checks that a control plane can be moved: its state goes through
// the backups of both seeds.
func validateMove(path *field.Path, shoot *core.Shoot, facts Facts) field.ErrorList {
	var errs field.ErrorList
	for _, seed := range []*core.Seed{facts.OldSeed, facts.Seed} {
		if seed != nil && seed.Spec.Backup == nil {
			errs = append(errs, field.Invalid(path, *shoot.Spec.SeedName, fmt.Sprintf("a control plane moves by way of its backups, and seed %q has none (spec.backup)", seed.Name)))
		}
	}
	return errs
}

func validateNewSeed(path *field.Path, shoot *core.Shoot, seed *core.Seed, facts Facts) field.ErrorList {
	var errs field.ErrorList
	if seed.DeletionTimestamp != nil {
		errs = append(errs, field.Invalid(path, seed.Name, "the seed is being deleted"))
	}
	for _, taint := range seed.Spec.Taints {
		if !tolerates(shoot.Spec.Tolerations, taint) {
			errs = append(errs, field.Forbidden(path, fmt.Sprintf("seed %q has taint %q, which spec.tolerations does not tolerate", seed.Name, taint.Key)))
		}
	}
	if profile := facts.Profile; profile != nil && profile.SeedSelector != nil {
		if !selects(&profile.SeedSelector.LabelSelector, seed) {
			errs = append(errs, field.Invalid(path, seed.Name, "the cloud profile's seedSelector does not match the seed's labels"))
		}
	}
	for _, restriction := range shoot.Spec.AccessRestrictions {
		if !slices.ContainsFunc(seed.Spec.AccessRestrictions, func(r core.AccessRestriction) bool { return r.Name == restriction.Name }) {
			errs = append(errs, field.Invalid(path, seed.Name, fmt.Sprintf("the seed does not support access restriction %q", restriction.Name)))
		}
	}
	return errs
}

// tolerates tells whether a toleration has the taint's key and, if it has one,
// its value.
func tolerates(tolerations []core.Toleration, taint core.SeedTaint) bool {
	return slices.ContainsFunc(tolerations, func(t core.Toleration) bool {
		return t.Key == taint.Key && (t.Value == nil || apiequality.Semantic.DeepEqual(t.Value, taint.Value))
	})
}

func validateSelector(path *field.Path, selector *core.SeedSelector, seed *core.Seed) field.ErrorList {
	if selector == nil {
		return nil
	}
	var errs field.ErrorList
	if !selects(&selector.LabelSelector, seed) {
		errs = append(errs, field.Invalid(path, metav1.FormatLabelSelector(&selector.LabelSelector), fmt.Sprintf("does not match the labels of seed %q, which the cluster has", seed.Name)))
	}
	if types := selector.ProviderTypes; len(types) > 0 && !slices.Contains(types, "*") && !slices.Contains(types, seed.Spec.Provider.Type) {
		errs = append(errs, field.Invalid(path.Child("providerTypes"), strings.Join(types, ", "), fmt.Sprintf("does not contain %q, the provider of seed %q", seed.Spec.Provider.Type, seed.Name)))
	}
	return errs
}

// selects is false for a selector that does not parse, which another rule names.
func selects(selector *metav1.LabelSelector, seed *core.Seed) bool {
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && parsed.Matches(labels.Set(seed.Labels))
}

func validateSeedZones(path *field.Path, controlPlane *core.ControlPlane, seed *core.Seed) field.ErrorList {
	if controlPlane == nil {
		return nil
	}
	var errs field.ErrorList
	zones := seed.Spec.Provider.Zones
	if failureTolerance(controlPlane) == core.FailureToleranceTypeZone && len(zones) < zonesForZoneTolerance {
		errs = append(errs, field.Invalid(path.Child("highAvailability", "failureTolerance", "type"), core.FailureToleranceTypeZone,
			fmt.Sprintf("takes a seed with %d zones, and %q has %d", zonesForZoneTolerance, seed.Name, len(zones))))
	}
	for i, zone := range controlPlane.Zones {
		if !slices.Contains(zones, zone) {
			errs = append(errs, field.NotSupported(path.Child("zones").Index(i), zone, zones))
		}
	}
	return errs
}

// seedNetworks names the ranges of a seed that no cluster may use.
func seedNetworks(seed *core.Seed) map[string]netip.Prefix {
	ranges := map[string]string{"pods": seed.Spec.Networks.Pods, "services": seed.Spec.Networks.Services}
	if seed.Spec.Networks.Nodes != nil {
		ranges["nodes"] = *seed.Spec.Networks.Nodes
	}
	all := map[string]netip.Prefix{}
	for name, text := range ranges {
		if prefix, err := netip.ParsePrefix(text); err == nil {
			all[fmt.Sprintf("%s of seed %q", name, seed.Name)] = prefix
		}
	}
	return all
}
