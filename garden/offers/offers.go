// Package offers reads a cloud profile: which versions may be used at a time,
// which is the newest, and which images, machine types and zones go together.
//
// Defaults of Shoots (package defaulting) and rules about them (packages of
// garden/validation) call it. It is pure and must not change a Shoot.
package offers

import (
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/gardener/gardener/pkg/apis/core"
)

// Classification of a version at a time: the last stage of its lifecycle that
// has begun, or what the two former fields say. A version without either is
// supported; one whose lifecycle has not begun is unavailable.
func Classification(version core.ExpirableVersion, now time.Time) core.VersionClassification {
	if len(version.Lifecycle) > 0 {
		current := core.ClassificationUnavailable
		for _, stage := range version.Lifecycle {
			if stage.StartTime == nil || !now.Before(stage.StartTime.Time) {
				current = stage.Classification
			}
		}
		return current
	}
	if version.ExpirationDate != nil && !now.Before(version.ExpirationDate.Time) {
		return core.ClassificationExpired
	}
	if version.Classification != nil {
		return *version.Classification
	}
	return core.ClassificationSupported
}

// Usable tells whether something new may have a version at a time: it is there,
// and has not expired. Preview and deprecated versions may be asked for.
func Usable(version core.ExpirableVersion, now time.Time) bool {
	current := Classification(version, now)
	return current != core.ClassificationUnavailable && current != core.ClassificationExpired
}

// Expiry is when a version expires; nil when that is not known.
func Expiry(version core.ExpirableVersion) *time.Time {
	for _, stage := range version.Lifecycle {
		if stage.Classification == core.ClassificationExpired && stage.StartTime != nil {
			return &stage.StartTime.Time
		}
	}
	if version.ExpirationDate != nil {
		return &version.ExpirationDate.Time
	}
	return nil
}

// Find returns the entry of a version, spelled with or without "v".
func Find(versions []core.ExpirableVersion, text string) (core.ExpirableVersion, bool) {
	for _, version := range versions {
		if Plain(version.Version) == Plain(text) {
			return version, true
		}
	}
	return core.ExpirableVersion{}, false
}

// UsableNames lists the usable versions in the profile's order, without "v".
func UsableNames(versions []core.ExpirableVersion, now time.Time) []string {
	var names []string
	for _, version := range versions {
		if Usable(version, now) {
			names = append(names, Plain(version.Version))
		}
	}
	return names
}

// Newest is the highest of the versions that begin with prefix, which may be
// empty, "1" or "1.36". A supported one wins over a deprecated one, which is
// better than none. Preview, expired and unavailable versions are never chosen.
func Newest(versions []core.ExpirableVersion, prefix string, now time.Time) (string, bool) {
	for _, wanted := range []core.VersionClassification{core.ClassificationSupported, core.ClassificationDeprecated} {
		var best *semver.Version
		var name string
		for _, version := range versions {
			parsed, err := semver.NewVersion(Plain(version.Version))
			if err != nil || Classification(version, now) != wanted || !HasPrefix(version.Version, prefix) {
				continue
			}
			if best == nil || parsed.GreaterThan(best) {
				best, name = parsed, Plain(version.Version)
			}
		}
		if best != nil {
			return name, true
		}
	}
	return "", false
}

// IsPrefix tells whether text leaves something of a version open: nothing, a
// major, or a major and a minor number.
func IsPrefix(text string) bool {
	if text == "" {
		return true
	}
	parts := strings.Split(Plain(text), ".")
	if len(parts) > 2 {
		return false
	}
	return !slices.ContainsFunc(parts, func(part string) bool {
		return part == "" || strings.Trim(part, "0123456789") != ""
	})
}

// HasPrefix tells whether a version begins with whole numbers of prefix: 1.36.3
// with 1.36, but not with 1.3.
func HasPrefix(version, prefix string) bool {
	version, prefix = Plain(version), Plain(prefix)
	return prefix == "" || version == prefix || strings.HasPrefix(version, prefix+".")
}

// Plain is a version without the "v" that image names have.
func Plain(version string) string { return strings.TrimPrefix(version, "v") }

// AtLeast tells whether a full version is of minimum ("1.35") or later;
// pre-releases of it count. A version that does not parse is not.
func AtLeast(version, minimum string) bool {
	parsed, err := semver.NewVersion(Plain(version))
	limit, limitErr := semver.NewVersion(minimum)
	if err != nil || limitErr != nil {
		return false
	}
	return parsed.Major() > limit.Major() || parsed.Major() == limit.Major() && parsed.Minor() >= limit.Minor()
}
