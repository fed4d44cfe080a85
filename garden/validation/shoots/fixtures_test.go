package shoots_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gardener/gardener/pkg/apis/core"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/loam-cloud/loam/garden/validation/shoots"
)

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// quantities and versions are short, so that a row of a table is one line.
func q(text string) resource.Quantity       { return resource.MustParse(text) }
func span(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }

func stages(classification core.VersionClassification) core.ExpirableVersion {
	return core.ExpirableVersion{Lifecycle: []core.LifecycleStage{{Classification: classification}}}
}

func version(text string, classification core.VersionClassification) core.ExpirableVersion {
	v := stages(classification)
	v.Version = text
	return v
}

// profile offers what the Shoot of these tests has, and something else of each.
func profile() *core.CloudProfileSpec {
	image := func(v string, classification core.VersionClassification, architectures ...string) core.MachineImageVersion {
		return core.MachineImageVersion{ExpirableVersion: version(v, classification), Architectures: architectures, CRI: []core.CRI{{Name: core.CRINameContainerD}}}
	}
	constrained := image("1443.10.0", core.ClassificationSupported, "amd64")
	constrained.KubeletVersionConstraint = new(">= 1.36")
	inPlace := image("1592.1.0", core.ClassificationSupported, "amd64")
	inPlace.InPlaceUpdates = &core.InPlaceUpdates{Supported: true, MinVersionForUpdate: new("1500.0.0")}
	older := image("1400.0.0", core.ClassificationSupported, "amd64")
	older.InPlaceUpdates = &core.InPlaceUpdates{Supported: true}
	return &core.CloudProfileSpec{
		Type: "metal",
		Kubernetes: core.KubernetesSettings{Versions: []core.ExpirableVersion{
			version("1.37.0", core.ClassificationPreview), version("1.36.3", core.ClassificationSupported), version("1.36.1", core.ClassificationDeprecated),
			version("1.35.4", core.ClassificationSupported), version("1.34.2", core.ClassificationSupported), version("1.33.9", core.ClassificationSupported),
			version("1.32.1", core.ClassificationExpired), version("1.36.9", core.ClassificationUnavailable),
		}},
		MachineTypes: []core.MachineType{
			{Name: "small", CPU: q("2"), GPU: q("0"), Memory: q("4Gi"), Architecture: new("amd64"), Storage: &core.MachineTypeStorage{Class: "standard", Type: "ssd", MinSize: new(q("20Gi"))}},
			{Name: "arm", CPU: q("4"), GPU: q("0"), Memory: q("8Gi"), Architecture: new("arm64")},
			{Name: "old", CPU: q("1"), GPU: q("0"), Memory: q("1Gi"), Architecture: new("amd64"), Usable: new(false)},
		},
		MachineImages: []core.MachineImage{
			{Name: "linux", Versions: []core.MachineImageVersion{
				image("1312.3.0", core.ClassificationSupported, "amd64", "arm64"), image("1300.0.0", core.ClassificationExpired, "amd64"), older, constrained, inPlace,
			}},
		},
		VolumeTypes: []core.VolumeType{{Name: "ssd", Class: "premium", MinSize: new(q("10Gi"))}, {Name: "tape", Class: "standard", Usable: new(false)}},
		Regions: []core.Region{
			{Name: "north", Zones: []core.AvailabilityZone{{Name: "n1"}, {Name: "n2", UnavailableMachineTypes: []string{"arm"}, UnavailableVolumeTypes: []string{"ssd"}}}, AccessRestrictions: []core.AccessRestriction{{Name: "eu-only"}}},
			{Name: "south"},
		},
	}
}

