package components

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/gardener/gardener/pkg/apis/core"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

// Bounds of kubelet settings: of streamingConnectionIdleTimeout by its contract,
// of podPidsLimit because fewer than 100 processes keep system pods from starting.
const (
	shortestIdle  = 30 * time.Second
	longestIdle   = 4 * time.Hour
	fewestPIDs    = 100
	featureSwap   = "NodeSwap"
	percentSuffix = "%"
)

func validateKubelet(kubelet *core.KubeletConfig, version string, path *field.Path) field.ErrorList {
	if kubelet == nil {
		return nil
	}
	errs := validateGates(kubelet.FeatureGates, version, path.Child("featureGates"))
	if policy := kubelet.CPUManagerPolicy; policy != nil {
		errs = append(errs, check.OneOf(path.Child("cpuManagerPolicy"), *policy, "none", "static")...)
	}
	if most := kubelet.MaxPods; most != nil {
		errs = append(errs, check.AtLeast(path.Child("maxPods"), *most, 1)...)
	}
	if limit := kubelet.PodPIDsLimit; limit != nil {
		errs = append(errs, check.AtLeast(path.Child("podPidsLimit"), *limit, fewestPIDs)...)
	}
	errs = append(errs, validateEvictions(kubelet, path)...)
	errs = append(errs, validateImages(kubelet, path)...)
	errs = append(errs, validateSwap(kubelet, path)...)
	errs = append(errs, validateReserved(kubelet.KubeReserved, path.Child("kubeReserved"))...)
	errs = append(errs, check.DurationWithin(path.Child("streamingConnectionIdleTimeout"), kubelet.StreamingConnectionIdleTimeout, shortestIdle, longestIdle)...)
	if size := kubelet.ContainerLogMaxSize; size != nil {
		errs = append(errs, check.Positive(path.Child("containerLogMaxSize"), *size)...)
	}
	if files := kubelet.ContainerLogMaxFiles; files != nil {
		errs = append(errs, check.AtLeast(path.Child("containerLogMaxFiles"), *files, 2)...)
	}
	return errs
}

// validateImages checks how images are pulled and cleaned up.
func validateImages(kubelet *core.KubeletConfig, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	high, low := kubelet.ImageGCHighThresholdPercent, kubelet.ImageGCLowThresholdPercent
	errs = append(errs, validatePercent(path.Child("imageGCHighThresholdPercent"), high)...)
	errs = append(errs, validatePercent(path.Child("imageGCLowThresholdPercent"), low)...)
	if high != nil && low != nil && *low >= *high {
		errs = append(errs, field.Invalid(path.Child("imageGCLowThresholdPercent"), *low, fmt.Sprintf("must be less than imageGCHighThresholdPercent, which is %d", *high)))
	}
	if rate := kubelet.RegistryPullQPS; rate != nil {
		errs = append(errs, check.AtLeast(path.Child("registryPullQPS"), *rate, 0)...)
	}
	if burst := kubelet.RegistryBurst; burst != nil {
		errs = append(errs, check.AtLeast(path.Child("registryBurst"), *burst, 0)...)
	}
	if parallel := kubelet.MaxParallelImagePulls; parallel != nil {
		at := path.Child("maxParallelImagePulls")
		errs = append(errs, check.AtLeast(at, *parallel, 1)...)
		if *parallel > 1 && kubelet.SerializeImagePulls != nil && *kubelet.SerializeImagePulls {
			errs = append(errs, field.Forbidden(at, "cannot be more than 1 while serializeImagePulls is true"))
		}
	}
	least, most := kubelet.ImageMinimumGCAge, kubelet.ImageMaximumGCAge
	errs = append(errs, check.NonNegativeDuration(path.Child("imageMinimumGCAge"), least)...)
	errs = append(errs, check.NonNegativeDuration(path.Child("imageMaximumGCAge"), most)...)
	if least != nil && most != nil && most.Duration > 0 && most.Duration < least.Duration {
		errs = append(errs, field.Invalid(path.Child("imageMaximumGCAge"), most.Duration.String(), "must be 0, or at least imageMinimumGCAge, which is "+least.Duration.String()))
	}
	return append(errs, validateImageCredentials(kubelet, path)...)
}

func validateImageCredentials(kubelet *core.KubeletConfig, path *field.Path) field.ErrorList {
	policy, list := kubelet.ImagePullCredentialsVerificationPolicy, kubelet.PreloadedImagesVerificationAllowlist
	var errs field.ErrorList
	if policy != nil {
		errs = append(errs, check.OneOf(path.Child("imagePullCredentialsVerificationPolicy"), *policy,
			core.NeverVerify, core.NeverVerifyPreloadedImages, core.NeverVerifyAllowlistedImages, core.AlwaysVerify)...)
	}
	at := path.Child("preloadedImagesVerificationAllowlist")
	if len(list) > 0 && (policy == nil || *policy != core.NeverVerifyAllowlistedImages) {
		errs = append(errs, field.Forbidden(at, "is for imagePullCredentialsVerificationPolicy NeverVerifyAllowlistedImages only"))
	}
	for i, image := range list {
		name := strings.TrimSuffix(image, "/*")
		last := name[strings.LastIndex(name, "/")+1:]
		if name == "" || strings.ContainsAny(name, "@* ") || strings.Contains(last, ":") {
			errs = append(errs, field.Invalid(at.Index(i), image, "must be an image without tag and digest, or all below a path: registry.example.org/team/*"))
		}
	}
	return errs
}

