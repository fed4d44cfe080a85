package scheduling

import (
	"fmt"
	"strings"

	"github.com/agnivade/levenshtein"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/fault"
)

// nearest keeps the seeds whose region is closest to the Shoot's.
func (q question) nearest(seeds []*gardencorev1beta1.Seed) []*gardencorev1beta1.Seed {
	var nearest []*gardencorev1beta1.Seed
	best := 0
	for _, seed := range seeds {
		distance := q.distance(seed)
		if len(nearest) == 0 || distance < best {
			nearest, best = nil, distance
		}
		if distance == best {
			nearest = append(nearest, seed)
		}
	}
	return nearest
}

// distance is what an operator has written down, or else how little the names
// of two regions have in common: twice the Levenshtein distance of their base
// names, and more for another orientation or another provider, as the concept
// page of Gardener's scheduler says of its strategy MinimalDistance.
func (q question) distance(seed *gardencorev1beta1.Seed) int {
	if distance, known := q.distances[seed.Spec.Provider.Region]; known {
		return distance
	}
	base, orientation := splitRegion(q.shoot.Spec.Region)
	otherBase, otherOrientation := splitRegion(seed.Spec.Provider.Region)
	distance := 2 * levenshtein.ComputeDistance(base, otherBase)
	switch {
	case orientation == otherOrientation:
	case orientation == "" || otherOrientation == "":
		distance++
	default:
		distance += 2
	}
	if seed.Spec.Provider.Type != q.shoot.Spec.Provider.Type {
		distance += 2
	}
	if q.distances != nil {
		// What was written down comes before any guess.
		distance += guessed
	}
	return distance
}

// guessed is more than any distance that is written down.
const guessed = 1 << 20

// splitRegion takes the compass point out of a region's name: eu-west-1 is eu--1
// in the west.
func splitRegion(region string) (base, orientation string) {
	for _, point := range []string{"north", "south", "east", "west", "central"} {
		if before, after, found := strings.Cut(region, point); found {
			base, more := splitRegion(before + after)
			return base, point + more
		}
	}
	return region, ""
}

// parseDistances reads the distances from one region to others: YAML, a number
// for each region's name.
func parseDistances(text string) (map[string]int, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var distances map[string]int
	if err := yaml.UnmarshalStrict([]byte(text), &distances); err != nil {
		return nil, fault.New(fault.Invalid, "the distances of regions cannot be read: %w", err)
	}
	for region, distance := range distances {
		if distance < 0 || distance >= guessed {
			return nil, fault.New(fault.Invalid, "the distance of region %q is %s: it must be from 0 to %d", region, fmt.Sprint(distance), guessed-1)
		}
	}
	return distances, nil
}
