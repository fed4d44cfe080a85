// Package schedules has the rules for when things happen to a cluster: its
// window for maintenance, and when it sleeps.
//
// The rules for Shoots call it. It is pure.
package schedules

import (
	"fmt"
	"strings"
	"time"

	"github.com/gardener/gardener/pkg/apis/core"
	"github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"github.com/gardener/gardener/pkg/apis/utils/timewindow"
	"github.com/robfig/cron/v3"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/garden/defaulting"
	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

// Bounds of the time between two rotations (the contract of rotationPeriod).
const (
	shortestRotation = 30 * time.Minute
	longestRotation  = 90 * 24 * time.Hour
)

// Maintenance checks the window for maintenance and what is rotated in it.
func Maintenance(maintenance *core.Maintenance, path *field.Path) field.ErrorList {
	if maintenance == nil {
		return nil
	}
	var errs field.ErrorList
	if window := maintenance.TimeWindow; window != nil {
		errs = append(errs, validateWindow(window, path.Child("timeWindow"))...)
	}
	if maintenance.AutoRotation == nil || maintenance.AutoRotation.Credentials == nil {
		return errs
	}
	credentials := maintenance.AutoRotation.Credentials
	for _, rotation := range []struct {
		name   string
		config *core.MaintenanceRotationConfig
	}{{"observability", credentials.Observability}, {"sshKeypair", credentials.SSHKeypair}, {"etcdEncryptionKey", credentials.ETCDEncryptionKey}} {
		if rotation.config == nil || rotation.config.RotationPeriod == nil || rotation.config.RotationPeriod.Duration == 0 {
			continue // zero turns it off
		}
		at := path.Child("autoRotation", "credentials", rotation.name, "rotationPeriod")
		errs = append(errs, check.DurationWithin(at, rotation.config.RotationPeriod, shortestRotation, longestRotation)...)
	}
	return errs
}

func validateWindow(window *core.MaintenanceTimeWindow, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, edge := range []struct{ name, value string }{{"begin", window.Begin}, {"end", window.End}} {
		if _, err := timewindow.ParseMaintenanceTime(edge.value); err != nil {
			errs = append(errs, field.Invalid(path.Child(edge.name), edge.value, "must be a time with its zone, for example 220000+0100"))
		}
	}
	if len(errs) > 0 {
		return errs
	}
	parsed, err := timewindow.ParseMaintenanceTimeWindow(window.Begin, window.End)
	if err != nil {
		return field.ErrorList{field.Invalid(path, window.Begin+" to "+window.End, err.Error())}
	}
	if length := parsed.Duration(); length < v1beta1.MaintenanceTimeWindowDurationMinimum || length > v1beta1.MaintenanceTimeWindowDurationMaximum {
		return field.ErrorList{field.Invalid(path, window.Begin+" to "+window.End, fmt.Sprintf("must be between %s and %s long, it is %s",
			v1beta1.MaintenanceTimeWindowDurationMinimum, v1beta1.MaintenanceTimeWindowDurationMaximum, length))}
	}
	return nil
}

// Hibernates tells whether a Shoot is meant to sleep.
func Hibernates(shoot *core.Shoot) bool {
	hibernation := shoot.Spec.Hibernation
	return hibernation != nil && hibernation.Enabled != nil && *hibernation.Enabled
}

// Hibernation checks when a cluster sleeps. One without workers has no machines
// that could, except where its control plane is a machine as well.
func Hibernation(shoot *core.Shoot, path *field.Path) field.ErrorList {
	hibernation := shoot.Spec.Hibernation
	if hibernation == nil {
		return nil
	}
	if len(shoot.Spec.Provider.Workers) == 0 && shoot.Spec.Provider.Type != defaulting.ProviderLocal {
		return field.ErrorList{field.Forbidden(path, "a cluster without workers has no machines to stop")}
	}
	var errs field.ErrorList
	for i, schedule := range hibernation.Schedules {
		errs = append(errs, validateSchedule(schedule, path.Child("schedules").Index(i))...)
	}
	return append(errs, check.Unique(path.Child("schedules"), "", hibernation.Schedules, func(s core.HibernationSchedule) string {
		return strings.TrimSpace(orEmpty(s.Start) + " / " + orEmpty(s.End) + " / " + orEmpty(s.Location))
	})...)
}

func orEmpty(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

func validateSchedule(schedule core.HibernationSchedule, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if schedule.Start == nil && schedule.End == nil {
		errs = append(errs, field.Required(path, "at least one of start and end says when the cluster sleeps or wakes"))
	}
	if schedule.Start != nil {
		errs = append(errs, validateCron(path.Child("start"), *schedule.Start)...)
	}
	if schedule.End != nil {
		errs = append(errs, validateCron(path.Child("end"), *schedule.End)...)
		if schedule.Start != nil && *schedule.Start == *schedule.End {
			errs = append(errs, field.Invalid(path.Child("end"), *schedule.End, "must differ from start"))
		}
	}
	if location := schedule.Location; location != nil {
		// Local would be the zone of whatever host reads it.
		if _, err := time.LoadLocation(*location); err != nil || *location == "Local" {
			errs = append(errs, field.Invalid(path.Child("location"), *location, "must be a time zone, for example Europe/Berlin"))
		}
	}
	return errs
}

// validateCron takes five fields and nothing else: a zone of its own would
// contradict location.
func validateCron(path *field.Path, text string) field.ErrorList {
	const want = "must be five fields of cron, for example 00 20 * * 1-5"
	if strings.HasPrefix(strings.TrimSpace(text), "TZ=") || strings.HasPrefix(strings.TrimSpace(text), "CRON_TZ=") {
		return field.ErrorList{field.Invalid(path, text, want+"; the zone goes into location")}
	}
	if _, err := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow).Parse(text); err != nil {
		return field.ErrorList{field.Invalid(path, text, want+": "+err.Error())}
	}
	return nil
}
