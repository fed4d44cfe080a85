package shoots

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/gardener/gardener/pkg/apis/core"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/defaulting"
	"github.com/loam-cloud/loam/garden/offers"
	"github.com/loam-cloud/loam/garden/validation/internal/check"
	"github.com/loam-cloud/loam/garden/validation/shoots/workers"
)

// validateProfile checks what changed against what the cloud profile offers. A
// profile that is gone is a problem only for what would have to be in it.
func validateProfile(shoot, old *core.Shoot, path *field.Path, facts Facts) field.ErrorList {
	ref := shoot.Spec.CloudProfile
	if ref == nil || ref.Name == "" {
		return nil
	}
	// In another profile all is new.
	if old != nil && !apiequality.Semantic.DeepEqual(old.Spec.CloudProfile, ref) {
		old = nil
	}
	if facts.Profile == nil {
		if old == nil || wantsOffers(shoot, old) {
			return field.ErrorList{field.NotFound(path.Child("cloudProfile", "name"), ref.Name)}
		}
		return nil
	}
	profile := facts.Profile
	if profile.Type == "" {
		// Only a namespaced profile that was not merged with its parent has none.
		if old != nil && !wantsOffers(shoot, old) {
			return nil
		}
		return field.ErrorList{field.Invalid(path.Child("cloudProfile", "name"), ref.Name, "offers nothing yet: its status does not have what its parent and itself offer together")}
	}
	var errs field.ErrorList
	if kind := shoot.Spec.Provider.Type; old == nil && kind != "" && kind != profile.Type {
		errs = append(errs, field.Invalid(path.Child("provider", "type"), kind, fmt.Sprintf("must be %q, the type of cloud profile %q", profile.Type, ref.Name)))
	}
	errs = append(errs, validateRegion(shoot, old, path, profile)...)
	errs = append(errs, validateVersion(shoot, old, path.Child("kubernetes", "version"), facts)...)
	if controlPlane := shoot.Spec.ControlPlane; controlPlane != nil && len(controlPlane.Zones) > 0 && (old == nil || failureZones(old) == 0) &&
		(profile.ControlPlane == nil || !profile.ControlPlane.AllowZonePinning) {
		errs = append(errs, field.Forbidden(path.Child("controlPlane", "zones"), fmt.Sprintf("cloud profile %q does not allow to choose zones (spec.controlPlane.allowZonePinning)", ref.Name)))
	}
	return append(errs, workers.ValidateOffers(shoot, old, path.Child("provider", "workers"), profile, facts.Now)...)
}

func failureZones(shoot *core.Shoot) int {
	if shoot.Spec.ControlPlane == nil {
		return 0
	}
	return len(shoot.Spec.ControlPlane.Zones)
}

// wantsOffers tells whether a change names something that a profile would have
// to offer.
func wantsOffers(shoot, old *core.Shoot) bool {
	if shoot.Spec.Kubernetes.Version != old.Spec.Kubernetes.Version || shoot.Spec.Region != old.Spec.Region {
		return true
	}
	return slices.ContainsFunc(shoot.Spec.Provider.Workers, func(worker core.Worker) bool {
		i := slices.IndexFunc(old.Spec.Provider.Workers, func(w core.Worker) bool { return w.Name == worker.Name })
		return i < 0 || !apiequality.Semantic.DeepEqual(worker.Machine, old.Spec.Provider.Workers[i].Machine)
	})
}

func validateRegion(shoot, old *core.Shoot, path *field.Path, profile *core.CloudProfileSpec) field.ErrorList {
	name := shoot.Spec.Region
	if name == "" {
		return nil
	}
	region := offers.Region(profile, name)
	if region == nil {
		if old != nil && old.Spec.Region == name {
			return nil
		}
		return field.ErrorList{check.Offered(path.Child("region"), name, names(profile.Regions, func(r core.Region) string { return r.Name }))}
	}
	var errs field.ErrorList
	for i, restriction := range shoot.Spec.AccessRestrictions {
		had := old != nil && slices.ContainsFunc(old.Spec.AccessRestrictions, func(r core.AccessRestrictionWithOptions) bool { return r.Name == restriction.Name })
		known := slices.ContainsFunc(region.AccessRestrictions, func(r core.AccessRestriction) bool { return r.Name == restriction.Name })
		if !had && !known && restriction.Name != "" {
			errs = append(errs, check.Offered(path.Child("accessRestrictions").Index(i).Child("name"), restriction.Name,
				names(region.AccessRestrictions, func(r core.AccessRestriction) string { return r.Name })))
		}
	}
	return errs
}

func names[T any](items []T, name func(T) string) []string {
	all := make([]string, len(items))
	for i, item := range items {
		all[i] = name(item)
	}
	return all
}

func validateVersion(shoot, old *core.Shoot, path *field.Path, facts Facts) field.ErrorList {
	version := shoot.Spec.Kubernetes.Version
	if old != nil && old.Spec.Kubernetes.Version == version {
		return nil
	}
	offered := offers.UsableNames(facts.Profile.Kubernetes.Versions, facts.Now)
	if slices.Contains(offered, version) {
		return nil
	}
	detail := fmt.Sprintf("cloud profile %q offers %s", shoot.Spec.CloudProfile.Name, cmp.Or(strings.Join(offered, ", "), "no version"))
	if facts.Profile.Type == defaulting.ProviderLocal {
		// Which those are is not known here: the garden may be elsewhere.
		detail += "; versions are those that the host has a node image of, and \"loam image build --help\" lists those that one can be built of"
	}
	return field.ErrorList{field.Invalid(path, version, detail)}
}
