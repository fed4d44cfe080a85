package offers_test

import (
	"testing"
	"time"

	"github.com/gardener/gardener/pkg/apis/core"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/loam-cloud/loam/garden/offers"
)

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func at(offset time.Duration) *metav1.Time { return &metav1.Time{Time: now.Add(offset)} }

func stage(classification core.VersionClassification, start *metav1.Time) core.LifecycleStage {
	return core.LifecycleStage{Classification: classification, StartTime: start}
}

func TestClassification(t *testing.T) {
	for name, test := range map[string]struct {
		version core.ExpirableVersion
		want    core.VersionClassification
		usable  bool
	}{
		"plain":                {core.ExpirableVersion{}, core.ClassificationSupported, true},
		"former field":         {core.ExpirableVersion{Classification: new(core.ClassificationPreview)}, core.ClassificationPreview, true},
		"expires in a second":  {core.ExpirableVersion{ExpirationDate: at(time.Second)}, core.ClassificationSupported, true},
		"expires now":          {core.ExpirableVersion{ExpirationDate: at(0)}, core.ClassificationExpired, false},
		"expired":              {core.ExpirableVersion{ExpirationDate: at(-time.Hour), Classification: new(core.ClassificationDeprecated)}, core.ClassificationExpired, false},
		"supported":            {core.ExpirableVersion{Lifecycle: []core.LifecycleStage{stage(core.ClassificationSupported, nil)}}, core.ClassificationSupported, true},
		"deprecated":           {core.ExpirableVersion{Lifecycle: []core.LifecycleStage{stage(core.ClassificationSupported, nil), stage(core.ClassificationDeprecated, at(-time.Hour))}}, core.ClassificationDeprecated, true},
		"not yet there":        {core.ExpirableVersion{Lifecycle: []core.LifecycleStage{stage(core.ClassificationPreview, at(time.Hour))}}, core.ClassificationUnavailable, false},
		"preview":              {core.ExpirableVersion{Lifecycle: []core.LifecycleStage{stage(core.ClassificationPreview, at(0)), stage(core.ClassificationSupported, at(time.Hour))}}, core.ClassificationPreview, true},
		"at the end":           {core.ExpirableVersion{Lifecycle: []core.LifecycleStage{stage(core.ClassificationSupported, nil), stage(core.ClassificationExpired, at(-time.Second))}}, core.ClassificationExpired, false},
		"taken out":            {core.ExpirableVersion{Lifecycle: []core.LifecycleStage{stage(core.ClassificationUnavailable, nil)}}, core.ClassificationUnavailable, false},
		"at the end, but soon": {core.ExpirableVersion{Lifecycle: []core.LifecycleStage{stage(core.ClassificationSupported, nil), stage(core.ClassificationExpired, at(time.Second))}}, core.ClassificationSupported, true},
	} {
		if got := offers.Classification(test.version, now); got != test.want {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
		if got := offers.Usable(test.version, now); got != test.usable {
			t.Errorf("%s: usable is %t", name, got)
		}
	}
}

func TestNewest(t *testing.T) {
	of := func(text string, classification core.VersionClassification) core.ExpirableVersion {
		return core.ExpirableVersion{Version: text, Lifecycle: []core.LifecycleStage{stage(classification, nil)}}
	}
	all := []core.ExpirableVersion{
		of("1.37.0", core.ClassificationPreview), of("1.36.9", core.ClassificationUnavailable), of("1.36.10", core.ClassificationSupported), of("v1.36.2", core.ClassificationSupported),
		of("1.35.4", core.ClassificationDeprecated), of("1.35.9", core.ClassificationExpired), of("1.3.0", core.ClassificationSupported),
	}
	for prefix, want := range map[string]string{
		"": "1.36.10", "1": "1.36.10", "v1.36": "1.36.10", "1.35": "1.35.4", "1.3": "1.3.0", "1.37": "", "2": "", "1.36.2": "1.36.2",
	} {
		if got, found := offers.Newest(all, prefix, now); got != want || found != (want != "") {
			t.Errorf("%q: got %q, want %q", prefix, got, want)
		}
	}
}

func TestNewestOfOddVersions(t *testing.T) {
	for want, versions := range map[string][]string{
		"1.37.0":  {"1.37.0-rc.1", "1.37.0", "1.37.0-alpha.1"},
		"1.36.3":  {"latest", "1.36.3", "newest"},
		"1.36.10": {"1.9.11", "1.36.3", "1.36.10", "1.35.4"},
	} {
		var all []core.ExpirableVersion
		for _, version := range versions {
			all = append(all, core.ExpirableVersion{Version: version})
		}
		if got, _ := offers.Newest(all, "", now); got != want {
			t.Errorf("of %v got %q, want %q", versions, got, want)
		}
	}
}

func TestPrefixes(t *testing.T) {
	for text, want := range map[string]bool{"": true, "1": true, "1.36": true, "v1.36": true, "1.36.3": false, "1.": false, ".1": false, "1.x": false, "latest": false} {
		if got := offers.IsPrefix(text); got != want {
			t.Errorf("IsPrefix(%q) is %t", text, got)
		}
	}
}
