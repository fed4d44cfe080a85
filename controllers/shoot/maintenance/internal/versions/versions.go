// Package versions chooses the versions that maintenance takes clusters and
// their machines to.
//
// The maintenance of Shoots calls it. It is pure. It never goes down, never over
// a given ceiling, and never to what the cloud profile does not have.
package versions

import (
	"fmt"
	"slices"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/gardener/gardener/pkg/apis/core"

	"github.com/loam-cloud/loam/garden/offers"
)

// Choice is what becomes of a version.
type Choice struct {
	// Version to go to, without "v"; empty to stay.
	Version string
	// Reason why the version has to change; empty if it need not.
	Reason string
	// Problem is why it cannot, though it has to.
	Problem string
}

// Reasons that users read in status.lastMaintenance.
const (
	kubernetesExpired = "the version has expired"
	kubernetesGone    = "the cloud profile has the version no longer"
	kubernetesAuto    = "the newest patch is asked for"
	imageExpired      = "the image version has expired"
	imageGone         = "the cloud profile has the image version no longer"
	imageAuto         = "the newest image is asked for (strategy %s)"
)

// Kubernetes is the question for a version of Kubernetes.
type Kubernetes struct {
	Offered []core.ExpirableVersion
	Current string
	// Auto asks for the newest patch.
	Auto bool
	// Ceiling is the version of the control plane, which no pool may pass; empty
	// for the control plane itself.
	Ceiling string
	Now     time.Time
}

// Choose takes the newest patch of the same minor version; when the version has
// to go and there is none, the newest of the next minor version.
func (q Kubernetes) Choose() Choice {
	current, err := semver.NewVersion(offers.Plain(q.Current))
	if err != nil {
		return Choice{Problem: fmt.Sprintf("%q is no version", q.Current)}
	}
	reason, forced := q.reason()
	if reason == "" {
		return Choice{}
	}
	above := above(q.Offered, current, q.ceiling())
	if version, found := offers.Newest(in(above, current.Major(), current.Minor()), "", q.Now); found {
		return Choice{Version: version, Reason: reason}
	}
	if !forced {
		return Choice{}
	}
	next := in(above, current.Major(), current.Minor()+1)
	if version, found := offers.Newest(next, "", q.Now); found {
		return Choice{Version: version, Reason: reason}
	}
	// One that has expired is a step on the way to one that has not.
	expired := slices.DeleteFunc(next, func(v core.ExpirableVersion) bool {
		return offers.Classification(v, q.Now) != core.ClassificationExpired
	})
	if version, found := highest(expired); found {
		return Choice{Version: version, Reason: reason}
	}
	if ceiling := q.ceiling(); ceiling != nil && ceiling.Minor() == current.Minor() && ceiling.Major() == current.Major() {
		return Choice{} // the control plane goes first
	}
	return Choice{Reason: reason, Problem: fmt.Sprintf("the cloud profile offers no patch above Kubernetes %s, and no version %d.%d", current, current.Major(), current.Minor()+1)}
}

func (q Kubernetes) ceiling() *semver.Version {
	ceiling, err := semver.NewVersion(offers.Plain(q.Ceiling))
	if err != nil {
		return nil
	}
	return ceiling
}

func (q Kubernetes) reason() (reason string, forced bool) {
	return reasonOf(q.Offered, q.Current, q.Now, q.Auto, kubernetesGone, kubernetesExpired, kubernetesAuto)
}

func reasonOf(offered []core.ExpirableVersion, current string, now time.Time, auto bool, gone, expired, automatic string) (reason string, forced bool) {
	entry, found := offers.Find(offered, current)
	switch {
	case !found:
		return gone, true
	case offers.Classification(entry, now) == core.ClassificationExpired:
		return expired, true
	case auto:
		return automatic, false
	default:
		return "", false
	}
}

// Image is the question for a version of a pool's machine image.
type Image struct {
	Profile *core.CloudProfileSpec
	// Image as the profile has it.
	Image   *core.MachineImage
	Need    offers.Need
	Current string
	// Auto asks for the newest version that the image's strategy allows.
	Auto bool
	Now  time.Time
}

// Choose takes the newest version within the bounds of the image's update
// strategy; when the version has to go and there is none, it goes one step
// beyond them.
func (q Image) Choose() Choice {
	current, err := semver.NewVersion(offers.Plain(q.Current))
	if err != nil {
		return Choice{Problem: fmt.Sprintf("%q is no version", q.Current)}
	}
	strategy := core.UpdateStrategyMajor
	if q.Image.UpdateStrategy != nil {
		strategy = *q.Image.UpdateStrategy
	}
	all := make([]core.ExpirableVersion, 0, len(q.Image.Versions))
	for i := range q.Image.Versions {
		all = append(all, q.Image.Versions[i].ExpirableVersion)
	}
	reason, forced := reasonOf(all, q.Current, q.Now, q.Auto, imageGone, imageExpired, fmt.Sprintf(imageAuto, strategy))
	if reason == "" {
		return Choice{}
	}
	above := above(q.fitting(current), current, nil)
	bounds := []func([]core.ExpirableVersion) []core.ExpirableVersion{within(strategy, current)}
	if forced {
		bounds = append(bounds, q.beyond(strategy, current))
	}
	for _, bound := range bounds {
		if version, found := offers.Newest(bound(above), "", q.Now); found {
			return Choice{Version: version, Reason: reason}
		}
	}
	if !forced {
		return Choice{}
	}
	return Choice{Reason: reason, Problem: fmt.Sprintf("the cloud profile offers no version of machine image %q above %s that fits (image update strategy: %s): add one, or move the pool to another image", q.Image.Name, current, strategy)}
}

