package projects

import (
	"maps"
	"slices"

	"github.com/gardener/gardener/pkg/apis/core"
	corev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	securityv1alpha1 "github.com/gardener/gardener/pkg/apis/security/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

// metrics returns what quotas count.
func metrics() []corev1.ResourceName {
	return []corev1.ResourceName{
		core.QuotaMetricCPU, core.QuotaMetricGPU, core.QuotaMetricMemory,
		core.QuotaMetricStorageStandard, core.QuotaMetricStoragePremium, core.QuotaMetricLoadbalancer,
	}
}

// ValidateQuota returns every problem of a Quota; old is nil on create.
func ValidateQuota(quota, old *core.Quota) field.ErrorList {
	path, spec := field.NewPath("spec"), &quota.Spec
	errs := scope(path.Child("scope"), spec.Scope)
	if old != nil {
		errs = append(errs, check.Immutable(path.Child("scope"), spec.Scope, old.Spec.Scope)...)
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Metrics)) {
		path := path.Child("metrics").Key(string(name))
		errs = append(errs, check.OneOf(path, name, metrics()...)...)
		errs = append(errs, check.NonNegative(path, spec.Metrics[name])...)
	}
	if days := spec.ClusterLifetimeDays; days != nil {
		errs = append(errs, check.AtLeast(path.Child("clusterLifetimeDays"), *days, 1)...)
	}
	return errs
}

// scope wants one of the kinds over which clusters are counted.
func scope(path *field.Path, ref corev1.ObjectReference) field.ErrorList {
	versions := map[string]string{
		"Project":          corev1beta1.SchemeGroupVersion.String(),
		"Secret":           corev1.SchemeGroupVersion.String(),
		"WorkloadIdentity": securityv1alpha1.SchemeGroupVersion.String(),
	}
	version, known := versions[ref.Kind]
	if !known {
		return field.ErrorList{field.NotSupported(path.Child("kind"), ref.Kind, slices.Sorted(maps.Keys(versions)))}
	}
	return check.OneOf(path.Child("apiVersion"), ref.APIVersion, version)
}
