package networks

import (
	"github.com/gardener/gardener/pkg/apis/core"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/offers"
	"github.com/loam-cloud/loam/garden/releases"
	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

// unmanaged is the type of provider that leaves records to the user.
const unmanaged = "unmanaged"

func validateDNS(shoot *core.Shoot, path *field.Path) field.ErrorList {
	dns := shoot.Spec.DNS
	if dns == nil {
		return nil
	}
	var errs field.ErrorList
	if dns.Domain != nil {
		errs = append(errs, check.DNSSubdomain(path.Child("domain"), *dns.Domain)...)
	}
	providers := path.Child("providers")
	primaries := 0
	for i, provider := range dns.Providers {
		at := providers.Index(i)
		if provider.Primary != nil && *provider.Primary {
			if primaries++; primaries > 1 {
				errs = append(errs, field.Forbidden(at.Child("primary"), "only one provider can be the primary one"))
			}
		}
		errs = append(errs, validateProvider(shoot, provider, at)...)
	}
	if len(dns.Providers) > 0 && dns.Domain == nil && !isUnmanaged(dns.Providers[0]) {
		errs = append(errs, field.Required(path.Child("domain"), "a provider needs the domain in which it makes records"))
	}
	return append(errs, check.Unique(providers, "", dns.Providers, func(p core.DNSProvider) string {
		ref := orEmpty(p.SecretName)
		if p.CredentialsRef != nil {
			ref = p.CredentialsRef.Kind + "/" + p.CredentialsRef.Name
		}
		if p.Type == nil {
			return ""
		}
		if ref == "" {
			return *p.Type
		}
		return *p.Type + " with " + ref
	})...)
}

func isUnmanaged(provider core.DNSProvider) bool {
	return provider.Type != nil && *provider.Type == unmanaged
}

func orEmpty(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

func validateProvider(shoot *core.Shoot, provider core.DNSProvider, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if provider.Type == nil || *provider.Type == "" {
		errs = append(errs, field.Required(path.Child("type"), "says what makes the records, for example aws-route53 or unmanaged"))
	} else {
		errs = append(errs, check.DNSLabel(path.Child("type"), *provider.Type)...)
	}
	if isUnmanaged(provider) {
		if provider.SecretName != nil {
			errs = append(errs, field.Forbidden(path.Child("secretName"), "an unmanaged provider has no credentials"))
		}
		if provider.CredentialsRef != nil {
			errs = append(errs, field.Forbidden(path.Child("credentialsRef"), "an unmanaged provider has no credentials"))
		}
		return errs
	}
	errs = append(errs, check.Gone(path.Child("secretName"), provider.SecretName != nil, offers.Plain(shoot.Spec.Kubernetes.Version), releases.DNSProviderSecretName())...)
	ref := provider.CredentialsRef
	if ref == nil {
		return errs
	}
	errs = append(errs, check.LocalReference(path.Child("credentialsRef"), *ref, check.CredentialsKinds())...)
	if provider.SecretName != nil && (ref.Kind != "Secret" || ref.Name != *provider.SecretName) {
		errs = append(errs, field.Invalid(path.Child("secretName"), *provider.SecretName, "contradicts credentialsRef: leave this former field out"))
	}
	return errs
}
