package profile

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// in names where values of the kubelet stand in a profile.
func inKubelet(names ...string) *field.Path { return field.NewPath("kubelet", names...) }

// against is a value that cannot be because of another one, whose path and value it
// names.
func against(at *field.Path, value any, why string, other *field.Path, otherValue any) *field.Error {
	return field.Invalid(at, value, fmt.Sprintf("%s %s, which is %v", why, other, otherValue))
}

// contradictions are values that cannot be together, all of them.
func (r *Resolved) contradictions(in Input) field.ErrorList {
	var errs field.ErrorList
	if r.Kubelet != nil {
		errs = append(errs, r.needVersion(in)...)
		errs = append(errs, r.shutdown(in)...)
		errs = append(errs, r.evictions()...)
		errs = append(errs, r.reservations(in)...)
		errs = append(errs, r.swap(in)...)
		errs = append(errs, r.pulls(in)...)
	}
	if d := r.inhibitDelay(); d > 0 && in.HypervisorShutdown > 0 && d >= in.HypervisorShutdown {
		errs = append(errs, against(inhibitPath, seconds(d), "must be less than", field.NewPath("hypervisorShutdown"),
			seconds(in.HypervisorShutdown)+": after that the hypervisor cuts the power"))
	}
	return errs
}

func (r *Resolved) needVersion(in Input) field.ErrorList {
	var errs field.ErrorList
	if in.KubernetesVersion == "" {
		errs = append(errs, field.Required(field.NewPath("kubernetesVersion"), "what a kubelet knows depends on it"))
	}
	if in.Role == "" {
		errs = append(errs, field.Required(field.NewPath("role"), "a node of Kubernetes is of the control plane, or a worker"))
	}
	return errs
}

var (
	bandsPath   = inKubelet("shutdownGracePeriodByPodPriority")
	inhibitPath = field.NewPath("logind", "inhibitDelayMax")
	stopPath    = field.NewPath("kubeletService", "stopTimeout")
)

func (r *Resolved) inhibitDelay() time.Duration {
	if r.Logind == nil || r.Logind.InhibitDelayMax == nil {
		return 0
	}
	return r.Logind.InhibitDelayMax.Duration
}

// shutdown wants bands in order, and those who wait for the kubelet to wait longer than
// all of them together.
func (r *Resolved) shutdown(in Input) field.ErrorList {
	bands := r.typed.ShutdownGracePeriodByPodPriority
	var errs field.ErrorList
	total, what, path := r.typed.ShutdownGracePeriod.Duration, "", inKubelet("shutdownGracePeriod")
	if critical := r.typed.ShutdownGracePeriodCriticalPods.Duration; critical > total {
		errs = append(errs, against(inKubelet("shutdownGracePeriodCriticalPods"), seconds(critical), "is part of, and must not be more than,", path, seconds(total)))
	}
	if len(bands) > 0 {
		if total > 0 {
			errs = append(errs, against(bandsPath, fmt.Sprintf("%d bands", len(bands)), "cannot stand beside", path, seconds(total)+": state one of them"))
		}
		total, path = 0, bandsPath
		for i, band := range bands {
			total += time.Duration(band.ShutdownGracePeriodSeconds) * time.Second
			if band.ShutdownGracePeriodSeconds < 0 {
				errs = append(errs, field.Invalid(path.Index(i).Child("shutdownGracePeriodSeconds"), band.ShutdownGracePeriodSeconds, "must not be negative"))
			}
			if i > 0 && band.Priority <= bands[i-1].Priority {
				errs = append(errs, against(path.Index(i).Child("priority"), band.Priority, "must be more than", path.Index(i-1).Child("priority"), bands[i-1].Priority))
			}
		}
		what = "the sum of "
	}
	if total == 0 || in.Container {
		return errs
	}
	sum := seconds(total)
	if d := r.inhibitDelay(); d == 0 {
		errs = append(errs, field.Required(inhibitPath, fmt.Sprintf("without it systemd waits 5 s for a kubelet that wants %s (%s%s)", sum, what, path)))
	} else if d <= total {
		errs = append(errs, field.Invalid(inhibitPath, seconds(d), fmt.Sprintf("must be more than %s%s, which is %s", what, path, sum)))
	}
	switch s := r.KubeletService; {
	case s == nil || s.StopTimeout == nil:
		errs = append(errs, field.Required(stopPath, fmt.Sprintf("without it systemd kills after 90 s a kubelet that wants %s (%s%s)", sum, what, path)))
	case s.StopTimeout.Duration <= total:
		errs = append(errs, field.Invalid(stopPath, seconds(s.StopTimeout.Duration), fmt.Sprintf("must be more than %s%s, which is %s", what, path, sum)))
	}
	if h := in.HypervisorShutdown; h > 0 && r.inhibitDelay() == 0 && h <= total {
		errs = append(errs, field.Invalid(field.NewPath("hypervisorShutdown"), seconds(h), fmt.Sprintf("must be more than %s%s, which is %s", what, path, sum)))
	}
	return errs
}

