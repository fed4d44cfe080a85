package kinds

import (
	"context"

	"github.com/gardener/gardener/pkg/apis/core"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/garden/kinds/internal/cells"
	"github.com/loam-cloud/loam/garden/kinds/internal/lookup"
	"github.com/loam-cloud/loam/garden/strategy"
	"github.com/loam-cloud/loam/garden/validation/backups"
)

func backupBucketKind(r rules) strategy.Kind {
	return strategy.Define[core.BackupBucket, core.BackupBucketList](strategy.Definition[core.BackupBucket]{
		Resource: "backupbuckets", Singular: "backupbucket", ShortNames: []string{"bbc"}, ClusterScoped: true,
		Columns: []strategy.Column[core.BackupBucket]{
			{Name: "Status", Description: "What was last done to the bucket.", Cell: func(b *core.BackupBucket) any { return cells.LastOperation(b.Status.LastOperation) }},
			{Name: "Provider", Description: "Type of the bucket's infrastructure.", Cell: func(b *core.BackupBucket) any { return b.Spec.Provider.Type }},
			{Name: "Region", Description: "Region of the bucket.", Cell: func(b *core.BackupBucket) any { return b.Spec.Provider.Region }},
			{Name: "Seed", Description: "Seed that uses the bucket.", Cell: func(b *core.BackupBucket) any { return ptr.Deref(b.Spec.SeedName, "") }},
		},
		Fields: func(b *core.BackupBucket) fields.Set {
			ref := ptr.Deref(b.Spec.ShootRef, corev1.ObjectReference{})
			return fields.Set{
				core.BackupBucketSeedName:          ptr.Deref(b.Spec.SeedName, ""),
				core.BackupBucketShootRefName:      ref.Name,
				core.BackupBucketShootRefNamespace: ref.Namespace,
			}
		},
		Validate: whenChanged(func(b *core.BackupBucket) any { return b.Spec }, r.validateBucket),
	})
}

func backupEntryKind(r rules) strategy.Kind {
	return strategy.Define[core.BackupEntry, core.BackupEntryList](strategy.Definition[core.BackupEntry]{
		Resource: "backupentries", Singular: "backupentry", ShortNames: []string{"bec"},
		Columns: []strategy.Column[core.BackupEntry]{
			{Name: "Status", Description: "What was last done to the entry.", Cell: func(b *core.BackupEntry) any { return cells.LastOperation(b.Status.LastOperation) }},
			{Name: "Bucket", Description: "Bucket that holds the entry.", Cell: func(b *core.BackupEntry) any { return b.Spec.BucketName }},
			{Name: "Seed", Description: "Seed that writes the entry.", Cell: func(b *core.BackupEntry) any { return ptr.Deref(b.Spec.SeedName, "") }},
		},
		Fields: func(b *core.BackupEntry) fields.Set {
			ref := ptr.Deref(b.Spec.ShootRef, corev1.ObjectReference{})
			return fields.Set{
				core.BackupEntrySeedName:          ptr.Deref(b.Spec.SeedName, ""),
				core.BackupEntryBucketName:        b.Spec.BucketName,
				core.BackupEntryShootRefName:      ref.Name,
				core.BackupEntryShootRefNamespace: ref.Namespace,
			}
		},
		Validate: whenChanged(func(b *core.BackupEntry) any { return b.Spec }, r.validateEntry),
	})
}

func shootStateKind() strategy.Kind {
	return strategy.Define[core.ShootState, core.ShootStateList](strategy.Definition[core.ShootState]{
		Resource: "shootstates", Singular: "shootstate", ShortNames: []string{"ss"},
		Columns: []strategy.Column[core.ShootState]{
			{Name: "Extensions", Description: "Number of extension states.", Number: true, Cell: func(s *core.ShootState) any { return int64(len(s.Spec.Extensions)) }},
			{Name: "Resources", Description: "Number of resources kept.", Number: true, Cell: func(s *core.ShootState) any { return int64(len(s.Spec.Resources)) }},
		},
		Validate: whenChanged(
			func(s *core.ShootState) any { return s.Spec },
			alone(func(s, _ *core.ShootState) field.ErrorList { return backups.ValidateShootState(s) })),
		ValidateDelete: confirmed[*core.ShootState](core.Resource("shootstates")),
	})
}

func (r rules) validateBucket(ctx context.Context, bucket, old *core.BackupBucket) field.ErrorList {
	return lookup.Again(func(freshness strategy.Freshness) field.ErrorList {
		errs := backups.ValidateBucket(bucket, old)
		if seed := ptr.Deref(bucket.Spec.SeedName, ""); old == nil || ptr.Deref(old.Spec.SeedName, "") != seed {
			errs = append(errs, r.Exists(ctx, field.NewPath("spec", "seedName"), core.Resource("seeds"), "", seed, freshness)...)
		}
		return errs
	})
}

func (r rules) validateEntry(ctx context.Context, entry, old *core.BackupEntry) field.ErrorList {
	return lookup.Again(func(freshness strategy.Freshness) field.ErrorList {
		errs := backups.ValidateEntry(entry, old)
		if seed := ptr.Deref(entry.Spec.SeedName, ""); old == nil || ptr.Deref(old.Spec.SeedName, "") != seed {
			errs = append(errs, r.Exists(ctx, field.NewPath("spec", "seedName"), core.Resource("seeds"), "", seed, freshness)...)
		}
		if bucket := entry.Spec.BucketName; old == nil || old.Spec.BucketName != bucket {
			errs = append(errs, r.Exists(ctx, field.NewPath("spec", "bucketName"), core.Resource("backupbuckets"), "", bucket, freshness)...)
		}
		return errs
	})
}
