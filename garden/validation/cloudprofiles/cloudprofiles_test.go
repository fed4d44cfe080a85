package cloudprofiles_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gardener/gardener/pkg/apis/core"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/garden/validation/cloudprofiles"
)

// What can be wrong with a profile alone is in the landscape's wrong variants;
// here is what depends on what was there before, and on the parent.

func at(year int) *metav1.Time {
	return &metav1.Time{Time: time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)}
}

func TestLifecycles(t *testing.T) {
	stage := func(classification core.VersionClassification, start *metav1.Time) core.LifecycleStage {
		return core.LifecycleStage{Classification: classification, StartTime: start}
	}
	for name, test := range map[string]struct {
		lifecycle []core.LifecycleStage
		want      string
	}{
		"one stage":               {[]core.LifecycleStage{stage("supported", nil)}, ""},
		"all stages":              {[]core.LifecycleStage{stage("unavailable", nil), stage("preview", at(2026)), stage("supported", at(2027)), stage("deprecated", at(2028)), stage("expired", at(2029))}, ""},
		"stages left out":         {[]core.LifecycleStage{stage("preview", nil), stage("expired", at(2027))}, ""},
		"one stage twice":         {[]core.LifecycleStage{stage("preview", nil), stage("preview", at(2027))}, `cannot come after "preview"`},
		"back to the first":       {[]core.LifecycleStage{stage("supported", at(2026)), stage("unavailable", at(2027))}, `cannot come after "supported"`},
		"back in time":            {[]core.LifecycleStage{stage("supported", at(2027)), stage("deprecated", at(2026))}, `must be after 2027-01-01T00:00:00Z`},
		"back past one without":   {[]core.LifecycleStage{stage("preview", at(2027)), stage("supported", nil), stage("deprecated", at(2026))}, "only the first stage|must be after 2027"},
		"no such stage":           {[]core.LifecycleStage{stage("new", nil)}, "Unsupported value"},
		"no such stage, in order": {[]core.LifecycleStage{stage("supported", nil), stage("new", at(2027)), stage("expired", at(2028))}, "Unsupported value"},
	} {
		t.Run(name, func(t *testing.T) {
			profile := &core.CloudProfile{Spec: *parent()}
			profile.Spec.Kubernetes.Versions = []core.ExpirableVersion{{Version: "1.36.3", Lifecycle: test.lifecycle}}
			want(t, cloudprofiles.Validate(profile, nil), test.want)
		})
	}
}

// want compares problems with parts of messages, separated by "|", in order.
func want(t *testing.T, errs field.ErrorList, parts string) {
	t.Helper()
	var wanted []string
	if parts != "" {
		wanted = strings.Split(parts, "|")
	}
	if len(errs) != len(wanted) {
		t.Fatalf("got %v, want %q", errs, wanted)
	}
	for i, part := range wanted {
		if !strings.Contains(errs[i].Error(), part) {
			t.Errorf("got %v, want %q", errs[i], part)
		}
	}
}

func parent() *core.CloudProfileSpec {
	return &core.CloudProfileSpec{
		Type: "local",
		Kubernetes: core.KubernetesSettings{Versions: []core.ExpirableVersion{
			{Version: "1.36.3"}, {Version: "1.35.4", ExpirationDate: at(2030)},
			{Version: "1.34.2", Lifecycle: []core.LifecycleStage{{Classification: "supported"}, {Classification: "expired", StartTime: at(2030)}}},
		}},
		MachineImages: []core.MachineImage{{Name: "debian", Versions: []core.MachineImageVersion{{ExpirableVersion: core.ExpirableVersion{Version: "12.0.0"}}}}},
		MachineTypes:  []core.MachineType{{Name: "small"}},
		VolumeTypes:   []core.VolumeType{{Name: "ssd", Class: "premium"}},
		Regions:       []core.Region{{Name: "local"}},
	}
}

func namespaced(change func(*core.NamespacedCloudProfileSpec)) *core.NamespacedCloudProfile {
	profile := &core.NamespacedCloudProfile{Spec: core.NamespacedCloudProfileSpec{Parent: core.CloudProfileReference{Kind: "CloudProfile", Name: "parent"}}}
	if change != nil {
		change(&profile.Spec)
	}
	return profile
}

