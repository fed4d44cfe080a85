package components

import (
	"fmt"
	"slices"

	"github.com/gardener/gardener/pkg/apis/core"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/offers"
	"github.com/loam-cloud/loam/garden/releases"
	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

// validateGates refuses gates that a Kubernetes version does not have, and
// values of those that can no longer be chosen. Components do not start with
// either. Of versions that nobody here knows it takes every gate.
func validateGates(gates map[string]bool, kubernetes string, path *field.Path) field.ErrorList {
	if len(gates) == 0 || !releases.Covers(kubernetes) {
		return nil
	}
	var errs field.ErrorList
	for _, name := range sortedKeys(gates) {
		gate, found := releases.FeatureGate(name)
		to, fixed := gate.Fixed(kubernetes)
		switch {
		case found && gate.In(kubernetes) && fixed && gates[name] != to:
			errs = append(errs, field.Invalid(path.Key(name), gates[name], fmt.Sprintf("can only be %t in Kubernetes %s", to, kubernetes)))
		case found && gate.In(kubernetes):
		case found && gate.After(kubernetes):
			errs = append(errs, field.Invalid(path.Key(name), name, fmt.Sprintf("is a feature gate from Kubernetes %s on only, and this cluster has %s", gate.Since, kubernetes)))
		default:
			errs = append(errs, field.Invalid(path.Key(name), name, "is no feature gate of Kubernetes "+kubernetes))
		}
	}
	return errs
}

// UnknownGates are the feature gates of a Shoot that validation lets pass only
// because nobody here knows its Kubernetes version.
func UnknownGates(shoot *core.Shoot) []string {
	var unknown []string
	add := func(gates map[string]bool, version string) {
		if len(gates) == 0 || releases.Covers(version) {
			return
		}
		for name := range gates {
			if _, found := releases.FeatureGate(name); !found && !slices.Contains(unknown, name) {
				unknown = append(unknown, name)
			}
		}
	}
	kubernetes := &shoot.Spec.Kubernetes
	version := offers.Plain(kubernetes.Version)
	if kubernetes.KubeAPIServer != nil {
		add(kubernetes.KubeAPIServer.FeatureGates, version)
	}
	if kubernetes.KubeControllerManager != nil {
		add(kubernetes.KubeControllerManager.FeatureGates, version)
	}
	if kubernetes.KubeScheduler != nil {
		add(kubernetes.KubeScheduler.FeatureGates, version)
	}
	if kubernetes.KubeProxy != nil {
		add(kubernetes.KubeProxy.FeatureGates, version)
	}
	if kubernetes.Kubelet != nil {
		add(kubernetes.Kubelet.FeatureGates, version)
	}
	for _, worker := range shoot.Spec.Provider.Workers {
		if worker.Kubernetes == nil || worker.Kubernetes.Kubelet == nil {
			continue
		}
		kubelet := version
		if worker.Kubernetes.Version != nil {
			kubelet = offers.Plain(*worker.Kubernetes.Version)
		}
		add(worker.Kubernetes.Kubelet.FeatureGates, kubelet)
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
		case !releases.HasAdmissionPlugin(plugin.Name, kubernetes):
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
