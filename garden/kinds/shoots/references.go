package shoots

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/gardener/gardener/pkg/apis/core"
	"github.com/gardener/gardener/pkg/apis/security"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/garden/kinds/internal/lookup"
	"github.com/loam-cloud/loam/garden/strategy"
	shootrules "github.com/loam-cloud/loam/garden/validation/shoots"
	"github.com/loam-cloud/loam/garden/validation/shoots/quotas"
	shootreferences "github.com/loam-cloud/loam/garden/validation/shoots/references"
)

// validateReferences wants what a Shoot names to be there and its user to be
// allowed to read it, or else a Shoot could be used to read what others own.
// What the Shoot named before is taken as allowed.
func (r rules) validateReferences(ctx context.Context, shoot, old *core.Shoot, freshness strategy.Freshness) field.ErrorList {
	var known map[shootreferences.Reference]*field.Path
	if old != nil {
		known = shootreferences.Of(old)
	}
	var errs field.ErrorList
	for ref, path := range shootreferences.Of(shoot) {
		if _, had := known[ref]; had {
			continue
		}
		resource := schema.GroupResource{Group: ref.Group, Resource: ref.Resource}
		switch {
		case strings.HasSuffix(ref.Resource, "bindings"):
			// That a binding is not there is told by the rules that need it.
			errs = append(errs, r.objects.Readable(ctx, path, resource, shoot.Namespace, ref.Name)...)
		case ref.Group != "":
			errs = append(errs, r.objects.Usable(ctx, path, resource, shoot.Namespace, ref.Name, freshness)...)
		case ref.Resource == "secrets":
			errs = append(errs, r.objects.UsableSecret(ctx, path, shoot.Namespace, ref.Name)...)
		default:
			errs = append(errs, r.objects.UsableConfigMap(ctx, path, shoot.Namespace, ref.Name)...)
		}
	}
	slices.SortFunc(errs, func(a, b *field.Error) int { return strings.Compare(a.Field, b.Field) })
	return errs
}

// binding is a credentials or secret binding.
type binding struct {
	facts  shootrules.Binding
	quotas []corev1.ObjectReference
}

// bindingFacts reads a Shoot's binding, and what its quotas count.
func (r rules) bindingFacts(ctx context.Context, shoot, old *core.Shoot, freshness strategy.Freshness, facts *shootrules.Facts) error {
	found, err := r.bindingOf(ctx, shoot, freshness)
	if err != nil {
		return err
	}
	if found != nil {
		facts.Binding = &found.facts
		for _, ref := range found.quotas {
			quota, err := r.quota(ctx, ref, shoot, freshness)
			if err != nil {
				return err
			}
			if quota != nil {
				facts.Quotas = append(facts.Quotas, *quota)
			}
		}
	}
	if old == nil || ptr.Deref(old.Spec.SecretBindingName, "") == ptr.Deref(shoot.Spec.SecretBindingName, "") {
		return nil
	}
	former, err := r.bindingOf(ctx, old, freshness)
	if former != nil {
		facts.OldBinding = &former.facts
	}
	return err
}

func (r rules) bindingOf(ctx context.Context, shoot *core.Shoot, freshness strategy.Freshness) (*binding, error) {
	if name := ptr.Deref(shoot.Spec.CredentialsBindingName, ""); name != "" {
		found, err := lookup.Find[*security.CredentialsBinding](r.objects.Stores.Get(ctx, security.Resource("credentialsbindings"), shoot.Namespace, name, freshness))
		if err != nil || found == nil {
			return nil, err
		}
		return ofCredentials(found), nil
	}
	if name := ptr.Deref(shoot.Spec.SecretBindingName, ""); name != "" {
		found, err := lookup.Find[*core.SecretBinding](r.objects.Stores.Get(ctx, core.Resource("secretbindings"), shoot.Namespace, name, freshness))
		if err != nil || found == nil {
			return nil, err
		}
		return ofSecret(found), nil
	}
	return nil, nil
}

func ofCredentials(b *security.CredentialsBinding) *binding {
	ref := b.CredentialsRef
	result := &binding{quotas: b.Quotas}
	result.facts.Credentials = ref.Kind + " " + cache.NewObjectName(ref.Namespace, ref.Name).String()
	if b.Provider.Type != "" {
		result.facts.ProviderTypes = []string{b.Provider.Type}
	}
	return result
}

func ofSecret(b *core.SecretBinding) *binding {
	result := &binding{quotas: b.Quotas}
	result.facts.Credentials = "Secret " + cache.NewObjectName(b.SecretRef.Namespace, b.SecretRef.Name).String()
	if b.Provider != nil && b.Provider.Type != "" {
		// Secret bindings may be for several providers, joined by commas.
		for kind := range strings.SplitSeq(b.Provider.Type, ",") {
			result.facts.ProviderTypes = append(result.facts.ProviderTypes, strings.TrimSpace(kind))
		}
	}
	return result
}

// quota reads a quota and the other Shoots that it counts; nil if it is gone. A
// quota of scope Project counts the Shoots of the namespace whose binding names
// it; one of credentials those of all namespaces.
func (r rules) quota(ctx context.Context, ref corev1.ObjectReference, shoot *core.Shoot, freshness strategy.Freshness) (*quotas.Quota, error) {
	found, err := lookup.Find[*core.Quota](r.objects.Stores.Get(ctx, core.Resource("quotas"), ref.Namespace, ref.Name, freshness))
	if err != nil || found == nil {
		return nil, err
	}
	quota := &quotas.Quota{Namespace: found.Namespace, Name: found.Name, Spec: found.Spec}
	if len(found.Spec.Metrics) == 0 {
		return quota, nil
	}
	wholeGarden := found.Spec.Scope.Kind != "Project"
	shoots, err := r.objects.Stores.List(ctx, core.Resource("shoots"), "", "", freshness)
	if err != nil {
		return nil, fmt.Errorf("listing clusters that share quota %q: %w", found.Name, err)
	}
	for _, item := range shoots {
		other := item.(*core.Shoot)
		if other.Namespace == shoot.Namespace && other.Name == shoot.Name || !wholeGarden && other.Namespace != shoot.Namespace {
			continue
		}
		theirs, err := r.bindingOf(ctx, other, strategy.Cached)
		if err != nil {
			return nil, err
		}
		if theirs == nil || !slices.ContainsFunc(theirs.quotas, func(q corev1.ObjectReference) bool { return q.Namespace == ref.Namespace && q.Name == ref.Name }) {
			continue
		}
		profile, err := r.objects.Profile(ctx, other.Namespace, profileReference(other), strategy.Cached)
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, err
		}
		quota.Others = append(quota.Others, quotas.Consumer{Shoot: other, Profile: profile})
	}
	return quota, nil
}
