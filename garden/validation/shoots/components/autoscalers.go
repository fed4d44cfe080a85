package components

import (
	"strings"

	"github.com/gardener/gardener/pkg/apis/core"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/releases"
	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

func validateClusterAutoscaler(scaler *core.ClusterAutoscaler, version string, path *field.Path) field.ErrorList {
	if scaler == nil {
		return nil
	}
	errs := validateSpans(scaler, path)
	errs = append(errs, check.Fraction(path.Child("scaleDownUtilizationThreshold"), scaler.ScaleDownUtilizationThreshold)...)
	errs = append(errs, check.Gone(path.Child("maxEmptyBulkDelete"), scaler.MaxEmptyBulkDelete != nil, version, releases.MaxEmptyBulkDelete())...)
	for _, number := range []struct {
		name  string
		value *int32
		least int32
	}{
		{"maxGracefulTerminationSeconds", scaler.MaxGracefulTerminationSeconds, 0},
		{"maxEmptyBulkDelete", scaler.MaxEmptyBulkDelete, 0},
		{"verbosity", scaler.Verbosity, 0},
		{"maxScaleDownParallelism", scaler.MaxScaleDownParallelism, 1},
		{"maxDrainParallelism", scaler.MaxDrainParallelism, 1},
	} {
		if number.value != nil {
			errs = append(errs, check.AtLeast(path.Child(number.name), *number.value, number.least)...)
		}
	}
	errs = append(errs, validateExpander(scaler.Expander, path.Child("expander"))...)
	errs = append(errs, validateTaintKeys(scaler, path)...)
	return append(errs, validateScaling(scaler.Autoscaling, path.Child("autoscaling"))...)
}

// validateSpans checks how long the autoscaler waits for what.
func validateSpans(scaler *core.ClusterAutoscaler, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	errs = append(errs, each(path, check.NonNegativeDuration, []member[*metav1.Duration]{
		{"scaleDownDelayAfterAdd", scaler.ScaleDownDelayAfterAdd},
		{"scaleDownDelayAfterDelete", scaler.ScaleDownDelayAfterDelete},
		{"scaleDownDelayAfterFailure", scaler.ScaleDownDelayAfterFailure},
		{"scaleDownUnneededTime", scaler.ScaleDownUnneededTime},
		{"newPodScaleUpDelay", scaler.NewPodScaleUpDelay},
	})...)
	errs = append(errs, each(path, check.PositiveDuration, []member[*metav1.Duration]{
		{"scanInterval", scaler.ScanInterval},
		{"maxNodeProvisionTime", scaler.MaxNodeProvisionTime},
		{"initialNodeGroupBackoffDuration", scaler.InitialNodeGroupBackoffDuration},
		{"maxNodeGroupBackoffDuration", scaler.MaxNodeGroupBackoffDuration},
		{"nodeGroupBackoffResetTimeout", scaler.NodeGroupBackoffResetTimeout},
		{"maxBinpackingTime", scaler.MaxBinpackingTime},
	})...)
	if first, most := scaler.InitialNodeGroupBackoffDuration, scaler.MaxNodeGroupBackoffDuration; first != nil && most != nil && first.Duration > most.Duration {
		errs = append(errs, field.Invalid(path.Child("initialNodeGroupBackoffDuration"), first.Duration.String(), "must not be longer than maxNodeGroupBackoffDuration"))
	}
	return errs
}

// validateExpander takes one algorithm or several joined by commas, of which
// the next decides where the first cannot.
func validateExpander(expander *core.ExpanderMode, path *field.Path) field.ErrorList {
	if expander == nil {
		return nil
	}
	var errs field.ErrorList
	modes := strings.Split(string(*expander), ",")
	for _, mode := range modes {
		errs = append(errs, check.OneOf(path, core.ExpanderMode(mode), core.ClusterAutoscalerExpanderLeastWaste, core.ClusterAutoscalerExpanderMostPods,
			core.ClusterAutoscalerExpanderPriority, core.ClusterAutoscalerExpanderRandom, core.ClusterAutoscalerExpanderLeastNodes)...)
	}
	return append(errs, check.UniqueStrings(path, modes)...)
}

func validateTaintKeys(scaler *core.ClusterAutoscaler, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, list := range []struct {
		name string
		keys []string
	}{{"ignoreTaints", scaler.IgnoreTaints}, {"startupTaints", scaler.StartupTaints}, {"statusTaints", scaler.StatusTaints}} {
		at := path.Child(list.name)
		for i, key := range list.keys {
			errs = append(errs, check.QualifiedName(at.Index(i), key)...)
		}
		errs = append(errs, check.UniqueStrings(at, list.keys)...)
	}
	return errs
}

func validateVerticalAutoscaler(scaler *core.VerticalPodAutoscaler, path *field.Path) field.ErrorList {
	if scaler == nil {
		return nil
	}
	var errs field.ErrorList
	errs = append(errs, each(path, check.PositiveDuration, []member[*metav1.Duration]{
		{"evictAfterOOMThreshold", scaler.EvictAfterOOMThreshold},
		{"updaterInterval", scaler.UpdaterInterval},
		{"recommenderInterval", scaler.RecommenderInterval},
		{"cpuHistogramDecayHalfLife", scaler.CPUHistogramDecayHalfLife},
		{"memoryHistogramDecayHalfLife", scaler.MemoryHistogramDecayHalfLife},
		{"memoryAggregationInterval", scaler.MemoryAggregationInterval},
	})...)
	errs = append(errs, each(path, check.Fraction, []member[*float64]{
		{"evictionTolerance", scaler.EvictionTolerance},
		{"targetCPUPercentile", scaler.TargetCPUPercentile},
		{"recommendationLowerBoundCPUPercentile", scaler.RecommendationLowerBoundCPUPercentile},
		{"recommendationUpperBoundCPUPercentile", scaler.RecommendationUpperBoundCPUPercentile},
		{"targetMemoryPercentile", scaler.TargetMemoryPercentile},
		{"recommendationLowerBoundMemoryPercentile", scaler.RecommendationLowerBoundMemoryPercentile},
		{"recommendationUpperBoundMemoryPercentile", scaler.RecommendationUpperBoundMemoryPercentile},
	})...)
	if margin := scaler.RecommendationMarginFraction; margin != nil && *margin < 0 {
		errs = append(errs, field.Invalid(path.Child("recommendationMarginFraction"), *margin, "must be 0 or more"))
	}
	if burst := scaler.EvictionRateBurst; burst != nil {
		errs = append(errs, check.AtLeast(path.Child("evictionRateBurst"), *burst, 1)...)
	}
	if count := scaler.MemoryAggregationIntervalCount; count != nil {
		errs = append(errs, check.AtLeast(path.Child("memoryAggregationIntervalCount"), *count, 1)...)
	}
	if count := scaler.RecommenderUpdateWorkerCount; count != nil {
		errs = append(errs, check.AtLeast(path.Child("recommenderUpdateWorkerCount"), *count, 1)...)
	}
	errs = append(errs, ordered(path, "CPU", scaler.RecommendationLowerBoundCPUPercentile, scaler.TargetCPUPercentile, scaler.RecommendationUpperBoundCPUPercentile)...)
	errs = append(errs, ordered(path, "Memory", scaler.RecommendationLowerBoundMemoryPercentile, scaler.TargetMemoryPercentile, scaler.RecommendationUpperBoundMemoryPercentile)...)
	return append(errs, validateResources(scaler.MaxAllowed, path.Child("maxAllowed"))...)
}

// ordered wants the lower bound of a recommendation not above the target, nor
// that above the upper bound.
func ordered(path *field.Path, resource string, low, target, high *float64) field.ErrorList {
	var errs field.ErrorList
	if low != nil && target != nil && *low > *target {
		errs = append(errs, field.Invalid(path.Child("recommendationLowerBound"+resource+"Percentile"), *low, "must not be above target"+resource+"Percentile"))
	}
	if high != nil && target != nil && *high < *target {
		errs = append(errs, field.Invalid(path.Child("recommendationUpperBound"+resource+"Percentile"), *high, "must not be below target"+resource+"Percentile"))
	}
	return errs
}
