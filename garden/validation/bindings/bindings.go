// Package bindings has the rules of what leads to credentials: SecretBindings,
// CredentialsBindings, WorkloadIdentities, and InternalSecrets.
//
// Package kinds calls it with the quotas and identities that a binding names. It
// is pure and must not know where objects are kept.
package bindings

import (
	"fmt"
	"strings"

	"github.com/gardener/gardener/pkg/apis/core"
	corev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"github.com/gardener/gardener/pkg/apis/security"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

// ValidateSecretBinding returns every problem of a SecretBinding alone; old is
// nil on create.
func ValidateSecretBinding(binding, old *core.SecretBinding) field.ErrorList {
	secret, provider, list := field.NewPath("secretRef"), field.NewPath("provider"), field.NewPath("quotas")
	errs := check.Reference(secret, corev1.ObjectReference{
		APIVersion: "v1", Kind: "Secret", Namespace: binding.SecretRef.Namespace, Name: binding.SecretRef.Name,
	}, []schema.GroupVersionKind{corev1.SchemeGroupVersion.WithKind("Secret")})
	if binding.Provider == nil {
		// Bindings from before the field may go on without.
		if old == nil {
			errs = append(errs, field.Required(provider.Child("type"), "says what infrastructure the secret is for"))
		}
	} else {
		// Several types are separated by commas.
		for kind := range strings.SplitSeq(binding.Provider.Type, ",") {
			errs = append(errs, check.Required(provider.Child("type"), kind, "says what infrastructure the secret is for")...)
		}
	}
	errs = append(errs, quotas(list, binding.Quotas)...)
	if old != nil {
		errs = append(errs, check.Immutable(secret, binding.SecretRef, old.SecretRef)...)
		if old.Provider != nil {
			errs = append(errs, sameProvider(provider.Child("type"), binding.Provider, old.Provider)...)
		}
		errs = append(errs, check.Immutable(list, binding.Quotas, old.Quotas)...)
	}
	return errs
}

func sameProvider(path *field.Path, provider, old *core.SecretBindingProvider) field.ErrorList {
	if provider == nil {
		provider = &core.SecretBindingProvider{}
	}
	return check.Immutable(path, provider.Type, old.Type)
}

// credentials returns the kinds that a CredentialsBinding may lead to.
func credentials() []schema.GroupVersionKind {
	return append(check.CredentialsKinds(), corev1beta1.SchemeGroupVersion.WithKind("InternalSecret"))
}

// ValidateCredentialsBinding returns every problem of a CredentialsBinding
// alone; old is nil on create.
func ValidateCredentialsBinding(binding, old *security.CredentialsBinding) field.ErrorList {
	ref, provider, list := field.NewPath("credentialsRef"), field.NewPath("provider", "type"), field.NewPath("quotas")
	errs := check.Required(provider, binding.Provider.Type, "says what infrastructure the credentials are for")
	errs = append(errs, check.Reference(ref, binding.CredentialsRef, credentials())...)
	errs = append(errs, quotas(list, binding.Quotas)...)
	if old != nil {
		errs = append(errs, check.Immutable(provider, binding.Provider.Type, old.Provider.Type)...)
		errs = append(errs, check.Immutable(ref, binding.CredentialsRef, old.CredentialsRef)...)
		errs = append(errs, check.Immutable(list, binding.Quotas, old.Quotas)...)
	}
	return errs
}

// quotas wants references to Quotas. Their kind may be left out, for there is
// only one.
func quotas(path *field.Path, refs []corev1.ObjectReference) field.ErrorList {
	quota := corev1beta1.SchemeGroupVersion.WithKind("Quota")
	var errs field.ErrorList
	for i, ref := range refs {
		if ref.Kind == "" && ref.APIVersion == "" {
			ref.APIVersion, ref.Kind = quota.ToAPIVersionAndKind()
		}
		errs = append(errs, check.Reference(path.Index(i), ref, []schema.GroupVersionKind{quota})...)
	}
	return append(errs, check.Unique(path, "", refs, func(ref corev1.ObjectReference) string {
		if ref.Name == "" {
			return ""
		}
		return ref.Namespace + "/" + ref.Name
	})...)
}

// ValidateScopes wants no two quotas of a binding to count over the same. The
// quotas are those that a binding names, in its order, nil where there is none.
func ValidateScopes(found []*core.Quota) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]string{}
	for i, quota := range found {
		if quota == nil {
			continue
		}
		scope := quota.Spec.Scope.Kind
		if before, taken := seen[scope]; taken {
			errs = append(errs, field.Invalid(field.NewPath("quotas").Index(i), quota.Name, fmt.Sprintf("has scope %s like quota %q: at most one per scope", scope, before)))
			continue
		}
		seen[scope] = quota.Name
	}
	return errs
}

// ValidateIdentity wants the system that trusts a WorkloadIdentity to be the
// provider of the binding that leads to it.
func ValidateIdentity(binding *security.CredentialsBinding, identity *security.WorkloadIdentity) field.ErrorList {
	if system := identity.Spec.TargetSystem.Type; system != binding.Provider.Type && binding.Provider.Type != "" {
		return field.ErrorList{field.Invalid(field.NewPath("provider", "type"), binding.Provider.Type, fmt.Sprintf("must be %q, the target system of workload identity %q", system, identity.Name))}
	}
	return nil
}

// ValidateWorkloadIdentity returns every problem of a WorkloadIdentity; old is
// nil on create.
func ValidateWorkloadIdentity(identity, old *security.WorkloadIdentity) field.ErrorList {
	audiences, system := field.NewPath("spec", "audiences"), field.NewPath("spec", "targetSystem", "type")
	var errs field.ErrorList
	if len(identity.Spec.Audiences) == 0 {
		errs = append(errs, field.Required(audiences, "are those that accept the identity's tokens"))
	}
	for i, audience := range identity.Spec.Audiences {
		errs = append(errs, check.Required(audiences.Index(i), audience, "is one that accepts the identity's tokens")...)
	}
	errs = append(errs, check.UniqueStrings(audiences, identity.Spec.Audiences)...)
	errs = append(errs, check.Required(system, identity.Spec.TargetSystem.Type, "says what system trusts the identity")...)
	if old != nil {
		errs = append(errs, check.Immutable(system, identity.Spec.TargetSystem.Type, old.Spec.TargetSystem.Type)...)
	}
	return errs
}

// ValidateWorkloadIdentityStatus returns every problem of a change of a
// WorkloadIdentity's status.
func ValidateWorkloadIdentityStatus(identity, old *security.WorkloadIdentity) field.ErrorList {
	return check.Immutable(field.NewPath("status", "sub"), identity.Status.Sub, old.Status.Sub)
}
