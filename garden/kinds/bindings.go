package kinds

import (
	"context"
	"fmt"
	"strings"

	"github.com/gardener/gardener/pkg/apis/core"
	"github.com/gardener/gardener/pkg/apis/security"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/tools/cache"

	"github.com/loam-cloud/loam/garden/access/identity"
	"github.com/loam-cloud/loam/garden/kinds/internal/lookup"
	"github.com/loam-cloud/loam/garden/strategy"
	"github.com/loam-cloud/loam/garden/validation/bindings"
)

func securityKinds(r rules, issuer *identity.Issuer) []strategy.Kind {
	return []strategy.Kind{
		strategy.Define[security.CredentialsBinding, security.CredentialsBindingList](strategy.Definition[security.CredentialsBinding]{
			Resource: "credentialsbindings", Singular: "credentialsbinding", ShortNames: []string{"credb"},
			WithoutGeneration: true,
			Columns: []strategy.Column[security.CredentialsBinding]{
				{Name: "Provider", Description: "Type of infrastructure.", Cell: func(b *security.CredentialsBinding) any { return b.Provider.Type }},
				{Name: "Credentials", Description: "Kind, namespace and name of the credentials.", Cell: func(b *security.CredentialsBinding) any {
					return strings.TrimSpace(b.CredentialsRef.Kind + " " + cache.NewObjectName(b.CredentialsRef.Namespace, b.CredentialsRef.Name).String())
				}},
			},
			Validate: whenChanged(func(b *security.CredentialsBinding) any { return []any{b.CredentialsRef, b.Quotas, b.Provider} }, r.validateCredentialsBinding),
		}),
		strategy.Define[security.WorkloadIdentity, security.WorkloadIdentityList](strategy.Definition[security.WorkloadIdentity]{
			Resource: "workloadidentities", Singular: "workloadidentity", ShortNames: []string{"wlid"},
			Columns: []strategy.Column[security.WorkloadIdentity]{
				{Name: "Type", Description: "System that trusts the identity.", Cell: func(w *security.WorkloadIdentity) any { return w.Spec.TargetSystem.Type }},
				{Name: "Subject", Description: "Who a token of it names.", Wide: true, Cell: func(w *security.WorkloadIdentity) any { return w.Status.Sub }},
			},
			PrepareForCreate: func(_ context.Context, w *security.WorkloadIdentity) {
				w.Status.Sub = strings.Join([]string{"gardener.cloud", "workloadidentity", w.Namespace, w.Name, string(w.UID)}, ":")
			},
			Validate:       whenChanged(func(w *security.WorkloadIdentity) any { return w.Spec }, alone(bindings.ValidateWorkloadIdentity)),
			ValidateStatus: alone(bindings.ValidateWorkloadIdentityStatus),
			Subresources:   identity.Subresources(issuer, r.Stores, r.clock),
		}),
	}
}

func secretBindingKind(r rules) strategy.Kind {
	return strategy.Define[core.SecretBinding, core.SecretBindingList](strategy.Definition[core.SecretBinding]{
		Resource: "secretbindings", Singular: "secretbinding", ShortNames: []string{"sb"},
		WithoutGeneration: true,
		Columns: []strategy.Column[core.SecretBinding]{
			{Name: "Provider", Description: "Type of infrastructure.", Cell: func(b *core.SecretBinding) any {
				if b.Provider == nil {
					return ""
				}
				return b.Provider.Type
			}},
			{Name: "Secret", Description: "Namespace and name of the secret.", Cell: func(b *core.SecretBinding) any {
				return cache.NewObjectName(b.SecretRef.Namespace, b.SecretRef.Name).String()
			}},
		},
		Validate: whenChanged(func(b *core.SecretBinding) any { return []any{b.SecretRef, b.Quotas, b.Provider} }, r.validateSecretBinding),
		Warnings: func(context.Context, *core.SecretBinding, *core.SecretBinding) []string {
			return []string{"SecretBinding is deprecated: use a CredentialsBinding of security.gardener.cloud/v1alpha1"}
		},
	})
}

