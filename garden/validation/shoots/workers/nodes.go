package workers

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/gardener/gardener/pkg/apis/core"
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kubeletapis "k8s.io/kubelet/pkg/apis"

	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

// sysctl is the name of a kernel setting: words joined by dots or slashes.
var sysctl = regexp.MustCompile(`^[a-z0-9]([-_a-z0-9]*[a-z0-9])?([./][a-z0-9*]([-_a-z0-9*]*[a-z0-9*])?)+$`)

// validateNode checks what the nodes of a pool are given.
func validateNode(worker *core.Worker, path *field.Path) field.ErrorList {
	errs := check.Labels(path.Child("labels"), worker.Labels)
	for _, key := range slices.Sorted(maps.Keys(worker.Labels)) {
		if reserved(key) && !kubeletapis.IsKubeletLabel(key) {
			errs = append(errs, field.Invalid(path.Child("labels").Key(key), key, "a kubelet may not give its own node this label: set it through the API"))
		}
	}
	errs = append(errs, apivalidation.ValidateAnnotations(worker.Annotations, path.Child("annotations"))...)
	errs = append(errs, validateTaints(worker.Taints, path.Child("taints"))...)
	if worker.CABundle != nil {
		errs = append(errs, check.Certificates(path.Child("caBundle"), *worker.CABundle)...)
	}
	for _, name := range slices.Sorted(maps.Keys(worker.Sysctls)) {
		at := path.Child("sysctls").Key(name)
		if !sysctl.MatchString(name) {
			errs = append(errs, field.Invalid(at, name, "must be a kernel setting, for example net.ipv4.ip_forward"))
		}
		if value := worker.Sysctls[name]; strings.TrimSpace(value) == "" || strings.ContainsAny(value, "\n\r") {
			errs = append(errs, field.Invalid(at, value, "must be a value in one line"))
		}
	}
	if cri := worker.CRI; cri != nil {
		errs = append(errs, check.OneOf(path.Child("cri", "name"), cri.Name, core.CRINameContainerD)...)
		runtimes := path.Child("cri", "containerRuntimes")
		errs = append(errs, check.Unique(runtimes, "type", cri.ContainerRuntimes, func(r core.ContainerRuntime) string { return r.Type })...)
		for i, runtime := range cri.ContainerRuntimes {
			errs = append(errs, check.Required(runtimes.Index(i).Child("type"), runtime.Type, "names a container runtime, for example gvisor")...)
		}
	}
	return errs
}

// reserved tells whether Kubernetes' projects own a label.
func reserved(key string) bool {
	prefix, _, found := strings.Cut(key, "/")
	if !found {
		return false
	}
	return slices.ContainsFunc([]string{"kubernetes.io", "k8s.io"}, func(domain string) bool {
		return prefix == domain || strings.HasSuffix(prefix, "."+domain)
	})
}

func validateTaints(taints []corev1.Taint, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, taint := range taints {
		at := path.Index(i)
		errs = append(errs, check.Key(at.Child("key"), taint.Key, "is what pods tolerate")...)
		errs = append(errs, check.LabelValue(at.Child("value"), taint.Value)...)
		errs = append(errs, check.OneOf(at.Child("effect"), taint.Effect, corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute)...)
	}
	return append(errs, check.Unique(path, "", taints, func(t corev1.Taint) string {
		if t.Key == "" {
			return ""
		}
		return fmt.Sprintf("%s:%s", t.Key, t.Effect)
	})...)
}