// swap needs the kubelet's leave and control groups of version 2.
func (r *Resolved) swap(in Input) field.ErrorList {
	path := inKubelet("memorySwap", "swapBehavior")
	behavior := r.typed.MemorySwap.SwapBehavior
	if known := []string{"", "NoSwap", "LimitedSwap"}; !slices.Contains(known, behavior) {
		return field.ErrorList{field.NotSupported(path, behavior, known[1:])}
	}
	if behavior != "LimitedSwap" {
		return nil
	}
	var errs field.ErrorList
	if fail := r.typed.FailSwapOn; fail == nil || *fail {
		errs = append(errs, against(path, behavior, "needs a kubelet that starts where swap is on: it cannot stand with", inKubelet("failSwapOn"), "true"))
	}
	if in.CgroupVersion == 1 {
		errs = append(errs, against(path, behavior, "needs control groups of version 2: it cannot stand with", field.NewPath("cgroupVersion"), 1))
	}
	return errs
}

func (r *Resolved) pulls(in Input) field.ErrorList {
	var errs field.ErrorList
	if most, serial := r.typed.MaxParallelImagePulls, r.typed.SerializeImagePulls; most != nil && *most > 1 && (serial == nil || *serial) {
		errs = append(errs, against(inKubelet("maxParallelImagePulls"), *most, "cannot stand with", inKubelet("serializeImagePulls"), "true"))
	} else if most != nil && *most < 1 {
		errs = append(errs, field.Invalid(inKubelet("maxParallelImagePulls"), *most, "must be at least 1"))
	}
	if most := r.typed.MaxParallelImagePulls; most != nil && *most > safePulls && endsAbove(in.KubernetesVersion) {
		errs = append(errs, against(inKubelet("maxParallelImagePulls"), *most, fmt.Sprintf("must be at most %d: kubelets end with more (kubernetes/kubernetes#138935) in", safePulls),
			field.NewPath("kubernetesVersion"), in.KubernetesVersion))
	}
	high, low := int32(85), int32(80) // the kubelet's own
	if v := r.typed.ImageGCHighThresholdPercent; v != nil {
		high = *v
	}
	if v := r.typed.ImageGCLowThresholdPercent; v != nil {
		low = *v
	}
	if low >= high {
		errs = append(errs, against(inKubelet("imageGCLowThresholdPercent"), low, "must be less than", inKubelet("imageGCHighThresholdPercent"), high))
	}
	if n := r.typed.ContainerLogMaxFiles; n != nil && *n < 2 {
		errs = append(errs, field.Invalid(inKubelet("containerLogMaxFiles"), *n, "must be at least 2: one that is written and one that was"))
	}
	return errs
}

// seconds writes a duration as profiles do.
func seconds(d time.Duration) string {
	if d%time.Second == 0 {
		return fmt.Sprintf("%ds", d/time.Second)
	}
	return d.String()
}
