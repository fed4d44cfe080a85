package cloudprofile

import (
	"testing"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func at(after time.Duration) *metav1.Time { return ptr.To(metav1.NewTime(now.Add(after))) }

func stages(pairs ...any) []gardencorev1beta1.LifecycleStage {
	var all []gardencorev1beta1.LifecycleStage
	for i := 0; i < len(pairs); i += 2 {
		stage := gardencorev1beta1.LifecycleStage{Classification: gardencorev1beta1.VersionClassification(pairs[i].(string))}
		if after, ok := pairs[i+1].(time.Duration); ok {
			stage.StartTime = at(after)
		}
		all = append(all, stage)
	}
	return all
}

// TestDecide wants the classification of one version, of Kubernetes as of an
// image, and when to look again.
func TestDecide(t *testing.T) {
	preview := ptr.To(gardencorev1beta1.ClassificationPreview)
	for _, test := range []struct {
		name    string
		version gardencorev1beta1.ExpirableVersion
		want    gardencorev1beta1.VersionClassification
		next    time.Duration
	}{
		{"nothing said", gardencorev1beta1.ExpirableVersion{}, "supported", 0},
		{"old fields: a classification", gardencorev1beta1.ExpirableVersion{Classification: preview}, "preview", 0},
		{"old fields: will expire", gardencorev1beta1.ExpirableVersion{Classification: preview, ExpirationDate: at(time.Hour)}, "preview", time.Hour},
		{"old fields: only a date", gardencorev1beta1.ExpirableVersion{ExpirationDate: at(time.Nanosecond)}, "supported", time.Nanosecond},
		{"old fields: expires now", gardencorev1beta1.ExpirableVersion{Classification: preview, ExpirationDate: at(0)}, "expired", 0},
		{"old fields: has expired", gardencorev1beta1.ExpirableVersion{ExpirationDate: at(-time.Hour)}, "expired", 0},
		{"all stages in the future", gardencorev1beta1.ExpirableVersion{Lifecycle: stages("preview", time.Hour, "supported", 2*time.Hour)}, "unavailable", time.Hour},
		{"the first stage has no start", gardencorev1beta1.ExpirableVersion{Lifecycle: stages("preview", nil, "supported", 2*time.Hour)}, "preview", 2 * time.Hour},
		{"a stage begins now", gardencorev1beta1.ExpirableVersion{Lifecycle: stages("preview", -time.Hour, "supported", time.Duration(0), "deprecated", 3*time.Hour)}, "supported", 3 * time.Hour},
		{"all stages have begun", gardencorev1beta1.ExpirableVersion{Lifecycle: stages("supported", nil, "expired", -time.Hour)}, "expired", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.version.Version = "1.36.3"
			other := gardencorev1beta1.ExpirableVersion{Version: "1.35.4", ExpirationDate: at(100 * time.Hour)}
			for kind, spec := range map[string]gardencorev1beta1.CloudProfileSpec{
				"Kubernetes": {Kubernetes: gardencorev1beta1.KubernetesSettings{Versions: []gardencorev1beta1.ExpirableVersion{test.version, other}}},
				"image":      {MachineImages: []gardencorev1beta1.MachineImage{{Name: "debian", Versions: []gardencorev1beta1.MachineImageVersion{{ExpirableVersion: test.version}, {ExpirableVersion: other}}}}},
			} {
				status, next := decide(&spec, now)
				var versions []gardencorev1beta1.ExpirableVersionStatus
				if kind == "image" {
					versions = status.MachineImages[0].Versions
				} else {
					versions = status.Kubernetes.Versions
				}
				if len(versions) != 2 || versions[0].Version != "1.36.3" || versions[0].Classification != test.want || versions[1].Classification != "supported" {
					t.Errorf("%s: %+v, want %s", kind, versions, test.want)
				}
				want := test.next
				if want == 0 {
					want = 100 * time.Hour
				}
				if next != want {
					t.Errorf("%s: next look in %s, want %s", kind, next, want)
				}
			}
		})
	}
	status, next := decide(&gardencorev1beta1.CloudProfileSpec{}, now)
	if status.Kubernetes != nil || status.MachineImages != nil || next != 0 {
		t.Errorf("of nothing: %+v, %s", status, next)
	}
}
