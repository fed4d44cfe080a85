package wanted

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/controllers/internal/cluster"
)

// Choice is what has to be installed.
type Choice struct {
	// Registrations are the names of the ControllerRegistrations.
	Registrations sets.Set[string]
	// Missing is what is wanted and nobody offers, in order. It keeps nothing else
	// from being installed.
	Missing []Extension
	// Problems are others that an operator has to mend, in order.
	Problems []string
}

// SeedFacts are all that decides about a Seed.
type SeedFacts struct {
	Seed *gardencorev1beta1.Seed
	// Shoots are those with the Seed in their spec or in their status, each once.
	Shoots        []*gardencorev1beta1.Shoot
	Backups       Backups
	Domains       Domains
	Registrations []gardencorev1beta1.ControllerRegistration
	// Installations are those in the Seed.
	Installations []gardencorev1beta1.ControllerInstallation
	// PoliciesElsewhere means that the cluster's Shoot takes care of registrations
	// that are always wanted.
	PoliciesElsewhere bool
}

// ForSeed decides what a Seed needs.
func ForSeed(f SeedFacts) Choice {
	wanted := Set{}
	f.Backups.addTo(wanted)
	for _, shoot := range f.Shoots {
		wanted.addHosted(shoot, f.Seed, f.Registrations, f.Domains)
	}
	alive := f.Seed.DeletionTimestamp == nil
	if alive {
		wanted.addSeed(f.Seed, f.Registrations)
	}
	c := choose(wanted, f.Registrations)
	if f.Domains.Internal == nil && len(f.Shoots) > 0 && len(f.Registrations) > 0 {
		c.Problems = append(c.Problems, "there is no internal domain: spec.dns.internal of the seed, or a secret with role internal-domain in namespace garden, names one")
	}
	if !f.PoliciesElsewhere {
		c.addAlways(f.Registrations, alive, len(f.Shoots) > 0)
	}
	c.addRequired(f.Installations)
	c.selectSeed(f.Registrations, f.Seed)
	return c
}

// ShootFacts are all that decides about a Shoot that looks after itself.
type ShootFacts struct {
	Shoot         *gardencorev1beta1.Shoot
	Backups       Backups
	Domains       Domains
	Registrations []gardencorev1beta1.ControllerRegistration
	// Installations are those in the Shoot that no Seed holds.
	Installations []gardencorev1beta1.ControllerInstallation
}

// ForShoot decides what a Shoot needs: nothing if a Seed holds its control plane,
// and nothing new when it is in deletion.
func ForShoot(f ShootFacts) Choice {
	wanted := Set{}
	alive := f.Shoot.DeletionTimestamp == nil && cluster.SelfHosted(f.Shoot)
	if alive {
		f.Backups.addTo(wanted)
		wanted.addShoot(f.Shoot, f.Registrations, f.Domains)
	}
	c := choose(wanted, f.Registrations)
	c.addAlways(f.Registrations, alive, alive)
	c.addRequired(f.Installations)
	return c
}

// choose finds who offers what is wanted. A garden without any registration does
// without extensions: there, nothing is missing.
func choose(wanted Set, registrations []gardencorev1beta1.ControllerRegistration) Choice {
	offered := map[Extension][]string{}
	for i := range registrations {
		for _, resource := range registrations[i].Spec.Resources {
			e := Extension{resource.Kind, resource.Type}
			offered[e] = append(offered[e], registrations[i].Name)
		}
	}
	c := Choice{Registrations: sets.New[string]()}
	for e := range maps.Keys(wanted) {
		if names := offered[e]; len(names) > 0 {
			c.Registrations.Insert(names...)
		} else if len(registrations) > 0 {
			c.Missing = append(c.Missing, e)
		}
	}
	slices.SortFunc(c.Missing, func(a, b Extension) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Type, b.Type)) })
	return c
}

// addAlways adds what is wanted without being asked for.
func (c *Choice) addAlways(registrations []gardencorev1beta1.ControllerRegistration, alive, shoots bool) {
	for i := range registrations {
		r := &registrations[i]
		if r.DeletionTimestamp != nil || r.Spec.Deployment == nil {
			continue
		}
		switch ptr.Deref(r.Spec.Deployment.Policy, gardencorev1beta1.ControllerDeploymentPolicyOnDemand) {
		case gardencorev1beta1.ControllerDeploymentPolicyAlways:
			if alive {
				c.Registrations.Insert(r.Name)
			}
		case gardencorev1beta1.ControllerDeploymentPolicyAlwaysExceptNoShoots:
			if shoots {
				c.Registrations.Insert(r.Name)
			}
		}
	}
}

// addRequired keeps what still has objects of its own in the cluster.
func (c *Choice) addRequired(installations []gardencorev1beta1.ControllerInstallation) {
	for i := range installations {
		if IsRequired(&installations[i]) {
			c.Registrations.Insert(installations[i].Spec.RegistrationRef.Name)
		}
	}
}

// IsRequired tells whether an installation says that it is still needed.
func IsRequired(installation *gardencorev1beta1.ControllerInstallation) bool {
	return slices.ContainsFunc(installation.Status.Conditions, func(c gardencorev1beta1.Condition) bool {
		return c.Type == gardencorev1beta1.ControllerInstallationRequired && c.Status == gardencorev1beta1.ConditionTrue
	})
}

// selectSeed drops registrations that are not meant for a Seed.
func (c *Choice) selectSeed(registrations []gardencorev1beta1.ControllerRegistration, seed *gardencorev1beta1.Seed) {
	for i := range registrations {
		r := &registrations[i]
		if r.Spec.Deployment == nil || r.Spec.Deployment.SeedSelector == nil {
			continue
		}
		selector, err := metav1.LabelSelectorAsSelector(r.Spec.Deployment.SeedSelector)
		if err != nil {
			c.Problems = append(c.Problems, fmt.Sprintf("controller registration %q has a seed selector that cannot be read: %v", r.Name, err))
		} else if selector.Matches(labels.Set(seed.Labels)) {
			continue
		}
		c.Registrations.Delete(r.Name)
	}
}
