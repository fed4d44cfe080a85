package components

import (
	"fmt"
	"slices"

	"github.com/gardener/gardener/pkg/apis/core"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/version"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/component-base/featuregate"
	componentversion "k8s.io/component-base/version"
	"k8s.io/kubernetes/pkg/features"
	kubeoptions "k8s.io/kubernetes/pkg/kubeapiserver/options"

	"github.com/loam-cloud/loam/garden/offers"
	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

// knownGates are the feature gates of the Kubernetes that is built into this
// binary, with what each was in earlier versions. They are registered by the
// package that the constant is from.
func knownGates() map[featuregate.Feature]featuregate.VersionedSpecs {
	all := utilfeature.DefaultMutableFeatureGate.GetAllVersioned()
	if _, registered := all[features.NodeSwap]; !registered {
		return nil
	}
	return all
}

// gateAt is what a gate is in a version; nil before it was there.
func gateAt(specs featuregate.VersionedSpecs, at *version.Version) *featuregate.FeatureSpec {
	var found *featuregate.FeatureSpec
	for i, spec := range specs {
		if spec.Version == nil || at.AtLeast(version.MajorMinor(spec.Version.Major(), spec.Version.Minor())) {
			found = &specs[i]
		}
	}
	return found
}

// validateGates refuses gates that a Kubernetes version does not have, and
// values of those that can no longer be chosen. Components do not start with
// either. What is unknown here may have been there in an older version, or will
// be in a newer one than is built in: there it passes.
func validateGates(gates map[string]bool, kubernetes string, path *field.Path) field.ErrorList {
	if len(gates) == 0 {
		return nil
	}
	at, err := version.ParseGeneric(kubernetes)
	if err != nil {
		return nil
	}
	at = version.MajorMinor(at.Major(), at.Minor())
	known := knownGates()
	var errs field.ErrorList
	for _, name := range sortedKeys(gates) {
		specs, found := known[featuregate.Feature(name)]
		if !found {
			if builtIn(at) {
				errs = append(errs, field.Invalid(path.Key(name), name, "is no feature gate of Kubernetes "+at.String()))
			}
			continue
		}
		spec := gateAt(specs, at)
		switch {
		case spec == nil:
			errs = append(errs, field.Invalid(path.Key(name), name, fmt.Sprintf("is a feature gate from Kubernetes %s on only, and this cluster has %s", specs[0].Version, kubernetes)))
		case spec.LockToDefault && gates[name] != spec.Default:
			errs = append(errs, field.Invalid(path.Key(name), gates[name], fmt.Sprintf("can only be %t in Kubernetes %s", spec.Default, at)))
		}
	}
	return errs
}

// builtIn tells whether a version is the one whose gates are known completely.
func builtIn(at *version.Version) bool {
	own := version.MustParseGeneric(componentversion.DefaultKubeBinaryVersion)
	return at.Major() == own.Major() && at.Minor() == own.Minor()
}

// UnknownGates are the feature gates of a Shoot that validation lets pass only
// because its Kubernetes version is another than the one known here.
func UnknownGates(shoot *core.Shoot) []string {
	known := knownGates()
	var unknown []string
	add := func(gates map[string]bool) {
		for name := range gates {
			if _, found := known[featuregate.Feature(name)]; !found && !slices.Contains(unknown, name) {
				unknown = append(unknown, name)
			}
		}
	}
	kubernetes := &shoot.Spec.Kubernetes
	if kubernetes.KubeAPIServer != nil {
		add(kubernetes.KubeAPIServer.FeatureGates)
	}
	if kubernetes.KubeControllerManager != nil {
		add(kubernetes.KubeControllerManager.FeatureGates)
	}
	if kubernetes.KubeScheduler != nil {
		add(kubernetes.KubeScheduler.FeatureGates)
	}
	if kubernetes.KubeProxy != nil {
		add(kubernetes.KubeProxy.FeatureGates)
	}
	if kubernetes.Kubelet != nil {
		add(kubernetes.Kubelet.FeatureGates)
	}
	for _, worker := range shoot.Spec.Provider.Workers {
		if worker.Kubernetes != nil && worker.Kubernetes.Kubelet != nil {
			add(worker.Kubernetes.Kubelet.FeatureGates)
		}
	}
	slices.Sort(unknown)
	return unknown
}

// indispensable are admission plugins that other parts of a cluster rely on:
// namespaces that are being deleted, kubelets' rights, tokens, and webhooks.
func indispensable() []string {
	return []string{"NamespaceLifecycle", "NodeRestriction", "ServiceAccount", "MutatingAdmissionWebhook", "ValidatingAdmissionWebhook"}
}

func validatePlugins(plugins []core.AdmissionPlugin, kubernetes string, path *field.Path) field.ErrorList {
	errs := check.Unique(path, "name", plugins, func(p core.AdmissionPlugin) string { return p.Name })
	for i, plugin := range plugins {
		at := path.Index(i)
		disabled := plugin.Disabled != nil && *plugin.Disabled
		switch {
		case plugin.Name == "":
			errs = append(errs, field.Required(at.Child("name"), "names an admission plugin, for example PodNodeSelector"))
		case !slices.Contains(kubeoptions.AllOrderedPlugins, plugin.Name):
			errs = append(errs, field.Invalid(at.Child("name"), plugin.Name, "is no admission plugin of Kubernetes "+offers.Plain(kubernetes)))
		case disabled && slices.Contains(indispensable(), plugin.Name):
			errs = append(errs, field.Forbidden(at.Child("disabled"), "the cluster cannot work without "+plugin.Name))
		case plugin.Name == "AlwaysDeny" && !disabled:
			errs = append(errs, field.Forbidden(at.Child("name"), "AlwaysDeny would refuse every request"))
		}
		if plugin.KubeconfigSecretName != nil {
			errs = append(errs, check.Required(at.Child("kubeconfigSecretName"), *plugin.KubeconfigSecretName, "names a Secret in the Shoot's namespace")...)
		}
	}
	return errs
}
