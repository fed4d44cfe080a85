// Package backups has the rules of what is kept of a cluster outside of it:
// BackupBuckets, BackupEntries, and ShootStates.
//
// Package kinds calls it. It is pure and must not know where objects are kept.
package backups

import (
	"github.com/gardener/gardener/pkg/apis/core"
	corev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

// ValidateBucket returns every problem of a BackupBucket; old is nil on create.
func ValidateBucket(bucket, old *core.BackupBucket) field.ErrorList {
	path, spec := field.NewPath("spec"), &bucket.Spec
	provider := path.Child("provider")
	errs := check.Required(provider.Child("type"), spec.Provider.Type, "says what holds the bucket")
	errs = append(errs, check.Required(provider.Child("region"), spec.Provider.Region, "says where the bucket is")...)
	if ref := spec.CredentialsRef; ref != nil {
		errs = append(errs, check.Reference(path.Child("credentialsRef"), *ref, check.CredentialsKinds())...)
	}
	if spec.SeedName == nil && spec.ShootRef == nil {
		errs = append(errs, field.Required(path.Child("seedName"), "says whose backups the bucket holds, if shootRef does not"))
	}
	errs = append(errs, user(path, spec.SeedName, spec.ShootRef)...)
	if old != nil {
		errs = append(errs, check.Immutable(provider.Child("type"), spec.Provider.Type, old.Spec.Provider.Type)...)
		errs = append(errs, check.Immutable(provider.Child("region"), spec.Provider.Region, old.Spec.Provider.Region)...)
		errs = append(errs, check.ImmutableOnceSet(path.Child("seedName"), spec.SeedName, old.Spec.SeedName)...)
		errs = append(errs, check.ImmutableOnceSet(path.Child("shootRef"), spec.ShootRef, old.Spec.ShootRef)...)
	}
	return errs
}

// ValidateEntry returns every problem of a BackupEntry; old is nil on create. The
// seed of an entry changes when its cluster moves.
func ValidateEntry(entry, old *core.BackupEntry) field.ErrorList {
	path, spec := field.NewPath("spec"), &entry.Spec
	errs := check.Required(path.Child("bucketName"), spec.BucketName, "names the BackupBucket that holds the entry")
	errs = append(errs, user(path, spec.SeedName, spec.ShootRef)...)
	if old != nil {
		errs = append(errs, check.ImmutableOnceSet(path.Child("shootRef"), spec.ShootRef, old.Spec.ShootRef)...)
	}
	return errs
}

// user checks who uses a backup: a seed, or a cluster that keeps its own.
func user(path *field.Path, seed *string, shoot *corev1.ObjectReference) field.ErrorList {
	var errs field.ErrorList
	if seed != nil {
		errs = append(errs, check.Required(path.Child("seedName"), *seed, "names a seed, or is left out")...)
	}
	if shoot == nil {
		return errs
	}
	if seed != nil {
		errs = append(errs, field.Forbidden(path.Child("shootRef"), "cannot be set beside seedName"))
	}
	ref := *shoot
	kind := corev1beta1.SchemeGroupVersion.WithKind("Shoot")
	if ref.Kind == "" && ref.APIVersion == "" {
		ref.APIVersion, ref.Kind = kind.ToAPIVersionAndKind()
	}
	return append(errs, check.Reference(path.Child("shootRef"), ref, []schema.GroupVersionKind{kind})...)
}

// ValidateShootState returns every problem of a ShootState.
func ValidateShootState(state *core.ShootState) field.ErrorList {
	path, spec := field.NewPath("spec"), &state.Spec
	var errs field.ErrorList
	for i, data := range spec.Gardener {
		path := path.Child("gardener").Index(i)
		errs = append(errs, check.Required(path.Child("name"), data.Name, "names what the data is for")...)
		errs = append(errs, check.Required(path.Child("type"), data.Type, "says what the data is")...)
		errs = append(errs, check.Labels(path.Child("labels"), data.Labels)...)
	}
	errs = append(errs, check.Unique(path.Child("gardener"), "name", spec.Gardener, func(d core.GardenerResourceData) string { return d.Name })...)
	for i, extension := range spec.Extensions {
		path := path.Child("extensions").Index(i)
		errs = append(errs, check.Required(path.Child("kind"), extension.Kind, "is the kind of the extension's resource")...)
		if extension.Name != nil {
			errs = append(errs, check.Required(path.Child("name"), *extension.Name, "names the extension's resource, or is left out")...)
		}
		for j, resource := range extension.Resources {
			errs = append(errs, check.Required(path.Child("resources").Index(j).Child("name"), resource.Name, "is the name by which the state refers to the resource")...)
		}
		errs = append(errs, check.Unique(path.Child("resources"), "name", extension.Resources, func(r core.NamedResourceReference) string { return r.Name })...)
	}
	errs = append(errs, check.Unique(path.Child("extensions"), "", spec.Extensions, extensionKey)...)
	for i, resource := range spec.Resources {
		path := path.Child("resources").Index(i)
		errs = append(errs, check.Required(path.Child("kind"), resource.Kind, "is the kind of the resource")...)
		errs = append(errs, check.Required(path.Child("name"), resource.Name, "names the resource")...)
		if resource.Name != "" {
			for _, problem := range apivalidation.NameIsDNSSubdomain(resource.Name, false) {
				errs = append(errs, field.Invalid(path.Child("name"), resource.Name, problem))
			}
		}
	}
	return errs
}

// extensionKey tells states apart; one without a kind is another rule's.
func extensionKey(state core.ExtensionResourceState) string {
	if state.Kind == "" {
		return ""
	}
	key := state.Kind
	for _, part := range []*string{state.Name, state.Purpose} {
		key += "/"
		if part != nil {
			key += *part
		}
	}
	return key
}