// fitting are the versions that machines of the pool can have, and can be
// updated to in place if they are.
func (q Image) fitting(current *semver.Version) []core.ExpirableVersion {
	var fitting []core.ExpirableVersion
	for i := range q.Image.Versions {
		version := &q.Image.Versions[i]
		if offers.Misfit(q.Profile, version, q.Need) == "" && (!q.Need.InPlace || reachable(version, current)) {
			fitting = append(fitting, version.ExpirableVersion)
		}
	}
	return fitting
}

// reachable tells whether a machine can be updated in place from one version to
// another.
func reachable(version *core.MachineImageVersion, current *semver.Version) bool {
	if version.InPlaceUpdates == nil || version.InPlaceUpdates.MinVersionForUpdate == nil {
		return true
	}
	least, err := semver.NewVersion(*version.InPlaceUpdates.MinVersionForUpdate)
	return err != nil || !current.LessThan(least)
}

// within are the bounds of automatic updates.
func within(strategy core.MachineImageUpdateStrategy, current *semver.Version) func([]core.ExpirableVersion) []core.ExpirableVersion {
	return func(versions []core.ExpirableVersion) []core.ExpirableVersion {
		return filter(versions, func(v *semver.Version) bool {
			switch strategy {
			case core.UpdateStrategyPatch:
				return v.Major() == current.Major() && v.Minor() == current.Minor()
			case core.UpdateStrategyMinor:
				return v.Major() == current.Major()
			default:
				return true
			}
		})
	}
}

// beyond is the step after the bounds: the next minor or major version that can
// be used. Nothing is beyond all versions.
func (q Image) beyond(strategy core.MachineImageUpdateStrategy, current *semver.Version) func([]core.ExpirableVersion) []core.ExpirableVersion {
	return func(versions []core.ExpirableVersion) []core.ExpirableVersion {
		usable := slices.DeleteFunc(slices.Clone(versions), func(v core.ExpirableVersion) bool {
			class := offers.Classification(v, q.Now)
			return class != core.ClassificationSupported && class != core.ClassificationDeprecated
		})
		switch strategy {
		case core.UpdateStrategyPatch:
			usable = filter(usable, func(v *semver.Version) bool { return v.Major() == current.Major() })
			next, found := lowest(usable)
			if !found {
				return nil
			}
			return in(usable, next.Major(), next.Minor())
		case core.UpdateStrategyMinor:
			next, found := lowest(usable)
			if !found {
				return nil
			}
			return filter(usable, func(v *semver.Version) bool { return v.Major() == next.Major() })
		default:
			return nil
		}
	}
}

// above are the versions over one and not over the ceiling, if there is one.
func above(versions []core.ExpirableVersion, current, ceiling *semver.Version) []core.ExpirableVersion {
	return filter(versions, func(v *semver.Version) bool {
		return v.GreaterThan(current) && (ceiling == nil || !v.GreaterThan(ceiling))
	})
}

func in(versions []core.ExpirableVersion, major, minor uint64) []core.ExpirableVersion {
	return filter(versions, func(v *semver.Version) bool { return v.Major() == major && v.Minor() == minor })
}

// filter keeps what can be parsed and is wanted.
func filter(versions []core.ExpirableVersion, wanted func(*semver.Version) bool) []core.ExpirableVersion {
	var kept []core.ExpirableVersion
	for _, version := range versions {
		if parsed, err := semver.NewVersion(offers.Plain(version.Version)); err == nil && wanted(parsed) {
			kept = append(kept, version)
		}
	}
	return kept
}

func lowest(versions []core.ExpirableVersion) (*semver.Version, bool) {
	sorted := parsed(versions)
	if len(sorted) == 0 {
		return nil, false
	}
	return slices.MinFunc(sorted, (*semver.Version).Compare), true
}

func highest(versions []core.ExpirableVersion) (string, bool) {
	sorted := parsed(versions)
	if len(sorted) == 0 {
		return "", false
	}
	return slices.MaxFunc(sorted, (*semver.Version).Compare).String(), true
}

func parsed(versions []core.ExpirableVersion) []*semver.Version {
	var all []*semver.Version
	filter(versions, func(v *semver.Version) bool { all = append(all, v); return true })
	return all
}
