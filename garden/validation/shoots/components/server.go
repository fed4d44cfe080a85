package components

import (
	"cmp"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gardener/gardener/pkg/apis/core"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/offers"
	"github.com/loam-cloud/loam/garden/releases"
	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

// Bounds of the life of a service account's token (the contract of
// maxTokenExpiration).
const (
	shortestToken = 30 * 24 * time.Hour
	longestToken  = 90 * 24 * time.Hour
)

// longestEvents is how long events are kept at most: they are many, and etcd is
// small (seven days is what Gardener documents).
const longestEvents = 7 * 24 * time.Hour

// highestVerbosity is the most that klog knows.
const highestVerbosity = 10

func sortedKeys[M ~map[K]V, K cmp.Ordered, V any](m M) []K { return slices.Sorted(maps.Keys(m)) }

func validateServer(shoot *core.Shoot, path *field.Path) field.ErrorList {
	server := shoot.Spec.Kubernetes.KubeAPIServer
	if server == nil {
		return nil
	}
	version := offers.Plain(shoot.Spec.Kubernetes.Version)
	errs := validateGates(server.FeatureGates, version, path.Child("featureGates"))
	errs = append(errs, validatePlugins(server.AdmissionPlugins, version, path.Child("admissionPlugins"))...)
	errs = append(errs, check.UniqueStrings(path.Child("apiAudiences"), server.APIAudiences)...)
	for i, audience := range server.APIAudiences {
		errs = append(errs, check.Required(path.Child("apiAudiences").Index(i), audience, "names an audience of tokens")...)
	}
	errs = append(errs, check.Gone(path.Child("enableAnonymousAuthentication"), server.EnableAnonymousAuthentication != nil, version, releases.AnonymousAuthentication())...)
	errs = append(errs, validateRuntimeConfig(server.RuntimeConfig, path.Child("runtimeConfig"))...)
	errs = append(errs, validateAccounts(server.ServiceAccountConfig, path.Child("serviceAccountConfig"))...)
	errs = append(errs, validateRequests(server, version, path)...)
	errs = append(errs, validateEncryption(server.EncryptionConfig, path.Child("encryptionConfig"))...)
	errs = append(errs, validateReferences(server, path)...)
	if tls := server.TLSMinVersion; tls != nil {
		errs = append(errs, check.OneOf(path.Child("tlsMinVersion"), *tls, "VersionTLS12", "VersionTLS13")...)
	}
	return append(errs, validateScaling(server.Autoscaling, path.Child("autoscaling"))...)
}

// groupVersion is an API as --runtime-config names it: api/all, v1, apps/v1 or
// batch/v1beta1/cronjobs.
var groupVersion = regexp.MustCompile(`^(api/(all|ga|beta|alpha|legacy)|v[0-9][a-z0-9]*|[a-z0-9.-]+/v[0-9][a-z0-9]*(/[a-z]+)?)$`)

func validateRuntimeConfig(config map[string]bool, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, name := range sortedKeys(config) {
		switch {
		case !groupVersion.MatchString(name):
			errs = append(errs, field.Invalid(path.Key(name), name, "must be an API such as batch/v1beta1, or api/all, api/beta or api/alpha"))
		case !config[name] && (name == "v1" || name == "api/all" || name == "api/ga"):
			errs = append(errs, field.Forbidden(path.Key(name), "a cluster cannot work without it"))
		}
	}
	return errs
}

func validateAccounts(config *core.ServiceAccountConfig, path *field.Path) field.ErrorList {
	if config == nil {
		return nil
	}
	var errs field.ErrorList
	issuers := map[string]bool{}
	if config.Issuer != nil {
		errs = append(errs, validateIssuer(path.Child("issuer"), *config.Issuer)...)
		issuers[*config.Issuer] = true
	}
	for i, issuer := range config.AcceptedIssuers {
		at := path.Child("acceptedIssuers").Index(i)
		errs = append(errs, validateIssuer(at, issuer)...)
		if issuers[issuer] {
			errs = append(errs, field.Duplicate(at, issuer))
		}
		issuers[issuer] = true
	}
	return append(errs, check.DurationWithin(path.Child("maxTokenExpiration"), config.MaxTokenExpiration, shortestToken, longestToken)...)
}

// validateIssuer takes any text without a colon, and URLs else (RFC 7519,
// StringOrURI).
func validateIssuer(path *field.Path, issuer string) field.ErrorList {
	if issuer == "" {
		return field.ErrorList{field.Required(path, "identifies who issues tokens")}
	}
	if _, err := url.ParseRequestURI(issuer); strings.Contains(issuer, ":") && err != nil {
		return field.ErrorList{field.Invalid(path, issuer, "must be a name, or a URL")}
	}
	return nil
}

func validateRequests(server *core.KubeAPIServerConfig, version string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if requests := server.Requests; requests != nil {
		if most := requests.MaxNonMutatingInflight; most != nil {
			errs = append(errs, check.AtLeast(path.Child("requests", "maxNonMutatingInflight"), *most, 0)...)
		}
		if most := requests.MaxMutatingInflight; most != nil {
			errs = append(errs, check.AtLeast(path.Child("requests", "maxMutatingInflight"), *most, 0)...)
		}
	}
	errs = append(errs, check.DurationWithin(path.Child("eventTTL"), server.EventTTL, 0, longestEvents)...)
	if logging := server.Logging; logging != nil {
		errs = append(errs, validateVerbosity(path.Child("logging", "verbosity"), logging.Verbosity)...)
		errs = append(errs, validateVerbosity(path.Child("logging", "httpAccessVerbosity"), logging.HTTPAccessVerbosity)...)
	}
	if seconds := server.DefaultNotReadyTolerationSeconds; seconds != nil {
		errs = append(errs, check.AtLeast(path.Child("defaultNotReadyTolerationSeconds"), *seconds, 0)...)
	}
	if seconds := server.DefaultUnreachableTolerationSeconds; seconds != nil {
		errs = append(errs, check.AtLeast(path.Child("defaultUnreachableTolerationSeconds"), *seconds, 0)...)
	}
	sizes := server.WatchCacheSizes
	if sizes == nil {
		return errs
	}
	at := path.Child("watchCacheSizes")
	errs = append(errs, check.Gone(at.Child("default"), sizes.Default != nil, version, releases.DefaultWatchCacheSize())...)
	if sizes.Default != nil {
		errs = append(errs, check.AtLeast(at.Child("default"), *sizes.Default, 0)...)
	}
	for i, size := range sizes.Resources {
		errs = append(errs, check.Required(at.Child("resources").Index(i).Child("resource"), size.Resource, "is a resource such as secrets")...)
		errs = append(errs, check.AtLeast(at.Child("resources").Index(i).Child("size"), size.CacheSize, 0)...)
	}
	return errs
}

func validateVerbosity(path *field.Path, verbosity *int32) field.ErrorList {
	if verbosity == nil || *verbosity >= 0 && *verbosity <= highestVerbosity {
		return nil
	}
	return field.ErrorList{field.Invalid(path, *verbosity, "must be between 0 and 10")}
}

// validateReferences checks that what refers to other objects names them.
func validateReferences(server *core.KubeAPIServerConfig, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	const configMap = "names a ConfigMap in the Shoot's namespace"
	if audit := server.AuditConfig; audit != nil && audit.AuditPolicy != nil && audit.AuditPolicy.ConfigMapRef != nil {
		errs = append(errs, check.Required(path.Child("auditConfig", "auditPolicy", "configMapRef", "name"), audit.AuditPolicy.ConfigMapRef.Name, configMap)...)
	}
	if authentication := server.StructuredAuthentication; authentication != nil {
		errs = append(errs, check.Required(path.Child("structuredAuthentication", "configMapName"), authentication.ConfigMapName, configMap)...)
	}
	authorization := server.StructuredAuthorization
	if authorization == nil {
		return errs
	}
	at := path.Child("structuredAuthorization")
	errs = append(errs, check.Required(at.Child("configMapName"), authorization.ConfigMapName, configMap)...)
	errs = append(errs, check.Unique(at.Child("kubeconfigs"), "authorizerName", authorization.Kubeconfigs, func(r core.AuthorizerKubeconfigReference) string { return r.AuthorizerName })...)
	for i, kubeconfig := range authorization.Kubeconfigs {
		errs = append(errs, check.Required(at.Child("kubeconfigs").Index(i).Child("authorizerName"), kubeconfig.AuthorizerName, "names an authorizer of type Webhook in the ConfigMap")...)
		errs = append(errs, check.Required(at.Child("kubeconfigs").Index(i).Child("secretName"), kubeconfig.SecretName, "names a Secret in the Shoot's namespace")...)
	}
	return errs
}
