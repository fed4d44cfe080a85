// Package managerconfig judges a ControllerManagerConfiguration, which is
// Gardener's own type: every problem at once, each with its field, its value and
// what would be right. The command loam controller-manager calls it.
//
// It must not know the controllers, and reads nothing but what it is given.
package managerconfig

import (
	"fmt"
	"maps"
	"mime"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/gardener/gardener/pkg/apis/config"
	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	apimachineryvalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	componentbaseconfigv1alpha1 "k8s.io/component-base/config/v1alpha1"
)

// Validate names every problem of a configuration that has its defaults.
func Validate(c *controllermanagerconfigv1alpha1.ControllerManagerConfiguration) field.ErrorList {
	var problems field.ErrorList
	if levels := []string{config.LogLevelDebug, config.LogLevelInfo, config.LogLevelError}; !slices.Contains(levels, c.LogLevel) {
		problems = append(problems, field.NotSupported(field.NewPath("logLevel"), c.LogLevel, levels))
	}
	if formats := []string{config.LogFormatJSON, config.LogFormatText}; !slices.Contains(formats, c.LogFormat) {
		problems = append(problems, field.NotSupported(field.NewPath("logFormat"), c.LogFormat, formats))
	}
	problems = append(problems, connection(c.GardenClientConnection, field.NewPath("gardenClientConnection"))...)
	problems = append(problems, servers(c.Server, field.NewPath("server"))...)
	problems = append(problems, election(c.LeaderElection, field.NewPath("leaderElection"))...)
	_, gates := ReadGates(c.FeatureGates)
	problems = append(problems, gates...)
	return append(problems, controllers(c.Controllers, field.NewPath("controllers"))...)
}

func connection(c componentbaseconfigv1alpha1.ClientConnectionConfiguration, path *field.Path) field.ErrorList {
	var problems field.ErrorList
	if c.QPS < 0 {
		problems = append(problems, field.Invalid(path.Child("qps"), c.QPS, "must be 0 or more"))
	}
	if c.Burst < 0 {
		problems = append(problems, field.Invalid(path.Child("burst"), c.Burst, "must be 0 or more"))
	}
	if types := []string{"", runtime.ContentTypeJSON, runtime.ContentTypeProtobuf}; !slices.Contains(types, c.ContentType) {
		problems = append(problems, field.NotSupported(path.Child("contentType"), c.ContentType, types[1:]))
	}
	if c.AcceptContentTypes == "" {
		return problems
	}
	for accepted := range strings.SplitSeq(c.AcceptContentTypes, ",") {
		if _, _, err := mime.ParseMediaType(accepted); err != nil {
			problems = append(problems, field.Invalid(path.Child("acceptContentTypes"), c.AcceptContentTypes, "must be media types with commas between them, as in application/vnd.kubernetes.protobuf,application/json"))
			break
		}
	}
	return problems
}

func servers(c controllermanagerconfigv1alpha1.ServerConfiguration, path *field.Path) field.ErrorList {
	problems := append(server(c.HealthProbes, path.Child("healthProbes")), server(c.Metrics, path.Child("metrics"))...)
	if health, metrics := c.HealthProbes, c.Metrics; health != nil && metrics != nil && health.Port > 0 && *health == *metrics {
		problems = append(problems, field.Invalid(path.Child("metrics", "port"), metrics.Port, "must be another port than that of healthProbes"))
	}
	return problems
}

func server(c *controllermanagerconfigv1alpha1.Server, path *field.Path) field.ErrorList {
	if c == nil {
		return nil
	}
	var problems field.ErrorList
	if c.Port < -1 || c.Port > 65535 {
		problems = append(problems, field.Invalid(path.Child("port"), c.Port, "must be a port, or -1 for none"))
	}
	if _, err := netip.ParseAddr(c.BindAddress); c.BindAddress != "" && err != nil {
		problems = append(problems, field.Invalid(path.Child("bindAddress"), c.BindAddress, "must be an IP address, as in 127.0.0.1, or empty for all"))
	}
	return problems
}

func election(c *componentbaseconfigv1alpha1.LeaderElectionConfiguration, path *field.Path) field.ErrorList {
	if c == nil || c.LeaderElect == nil || !*c.LeaderElect {
		return nil
	}
	var problems field.ErrorList
	if c.ResourceLock != "leases" {
		problems = append(problems, field.NotSupported(path.Child("resourceLock"), c.ResourceLock, []string{"leases"}))
	}
	for _, message := range validation.IsDNS1123Subdomain(c.ResourceName) {
		problems = append(problems, field.Invalid(path.Child("resourceName"), c.ResourceName, message))
	}
	for _, message := range validation.IsDNS1123Label(c.ResourceNamespace) {
		problems = append(problems, field.Invalid(path.Child("resourceNamespace"), c.ResourceNamespace, message))
	}
	if c.LeaseDuration.Duration <= c.RenewDeadline.Duration {
		problems = append(problems, field.Invalid(path.Child("leaseDuration"), c.LeaseDuration.Duration.String(), fmt.Sprintf("must be longer than renewDeadline (%s)", c.RenewDeadline.Duration)))
	}
	// client-go adds a fifth of it at random.
	if c.RenewDeadline.Duration <= c.RetryPeriod.Duration*6/5 {
		problems = append(problems, field.Invalid(path.Child("renewDeadline"), c.RenewDeadline.Duration.String(), fmt.Sprintf("must be longer than 1.2 times retryPeriod (%s)", c.RetryPeriod.Duration)))
	}
	if c.RetryPeriod.Duration <= 0 {
		problems = append(problems, field.Invalid(path.Child("retryPeriod"), c.RetryPeriod.Duration.String(), "must be more than 0s"))
	}
	return problems
}

