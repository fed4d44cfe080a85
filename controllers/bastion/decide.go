package bastion

import (
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	operationsv1alpha1 "github.com/gardener/gardener/pkg/apis/operations/v1alpha1"
)

// defaultLifetime is how long a bastion lives at most, for a configuration that
// was not defaulted.
const defaultLifetime = 24 * time.Hour

// Operators search logs for these two messages.
const (
	messageExpired = "Deleting expired bastion"
	messageTooOld  = "Deleting bastion because it reached its maximum lifetime"
)

type decision struct {
	// message says why the bastion goes; empty if it stays.
	message string
	// after is when to look again; zero if nothing but an event can end it.
	after time.Duration
}

// decide ends a bastion for the first reason that there is. The Shoot is nil if
// it is gone.
func decide(bastion *operationsv1alpha1.Bastion, shoot *gardencorev1beta1.Shoot, lifetime time.Duration, now time.Time) decision {
	oldest := bastion.CreationTimestamp.Add(lifetime)
	expiry := bastion.Status.ExpirationTimestamp
	switch {
	case shoot == nil:
		return decision{message: "Deleting bastion because its shoot is gone"}
	case shoot.DeletionTimestamp != nil:
		return decision{message: "Deleting bastion because its shoot is being deleted"}
	case elsewhere(bastion, shoot):
		return decision{message: "Deleting bastion because its shoot has another seed"}
	case expiry != nil && !now.Before(expiry.Time):
		return decision{message: messageExpired}
	case !now.Before(oldest):
		return decision{message: messageTooOld}
	}
	next := oldest
	if expiry != nil && expiry.Time.Before(next) {
		next = expiry.Time
	}
	return decision{after: next.Sub(now)}
}

// elsewhere tells whether a bastion was made on a seed that is not its Shoot's.
// Without a seed it has not been made yet.
func elsewhere(bastion *operationsv1alpha1.Bastion, shoot *gardencorev1beta1.Shoot) bool {
	was, is := bastion.Spec.SeedName, shoot.Spec.SeedName
	return was != nil && (is == nil || *is != *was)
}
