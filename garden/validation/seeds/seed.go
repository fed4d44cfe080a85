// Package seeds has the rules of Seeds: what a place for clusters has to say of
// itself.
//
// Package kinds calls it, and package seedmanagement for the seeds that others
// describe. It is pure and must not know where objects are kept.
package seeds

import (
	"fmt"

	"github.com/gardener/gardener/pkg/apis/core"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

// namespacePrefix begins the name of the namespace that each seed has in the
// garden.
const namespacePrefix = "seed-"

// Name returns what is wrong with a seed's name: its namespace is made of it.
func Name(name string, prefix bool) []string {
	errs := apivalidation.NameIsDNSLabel(name, prefix)
	if limit := validation.DNS1123LabelMaxLength - len(namespacePrefix); len(name) > limit {
		errs = append(errs, fmt.Sprintf("must have at most %d characters, so that the namespace %s<name> fits", limit, namespacePrefix))
	}
	return errs
}

// Validate returns every problem of a Seed; old is nil on create.
func Validate(seed, old *core.Seed) field.ErrorList {
	path := field.NewPath("spec")
	errs := spec(path, &seed.Spec)
	if old != nil {
		errs = append(errs, immutable(path, &seed.Spec, &old.Spec)...)
	}
	return errs
}

// ValidateStatus returns every problem of a change of a Seed's status.
func ValidateStatus(seed, old *core.Seed) field.ErrorList {
	return check.ImmutableOnceSet(field.NewPath("status", "clusterIdentity"), seed.Status.ClusterIdentity, old.Status.ClusterIdentity)
}

// ValidateTemplate returns every problem of the description of a Seed at path;
// old is nil when there was none.
func ValidateTemplate(path *field.Path, template, old *core.SeedTemplate) field.ErrorList {
	metadata := path.Child("metadata")
	errs := check.Labels(metadata.Child("labels"), template.Labels)
	errs = append(errs, apivalidation.ValidateAnnotations(template.Annotations, metadata.Child("annotations"))...)
	errs = append(errs, spec(path.Child("spec"), &template.Spec)...)
	if old != nil {
		errs = append(errs, immutable(path.Child("spec"), &template.Spec, &old.Spec)...)
	}
	return errs
}

func spec(path *field.Path, spec *core.SeedSpec) field.ErrorList {
	provider := path.Child("provider")
	errs := check.Required(provider.Child("type"), spec.Provider.Type, "says what the seed's machines are")
	errs = append(errs, check.Required(provider.Child("region"), spec.Provider.Region, "says where the seed is")...)
	for i, zone := range spec.Provider.Zones {
		errs = append(errs, check.Required(provider.Child("zones").Index(i), zone, "names a zone of the region")...)
	}
	errs = append(errs, check.UniqueStrings(provider.Child("zones"), spec.Provider.Zones)...)
	errs = append(errs, networks(path.Child("networks"), &spec.Networks)...)
	errs = append(errs, dns(path.Child("dns"), &spec.DNS)...)
	errs = append(errs, backup(path.Child("backup"), spec)...)
	if ingress := spec.Ingress; ingress != nil {
		errs = append(errs, domain(path.Child("ingress", "domain"), ingress.Domain)...)
		errs = append(errs, check.OneOf(path.Child("ingress", "controller", "kind"), ingress.Controller.Kind, "nginx")...)
	}
	errs = append(errs, taints(path.Child("taints"), spec.Taints)...)
	errs = append(errs, volume(path.Child("volume"), spec.Volume)...)
	errs = append(errs, settings(path.Child("settings"), spec)...)
	errs = append(errs, check.AccessRestrictions(path.Child("accessRestrictions"), spec.AccessRestrictions)...)
	errs = append(errs, check.Extensions(path.Child("extensions"), spec.Extensions)...)
	return append(errs, check.NamedResources(path.Child("resources"), spec.Resources, check.ResourceKinds())...)
}

// immutable wants what the clusters of a seed rely on to stay.
func immutable(path *field.Path, spec, old *core.SeedSpec) field.ErrorList {
	errs := check.Immutable(path.Child("provider", "type"), spec.Provider.Type, old.Provider.Type)
	errs = append(errs, check.Immutable(path.Child("provider", "region"), spec.Provider.Region, old.Provider.Region)...)
	networks := path.Child("networks")
	errs = append(errs, check.Immutable(networks.Child("pods"), spec.Networks.Pods, old.Networks.Pods)...)
	errs = append(errs, check.Immutable(networks.Child("services"), spec.Networks.Services, old.Networks.Services)...)
	errs = append(errs, check.ImmutableOnceSet(networks.Child("nodes"), spec.Networks.Nodes, old.Networks.Nodes)...)
	errs = append(errs, check.Immutable(networks.Child("ipFamilies"), spec.Networks.IPFamilies, old.Networks.IPFamilies)...)
	if old.Backup != nil {
		if spec.Backup == nil {
			errs = append(errs, field.Forbidden(path.Child("backup"), "cannot be taken out: backups of clusters are there"))
		} else {
			errs = append(errs, check.Immutable(path.Child("backup", "provider"), spec.Backup.Provider, old.Backup.Provider)...)
			errs = append(errs, check.Immutable(path.Child("backup", "region"), spec.Backup.Region, old.Backup.Region)...)
		}
	}
	if old.Ingress != nil {
		if spec.Ingress == nil {
			errs = append(errs, field.Forbidden(path.Child("ingress"), "cannot be taken out: addresses of clusters are made of it"))
		} else {
			errs = append(errs, check.Immutable(path.Child("ingress", "domain"), spec.Ingress.Domain, old.Ingress.Domain)...)
		}
	}
	return errs
}

func domain(path *field.Path, name string) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "is a DNS name, for example seed.example.com")}
	}
	return check.DNSSubdomain(path, name)
}

