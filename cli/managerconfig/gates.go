package managerconfig

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/component-base/featuregate"
)

// disableNginx is the one gate that a controller manager of Gardener v1.150 has.
const disableNginx featuregate.Feature = "DisableNginxIngressInShoot"

// features are the gates of all of Gardener's components at v1.150, from the
// table of Gardener's documentation, docs/deployment/feature_gates.md.
func features() map[featuregate.Feature]featuregate.FeatureSpec {
	alpha, beta := featuregate.FeatureSpec{PreRelease: featuregate.Alpha}, featuregate.FeatureSpec{Default: true, PreRelease: featuregate.Beta}
	return map[featuregate.Feature]featuregate.FeatureSpec{
		disableNginx:                     alpha,
		"DefaultSeccompProfile":          alpha,
		"InPlaceNodeUpdates":             alpha,
		"LiveControlPlaneMigration":      alpha,
		"PrometheusHealthChecks":         alpha,
		"RemoveHTTPProxyLegacyPort":      alpha,
		"RemoveVali":                     alpha,
		"VPNBondingModeRoundRobin":       alpha,
		"VersionClassificationLifecycle": alpha,
		"VictoriaLogsBackend":            alpha,
		"BackupEntryForGarden":           beta,
		"CloudProfileCapabilities":       beta,
		"CustomDNSServerInNodeLocalDNS":  beta,
		"DisableNginxIngressInGarden":    beta,
		"DisableNginxIngressInSeed":      beta,
		"IstioTLSTermination":            beta,
		"OpenTelemetryCollector":         beta,
		"DoNotCopyBackupCredentials":     {Default: true, LockToDefault: true, PreRelease: featuregate.GA},
	}
}

// Gates are what a configuration's feature gates come to.
type Gates struct {
	// DisableNginxIngress lets maintenance switch the addon nginxIngress off.
	DisableNginxIngress bool
	// Ignored are gates that belong to components which the controllers are not.
	Ignored []string
}

// ReadGates reads feature gates, AllAlpha and AllBeta among them. Problems name
// the gates that Gardener does not have, or that can no longer be chosen.
func ReadGates(set map[string]bool) (Gates, field.ErrorList) {
	path := field.NewPath("featureGates")
	gates := featuregate.NewFeatureGate()
	if err := gates.Add(features()); err != nil {
		return Gates{}, field.ErrorList{field.InternalError(path, err)}
	}
	known, everywhere := gates.GetAll(), []string{"AllAlpha", "AllBeta"}
	names := slices.Concat(slices.Collect(maps.Keys(features())), []featuregate.Feature{"AllAlpha", "AllBeta"})
	slices.Sort(names)
	var problems field.ErrorList
	var result Gates
	for _, name := range slices.Sorted(maps.Keys(set)) {
		feature := featuregate.Feature(name)
		if _, there := known[feature]; !there {
			problems = append(problems, field.NotSupported(path, name, names))
			continue
		}
		if err := gates.SetFromMap(map[string]bool{name: set[name]}); err != nil {
			problems = append(problems, field.Invalid(path.Key(name), set[name], err.Error()))
			continue
		}
		if feature != disableNginx && !slices.Contains(everywhere, name) {
			result.Ignored = append(result.Ignored, name)
		}
	}
	result.DisableNginxIngress = gates.Enabled(disableNginx)
	return result, problems
}
