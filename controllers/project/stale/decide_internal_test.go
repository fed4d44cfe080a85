package stale

import (
	"testing"
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func ago(days float64) *metav1.Time {
	return ptr.To(metav1.NewTime(now.Add(-time.Duration(days * float64(day)))))
}

func TestPeriods(t *testing.T) {
	if got, want := periodsOf(controllermanagerconfigv1alpha1.ProjectControllerConfiguration{}), (periods{30 * day, 14 * day, 90 * day, 12 * time.Hour}); got != want {
		t.Errorf("by default %+v, want %+v", got, want)
	}
	if got := periodsOf(controllermanagerconfigv1alpha1.ProjectControllerConfiguration{MinimumLifetimeDays: ptr.To(2)}); got.minimum != 2*day {
		t.Errorf("with 2 days: %+v", got)
	}
}

func TestSpared(t *testing.T) {
	p := periodsOf(controllermanagerconfigv1alpha1.ProjectControllerConfiguration{})
	for _, test := range []struct {
		name   string
		skip   bool
		made   *metav1.Time
		active *metav1.Time
		want   string
	}{
		{"annotation, before all else", true, ago(1), ago(0), "its namespace is left out of the check"},
		{"new", false, ago(29.9), ago(0), "it is new"},
		{"old enough, without activity", false, ago(30), nil, ""},
		{"used lately", false, ago(31), ago(13.9), "it was used lately"},
		{"used long ago", false, ago(31), ago(14), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			project := &gardencorev1beta1.Project{}
			project.CreationTimestamp, project.Status.LastActivityTimestamp = *test.made, test.active
			if got := spared(project, test.skip, now, p); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestDecide(t *testing.T) {
	p := periodsOf(controllermanagerconfigv1alpha1.ProjectControllerConfiguration{})
	for _, test := range []struct {
		name   string
		have   staleness
		reason string
		want   staleness
		due    bool
	}{
		{"in use", staleness{}, "x", staleness{}, false},
		{"in use again", staleness{ago(50), ago(-40)}, "x", staleness{}, false},
		{"in use again when its time is over", staleness{ago(91), ago(1)}, "x", staleness{}, false},
		{"seen for the first time", staleness{}, "", staleness{since: ago(0)}, false},
		{"within the grace period", staleness{since: ago(13.9)}, "", staleness{since: ago(13.9)}, false},
		{"within the grace period an end is cleared", staleness{ago(13.9), ago(-70)}, "", staleness{since: ago(13.9)}, false},
		{"after the grace period", staleness{since: ago(14)}, "", staleness{ago(14), ago(-76)}, false},
		{"a later end stays", staleness{ago(14), ago(-200)}, "", staleness{ago(14), ago(-200)}, false},
		{"an earlier end is moved", staleness{ago(14), ago(-1)}, "", staleness{ago(14), ago(-76)}, false},
		{"a moment before", staleness{ago(89.99), ago(-0.01)}, "", staleness{ago(89.99), ago(-0.01)}, false},
		{"its time is over", staleness{ago(90), ago(0)}, "", staleness{ago(90), ago(0)}, true},
		{"the end was moved: not yet", staleness{ago(100), ago(-5)}, "", staleness{ago(100), ago(-5)}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			want, due := decide(test.have, test.reason, now, p)
			if !want.equal(test.want) || due != test.due {
				t.Errorf("got %+v, %v, want %+v, %v", want, due, test.want, test.due)
			}
		})
	}
}
