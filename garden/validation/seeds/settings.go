package seeds

import (
	"maps"
	"slices"

	"github.com/gardener/gardener/pkg/apis/core"
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

func settings(path *field.Path, spec *core.SeedSpec) field.ErrorList {
	settings := spec.Settings
	if settings == nil {
		return nil
	}
	errs := excessCapacity(path.Child("excessCapacityReservation", "configs"), settings.ExcessCapacityReservation)
	errs = append(errs, loadBalancers(path.Child("loadBalancerServices"), settings.LoadBalancerServices, spec.Provider.Zones)...)
	if autoscaler := settings.VerticalPodAutoscaler; autoscaler != nil {
		path := path.Child("verticalPodAutoscaler")
		errs = append(errs, resources(path.Child("maxAllowed"), autoscaler.MaxAllowed)...)
		for _, gate := range slices.Sorted(maps.Keys(autoscaler.FeatureGates)) {
			errs = append(errs, check.Required(path.Child("featureGates"), gate, "has no name for one of the gates")...)
		}
	}
	if selection := settings.ZoneSelection; selection != nil {
		errs = append(errs, check.OneOf(path.Child("zoneSelection", "mode"), selection.Mode, core.ZoneSelectionModePrefer, core.ZoneSelectionModeEnforce)...)
	}
	return errs
}

func excessCapacity(path *field.Path, reservation *core.SeedSettingExcessCapacityReservation) field.ErrorList {
	if reservation == nil {
		return nil
	}
	var errs field.ErrorList
	for i, config := range reservation.Configs {
		path := path.Index(i)
		if len(config.Resources) == 0 {
			errs = append(errs, field.Required(path.Child("resources"), "say what to keep free"))
		}
		errs = append(errs, resources(path.Child("resources"), config.Resources)...)
		errs = append(errs, check.Labels(path.Child("nodeSelector"), config.NodeSelector)...)
		for j, toleration := range config.Tolerations {
			errs = append(errs, podToleration(path.Child("tolerations").Index(j), toleration)...)
		}
	}
	return errs
}

// resources wants amounts of CPU and memory above 0.
func resources(path *field.Path, amounts corev1.ResourceList) field.ErrorList {
	var errs field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(amounts)) {
		path := path.Key(string(name))
		errs = append(errs, check.OneOf(path, name, corev1.ResourceCPU, corev1.ResourceMemory)...)
		errs = append(errs, check.Positive(path, amounts[name])...)
	}
	return errs
}

func podToleration(path *field.Path, toleration corev1.Toleration) field.ErrorList {
	var errs field.ErrorList
	switch toleration.Operator {
	case "", corev1.TolerationOpEqual:
		if toleration.Key == "" {
			errs = append(errs, field.Required(path.Child("key"), "only the operator Exists goes without"))
		}
		errs = append(errs, check.LabelValue(path.Child("value"), toleration.Value)...)
	case corev1.TolerationOpExists:
		if toleration.Value != "" {
			errs = append(errs, field.Invalid(path.Child("value"), toleration.Value, "must be left out with the operator Exists"))
		}
	default:
		errs = append(errs, field.NotSupported(path.Child("operator"), toleration.Operator, []corev1.TolerationOperator{corev1.TolerationOpEqual, corev1.TolerationOpExists}))
	}
	if toleration.Key != "" {
		errs = append(errs, check.QualifiedName(path.Child("key"), toleration.Key)...)
	}
	if effect := toleration.Effect; effect != "" {
		errs = append(errs, check.OneOf(path.Child("effect"), effect, corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute)...)
	}
	return errs
}

func loadBalancers(path *field.Path, services *core.SeedSettingLoadBalancerServices, zones []string) field.ErrorList {
	if services == nil {
		return nil
	}
	errs := trafficPolicy(path, services.ExternalTrafficPolicy)
	errs = append(errs, apivalidation.ValidateAnnotations(services.Annotations, path.Child("annotations"))...)
	if services.Class != nil {
		errs = append(errs, check.QualifiedName(path.Child("class"), *services.Class)...)
	}
	path = path.Child("zones")
	for i, zone := range services.Zones {
		path := path.Index(i)
		if !slices.Contains(zones, zone.Name) {
			errs = append(errs, field.Invalid(path.Child("name"), zone.Name, "must be one of spec.provider.zones"))
		}
		errs = append(errs, trafficPolicy(path, zone.ExternalTrafficPolicy)...)
		errs = append(errs, apivalidation.ValidateAnnotations(zone.Annotations, path.Child("annotations"))...)
	}
	return append(errs, check.Unique(path, "name", services.Zones, func(z core.SeedSettingLoadBalancerServicesZones) string { return z.Name })...)
}

func trafficPolicy(path *field.Path, policy *corev1.ServiceExternalTrafficPolicy) field.ErrorList {
	if policy == nil {
		return nil
	}
	return check.OneOf(path.Child("externalTrafficPolicy"), *policy, corev1.ServiceExternalTrafficPolicyCluster, corev1.ServiceExternalTrafficPolicyLocal)
}
