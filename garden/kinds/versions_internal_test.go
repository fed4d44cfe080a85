package kinds

import (
	"slices"
	"testing"
	"time"

	"github.com/gardener/gardener/pkg/apis/core"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestOfferedVersions(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	at := func(offset time.Duration) *metav1.Time { return &metav1.Time{Time: now.Add(offset)} }
	stage := func(classification core.VersionClassification, start *metav1.Time) core.LifecycleStage {
		return core.LifecycleStage{Classification: classification, StartTime: start}
	}
	for name, test := range map[string]struct {
		version core.ExpirableVersion
		offered bool
	}{
		"plain":                {core.ExpirableVersion{}, true},
		"expires in a second":  {core.ExpirableVersion{ExpirationDate: at(time.Second)}, true},
		"expires now":          {core.ExpirableVersion{ExpirationDate: at(0)}, false},
		"expired":              {core.ExpirableVersion{ExpirationDate: at(-time.Hour)}, false},
		"supported":            {core.ExpirableVersion{Lifecycle: []core.LifecycleStage{stage(core.ClassificationSupported, nil)}}, true},
		"deprecated":           {core.ExpirableVersion{Lifecycle: []core.LifecycleStage{stage(core.ClassificationSupported, nil), stage(core.ClassificationDeprecated, at(-time.Hour))}}, true},
		"not yet there":        {core.ExpirableVersion{Lifecycle: []core.LifecycleStage{stage(core.ClassificationPreview, at(time.Hour))}}, false},
		"preview":              {core.ExpirableVersion{Lifecycle: []core.LifecycleStage{stage(core.ClassificationPreview, at(0)), stage(core.ClassificationSupported, at(time.Hour))}}, true},
		"at the end":           {core.ExpirableVersion{Lifecycle: []core.LifecycleStage{stage(core.ClassificationSupported, nil), stage(core.ClassificationExpired, at(-time.Second))}}, false},
		"taken out":            {core.ExpirableVersion{Lifecycle: []core.LifecycleStage{stage(core.ClassificationUnavailable, nil)}}, false},
		"at the end, but soon": {core.ExpirableVersion{Lifecycle: []core.LifecycleStage{stage(core.ClassificationSupported, nil), stage(core.ClassificationExpired, at(time.Second))}}, true},
	} {
		test.version.Version = "1.36.3"
		if got := offeredVersions([]core.ExpirableVersion{test.version}, now); slices.Contains(got, "1.36.3") != test.offered {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

// TestRotations wants every rotation to leave its mark in the status, because
// its request is gone afterwards.
func TestRotations(t *testing.T) {
	now := time.Now()
	for _, operation := range []string{
		"rotate-credentials-start", "rotate-credentials-start-without-workers-rollout", "rotate-credentials-complete",
		"rotate-ca-start", "rotate-ca-start-without-workers-rollout", "rotate-ca-complete",
		"rotate-serviceaccount-key-start", "rotate-serviceaccount-key-start-without-workers-rollout", "rotate-serviceaccount-key-complete",
		"rotate-etcd-encryption-key", "rotate-etcd-encryption-key-start", "rotate-etcd-encryption-key-complete",
		"rotate-ssh-keypair", "rotate-observability-credentials",
	} {
		shoot := &core.Shoot{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"gardener.cloud/operation": operation}}}
		if !takeOperations(shoot, now) || len(shoot.Annotations) > 0 {
			t.Errorf("%s: not taken: %v", operation, shoot.Annotations)
		}
		if credentials := shoot.Status.Credentials; credentials == nil || credentials.Rotation == nil || *credentials.Rotation == (core.ShootCredentialsRotation{}) {
			t.Errorf("%s: no mark in the status: %+v", operation, credentials)
		}
	}
	for _, operation := range []string{"maintain", "force-in-place-update", "", "rotate-nothing"} {
		shoot := &core.Shoot{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"gardener.cloud/operation": operation}}}
		if takeOperations(shoot, now) || shoot.Annotations["gardener.cloud/operation"] != operation || shoot.Status.Credentials != nil {
			t.Errorf("%s: taken: %v, %v", operation, shoot.Annotations, shoot.Status.Credentials)
		}
	}
}
