// Package index names the fields by which controllers list objects, and
// registers them with a manager's cache.
//
// app registers all of them once, before it adds controllers. It must not know
// what the lists are for.
package index

import (
	"context"
	"fmt"
	"strings"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	operationsv1alpha1 "github.com/gardener/gardener/pkg/apis/operations/v1alpha1"
	seedmanagementv1alpha1 "github.com/gardener/gardener/pkg/apis/seedmanagement/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Keys of the indexes: the paths of the fields.
const (
	ProjectNamespace    = "spec.namespace"
	SeedName            = "spec.seedName"
	StatusSeedName      = "status.seedName"
	ShootRefName        = "spec.shootRef.name"
	ShootRefNamespace   = "spec.shootRef.namespace"
	SeedRefName         = "spec.seedRef.name"
	RegistrationRefName = "spec.registrationRef.name"
	ParentName          = "spec.parent.name"
	ManagedSeedShoot    = "spec.shoot.name"
)

// field is one index of one kind.
type field struct {
	object client.Object
	key    string
	value  client.IndexerFunc
}

// Register adds every index. One that is there already stays.
func Register(ctx context.Context, indexer client.FieldIndexer) error {
	for _, f := range fields() {
		if err := Ensure(ctx, indexer, f.object, f.key, f.value); err != nil {
			return err
		}
	}
	return nil
}

// Ensure adds an index unless the cache has it: a controller that needs one of
// its own does not know who came first.
func Ensure(ctx context.Context, indexer client.FieldIndexer, object client.Object, key string, value client.IndexerFunc) error {
	err := indexer.IndexField(ctx, object, key, value)
	// The cache has no type for it.
	if err != nil && !strings.Contains(err.Error(), "indexer conflict") {
		return fmt.Errorf("indexing %T by %s: %w", object, key, err)
	}
	return nil
}

func fields() []field {
	return []field{
		{&gardencorev1beta1.Project{}, ProjectNamespace, of(func(p *gardencorev1beta1.Project) *string { return p.Spec.Namespace })},
		{&gardencorev1beta1.Shoot{}, SeedName, of(func(s *gardencorev1beta1.Shoot) *string { return s.Spec.SeedName })},
		{&gardencorev1beta1.Shoot{}, StatusSeedName, of(func(s *gardencorev1beta1.Shoot) *string { return s.Status.SeedName })},
		{&gardencorev1beta1.BackupBucket{}, SeedName, of(func(b *gardencorev1beta1.BackupBucket) *string { return b.Spec.SeedName })},
		{&gardencorev1beta1.BackupBucket{}, ShootRefName, of(func(b *gardencorev1beta1.BackupBucket) *string { return refName(b.Spec.ShootRef) })},
		{&gardencorev1beta1.BackupBucket{}, ShootRefNamespace, of(func(b *gardencorev1beta1.BackupBucket) *string { return refNamespace(b.Spec.ShootRef) })},
		{&gardencorev1beta1.BackupEntry{}, SeedName, of(func(b *gardencorev1beta1.BackupEntry) *string { return b.Spec.SeedName })},
		{&gardencorev1beta1.BackupEntry{}, ShootRefName, of(func(b *gardencorev1beta1.BackupEntry) *string { return refName(b.Spec.ShootRef) })},
		{&gardencorev1beta1.BackupEntry{}, ShootRefNamespace, of(func(b *gardencorev1beta1.BackupEntry) *string { return refNamespace(b.Spec.ShootRef) })},
		{&gardencorev1beta1.ControllerInstallation{}, SeedRefName, of(func(i *gardencorev1beta1.ControllerInstallation) *string { return refName(i.Spec.SeedRef) })},
		{&gardencorev1beta1.ControllerInstallation{}, ShootRefName, of(func(i *gardencorev1beta1.ControllerInstallation) *string { return refName(i.Spec.ShootRef) })},
		{&gardencorev1beta1.ControllerInstallation{}, ShootRefNamespace, of(func(i *gardencorev1beta1.ControllerInstallation) *string { return refNamespace(i.Spec.ShootRef) })},
		{&gardencorev1beta1.ControllerInstallation{}, RegistrationRefName, of(func(i *gardencorev1beta1.ControllerInstallation) *string { return &i.Spec.RegistrationRef.Name })},
		{&gardencorev1beta1.NamespacedCloudProfile{}, ParentName, of(func(p *gardencorev1beta1.NamespacedCloudProfile) *string { return &p.Spec.Parent.Name })},
		{&operationsv1alpha1.Bastion{}, ShootRefName, of(func(b *operationsv1alpha1.Bastion) *string { return &b.Spec.ShootRef.Name })},
		{&seedmanagementv1alpha1.ManagedSeed{}, ManagedSeedShoot, of(func(m *seedmanagementv1alpha1.ManagedSeed) *string {
			if m.Spec.Shoot == nil {
				return nil
			}
			return &m.Spec.Shoot.Name
		})},
	}
}

// of indexes by a field that may be absent; objects without it are not found.
func of[T client.Object](value func(T) *string) client.IndexerFunc {
	return func(object client.Object) []string {
		typed, ok := object.(T)
		if !ok {
			return nil
		}
		if v := ptr.Deref(value(typed), ""); v != "" {
			return []string{v}
		}
		return nil
	}
}

func refName(ref *corev1.ObjectReference) *string {
	if ref == nil {
		return nil
	}
	return &ref.Name
}

func refNamespace(ref *corev1.ObjectReference) *string {
	if ref == nil {
		return nil
	}
	return &ref.Namespace
}