func controllers(c controllermanagerconfigv1alpha1.ControllerManagerControllerConfiguration, path *field.Path) field.ErrorList {
	problems := numbers(reflect.ValueOf(c), path)
	if project := c.Project; project != nil {
		for i := range project.Quotas {
			problems = append(problems, quota(project.Quotas[i], path.Child("project", "quotas").Index(i))...)
		}
	}
	if check := c.SeedExtensionsCheck; check != nil {
		problems = append(problems, thresholds(check.ConditionThresholds, gardencorev1beta1.SeedExtensionsReady, path.Child("seedExtensionsCheck", "conditionThresholds"))...)
	}
	if check := c.SeedBackupBucketsCheck; check != nil {
		problems = append(problems, thresholds(check.ConditionThresholds, gardencorev1beta1.SeedBackupBucketsReady, path.Child("seedBackupBucketsCheck", "conditionThresholds"))...)
	}
	if seed := c.Seed; seed != nil && seed.MonitorPeriod != nil && seed.ShootMonitorPeriod != nil && seed.ShootMonitorPeriod.Duration < seed.MonitorPeriod.Duration {
		problems = append(problems, field.Invalid(path.Child("seed", "shootMonitorPeriod"), seed.ShootMonitorPeriod.Duration.String(),
			fmt.Sprintf("must be monitorPeriod (%s) or more: clusters are unknown after their seed is", seed.MonitorPeriod.Duration)))
	}
	return problems
}

// numbers looks at the durations and numbers of every section, also of those
// that a later version of the type has: at least one worker, periods that pass,
// and nothing below zero.
func numbers(section reflect.Value, path *field.Path) field.ErrorList {
	var problems field.ErrorList
	for i := range section.NumField() {
		name, _, _ := strings.Cut(section.Type().Field(i).Tag.Get("json"), ",")
		value, at := reflect.Indirect(section.Field(i)), path.Child(name)
		if !value.IsValid() {
			continue
		}
		if period, is := value.Interface().(metav1.Duration); is {
			problems = append(problems, duration(period.Duration, at, mayBeZero(at.String()))...)
			continue
		}
		switch {
		case value.Kind() == reflect.Struct:
			problems = append(problems, numbers(value, at)...)
		case name == "concurrentSyncs" && value.Int() < 1:
			problems = append(problems, field.Invalid(at, value.Int(), "must be 1 or more"))
		case value.CanInt() && value.Int() < 0:
			problems = append(problems, field.Invalid(at, value.Int(), "must be 0 or more"))
		}
	}
	return problems
}

// mayBeZero tells for which periods zero means something: no jitter, and the
// default where a section that is there gets none.
func mayBeZero(path string) bool {
	return path == "controllers.shootRetry.retryJitterPeriod" || path == "controllers.managedSeedSet.syncPeriod"
}

func duration(d time.Duration, path *field.Path, zero bool) field.ErrorList {
	switch {
	case d < 0 && zero:
		return field.ErrorList{field.Invalid(path, d.String(), "must be 0s or more")}
	case d <= 0 && !zero:
		return field.ErrorList{field.Invalid(path, d.String(), "must be more than 0s")}
	}
	return nil
}

// quota judges one of the quotas that new projects get.
func quota(c controllermanagerconfigv1alpha1.QuotaConfiguration, path *field.Path) field.ErrorList {
	problems := metav1validation.ValidateLabelSelector(c.ProjectSelector, metav1validation.LabelSelectorValidationOptions{}, path.Child("projectSelector"))
	at := path.Child("config")
	problems = append(problems, metav1validation.ValidateLabels(c.Config.Labels, at.Child("metadata", "labels"))...)
	problems = append(problems, apimachineryvalidation.ValidateAnnotations(c.Config.Annotations, at.Child("metadata", "annotations"))...)
	for _, name := range slices.Sorted(maps.Keys(c.Config.Spec.Hard)) {
		quantity := c.Config.Spec.Hard[name]
		limit := at.Child("spec", "hard").Key(string(name))
		for _, message := range validation.IsQualifiedName(string(name)) {
			problems = append(problems, field.Invalid(limit, string(name), message))
		}
		if quantity.Sign() < 0 {
			problems = append(problems, field.Invalid(limit, quantity.String(), "must be 0 or more"))
		}
	}
	return problems
}

// thresholds judges those of a controller that writes one condition.
func thresholds(all []controllermanagerconfigv1alpha1.ConditionThreshold, kind gardencorev1beta1.ConditionType, path *field.Path) field.ErrorList {
	var problems field.ErrorList
	for i, threshold := range all {
		if threshold.Type != string(kind) {
			problems = append(problems, field.NotSupported(path.Index(i).Child("type"), threshold.Type, []string{string(kind)}))
		} else if slices.ContainsFunc(all[:i], func(before controllermanagerconfigv1alpha1.ConditionThreshold) bool {
			return before.Type == threshold.Type
		}) {
			problems = append(problems, field.Duplicate(path.Index(i).Child("type"), threshold.Type))
		}
		problems = append(problems, duration(threshold.Duration.Duration, path.Index(i).Child("duration"), true)...)
	}
	return problems
}
