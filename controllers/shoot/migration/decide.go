package migration

import (
	"fmt"
	"slices"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"

	"github.com/loam-cloud/loam/controllers/condition"
)

// Reasons of the constraint.
const (
	reasonInDeletion = "DestinationSeedInDeletion"
	reasonUnready    = "DestinationSeedUnready"
	reasonReady      = "DestinationSeedReady"
)

// moves tells whether a Shoot is on one seed and wanted on another.
func moves(shoot *gardencorev1beta1.Shoot) bool {
	is, wanted := shoot.Status.SeedName, shoot.Spec.SeedName
	return is != nil && wanted != nil && *is != *wanted
}

func constraint(shoot *gardencorev1beta1.Shoot) *gardencorev1beta1.Condition {
	if i := find(shoot.Status.Constraints); i >= 0 {
		return &shoot.Status.Constraints[i]
	}
	return nil
}

func find(constraints []gardencorev1beta1.Condition) int {
	return slices.IndexFunc(constraints, func(c gardencorev1beta1.Condition) bool {
		return c.Type == gardencorev1beta1.ShootReadyForMigration
	})
}

// decide says whether a seed can take a Shoot from another. A nil seed is not
// there.
func decide(name string, source, destination *gardencorev1beta1.Seed) gardencorev1beta1.Condition {
	if destination != nil && destination.DeletionTimestamp != nil {
		return condition.New(gardencorev1beta1.ShootReadyForMigration, gardencorev1beta1.ConditionFalse, reasonInDeletion,
			fmt.Sprintf("The destination seed %q is being deleted.", name))
	}
	if problem := unready(source, destination); problem != "" {
		return condition.New(gardencorev1beta1.ShootReadyForMigration, gardencorev1beta1.ConditionFalse, reasonUnready,
			fmt.Sprintf("The destination seed %q is not ready: %s.", name, problem))
	}
	return condition.New(gardencorev1beta1.ShootReadyForMigration, gardencorev1beta1.ConditionTrue, reasonReady,
		fmt.Sprintf("The destination seed %q is ready.", name))
}

// unready says why a seed cannot take a Shoot now; empty when it can. Both
// agents must be of one version: one restores what the other has saved.
func unready(source, destination *gardencorev1beta1.Seed) string {
	if destination == nil {
		return "it does not exist"
	}
	to := destination.Status.Gardener
	switch {
	case to == nil:
		return "its agent has not reported yet"
	case source != nil && source.Status.Gardener != nil && source.Status.Gardener.Version != to.Version:
		return fmt.Sprintf("its agent has version %s, the source seed's has %s", to.Version, source.Status.Gardener.Version)
	case destination.Status.ObservedGeneration < destination.Generation:
		return "its agent has not seen the last change of the seed"
	}
	alive := false
	for _, c := range destination.Status.Conditions {
		switch c.Type {
		case gardencorev1beta1.GardenletReady:
			alive = true
		case gardencorev1beta1.SeedBackupBucketsReady, gardencorev1beta1.SeedExtensionsReady, gardencorev1beta1.SeedSystemComponentsHealthy:
		default:
			continue // says nothing about whether it can take a cluster
		}
		if c.Status != gardencorev1beta1.ConditionTrue {
			return fmt.Sprintf("condition %s is %s: %s", c.Type, c.Status, c.Message)
		}
	}
	if !alive {
		return fmt.Sprintf("condition %s is missing", gardencorev1beta1.GardenletReady)
	}
	return ""
}

// merge puts the verdict into constraints; nil takes it out. A verdict of the
// same status changes nothing: its message would flap with every condition.
func merge(constraints []gardencorev1beta1.Condition, verdict *gardencorev1beta1.Condition, now time.Time) ([]gardencorev1beta1.Condition, bool) {
	i := find(constraints)
	switch {
	case verdict == nil && i < 0, verdict != nil && i >= 0 && constraints[i].Status == verdict.Status:
		return constraints, false
	case verdict == nil:
		return slices.Delete(slices.Clone(constraints), i, i+1), true
	default:
		return condition.Merge(constraints, now, *verdict), true
	}
}
