package index

import (
	"context"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	securityv1alpha1 "github.com/gardener/gardener/pkg/apis/security/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Keys of the indexes by what an object refers to. The controllers that list by
// them register them, with the function that names the kind.
const (
	// ShootProfile is that of Shoots; its values are ProfileKey's.
	ShootProfile = "spec.cloudProfile"
	// ShootExposureClass, ShootSecretBinding and ShootCredentialsBinding are
	// those of Shoots.
	ShootExposureClass      = "spec.exposureClassName"
	ShootSecretBinding      = "spec.secretBindingName"
	ShootCredentialsBinding = "spec.credentialsBindingName"
	// BindingQuota is that of bindings of both kinds; its values are of the form
	// namespace/name.
	BindingQuota = "quotas"
	// BindingCredentials is that of bindings of both kinds; its values are
	// CredentialsKey's.
	BindingCredentials = "credentialsRef"
	// RegistrationDeployment is that of ControllerRegistrations: the names of
	// their ControllerDeployments.
	RegistrationDeployment = "spec.deployment.deploymentRefs.name"
)

// ProfileKey is the value by which Shoots are found that refer to a profile.
func ProfileKey(kind, name string) string { return kind + "/" + name }

// CredentialsKey is the value by which bindings are found that refer to
// credentials of a kind: Secret, InternalSecret or WorkloadIdentity.
func CredentialsKey(kind string, name types.NamespacedName) string { return kind + "/" + name.String() }

// EnsureShootProfile registers ShootProfile.
func EnsureShootProfile(ctx context.Context, indexer client.FieldIndexer) error {
	return Ensure(ctx, indexer, &gardencorev1beta1.Shoot{}, ShootProfile, all(ProfilesOf))
}

// EnsureShootExposureClass registers ShootExposureClass.
func EnsureShootExposureClass(ctx context.Context, indexer client.FieldIndexer) error {
	return Ensure(ctx, indexer, &gardencorev1beta1.Shoot{}, ShootExposureClass, of(func(s *gardencorev1beta1.Shoot) *string { return s.Spec.ExposureClassName }))
}

// EnsureShootBindings registers ShootSecretBinding and ShootCredentialsBinding.
func EnsureShootBindings(ctx context.Context, indexer client.FieldIndexer) error {
	if err := Ensure(ctx, indexer, &gardencorev1beta1.Shoot{}, ShootSecretBinding, of(func(s *gardencorev1beta1.Shoot) *string { return s.Spec.SecretBindingName })); err != nil {
		return err
	}
	return Ensure(ctx, indexer, &gardencorev1beta1.Shoot{}, ShootCredentialsBinding, of(func(s *gardencorev1beta1.Shoot) *string { return s.Spec.CredentialsBindingName }))
}

// EnsureBindings registers BindingQuota and BindingCredentials for both kinds of
// bindings.
func EnsureBindings(ctx context.Context, indexer client.FieldIndexer) error {
	for _, f := range []field{
		{&gardencorev1beta1.SecretBinding{}, BindingQuota, all(func(b *gardencorev1beta1.SecretBinding) []string { return quotas(b.Quotas) })},
		{&gardencorev1beta1.SecretBinding{}, BindingCredentials, all(func(b *gardencorev1beta1.SecretBinding) []string {
			return []string{CredentialsKey("Secret", types.NamespacedName{Namespace: b.SecretRef.Namespace, Name: b.SecretRef.Name})}
		})},
		{&securityv1alpha1.CredentialsBinding{}, BindingQuota, all(func(b *securityv1alpha1.CredentialsBinding) []string { return quotas(b.Quotas) })},
		{&securityv1alpha1.CredentialsBinding{}, BindingCredentials, all(func(b *securityv1alpha1.CredentialsBinding) []string {
			ref := b.CredentialsRef
			return []string{CredentialsKey(ref.Kind, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name})}
		})},
	} {
		if err := Ensure(ctx, indexer, f.object, f.key, f.value); err != nil {
			return err
		}
	}
	return nil
}

// EnsureRegistrationDeployment registers RegistrationDeployment.
func EnsureRegistrationDeployment(ctx context.Context, indexer client.FieldIndexer) error {
	return Ensure(ctx, indexer, &gardencorev1beta1.ControllerRegistration{}, RegistrationDeployment, all(DeploymentsOf))
}

// ProfilesOf are the keys of the profiles that a Shoot refers to: by the
// reference, and by the older field with a name alone.
func ProfilesOf(shoot *gardencorev1beta1.Shoot) []string {
	var keys []string
	if ref := shoot.Spec.CloudProfile; ref != nil {
		keys = append(keys, ProfileKey(ref.Kind, ref.Name))
	}
	if name := ptr.Deref(shoot.Spec.CloudProfileName, ""); name != "" {
		if key := ProfileKey(v1beta1constants.CloudProfileReferenceKindCloudProfile, name); len(keys) == 0 || keys[0] != key {
			keys = append(keys, key)
		}
	}
	return keys
}

// DeploymentsOf are the names of the ControllerDeployments that a registration
// refers to.
func DeploymentsOf(registration *gardencorev1beta1.ControllerRegistration) []string {
	var names []string
	if deployment := registration.Spec.Deployment; deployment != nil {
		for _, ref := range deployment.DeploymentRefs {
			names = append(names, ref.Name)
		}
	}
	return names
}

func quotas(refs []corev1.ObjectReference) []string {
	var keys []string
	for _, ref := range refs {
		keys = append(keys, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}.String())
	}
	return keys
}

func all[T client.Object](values func(T) []string) client.IndexerFunc {
	return func(object client.Object) []string {
		if typed, ok := object.(T); ok {
			return values(typed)
		}
		return nil
	}
}