func internalSecretKind() strategy.Kind {
	return strategy.Define[core.InternalSecret, core.InternalSecretList](strategy.Definition[core.InternalSecret]{
		Resource: "internalsecrets", Singular: "internalsecret", ShortNames: []string{"isec"},
		WithoutGeneration: true,
		Columns: []strategy.Column[core.InternalSecret]{
			{Name: "Type", Description: "What kind of secret it is.", Cell: func(s *core.InternalSecret) any { return string(s.Type) }},
			{Name: "Data", Description: "Number of entries.", Number: true, Cell: func(s *core.InternalSecret) any { return int64(len(s.Data)) }},
		},
		Fields: func(s *core.InternalSecret) fields.Set {
			return fields.Set{core.InternalSecretType: string(s.Type)}
		},
		PrepareForCreate: func(_ context.Context, s *core.InternalSecret) { defaultSecretType(s) },
		PrepareForUpdate: func(_ context.Context, s, _ *core.InternalSecret) { defaultSecretType(s) },
		Validate:         alone(bindings.ValidateInternalSecret),
	})
}

// defaultSecretType names the type of a secret without one, as for Secrets.
func defaultSecretType(secret *core.InternalSecret) {
	if secret.Type == "" {
		secret.Type = corev1.SecretTypeOpaque
	}
}

func (r rules) validateSecretBinding(ctx context.Context, binding, old *core.SecretBinding) field.ErrorList {
	return lookup.Again(func(freshness strategy.Freshness) field.ErrorList {
		errs := bindings.ValidateSecretBinding(binding, old)
		if old != nil {
			return errs // what it names cannot have changed
		}
		ref := binding.SecretRef
		errs = append(errs, r.UsableSecret(ctx, field.NewPath("secretRef"), ref.Namespace, ref.Name)...)
		return append(errs, r.validateQuotas(ctx, binding.Quotas, freshness)...)
	})
}

func (r rules) validateCredentialsBinding(ctx context.Context, binding, old *security.CredentialsBinding) field.ErrorList {
	return lookup.Again(func(freshness strategy.Freshness) field.ErrorList {
		errs := bindings.ValidateCredentialsBinding(binding, old)
		if old != nil {
			return errs // what it names cannot have changed
		}
		path, ref := field.NewPath("credentialsRef"), binding.CredentialsRef
		switch ref.Kind {
		case "Secret":
			errs = append(errs, r.UsableSecret(ctx, path, ref.Namespace, ref.Name)...)
		case "InternalSecret":
			errs = append(errs, r.Usable(ctx, path, core.Resource("internalsecrets"), ref.Namespace, ref.Name, freshness)...)
		case "WorkloadIdentity":
			errs = append(errs, r.Usable(ctx, path, security.Resource("workloadidentities"), ref.Namespace, ref.Name, freshness)...)
			identity, err := lookup.Find[*security.WorkloadIdentity](r.Stores.Get(ctx, security.Resource("workloadidentities"), ref.Namespace, ref.Name, freshness))
			if err == nil && identity != nil {
				errs = append(errs, bindings.ValidateIdentity(binding, identity)...)
			}
		}
		return append(errs, r.validateQuotas(ctx, binding.Quotas, freshness)...)
	})
}

func (r rules) validateQuotas(ctx context.Context, refs []corev1.ObjectReference, freshness strategy.Freshness) field.ErrorList {
	var errs field.ErrorList
	quotas := make([]*core.Quota, len(refs))
	for i, ref := range refs {
		path := field.NewPath("quotas").Index(i)
		problems := r.Usable(ctx, path, core.Resource("quotas"), ref.Namespace, ref.Name, freshness)
		errs = append(errs, problems...)
		if len(problems) > 0 || ref.Name == "" {
			continue
		}
		quota, err := lookup.Find[*core.Quota](r.Stores.Get(ctx, core.Resource("quotas"), ref.Namespace, ref.Name, freshness))
		if err != nil {
			return append(errs, field.InternalError(path, fmt.Errorf("reading quota %q: %w", ref.Name, err)))
		}
		quotas[i] = quota
	}
	return append(errs, bindings.ValidateScopes(quotas)...)
}
