package stale

import (
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// day is that of the configuration: without regard to clocks being changed.
const day = 24 * time.Hour

// periods are those of the configuration, with its defaults.
type periods struct {
	// minimum is how long a new Project is left alone.
	minimum time.Duration
	// grace is how long nothing may happen before a Project is looked at, and how
	// long it is unused before its end is announced.
	grace time.Duration
	// expiration is from when a Project is found unused until its end.
	expiration time.Duration
	// sync is between two looks.
	sync time.Duration
}

func periodsOf(c controllermanagerconfigv1alpha1.ProjectControllerConfiguration) periods {
	c = *c.DeepCopy()
	controllermanagerconfigv1alpha1.SetDefaults_ProjectControllerConfiguration(&c)
	return periods{
		minimum:    time.Duration(*c.MinimumLifetimeDays) * day,
		grace:      time.Duration(*c.StaleGracePeriodDays) * day,
		expiration: time.Duration(*c.StaleExpirationTimeDays) * day,
		sync:       c.StaleSyncPeriod.Duration,
	}
}

// spared says why a Project is not stale, whatever is in it; empty if that has to
// be looked at. skip is the namespace's annotation.
func spared(project *gardencorev1beta1.Project, skip bool, now time.Time, p periods) string {
	last := project.Status.LastActivityTimestamp
	switch {
	case skip:
		return "its namespace is left out of the check"
	case now.Sub(project.CreationTimestamp.Time) < p.minimum:
		return "it is new"
	case last != nil && now.Sub(last.Time) < p.grace:
		return "it was used lately"
	default:
		return ""
	}
}

// staleness is what the status says about it.
type staleness struct{ since, end *metav1.Time }

// decide turns what the status says into what it has to say about a Project that
// is in use for a reason, or is not if the reason is empty. due means that its time
// is over.
//
//	unused -> since = now -> grace period -> end = since + expiration -> due
//	used at any time -> both are cleared
func decide(have staleness, reason string, now time.Time, p periods) (want staleness, due bool) {
	if reason != "" {
		return staleness{}, false
	}
	want.since = have.since
	if want.since == nil {
		want.since = ptr.To(metav1.NewTime(now).Rfc3339Copy())
	}
	if now.Sub(want.since.Time) < p.grace {
		return want, false
	}
	want.end = ptr.To(metav1.NewTime(want.since.Add(p.expiration)))
	if have.end != nil && have.end.After(want.end.Time) {
		want.end = have.end // an end that was announced never comes earlier
	}
	return want, !now.Before(want.end.Time)
}

func (s staleness) equal(other staleness) bool {
	return s.since.Equal(other.since) && s.end.Equal(other.end)
}