// validateSwap checks that swap is either off, or on in all three places.
func validateSwap(kubelet *core.KubeletConfig, path *field.Path) field.ErrorList {
	swap := kubelet.MemorySwap
	if swap == nil {
		return nil
	}
	var errs field.ErrorList
	at := path.Child("memorySwap")
	if kubelet.FailSwapOn == nil || *kubelet.FailSwapOn {
		errs = append(errs, field.Forbidden(at, "takes failSwapOn: false"))
	}
	if enabled, set := kubelet.FeatureGates[featureSwap]; set && !enabled {
		errs = append(errs, field.Forbidden(at, "takes feature gate NodeSwap, which is turned off"))
	}
	if behavior := swap.SwapBehavior; behavior != nil {
		errs = append(errs, check.OneOf(at.Child("swapBehavior"), *behavior, core.NoSwap, core.LimitedSwap)...)
	}
	return errs
}

func validateReserved(reserved *core.KubeletConfigReserved, path *field.Path) field.ErrorList {
	if reserved == nil {
		return nil
	}
	return each(path, whenSet(check.NonNegative), []member[*resource.Quantity]{
		{"cpu", reserved.CPU}, {"memory", reserved.Memory}, {"ephemeralStorage", reserved.EphemeralStorage}, {"pid", reserved.PID},
	})
}

func validatePercent(path *field.Path, percent *int32) field.ErrorList {
	if percent == nil || *percent >= 0 && *percent <= 100 {
		return nil
	}
	return field.ErrorList{field.Invalid(path, *percent, "must be between 0 and 100")}
}

func validateEvictions(kubelet *core.KubeletConfig, path *field.Path) field.ErrorList {
	errs := validateEviction(kubelet.EvictionHard, path.Child("evictionHard"))
	errs = append(errs, validateEviction(kubelet.EvictionSoft, path.Child("evictionSoft"))...)
	if seconds := kubelet.EvictionMaxPodGracePeriod; seconds != nil {
		errs = append(errs, check.AtLeast(path.Child("evictionMaxPodGracePeriod"), *seconds, 0)...)
	}
	errs = append(errs, check.NonNegativeDuration(path.Child("evictionPressureTransitionPeriod"), kubelet.EvictionPressureTransitionPeriod)...)
	if reclaim := kubelet.EvictionMinimumReclaim; reclaim != nil {
		errs = append(errs, each(path.Child("evictionMinimumReclaim"), whenSet(check.NonNegative), []member[*resource.Quantity]{
			{"memoryAvailable", reclaim.MemoryAvailable}, {"imageFSAvailable", reclaim.ImageFSAvailable}, {"imageFSInodesFree", reclaim.ImageFSInodesFree},
			{"nodeFSAvailable", reclaim.NodeFSAvailable}, {"nodeFSInodesFree", reclaim.NodeFSInodesFree},
		})...)
	}
	grace := kubelet.EvictionSoftGracePeriod
	if grace == nil {
		return errs
	}
	errs = append(errs, each(path.Child("evictionSoftGracePeriod"), check.PositiveDuration, []member[*metav1.Duration]{
		{"memoryAvailable", grace.MemoryAvailable},
		{"imageFSAvailable", grace.ImageFSAvailable},
		{"imageFSInodesFree", grace.ImageFSInodesFree},
		{"nodeFSAvailable", grace.NodeFSAvailable},
		{"nodeFSInodesFree", grace.NodeFSInodesFree},
	})...)
	return errs
}

func validateEviction(eviction *core.KubeletConfigEviction, path *field.Path) field.ErrorList {
	if eviction == nil {
		return nil
	}
	return each(path, whenSet(validateThreshold), []member[*string]{
		{"memoryAvailable", eviction.MemoryAvailable},
		{"imageFSAvailable", eviction.ImageFSAvailable},
		{"imageFSInodesFree", eviction.ImageFSInodesFree},
		{"nodeFSAvailable", eviction.NodeFSAvailable},
		{"nodeFSInodesFree", eviction.NodeFSInodesFree},
	})
}

// percentage as the kubelet reads it.
var percentage = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?%$`)

// validateThreshold takes a quantity, or a percentage of what there is.
func validateThreshold(path *field.Path, text string) field.ErrorList {
	if strings.HasSuffix(text, percentSuffix) {
		number, err := strconv.ParseFloat(strings.TrimSuffix(text, percentSuffix), 64)
		if !percentage.MatchString(text) || err != nil || number > 100 {
			return field.ErrorList{field.Invalid(path, text, "must be between 0% and 100%")}
		}
		return nil
	}
	quantity, err := resource.ParseQuantity(text)
	if err != nil {
		return field.ErrorList{field.Invalid(path, text, "must be an amount such as 100Mi, or a percentage such as 5%")}
	}
	return check.NonNegative(path, quantity)
}