func versions(versions ...core.ExpirableVersion) func(*core.NamespacedCloudProfileSpec) {
	return func(spec *core.NamespacedCloudProfileSpec) {
		spec.Kubernetes = &core.KubernetesSettings{Versions: versions}
	}
}

func TestNamespacedProfileAndItsParent(t *testing.T) {
	lifecycle := func(end *metav1.Time) []core.LifecycleStage {
		return []core.LifecycleStage{{Classification: "deprecated"}, {Classification: "expired", StartTime: end}}
	}
	small := func(spec *core.NamespacedCloudProfileSpec) {
		spec.MachineTypes = []core.MachineType{{Name: "small"}}
	}
	for name, test := range map[string]struct {
		profile, old *core.NamespacedCloudProfile
		want         string
	}{
		"longer than in the parent":               {namespaced(versions(core.ExpirableVersion{Version: "1.35.4", ExpirationDate: at(2031)})), nil, ""},
		"as long as in the parent":                {namespaced(versions(core.ExpirableVersion{Version: "1.35.4", ExpirationDate: at(2030)})), nil, ""},
		"shorter than in the parent":              {namespaced(versions(core.ExpirableVersion{Version: "1.35.4", ExpirationDate: at(2029)})), nil, "must not be before 2030"},
		"shorter than the parent's lifecycle":     {namespaced(versions(core.ExpirableVersion{Version: "1.34.2", ExpirationDate: at(2029)})), nil, "must not be before 2030"},
		"a lifecycle longer than the parent's":    {namespaced(versions(core.ExpirableVersion{Version: "1.34.2", Lifecycle: lifecycle(at(2031))})), nil, ""},
		"a lifecycle shorter than the parent's":   {namespaced(versions(core.ExpirableVersion{Version: "1.34.2", Lifecycle: lifecycle(at(2029))})), nil, "spec.kubernetes.versions[0].lifecycle"},
		"an end where the parent has none":        {namespaced(versions(core.ExpirableVersion{Version: "1.36.3", ExpirationDate: at(2029)})), nil, ""},
		"no end":                                  {namespaced(versions(core.ExpirableVersion{Version: "1.36.3"})), nil, "expirationDate: Required"},
		"shorter, but it was before":              {namespaced(versions(core.ExpirableVersion{Version: "1.35.4", ExpirationDate: at(2029)})), namespaced(versions(core.ExpirableVersion{Version: "1.35.4", ExpirationDate: at(2029)})), ""},
		"shorter than before":                     {namespaced(versions(core.ExpirableVersion{Version: "1.35.4", ExpirationDate: at(2028)})), namespaced(versions(core.ExpirableVersion{Version: "1.35.4", ExpirationDate: at(2029)})), "must not be before 2030"},
		"a version that the parent has no more":   {namespaced(versions(core.ExpirableVersion{Version: "1.30.1", ExpirationDate: at(2029)})), namespaced(versions(core.ExpirableVersion{Version: "1.30.1", ExpirationDate: at(2029)})), ""},
		"a machine type that the parent has":      {namespaced(small), nil, "is in the parent already"},
		"a machine type that the parent has got":  {namespaced(small), namespaced(small), ""},
		"an image of the parent with more to say": {namespaced(func(s *core.NamespacedCloudProfileSpec) { s.MachineImages = images("12.0.0", at(2029)) }), nil, "architectures: Forbidden"},
		"a version of its own":                    {namespaced(func(s *core.NamespacedCloudProfileSpec) { s.MachineImages = images("12.1.0", nil) }), nil, ""},
		"no bundle":                               {namespaced(func(s *core.NamespacedCloudProfileSpec) { s.CABundle = ptr.To("") }), nil, "spec.caBundle"},
	} {
		t.Run(name, func(t *testing.T) {
			want(t, cloudprofiles.ValidateNamespaced(test.profile, test.old, parent()), test.want)
		})
	}
	want(t, cloudprofiles.ValidateNamespaced(namespaced(small), nil, nil), `spec.parent.name: Not found: "parent"`)
}

func images(version string, end *metav1.Time) []core.MachineImage {
	return []core.MachineImage{{Name: "debian", Versions: []core.MachineImageVersion{{
		ExpirableVersion: core.ExpirableVersion{Version: version, ExpirationDate: end}, Architectures: []string{"amd64"},
	}}}}
}
