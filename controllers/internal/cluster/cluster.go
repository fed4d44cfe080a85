// Package cluster answers what several controllers ask about a Shoot.
//
// Controllers call it. It must not know why they ask.
package cluster

import (
	"slices"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
)

// SelfHosted tells whether a Shoot has its control plane on workers of its own.
func SelfHosted(shoot *gardencorev1beta1.Shoot) bool { return ControlPlanePool(shoot) != nil }

// ControlPlanePool is the pool that holds the control plane; nil if a seed does.
func ControlPlanePool(shoot *gardencorev1beta1.Shoot) *gardencorev1beta1.Worker {
	at := slices.IndexFunc(shoot.Spec.Provider.Workers, func(w gardencorev1beta1.Worker) bool { return w.ControlPlane != nil })
	if at < 0 {
		return nil
	}
	return &shoot.Spec.Provider.Workers[at]
}

// Workerless tells whether a Shoot is an API without nodes.
func Workerless(shoot *gardencorev1beta1.Shoot) bool { return len(shoot.Spec.Provider.Workers) == 0 }
