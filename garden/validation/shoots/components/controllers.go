package components

import (
	"github.com/gardener/gardener/pkg/apis/core"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/releases"
	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

func validateControllerManager(manager *core.KubeControllerManagerConfig, version string, path *field.Path) field.ErrorList {
	if manager == nil {
		return nil
	}
	errs := validateGates(manager.FeatureGates, version, path.Child("featureGates"))
	errs = append(errs, check.Gone(path.Child("podEvictionTimeout"), manager.PodEvictionTimeout != nil, version, releases.PodEvictionTimeout())...)
	errs = append(errs, check.NonNegativeDuration(path.Child("podEvictionTimeout"), manager.PodEvictionTimeout)...)
	errs = append(errs, check.PositiveDuration(path.Child("nodeMonitorGracePeriod"), manager.NodeMonitorGracePeriod)...)
	scaler := manager.HorizontalPodAutoscalerConfig
	if scaler == nil {
		return errs
	}
	at := path.Child("horizontalPodAutoscaler")
	errs = append(errs, check.NonNegativeDuration(at.Child("cpuInitializationPeriod"), scaler.CPUInitializationPeriod)...)
	errs = append(errs, check.NonNegativeDuration(at.Child("downscaleStabilization"), scaler.DownscaleStabilization)...)
	errs = append(errs, check.NonNegativeDuration(at.Child("initialReadinessDelay"), scaler.InitialReadinessDelay)...)
	errs = append(errs, check.PositiveDuration(at.Child("syncPeriod"), scaler.SyncPeriod)...)
	if tolerance := scaler.Tolerance; tolerance != nil && *tolerance < 0 {
		errs = append(errs, field.Invalid(at.Child("tolerance"), *tolerance, "must be 0 or more"))
	}
	return errs
}

func validateScheduler(scheduler *core.KubeSchedulerConfig, version string, path *field.Path) field.ErrorList {
	if scheduler == nil {
		return nil
	}
	errs := validateGates(scheduler.FeatureGates, version, path.Child("featureGates"))
	errs = append(errs, check.Gone(path.Child("kubeMaxPDVols"), scheduler.KubeMaxPDVols != nil, version, releases.KubeMaxPDVols())...)
	if profile := scheduler.Profile; profile != nil {
		errs = append(errs, check.OneOf(path.Child("profile"), *profile, core.SchedulingProfileBalanced, core.SchedulingProfileBinPacking)...)
	}
	return errs
}

func validateProxy(proxy *core.KubeProxyConfig, version string, path *field.Path) field.ErrorList {
	if proxy == nil {
		return nil
	}
	errs := validateGates(proxy.FeatureGates, version, path.Child("featureGates"))
	if mode := proxy.Mode; mode != nil {
		errs = append(errs, check.OneOf(path.Child("mode"), *mode, core.ProxyModeIPTables, core.ProxyModeNFTables, core.ProxyModeIPVS)...)
	}
	return errs
}
