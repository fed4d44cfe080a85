package namespacedcloudprofile

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"
)

// TestMerge reads a parent, what is laid over it, and what has to come of it.
func TestMerge(t *testing.T) {
	for _, test := range []struct{ name, parent, own, want string }{
		{"nothing of its own", `
kubernetes: {versions: [{version: 1.36.3, expirationDate: "2027-01-01T00:00:00Z", classification: supported}]}
limits: {maxNodesTotal: 5}
caBundle: p`, `{}`, `
kubernetes: {versions: [{version: 1.36.3, expirationDate: "2027-01-01T00:00:00Z", classification: supported}]}
limits: {maxNodesTotal: 5}
caBundle: p`},
		{"Kubernetes versions: only known ones, only their end", `
kubernetes: {versions: [{version: 1.36.3, classification: supported}, {version: 1.35.4, expirationDate: "2027-01-01T00:00:00Z", classification: deprecated}]}`, `
kubernetes: {versions: [{version: 1.34.0, expirationDate: "2028-01-01T00:00:00Z"}, {version: 1.35.4, expirationDate: "2028-01-01T00:00:00Z", classification: preview}]}`, `
kubernetes: {versions: [{version: 1.36.3, classification: supported}, {version: 1.35.4, expirationDate: "2028-01-01T00:00:00Z", classification: deprecated}]}`},
		{"Kubernetes versions: null clears the end", `
kubernetes: {versions: [{version: 1.35.4, expirationDate: "2027-01-01T00:00:00Z"}]}`, `
kubernetes: {versions: [{version: 1.35.4}]}`, `
kubernetes: {versions: [{version: 1.35.4}]}`},
		{"the end of a lifecycle", `
kubernetes: {versions: [{version: 1.35.4, lifecycle: [{classification: supported}, {classification: expired, startTime: "2027-01-01T00:00:00Z"}]}, {version: 1.34.0, lifecycle: [{classification: supported}]}]}`, `
kubernetes: {versions: [{version: 1.35.4, expirationDate: "2028-01-01T00:00:00Z"}, {version: 1.34.0, lifecycle: [{classification: expired, startTime: "2028-01-01T00:00:00Z"}]}]}`, `
kubernetes: {versions: [{version: 1.35.4, lifecycle: [{classification: supported}, {classification: expired, startTime: "2028-01-01T00:00:00Z"}]}, {version: 1.34.0, lifecycle: [{classification: supported}, {classification: expired, startTime: "2028-01-01T00:00:00Z"}]}]}`},
		{"machine images: strategy, ends, versions and images", `
machineImages:
- {name: b, updateStrategy: major, versions: [{version: "1", architectures: [arm64], cri: [{name: containerd}]}, {version: "2", architectures: [arm64], cri: [{name: containerd}]}]}
- {name: a, updateStrategy: major, versions: [{version: "1", architectures: [amd64], cri: [{name: containerd}]}]}`, `
machineImages:
- {name: c, versions: [{version: "7"}]}
- {name: b, updateStrategy: patch, versions: [{version: "3", architectures: [arm64]}, {version: "1", expirationDate: "2028-01-01T00:00:00Z"}, {version: "2", architectures: [amd64], kubeletVersionConstraint: "< 1.36"}]}`, `
machineImages:
- name: b
  updateStrategy: patch
  versions:
  - {version: "1", architectures: [arm64], cri: [{name: containerd}], expirationDate: "2028-01-01T00:00:00Z"}
  - {version: "2", architectures: [amd64], cri: [{name: containerd}], kubeletVersionConstraint: "< 1.36"}
  - {version: "3", architectures: [arm64], cri: [{name: containerd}]}
- {name: a, updateStrategy: major, versions: [{version: "1", architectures: [amd64], cri: [{name: containerd}]}]}
- {name: c, updateStrategy: major, versions: [{version: "7", architectures: [amd64], cri: [{name: containerd}]}]}`},
		{"types: the parent's first, the same name replaces", `
machineTypes: [{name: b, cpu: 1, gpu: 0, memory: 1Gi, architecture: amd64, usable: true}, {name: a, cpu: 2, gpu: 0, memory: 2Gi, architecture: arm64, usable: true}]
volumeTypes: [{name: b, class: x, usable: true}]`, `
machineTypes: [{name: 0, cpu: 8, gpu: 0, memory: 8Gi}, {name: a, cpu: 4, gpu: 0, memory: 4Gi}]
volumeTypes: [{name: a, class: x}, {name: b, class: y}]`, `
machineTypes: [{name: b, cpu: 1, gpu: 0, memory: 1Gi, architecture: amd64, usable: true}, {name: a, cpu: 4, gpu: 0, memory: 4Gi, architecture: amd64, usable: true}, {name: 0, cpu: 8, gpu: 0, memory: 8Gi, architecture: amd64, usable: true}]
volumeTypes: [{name: b, class: y, usable: true}, {name: a, class: x, usable: true}]`},
		{"a lower limit wins", `limits: {maxNodesTotal: 5}`, `limits: {maxNodesTotal: 3}`, `limits: {maxNodesTotal: 3}`},
		{"a higher limit wins", `limits: {maxNodesTotal: 5}`, `limits: {maxNodesTotal: 9}`, `limits: {maxNodesTotal: 9}`},
		{"a limit where there was none", `{}`, `limits: {maxNodesTotal: 9}`, `limits: {maxNodesTotal: 9}`},
		{"no limit of its own", `limits: {maxNodesTotal: 5}`, `limits: {maxNodesTotal: 0}`, `limits: {maxNodesTotal: 5}`},
		{"bundles: the parent's first", `caBundle: p`, `caBundle: o`, `caBundle: "p\no\n"`},
		{"only an own bundle", `{}`, `caBundle: "o\n"`, `caBundle: "o\n"`},
		{"capabilities: an own image and type by architecture", `
machineCapabilities: [{name: architecture, values: [amd64, arm64]}]
machineTypes: [{name: a, cpu: 1, gpu: 0, memory: 1Gi, usable: true, capabilities: {architecture: [arm64]}}]
machineImages: [{name: a, updateStrategy: major, versions: [{version: "1", cri: [{name: containerd}], capabilityFlavors: [{architecture: [arm64]}, {architecture: [amd64]}]}]}]`, `
machineTypes: [{name: b, cpu: 1, gpu: 0, memory: 1Gi, architecture: arm64}, {name: c, cpu: 1, gpu: 0, memory: 1Gi}]
machineImages: [{name: a, versions: [{version: "2", architectures: [arm64]}]}]`, `
machineCapabilities: [{name: architecture, values: [amd64, arm64]}]
machineTypes:
- {name: a, cpu: 1, gpu: 0, memory: 1Gi, usable: true, architecture: arm64, capabilities: {architecture: [arm64]}}
- {name: b, cpu: 1, gpu: 0, memory: 1Gi, usable: true, architecture: arm64, capabilities: {architecture: [arm64]}}
- {name: c, cpu: 1, gpu: 0, memory: 1Gi, usable: true, architecture: amd64, capabilities: {architecture: [amd64]}}
machineImages:
- name: a
  updateStrategy: major
  versions:
  - {version: "1", cri: [{name: containerd}], architectures: [arm64, amd64], capabilityFlavors: [{architecture: [arm64]}, {architecture: [amd64]}]}
  - {version: "2", cri: [{name: containerd}], architectures: [arm64], capabilityFlavors: [{architecture: [arm64]}]}`},
		{"architectures: an own image and type by capabilities", `{}`, `
machineTypes: [{name: b, cpu: 1, gpu: 0, memory: 1Gi, capabilities: {architecture: [arm64]}}]
machineImages: [{name: a, versions: [{version: "2", capabilityFlavors: [{architecture: [arm64]}, {architecture: [arm64], other: [x]}]}]}]`, `
machineTypes: [{name: b, cpu: 1, gpu: 0, memory: 1Gi, usable: true, architecture: arm64}]
machineImages: [{name: a, updateStrategy: major, versions: [{version: "2", cri: [{name: containerd}], architectures: [arm64]}]}]`},
	} {
		t.Run(test.name, func(t *testing.T) {
			var parent, want gardencorev1beta1.CloudProfileSpec
			var own gardencorev1beta1.NamespacedCloudProfileSpec
			for into, text := range map[any]string{&parent: test.parent, &own: test.own, &want: test.want} {
				if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
					t.Fatal(err)
				}
			}
			before := parent.DeepCopy()
			got := merge(&parent, &own)
			if a, b := text(t, got), text(t, withEmptyLists(want)); a != b {
				t.Errorf("got\n%s\nwant\n%s", a, b)
			}
			if !reflect.DeepEqual(before, &parent) {
				t.Error("the parent was changed")
			}
		})
	}
}

