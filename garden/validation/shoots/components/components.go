// Package components has the rules for Kubernetes' own parts: their versions and
// how each is configured.
//
// The rules for Shoots call it. It is pure.
package components

import (
	"fmt"

	"github.com/Masterminds/semver/v3"
	"github.com/gardener/gardener/pkg/apis/core"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/offers"
	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

// Validate checks spec.kubernetes, and the kubelets of pools that have their own
// configuration.
func Validate(shoot *core.Shoot, path *field.Path) field.ErrorList {
	kubernetes := &shoot.Spec.Kubernetes
	version := offers.Plain(kubernetes.Version)
	var errs field.ErrorList
	if !offers.IsPrefix(kubernetes.Version) || kubernetes.Version == "" && shoot.Spec.CloudProfile == nil {
		// A version that leaves something open was not found in the cloud profile,
		// and is named by its rule.
		errs = append(errs, check.Version(path.Child("version"), version)...)
	}
	errs = append(errs, validateServer(shoot, path.Child("kubeAPIServer"))...)
	errs = append(errs, validateControllerManager(kubernetes.KubeControllerManager, version, path.Child("kubeControllerManager"))...)
	errs = append(errs, validateScheduler(kubernetes.KubeScheduler, version, path.Child("kubeScheduler"))...)
	errs = append(errs, validateProxy(kubernetes.KubeProxy, version, path.Child("kubeProxy"))...)
	errs = append(errs, validateKubelet(kubernetes.Kubelet, version, path.Child("kubelet"))...)
	errs = append(errs, validateClusterAutoscaler(kubernetes.ClusterAutoscaler, version, path.Child("clusterAutoscaler"))...)
	errs = append(errs, validateVerticalAutoscaler(kubernetes.VerticalPodAutoscaler, path.Child("verticalPodAutoscaler"))...)
	if etcd := kubernetes.ETCD; etcd != nil {
		for _, part := range []struct {
			name   string
			config *core.ETCDConfig
		}{{"main", etcd.Main}, {"events", etcd.Events}} {
			if part.config != nil {
				errs = append(errs, validateScaling(part.config.Autoscaling, path.Child("etcd", part.name, "autoscaling"))...)
			}
		}
	}
	for i, worker := range shoot.Spec.Provider.Workers {
		if worker.Kubernetes == nil || worker.Kubernetes.Kubelet == nil {
			continue
		}
		kubelet := version
		if worker.Kubernetes.Version != nil {
			kubelet = offers.Plain(*worker.Kubernetes.Version)
		}
		errs = append(errs, validateKubelet(worker.Kubernetes.Kubelet, kubelet, field.NewPath("spec", "provider", "workers").Index(i).Child("kubernetes", "kubelet"))...)
	}
	return errs
}

// ValidateUpdate checks the way from one version to another: never back, and one
// minor version at a time.
func ValidateUpdate(shoot, old *core.Shoot, path *field.Path) field.ErrorList {
	errs := validateEncryptionUpdate(shoot, old, path.Child("kubeAPIServer", "encryptionConfig"))
	at := path.Child("version")
	now, err := semver.StrictNewVersion(shoot.Spec.Kubernetes.Version)
	was, oldErr := semver.StrictNewVersion(old.Spec.Kubernetes.Version)
	switch {
	case err != nil || oldErr != nil:
	case now.LessThan(was):
		errs = append(errs, field.Forbidden(at, fmt.Sprintf("cannot be lowered from %s to %s", was, now)))
	case now.Major() != was.Major() || now.Minor() > was.Minor()+1:
		errs = append(errs, field.Forbidden(at, fmt.Sprintf("can be raised by one minor version at a time: from %s to %d.%d first", was, was.Major(), was.Minor()+1)))
	}
	return errs
}

// validateScaling checks the least that a part of the control plane gets.
func validateScaling(scaling *core.ControlPlaneAutoscaling, path *field.Path) field.ErrorList {
	if scaling == nil {
		return nil
	}
	return validateResources(scaling.MinAllowed, path.Child("minAllowed"))
}

func validateResources(resources corev1.ResourceList, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, name := range sortedKeys(resources) {
		errs = append(errs, check.OneOf(path.Key(string(name)), name, corev1.ResourceCPU, corev1.ResourceMemory)...)
		errs = append(errs, check.NonNegative(path.Key(string(name)), resources[name])...)
	}
	return errs
}

// member is a field of what is checked, by its name in manifests.
type member[T any] struct {
	name  string
	value T
}

// each applies one rule to several members below path.
func each[T any](path *field.Path, rule func(*field.Path, T) field.ErrorList, members []member[T]) field.ErrorList {
	var errs field.ErrorList
	for _, m := range members {
		errs = append(errs, rule(path.Child(m.name), m.value)...)
	}
	return errs
}

// whenSet makes a rule take a member that may be left out.
func whenSet[T any](rule func(*field.Path, T) field.ErrorList) func(*field.Path, *T) field.ErrorList {
	return func(path *field.Path, value *T) field.ErrorList {
		if value == nil {
			return nil
		}
		return rule(path, *value)
	}
}
