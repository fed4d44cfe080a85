package shoots

import (
	"strings"

	"github.com/gardener/gardener/pkg/apis/core"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/offers"
	"github.com/loam-cloud/loam/garden/releases"
	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

// validateGeneral checks what belongs to no larger area.
func validateGeneral(shoot *core.Shoot, path *field.Path) field.ErrorList {
	spec := &shoot.Spec
	errs := validateProfileReference(spec, path)
	errs = append(errs, check.Required(path.Child("region"), spec.Region, "names a region of the cloud profile")...)
	errs = append(errs, check.Required(path.Child("provider", "type"), spec.Provider.Type, "says what the machines are, for example local")...)
	if spec.Provider.Type != "" {
		errs = append(errs, check.DNSLabel(path.Child("provider", "type"), spec.Provider.Type)...)
	}
	if name := spec.SeedName; name != nil && *name == "" {
		errs = append(errs, field.Invalid(path.Child("seedName"), "", "must name a seed, or be left out"))
	}
	if selector := spec.SeedSelector; selector != nil {
		errs = append(errs, check.Selector(path.Child("seedSelector"), &selector.LabelSelector)...)
		errs = append(errs, check.UniqueStrings(path.Child("seedSelector", "providerTypes"), selector.ProviderTypes)...)
	}
	errs = append(errs, validatePurpose(shoot, path.Child("purpose"))...)
	errs = append(errs, validateExtensions(spec.Extensions, path.Child("extensions"))...)
	errs = append(errs, check.NamedResources(path.Child("resources"), spec.Resources, check.ResourceKinds())...)
	errs = append(errs, validateTolerations(spec.Tolerations, path.Child("tolerations"))...)
	errs = append(errs, validateAccessRestrictions(spec.AccessRestrictions, path.Child("accessRestrictions"))...)
	errs = append(errs, validateCredentials(spec, path)...)
	errs = append(errs, validateControlPlane(spec.ControlPlane, path.Child("controlPlane"))...)
	errs = append(errs, validateMonitoring(spec.Monitoring, path.Child("monitoring"))...)
	errs = append(errs, validateAddons(spec, path.Child("addons"))...)
	return append(errs, validateSystemComponents(spec.SystemComponents, path.Child("systemComponents"))...)
}

func validateProfileReference(spec *core.ShootSpec, path *field.Path) field.ErrorList {
	ref := path.Child("cloudProfile")
	if spec.CloudProfile == nil || spec.CloudProfile.Name == "" {
		return field.ErrorList{field.Required(ref.Child("name"), "names the cloud profile that offers machines and versions")}
	}
	errs := check.OneOf(ref.Child("kind"), spec.CloudProfile.Kind,
		v1beta1constants.CloudProfileReferenceKindCloudProfile, v1beta1constants.CloudProfileReferenceKindNamespacedCloudProfile)
	if former := spec.CloudProfileName; former != nil && *former != "" && *former != spec.CloudProfile.Name {
		errs = append(errs, field.Invalid(path.Child("cloudProfileName"), *former, "contradicts cloudProfile.name: leave this former field out"))
	}
	return errs
}

func validatePurpose(shoot *core.Shoot, path *field.Path) field.ErrorList {
	if shoot.Spec.Purpose == nil {
		return nil
	}
	allowed := []core.ShootPurpose{core.ShootPurposeEvaluation, core.ShootPurposeTesting, core.ShootPurposeDevelopment, core.ShootPurposeProduction}
	if shoot.Namespace == v1beta1constants.GardenNamespace {
		// For clusters that seeds run on, which are an operator's.
		allowed = append(allowed, core.ShootPurposeInfrastructure)
	}
	return check.OneOf(path, *shoot.Spec.Purpose, allowed...)
}

func validateExtensions(extensions []core.Extension, path *field.Path) field.ErrorList {
	errs := check.Extensions(path, extensions)
	for i, extension := range extensions {
		if extension.Type != "" {
			errs = append(errs, check.DNSLabel(path.Index(i).Child("type"), extension.Type)...)
		}
	}
	return errs
}

func validateTolerations(tolerations []core.Toleration, path *field.Path) field.ErrorList {
	errs := check.Tolerations(path, tolerations)
	for i, toleration := range tolerations {
		if toleration.Value != nil {
			errs = append(errs, check.LabelValue(path.Index(i).Child("value"), *toleration.Value)...)
		}
	}
	return errs
}

func validateAccessRestrictions(restrictions []core.AccessRestrictionWithOptions, path *field.Path) field.ErrorList {
	errs := check.Unique(path, "name", restrictions, func(r core.AccessRestrictionWithOptions) string { return r.Name })
	for i, restriction := range restrictions {
		errs = append(errs, check.Required(path.Index(i).Child("name"), restriction.Name, "names a restriction of the region")...)
	}
	return errs
}

// validateCredentials leaves out whether any are needed: machines on hosts of
// one's own, and clusters without workers, need none.
func validateCredentials(spec *core.ShootSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	secret, credentials := spec.SecretBindingName, spec.CredentialsBindingName
	if secret != nil && credentials != nil {
		errs = append(errs, field.Forbidden(path.Child("secretBindingName"), "only one of secretBindingName and credentialsBindingName can be given"))
	}
	if secret != nil {
		errs = append(errs, check.Required(path.Child("secretBindingName"), *secret, "names a SecretBinding, or is left out")...)
	}
	if credentials != nil {
		errs = append(errs, check.Required(path.Child("credentialsBindingName"), *credentials, "names a CredentialsBinding, or is left out")...)
	}
	return append(errs, check.Gone(path.Child("secretBindingName"), secret != nil, spec.Kubernetes.Version, releases.SecretBindingName())...)
}

func validateControlPlane(controlPlane *core.ControlPlane, path *field.Path) field.ErrorList {
	if controlPlane == nil {
		return nil
	}
	var errs field.ErrorList
	if availability := controlPlane.HighAvailability; availability != nil {
		errs = append(errs, check.OneOf(path.Child("highAvailability", "failureTolerance", "type"), availability.FailureTolerance.Type,
			core.FailureToleranceTypeNode, core.FailureToleranceTypeZone)...)
	}
	return append(errs, check.UniqueStrings(path.Child("zones"), controlPlane.Zones)...)
}

func validateMonitoring(monitoring *core.Monitoring, path *field.Path) field.ErrorList {
	if monitoring == nil || monitoring.Alerting == nil {
		return nil
	}
	var errs field.ErrorList
	receivers := path.Child("alerting", "emailReceivers")
	for i, address := range monitoring.Alerting.EmailReceivers {
		if user, host, found := strings.Cut(address, "@"); !found || user == "" || len(validation.IsDNS1123Subdomain(strings.ToLower(host))) > 0 {
			errs = append(errs, field.Invalid(receivers.Index(i), address, "must be an address, for example team@example.org"))
		}
	}
	return append(errs, check.UniqueStrings(receivers, monitoring.Alerting.EmailReceivers)...)
}

func validateAddons(spec *core.ShootSpec, path *field.Path) field.ErrorList {
	if spec.Addons == nil {
		return nil
	}
	var errs field.ErrorList
	version := offers.Plain(spec.Kubernetes.Version)
	if dashboard := spec.Addons.KubernetesDashboard; dashboard != nil {
		at := path.Child("kubernetesDashboard")
		errs = append(errs, check.Gone(at.Child("enabled"), dashboard.Enabled, version, releases.KubernetesDashboard())...)
		if mode := dashboard.AuthenticationMode; mode != nil {
			errs = append(errs, check.OneOf(at.Child("authenticationMode"), *mode, core.KubernetesDashboardAuthModeToken)...)
		}
	}
	if nginx := spec.Addons.NginxIngress; nginx != nil {
		at := path.Child("nginxIngress")
		errs = append(errs, check.Gone(at.Child("enabled"), nginx.Enabled, version, releases.NginxIngress())...)
		for i, source := range nginx.LoadBalancerSourceRanges {
			errs = append(errs, check.CIDR(at.Child("loadBalancerSourceRanges").Index(i), source)...)
		}
		if policy := nginx.ExternalTrafficPolicy; policy != nil {
			errs = append(errs, check.OneOf(at.Child("externalTrafficPolicy"), *policy, "Cluster", "Local")...)
		}
	}
	return errs
}

func validateSystemComponents(components *core.SystemComponents, path *field.Path) field.ErrorList {
	if components == nil || components.CoreDNS == nil {
		return nil
	}
	var errs field.ErrorList
	dns := path.Child("coreDNS")
	if scaling := components.CoreDNS.Autoscaling; scaling != nil {
		errs = append(errs, check.OneOf(dns.Child("autoscaling", "mode"), scaling.Mode,
			core.CoreDNSAutoscalingModeHorizontal, core.CoreDNSAutoscalingModeClusterProportional)...)
	}
	if rewriting := components.CoreDNS.Rewriting; rewriting != nil {
		suffixes := dns.Child("rewriting", "commonSuffixes")
		for i, suffix := range rewriting.CommonSuffixes {
			name := strings.TrimPrefix(suffix, ".")
			if !strings.Contains(name, ".") || len(validation.IsDNS1123Subdomain(name)) > 0 {
				errs = append(errs, field.Invalid(suffixes.Index(i), suffix, "must be the end of a domain with a dot in it, for example .example.org"))
			}
		}
		errs = append(errs, check.UniqueStrings(suffixes, rewriting.CommonSuffixes)...)
	}
	return errs
}