// shoot is right in every respect, as it is after defaults were filled in.
func shoot() *core.Shoot {
	return &core.Shoot{
		ObjectMeta: metav1.ObjectMeta{Namespace: "garden-dev", Name: "plant", CreationTimestamp: metav1.NewTime(now.Add(-24 * time.Hour))},
		Spec: core.ShootSpec{
			CloudProfile: &core.CloudProfileReference{Kind: "CloudProfile", Name: "metal"},
			Region:       "north", SchedulerName: new("default-scheduler"), SeedName: new("seed"), Purpose: new(core.ShootPurposeEvaluation),
			CredentialsBindingName: new("cloud"),
			Kubernetes: core.Kubernetes{
				Version:               "1.36.3",
				KubeAPIServer:         &core.KubeAPIServerConfig{},
				KubeControllerManager: &core.KubeControllerManagerConfig{NodeCIDRMaskSize: new(int32(24))},
				Kubelet:               &core.KubeletConfig{FailSwapOn: new(true), SerializeImagePulls: new(true), ImageGCHighThresholdPercent: new(int32(50)), ImageGCLowThresholdPercent: new(int32(40))},
			},
			Networking:  &core.Networking{Type: new("calico"), Pods: new("100.96.0.0/11"), Services: new("100.64.0.0/13"), Nodes: new("10.250.0.0/16"), IPFamilies: []core.IPFamily{core.IPFamilyIPv4}},
			Maintenance: &core.Maintenance{TimeWindow: &core.MaintenanceTimeWindow{Begin: "220000+0100", End: "230000+0100"}},
			Provider: core.Provider{Type: "metal", Workers: []core.Worker{{
				Name: "pool", Minimum: 1, Maximum: 3, MaxSurge: new(intstr.FromInt32(1)), MaxUnavailable: new(intstr.FromInt32(0)), UpdateStrategy: new(core.AutoRollingUpdate),
				Machine: core.Machine{Type: "small", Architecture: new("amd64"), Image: &core.ShootMachineImage{Name: "linux", Version: "1312.3.0"}},
				CRI:     &core.CRI{Name: core.CRINameContainerD}, Volume: &core.Volume{Type: new("ssd"), VolumeSize: "50Gi"}, Zones: []string{"n1"},
				SystemComponents: &core.WorkerSystemComponents{Allow: true},
			}}},
		},
	}
}

func seed() *core.Seed {
	return &core.Seed{
		ObjectMeta: metav1.ObjectMeta{Name: "seed", Labels: map[string]string{"stage": "dev"}},
		Spec: core.SeedSpec{
			Provider: core.SeedProvider{Type: "metal", Region: "north", Zones: []string{"a", "b", "c"}},
			Networks: core.SeedNetworks{Pods: "10.3.0.0/16", Services: "10.4.0.0/16", Nodes: new("10.5.0.0/16")},
		},
	}
}

func facts() shoots.Facts {
	return shoots.Facts{
		Now: now, Profile: profile(), Seed: seed(), OldSeed: seed(),
		Project: &core.Project{ObjectMeta: metav1.ObjectMeta{Name: "dev"}},
		Binding: &shoots.Binding{ProviderTypes: []string{"metal"}, Credentials: "Secret garden-dev/cloud"},
	}
}

// row is one wrong Shoot: what is changed, and every problem that it makes, each
// as the path and a part of the message.
type row struct {
	change func(*core.Shoot)
	facts  func(*shoots.Facts)
	want   []string
}

func (r row) apply() (*core.Shoot, shoots.Facts) {
	s, f := shoot(), facts()
	if r.change != nil {
		r.change(s)
	}
	if r.facts != nil {
		r.facts(&f)
	}
	return s, f
}

// check compares problems with what a row expects, in any order: nothing may be
// missing and nothing too much.
func (r row) check(t *testing.T, s, old *core.Shoot, f shoots.Facts) {
	t.Helper()
	errs := shoots.Validate(s, old, f)
	left := map[int]bool{}
	for i := range errs {
		left[i] = true
	}
	for _, want := range r.want {
		path, text, _ := strings.Cut(want, ": ")
		found := false
		for i, err := range errs {
			if left[i] && err.Field == path && strings.Contains(err.Error(), text) {
				delete(left, i)
				found = true
				break
			}
		}
		if !found {
			t.Errorf("%q is missing in:\n%v", want, errs)
		}
	}
	for i := range left {
		t.Errorf("not expected: %v", errs[i])
	}
}

func worker(s *core.Shoot) *core.Worker { return &s.Spec.Provider.Workers[0] }

func TestRightShoot(t *testing.T) {
	row{}.check(t, shoot(), nil, facts())
	row{}.check(t, shoot(), shoot(), facts())
}