// TestEmptyListsAreNotNull because null would be refused by the API.
func TestEmptyListsAreNotNull(t *testing.T) {
	got := text(t, merge(&gardencorev1beta1.CloudProfileSpec{}, &gardencorev1beta1.NamespacedCloudProfileSpec{}))
	if strings.Contains(got, "null") {
		t.Error(got)
	}
}

func withEmptyLists(spec gardencorev1beta1.CloudProfileSpec) gardencorev1beta1.CloudProfileSpec {
	if spec.MachineImages == nil {
		spec.MachineImages = []gardencorev1beta1.MachineImage{}
	}
	if spec.MachineTypes == nil {
		spec.MachineTypes = []gardencorev1beta1.MachineType{}
	}
	if spec.Regions == nil {
		spec.Regions = []gardencorev1beta1.Region{}
	}
	return spec
}

func text(t *testing.T, value any) string {
	t.Helper()
	data, err := json.MarshalIndent(value, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// runs is how often a property is tried, each time with other profiles.
const runs = 3000

// TestMergeIsAssociative: one after the other is the same as both at once, in
// this order.
func TestMergeIsAssociative(t *testing.T) {
	for seed := range uint64(runs) {
		g := generator{rand.New(rand.NewPCG(seed, 1))}
		parent, first, second := g.parent(), g.own(), g.own()
		after := merge(&parent, &first)
		after = merge(&after, &second)
		both := combined(first, second)
		if a, b := text(t, after), text(t, merge(&parent, &both)); a != b {
			t.Fatalf("seed %d: parent %s\nfirst %s\nsecond %s\none after the other %s\nboth at once %s", seed, text(t, parent), text(t, first), text(t, second), a, b)
		}
	}
}

// combined is one profile that says what two say after each other.
func combined(a, b gardencorev1beta1.NamespacedCloudProfileSpec) gardencorev1beta1.NamespacedCloudProfileSpec {
	a = *a.DeepCopy()
	if b.Kubernetes != nil {
		if a.Kubernetes == nil {
			a.Kubernetes = &gardencorev1beta1.KubernetesSettings{}
		}
		a.Kubernetes.Versions = overlay(a.Kubernetes.Versions, b.Kubernetes.Versions, func(v gardencorev1beta1.ExpirableVersion) string { return v.Version }, replace)
	}
	a.MachineImages = overlayImages(a.MachineImages, b.MachineImages)
	a.MachineTypes = overlay(a.MachineTypes, b.MachineTypes, func(t gardencorev1beta1.MachineType) string { return t.Name }, replace)
	a.VolumeTypes = overlay(a.VolumeTypes, b.VolumeTypes, func(t gardencorev1beta1.VolumeType) string { return t.Name }, replace)
	a.CABundle = joinBundles(a.CABundle, b.CABundle)
	if b.Limits != nil && ptr.Deref(b.Limits.MaxNodesTotal, 0) > 0 {
		a.Limits = b.Limits
	}
	return a
}

// TestMergeIsIdempotent: to say the same twice is to say it once.
func TestMergeIsIdempotent(t *testing.T) {
	for seed := range uint64(runs) {
		g := generator{rand.New(rand.NewPCG(seed, 2))}
		parent, own := g.parent(), g.own()
		once := merge(&parent, &own)
		if a, b := text(t, once), text(t, merge(&once, &own)); a != b {
			t.Fatalf("seed %d: once %s\ntwice %s", seed, a, b)
		}
	}
}

// TestMergeAddsNoVersionThatTheParentLacks, and takes none away.
func TestMergeAddsNoVersionThatTheParentLacks(t *testing.T) {
	names := func(versions []gardencorev1beta1.ExpirableVersion) (all []string) {
		for _, version := range versions {
			all = append(all, version.Version)
		}
		return all
	}
	for seed := range uint64(runs) {
		g := generator{rand.New(rand.NewPCG(seed, 3))}
		parent, own := g.parent(), g.own()
		if got, want := names(merge(&parent, &own).Kubernetes.Versions), names(parent.Kubernetes.Versions); !slices.Equal(got, want) {
			t.Fatalf("seed %d: versions %v, the parent has %v", seed, got, want)
		}
	}
}

// FuzzJoinBundles: whatever users write, nothing of either bundle is lost, and to
// add one twice is to add it once.
func FuzzJoinBundles(f *testing.F) {
	f.Add("-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n", "comment\r\n-----BEGIN CERTIFICATE-----\nB\n-----END CERTIFICATE-----")
	f.Add("", " \n")
	f.Add("-----END", "-----END\n-----END x")
	f.Fuzz(func(t *testing.T, parent, own string) {
		once := joinBundles(&parent, &own)
		if twice := joinBundles(once, &own); *once != *twice {
			t.Errorf("once %q, twice %q", *once, *twice)
		}
		for _, bundle := range []string{parent, own} {
			for _, certificate := range certificates(bundle) {
				if !slices.Contains(certificates(*once), certificate) {
					t.Errorf("%q is not in %q", certificate, *once)
				}
			}
		}
	})
}

// generator makes profiles of few names, so that they often meet.
type generator struct{ *rand.Rand }

func (g generator) some(letters string) []string {
	var all []string
	for _, i := range g.Perm(len(letters)) {
		if g.IntN(2) == 0 {
			all = append(all, letters[i:i+1])
		}
	}
	return all
}

func (g generator) end() *metav1.Time {
	if g.IntN(3) == 0 {
		return nil
	}
	return ptr.To(metav1.NewTime(time.Date(2027+g.IntN(5), 1, 1, 0, 0, 0, 0, time.UTC)))
}

func (g generator) version(name string) gardencorev1beta1.ExpirableVersion {
	version := gardencorev1beta1.ExpirableVersion{Version: name}
	if g.IntN(2) == 0 {
		version.ExpirationDate = g.end()
		return version
	}
	version.Lifecycle = []gardencorev1beta1.LifecycleStage{{Classification: gardencorev1beta1.ClassificationSupported}}
	return withEnd(version, g.end())
}

func (g generator) versions() (all []gardencorev1beta1.ExpirableVersion) {
	for _, name := range g.some("1234") {
		all = append(all, g.version(name))
	}
	return all
}

func (g generator) images(whole bool) (all []gardencorev1beta1.MachineImage) {
	for _, name := range g.some("abc") {
		image := gardencorev1beta1.MachineImage{Name: name}
		if whole || g.IntN(2) == 0 {
			image.UpdateStrategy = ptr.To([]gardencorev1beta1.MachineImageUpdateStrategy{"patch", "minor", "major"}[g.IntN(3)])
		}
		for _, name := range g.some("123") {
			version := gardencorev1beta1.MachineImageVersion{ExpirableVersion: g.version(name)}
			switch g.IntN(3) {
			case 0:
				version.Architectures = []string{[]string{"amd64", "arm64"}[g.IntN(2)]}
			case 1:
				version.CapabilityFlavors = []gardencorev1beta1.MachineImageFlavor{{Capabilities: only("arm64")}, {Capabilities: only("amd64")}}
			}
			image.Versions = append(image.Versions, version)
		}
		all = append(all, image)
	}
	return all
}

func (g generator) machines() (all []gardencorev1beta1.MachineType) {
	for _, name := range g.some("xyz") {
		machine := gardencorev1beta1.MachineType{Name: name, CPU: *resource.NewQuantity(int64(g.IntN(9)), resource.DecimalSI)}
		switch g.IntN(3) {
		case 0:
			machine.Architecture = ptr.To("arm64")
		case 1:
			machine.Capabilities = only("arm64")
		}
		all = append(all, machine)
	}
	return all
}

func (g generator) volumes() (all []gardencorev1beta1.VolumeType) {
	for _, name := range g.some("uvw") {
		all = append(all, gardencorev1beta1.VolumeType{Name: name, Class: []string{"fast", "slow"}[g.IntN(2)]})
	}
	return all
}

func (g generator) bundle() *string {
	names := g.some("ABC")
	if len(names) == 0 {
		return nil
	}
	var text strings.Builder
	for _, name := range names {
		text.WriteString("-----BEGIN CERTIFICATE-----\n" + name + "\n-----END CERTIFICATE-----\n")
	}
	return ptr.To(text.String())
}

func (g generator) limits() *gardencorev1beta1.Limits {
	if g.IntN(2) == 0 {
		return nil
	}
	return &gardencorev1beta1.Limits{MaxNodesTotal: ptr.To(int32(g.IntN(3)))}
}

func (g generator) parent() gardencorev1beta1.CloudProfileSpec {
	spec := gardencorev1beta1.CloudProfileSpec{
		Kubernetes: gardencorev1beta1.KubernetesSettings{Versions: g.versions()}, MachineImages: g.images(true), MachineTypes: g.machines(), VolumeTypes: g.volumes(),
		CABundle: g.bundle(), Limits: g.limits(),
	}
	if g.IntN(2) == 0 {
		spec.MachineCapabilities = []gardencorev1beta1.CapabilityDefinition{{Name: "architecture", Values: []string{"amd64", "arm64"}}}
	}
	return spec
}

func (g generator) own() gardencorev1beta1.NamespacedCloudProfileSpec {
	spec := gardencorev1beta1.NamespacedCloudProfileSpec{
		MachineImages: g.images(false), MachineTypes: g.machines(), VolumeTypes: g.volumes(), CABundle: g.bundle(), Limits: g.limits(),
	}
	if g.IntN(4) > 0 {
		spec.Kubernetes = &gardencorev1beta1.KubernetesSettings{Versions: g.versions()}
	}
	return spec
}
