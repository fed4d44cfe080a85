package kinds

import (
	"context"
	"fmt"

	"github.com/gardener/gardener/pkg/apis/seedmanagement"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/garden/kinds/internal/cells"
	"github.com/loam-cloud/loam/garden/kinds/internal/lookup"
	"github.com/loam-cloud/loam/garden/strategy"
	seedrules "github.com/loam-cloud/loam/garden/validation/seedmanagement"
	"github.com/loam-cloud/loam/garden/validation/seeds"
)

func seedManagementKinds(r rules) []strategy.Kind {
	return []strategy.Kind{
		strategy.Define[seedmanagement.ManagedSeed, seedmanagement.ManagedSeedList](strategy.Definition[seedmanagement.ManagedSeed]{
			Resource: "managedseeds", Singular: "managedseed", ShortNames: []string{"ms"},
			Columns: []strategy.Column[seedmanagement.ManagedSeed]{
				{Name: "Shoot", Description: "Cluster that becomes a seed.", Cell: func(s *seedmanagement.ManagedSeed) any { return shootOf(s) }},
				{Name: "Status", Description: "Whether the seed is registered.", Cell: func(s *seedmanagement.ManagedSeed) any { return cells.Readiness(s.Status.Conditions) }},
			},
			Fields: func(s *seedmanagement.ManagedSeed) fields.Set {
				return fields.Set{seedmanagement.ManagedSeedShootName: shootOf(s)}
			},
			PrepareForCreate: func(ctx context.Context, s *seedmanagement.ManagedSeed) { r.describeSeed(ctx, s) },
			PrepareForUpdate: func(ctx context.Context, s, _ *seedmanagement.ManagedSeed) { r.describeSeed(ctx, s) },
			ValidateName:     seeds.Name,
			Validate:         whenChanged(func(s *seedmanagement.ManagedSeed) any { return s.Spec }, r.validateManagedSeed),
			ValidateDelete:   confirmed[*seedmanagement.ManagedSeed](seedmanagement.Resource("managedseeds")),
		}),
		strategy.Define[seedmanagement.ManagedSeedSet, seedmanagement.ManagedSeedSetList](strategy.Definition[seedmanagement.ManagedSeedSet]{
			Resource: "managedseedsets", Singular: "managedseedset", ShortNames: []string{"mss"},
			Columns: []strategy.Column[seedmanagement.ManagedSeedSet]{
				{Name: "Replicas", Description: "Seeds that are wanted.", Number: true, Cell: func(s *seedmanagement.ManagedSeedSet) any { return int64(ptr.Deref(s.Spec.Replicas, 0)) }},
				{Name: "Ready", Description: "Seeds that are ready.", Number: true, Cell: func(s *seedmanagement.ManagedSeedSet) any { return int64(s.Status.ReadyReplicas) }},
			},
			ValidateName: seedrules.Name,
			Validate:     whenChanged(func(s *seedmanagement.ManagedSeedSet) any { return s.Spec }, alone(seedrules.ValidateManagedSeedSet)),
		}),
		strategy.Define[seedmanagement.Gardenlet, seedmanagement.GardenletList](strategy.Definition[seedmanagement.Gardenlet]{
			Resource: "gardenlets", Singular: "gardenlet",
			Columns: []strategy.Column[seedmanagement.Gardenlet]{
				{Name: "Status", Description: "Whether the agent is deployed.", Cell: func(g *seedmanagement.Gardenlet) any { return cells.Readiness(g.Status.Conditions) }},
			},
			ValidateName: seeds.Name,
			Validate:     whenChanged(func(g *seedmanagement.Gardenlet) any { return g.Spec }, alone(seedrules.ValidateGardenlet)),
		}),
	}
}

func shootOf(seed *seedmanagement.ManagedSeed) string {
	return ptr.Deref(seed.Spec.Shoot, seedmanagement.Shoot{}).Name
}

// describeSeed fills in what a managed seed's cluster knows.
func (r rules) describeSeed(ctx context.Context, seed *seedmanagement.ManagedSeed) {
	// Without a cluster there is nothing to fill in, and validation says so.
	if shoot, err := r.Shoot(ctx, seed.Namespace, shootOf(seed), strategy.Current); err == nil && shoot != nil {
		seedrules.DescribeSeed(&seed.Spec.Gardenlet, shoot)
	}
}

func (r rules) validateManagedSeed(ctx context.Context, seed, old *seedmanagement.ManagedSeed) field.ErrorList {
	return lookup.Again(func(freshness strategy.Freshness) field.ErrorList {
		errs := seedrules.ValidateManagedSeed(seed, old)
		if old != nil {
			return errs // its cluster cannot have changed
		}
		facts, err := r.managedSeedFacts(ctx, seed, freshness)
		if err != nil {
			return append(errs, field.InternalError(field.NewPath("spec", "shoot", "name"), err))
		}
		return append(errs, seedrules.ValidateManagedSeedShoot(seed, facts)...)
	})
}

func (r rules) managedSeedFacts(ctx context.Context, seed *seedmanagement.ManagedSeed, freshness strategy.Freshness) (seedrules.Facts, error) {
	shoot, err := r.Shoot(ctx, seed.Namespace, shootOf(seed), freshness)
	if err != nil {
		return seedrules.Facts{}, fmt.Errorf("reading shoot %q: %w", shootOf(seed), err)
	}
	others, err := r.Stores.List(ctx, seedmanagement.Resource("managedseeds"), seedmanagement.ManagedSeedShootName, shootOf(seed), freshness)
	if err != nil {
		return seedrules.Facts{}, fmt.Errorf("listing managed seeds: %w", err)
	}
	facts := seedrules.Facts{Shoot: shoot}
	for _, other := range others {
		if other := other.(*seedmanagement.ManagedSeed); other.Namespace == seed.Namespace && other.Name != seed.Name {
			facts.Other = other.Name
		}
	}
	return facts, nil
}