func dns(path *field.Path, dns *core.SeedDNS) field.ErrorList {
	var errs field.ErrorList
	if provider := dns.Provider; provider != nil {
		errs = append(errs, check.Required(path.Child("provider", "type"), provider.Type, "is the type of the DNS provider")...)
		if ref := provider.CredentialsRef; ref != nil {
			errs = append(errs, check.Reference(path.Child("provider", "credentialsRef"), *ref, check.CredentialsKinds())...)
		}
	}
	if dns.Internal != nil {
		errs = append(errs, dnsProvider(path.Child("internal"), dns.Internal)...)
	}
	defaults := path.Child("defaults")
	for i := range dns.Defaults {
		errs = append(errs, dnsProvider(defaults.Index(i), &dns.Defaults[i])...)
	}
	return append(errs, check.Unique(defaults, "domain", dns.Defaults, func(p core.SeedDNSProviderConfig) string { return p.Domain })...)
}

func dnsProvider(path *field.Path, provider *core.SeedDNSProviderConfig) field.ErrorList {
	errs := check.Required(path.Child("type"), provider.Type, "is the type of the DNS provider")
	errs = append(errs, domain(path.Child("domain"), provider.Domain)...)
	if provider.Zone != nil {
		errs = append(errs, check.Required(path.Child("zone"), *provider.Zone, "is the provider's name of the zone, or is left out")...)
	}
	return append(errs, check.Reference(path.Child("credentialsRef"), provider.CredentialsRef, check.CredentialsKinds())...)
}

func backup(path *field.Path, spec *core.SeedSpec) field.ErrorList {
	backup := spec.Backup
	if backup == nil {
		return nil
	}
	errs := check.Required(path.Child("provider"), backup.Provider, "says what holds the backups")
	if backup.Provider != "" && backup.Provider != spec.Provider.Type && (backup.Region == nil || *backup.Region == "") {
		errs = append(errs, field.Required(path.Child("region"), fmt.Sprintf("the seed's own is of provider %q, not %q", spec.Provider.Type, backup.Provider)))
	}
	if backup.CredentialsRef == nil {
		return append(errs, field.Required(path.Child("credentialsRef"), "leads to who may write the backups"))
	}
	return append(errs, check.Reference(path.Child("credentialsRef"), *backup.CredentialsRef, check.CredentialsKinds())...)
}

func taints(path *field.Path, taints []core.SeedTaint) field.ErrorList {
	var errs field.ErrorList
	for i, taint := range taints {
		path := path.Index(i)
		errs = append(errs, check.Key(path.Child("key"), taint.Key, "is what tolerations name")...)
		if taint.Value != nil {
			errs = append(errs, check.LabelValue(path.Child("value"), *taint.Value)...)
		}
	}
	return append(errs, check.Unique(path, "key", taints, func(t core.SeedTaint) string { return t.Key })...)
}

func volume(path *field.Path, volume *core.SeedVolume) field.ErrorList {
	if volume == nil {
		return nil
	}
	var errs field.ErrorList
	if volume.MinimumSize != nil {
		errs = append(errs, check.Positive(path.Child("minimumSize"), *volume.MinimumSize)...)
	}
	providers := path.Child("providers")
	for i, provider := range volume.Providers {
		errs = append(errs, check.Required(providers.Index(i).Child("purpose"), provider.Purpose, "says what the volumes are for")...)
		errs = append(errs, check.Required(providers.Index(i).Child("name"), provider.Name, "names the provisioner")...)
	}
	errs = append(errs, check.Unique(providers, "name", volume.Providers, func(p core.SeedVolumeProvider) string { return p.Name })...)
	return append(errs, check.Unique(providers, "purpose", volume.Providers, func(p core.SeedVolumeProvider) string { return p.Purpose })...)
}
