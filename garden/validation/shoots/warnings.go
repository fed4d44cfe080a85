package shoots

import (
	"fmt"
	"time"

	"github.com/gardener/gardener/pkg/apis/core"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/offers"
	"github.com/loam-cloud/loam/garden/releases"
	"github.com/loam-cloud/loam/garden/validation/shoots/components"
)

// expirySoon is how long before its end a version is warned about.
const expirySoon = 30 * 24 * time.Hour

// Warnings says what is right today and will not stay so: former fields, and
// versions near their end.
func Warnings(shoot *core.Shoot, facts Facts) []string {
	var all []string
	spec, path := &shoot.Spec, field.NewPath("spec")
	former := func(set bool, at *field.Path, text string) {
		if set {
			all = append(all, at.String()+": "+text)
		}
	}
	gone := func(set bool, at *field.Path, what releases.Field) {
		former(set, at, fmt.Sprintf("is a former field, not there from Kubernetes %s on: %s", what.Since, what.Instead))
	}
	gone(spec.SecretBindingName != nil, path.Child("secretBindingName"), releases.SecretBindingName())
	if spec.DNS != nil {
		former(len(spec.DNS.Providers) > 1, path.Child("dns", "providers"), "more than one will not be accepted in future")
		for i, provider := range spec.DNS.Providers {
			at := path.Child("dns", "providers").Index(i)
			gone(provider.SecretName != nil, at.Child("secretName"), releases.DNSProviderSecretName())
			former(provider.Primary != nil, at.Child("primary"), "is a former field: the first provider is the primary one")
			former(provider.Domains != nil, at.Child("domains"), "is a former field: configure the DNS extension")
			former(provider.Zones != nil, at.Child("zones"), "is a former field: configure the DNS extension")
		}
	}
	if addons := spec.Addons; addons != nil {
		at := path.Child("addons")
		gone(addons.KubernetesDashboard != nil && addons.KubernetesDashboard.Enabled, at.Child("kubernetesDashboard", "enabled"), releases.KubernetesDashboard())
		gone(addons.NginxIngress != nil && addons.NginxIngress.Enabled, at.Child("nginxIngress", "enabled"), releases.NginxIngress())
	}
	kubernetes := path.Child("kubernetes")
	if server := spec.Kubernetes.KubeAPIServer; server != nil {
		gone(server.EnableAnonymousAuthentication != nil, kubernetes.Child("kubeAPIServer", "enableAnonymousAuthentication"), releases.AnonymousAuthentication())
	}
	if scaler := spec.Kubernetes.ClusterAutoscaler; scaler != nil {
		former(len(scaler.IgnoreTaints) > 0, kubernetes.Child("clusterAutoscaler", "ignoreTaints"), "is a former field: use startupTaints")
	}
	if proxy := spec.Kubernetes.KubeProxy; proxy != nil && proxy.Mode != nil {
		ipvs := releases.IPVS()
		former(*proxy.Mode == core.ProxyModeIPVS, kubernetes.Child("kubeProxy", "mode"), fmt.Sprintf("IPVS is deprecated from Kubernetes %s on: %s", ipvs.Since, ipvs.Instead))
	}
	for _, gate := range components.UnknownGates(shoot) {
		all = append(all, fmt.Sprintf("%s: feature gate %s is not known here: make sure that Kubernetes %s has it", kubernetes, gate, spec.Kubernetes.Version))
	}
	return append(all, versionWarnings(shoot, path, facts)...)
}

func versionWarnings(shoot *core.Shoot, path *field.Path, facts Facts) []string {
	if facts.Profile == nil {
		return nil
	}
	var all []string
	warn := func(at *field.Path, what string, version core.ExpirableVersion) {
		if text := versionWarning(version, facts.Now); text != "" {
			all = append(all, fmt.Sprintf("%s: %s %s %s", at, what, version.Version, text))
		}
	}
	if version, found := offers.Find(facts.Profile.Kubernetes.Versions, shoot.Spec.Kubernetes.Version); found {
		warn(path.Child("kubernetes", "version"), "Kubernetes", version)
	}
	for i, worker := range shoot.Spec.Provider.Workers {
		if worker.Machine.Image == nil {
			continue
		}
		image := offers.Image(facts.Profile, worker.Machine.Image.Name)
		if image == nil {
			continue
		}
		if version := offers.ImageVersion(image, worker.Machine.Image.Version); version != nil {
			warn(path.Child("provider", "workers").Index(i).Child("machine", "image", "version"), "image "+image.Name, version.ExpirableVersion)
		}
	}
	return all
}

func versionWarning(version core.ExpirableVersion, now time.Time) string {
	classification := offers.Classification(version, now)
	switch expiry := offers.Expiry(version); {
	case classification == core.ClassificationExpired:
		return "has expired"
	case expiry != nil && expiry.Sub(now) < expirySoon:
		return "expires on " + expiry.UTC().Format(time.DateOnly)
	case classification == core.ClassificationDeprecated && expiry != nil:
		return "is deprecated and expires on " + expiry.UTC().Format(time.DateOnly)
	case classification == core.ClassificationDeprecated:
		return "is deprecated"
	case classification == core.ClassificationPreview:
		return "is a preview"
	default:
		return ""
	}
}
