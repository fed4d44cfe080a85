package versions_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/gardener/gardener/pkg/apis/core"

	"github.com/loam-cloud/loam/controllers/shoot/maintenance/internal/versions"
	"github.com/loam-cloud/loam/garden/offers"
)

func now() time.Time { return time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC) }

// offered reads "1.36.3 1.35.4=expired"; without a word a version is supported.
func offered(text string) (all []core.ExpirableVersion) {
	for _, entry := range strings.Fields(text) {
		version, class, found := strings.Cut(entry, "=")
		if !found {
			class = "supported"
		}
		all = append(all, core.ExpirableVersion{Version: version, Lifecycle: []core.LifecycleStage{{Classification: core.VersionClassification(class)}}})
	}
	return all
}

func TestKubernetes(t *testing.T) {
	const expired, gone, auto = "expired", "no longer", "asked for"
	for name, row := range map[string]struct {
		offered, current, ceiling string
		auto                      bool
		want, reason              string
		problem                   bool
	}{
		"newest patch":                             {offered: "1.35.4 1.35.6 1.35.5 1.36.1", current: "1.35.4", auto: true, want: "1.35.6", reason: auto},
		"not asked for":                            {offered: "1.35.4 1.35.6", current: "1.35.4"},
		"is the newest patch":                      {offered: "1.35.4 1.36.1", current: "1.35.4", auto: true},
		"no preview":                               {offered: "1.35.4 1.35.5 1.35.6=preview", current: "1.35.4", auto: true, want: "1.35.5", reason: auto},
		"prefers supported":                        {offered: "1.35.4 1.35.5 1.35.6=deprecated", current: "1.35.4", auto: true, want: "1.35.5", reason: auto},
		"takes deprecated":                         {offered: "1.35.4=deprecated 1.35.6=deprecated", current: "1.35.4", auto: true, want: "1.35.6", reason: auto},
		"never down to a supported one":            {offered: "1.35.4 1.35.5=deprecated", current: "1.35.5", auto: true},
		"expired is forced":                        {offered: "1.35.4=expired 1.35.6 1.36.1", current: "1.35.4", want: "1.35.6", reason: expired},
		"gone is forced":                           {offered: "1.35.6 1.36.1", current: "1.35.4", want: "1.35.6", reason: gone},
		"forced to the next minor":                 {offered: "1.35.4=expired 1.36.1 1.36.3 1.37.0", current: "1.35.4", want: "1.36.3", reason: expired},
		"next minor only":                          {offered: "1.35.4=expired 1.37.0", current: "1.35.4", reason: expired, problem: true},
		"an expired one is allowed if no other":    {offered: "1.35.4=expired 1.36.1=expired 1.36.2=expired 1.37.0", current: "1.35.4", want: "1.36.2", reason: expired},
		"not an expired one if there is another":   {offered: "1.35.4=expired 1.36.9=expired 1.36.1 1.37.0", current: "1.35.4", want: "1.36.1", reason: expired},
		"no preview even if forced":                {offered: "1.35.4=expired 1.36.1=preview", current: "1.35.4", reason: expired, problem: true},
		"not an expired patch":                     {offered: "1.35.4=expired 1.35.5=expired 1.36.1", current: "1.35.4", want: "1.36.1", reason: expired},
		"pool not above the control plane":         {offered: "1.35.4 1.35.5 1.35.6", current: "1.35.4", ceiling: "1.35.5", auto: true, want: "1.35.5", reason: auto},
		"pool in the control plane's version":      {offered: "1.35.4=expired 1.36.1", current: "1.35.4", ceiling: "1.35.4"},
		"pool forced up to the control plane":      {offered: "1.35.4=expired 1.36.1 1.36.3", current: "1.35.4", ceiling: "1.36.1", want: "1.36.1", reason: expired},
		"pool that cannot follow":                  {offered: "1.35.4=expired 1.37.3", current: "1.35.4", ceiling: "1.37.3", reason: expired, problem: true},
		"spelled with v":                           {offered: "v1.35.4 v1.35.6", current: "1.35.4", auto: true, want: "1.35.6", reason: auto},
		"no version":                               {offered: "1.35.4", current: "latest", auto: true, problem: true},
		"entries that cannot be read do not count": {offered: "newest 1.35.4 1.35.5", current: "1.35.4", auto: true, want: "1.35.5", reason: auto},
	} {
		got := versions.Kubernetes{Offered: offered(row.offered), Current: row.current, Ceiling: row.ceiling, Auto: row.auto, Now: now()}.Choose()
		if got.Version != row.want || !strings.Contains(got.Reason, row.reason) || (row.reason == "") != (got.Reason == "") || (got.Problem != "") != row.problem {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestKubernetesProperties asks about random profiles: never down, never over
// the ceiling, never out of the profile, never a preview, at most to the next
// minor version; and asking again and again comes to an end.
func TestKubernetesProperties(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	classes := []string{"supported", "deprecated", "preview", "expired", "unavailable"}
	version := func() string { return fmt.Sprintf("1.%d.%d", 30+random.IntN(5), random.IntN(5)) }
	for range 20000 {
		var text []string
		for range random.IntN(12) {
			if v := version(); !slices.ContainsFunc(text, func(t string) bool { return strings.HasPrefix(t, v+"=") }) {
				text = append(text, v+"="+classes[random.IntN(len(classes))])
			}
		}
		q := versions.Kubernetes{Offered: offered(strings.Join(text, " ")), Current: version(), Auto: random.IntN(2) == 0, Now: now()}
		if random.IntN(2) == 0 {
			q.Ceiling = version()
		}
		for step := 0; ; step++ {
			got := q.Choose()
			if got.Version == "" {
				break
			}
			if step > len(q.Offered) {
				t.Fatalf("no end: %v from %s", text, q.Current)
			}
			before, after := semver.MustParse(q.Current), semver.MustParse(got.Version)
			entry, found := offers.Find(q.Offered, got.Version)
			class := offers.Classification(entry, now())
			switch {
			case !after.GreaterThan(before):
				t.Fatalf("down from %s to %s: %v", before, after, text)
			case q.Ceiling != "" && after.GreaterThan(semver.MustParse(q.Ceiling)):
				t.Fatalf("over the ceiling %s from %s to %s: %v", q.Ceiling, before, after, text)
			case !found || class == core.ClassificationPreview || class == core.ClassificationUnavailable:
				t.Fatalf("from %s to %s, which is not on offer (%s): %v", before, after, class, text)
			case after.Minor() > before.Minor()+1:
				t.Fatalf("over a minor version from %s to %s: %v", before, after, text)
			case after.Minor() > before.Minor() && got.Reason == "the newest patch is asked for":
				t.Fatalf("to another minor version unforced, from %s to %s: %v", before, after, text)
			}
			q.Current = got.Version
		}
	}
}

func image(strategy core.MachineImageUpdateStrategy, text string, change func(string, *core.MachineImageVersion)) *core.MachineImage {
	i := &core.MachineImage{Name: "debian"}
	if strategy != "" {
		i.UpdateStrategy = &strategy
	}
	for _, v := range offered(text) {
		version := core.MachineImageVersion{ExpirableVersion: v, Architectures: []string{"amd64"}, CRI: []core.CRI{{Name: core.CRINameContainerD}}}
		if change != nil {
			change(v.Version, &version)
		}
		i.Versions = append(i.Versions, version)
	}
	return i
}

func TestImages(t *testing.T) {
	const patch, minor, major = core.UpdateStrategyPatch, core.UpdateStrategyMinor, core.UpdateStrategyMajor
	text := func(s string) *string { return &s }
	for name, row := range map[string]struct {
		strategy         core.MachineImageUpdateStrategy
		offered, current string
		auto             bool
		change           func(string, *core.MachineImageVersion)
		need             offers.Need
		want             string
		problem          bool
	}{
		"patch":                               {strategy: patch, offered: "1.1.1 1.1.3 1.2.0 2.0.0", current: "1.1.1", auto: true, want: "1.1.3"},
		"minor":                               {strategy: minor, offered: "1.1.1 1.1.3 1.2.0 2.0.0", current: "1.1.1", auto: true, want: "1.2.0"},
		"major":                               {strategy: major, offered: "1.1.1 1.1.3 1.2.0 2.0.0", current: "1.1.1", auto: true, want: "2.0.0"},
		"major is what is meant by none":      {offered: "1.1.1 2.0.0", current: "1.1.1", auto: true, want: "2.0.0"},
		"not asked for":                       {strategy: major, offered: "1.1.1 2.0.0", current: "1.1.1"},
		"prefers supported":                   {strategy: major, offered: "1.1.1 1.2.0 2.0.0=deprecated 3.0.0=preview", current: "1.1.1", auto: true, want: "1.2.0"},
		"never down":                          {strategy: major, offered: "1.1.0 1.1.1=deprecated", current: "1.1.1", auto: true},
		"forced, patch to next minor present": {strategy: patch, offered: "1.1.1=expired 1.3.0 1.3.2 1.4.0 2.0.0", current: "1.1.1", want: "1.3.2"},
		"forced, minor to next major present": {strategy: minor, offered: "1.1.1=expired 3.0.0 3.2.0 4.0.0", current: "1.1.1", want: "3.2.0"},
		"forced, major to the overall newest": {strategy: major, offered: "1.1.1=expired 3.0.0 4.0.0", current: "1.1.1", want: "4.0.0"},
		"forced, patch first":                 {strategy: patch, offered: "1.1.1=expired 1.1.2 1.3.0", current: "1.1.1", want: "1.1.2"},
		"forced, already at the newest":       {strategy: major, offered: "1.1.1=expired 1.0.0", current: "1.1.1", problem: true},
		"forced, no minor left":               {strategy: patch, offered: "1.1.1=expired 2.0.0", current: "1.1.1", problem: true},
		"gone is forced":                      {strategy: major, offered: "1.1.3", current: "1.1.1", want: "1.1.3"},
		"another architecture": {strategy: major, offered: "1.1.1 1.1.2 1.1.3", current: "1.1.1", auto: true, want: "1.1.2",
			change: func(v string, i *core.MachineImageVersion) {
				if v == "1.1.3" {
					i.Architectures = []string{"arm64"}
				}
			}},
		"another runtime interface": {strategy: major, offered: "1.1.1 1.1.2 1.1.3", current: "1.1.1", auto: true, want: "1.1.2", need: offers.Need{CRI: core.CRINameContainerD},
			change: func(v string, i *core.MachineImageVersion) {
				if v == "1.1.3" {
					i.CRI = nil
				}
			}},
		"another runtime": {strategy: major, offered: "1.1.1 1.1.2 1.1.3", current: "1.1.1", auto: true, want: "1.1.2", need: offers.Need{CRI: core.CRINameContainerD, Runtimes: []string{"gvisor"}},
			change: func(v string, i *core.MachineImageVersion) {
				if v == "1.1.2" {
					i.CRI[0].ContainerRuntimes = []core.ContainerRuntime{{Type: "gvisor"}}
				}
			}},
		"not for this kubelet": {strategy: major, offered: "1.1.1 1.1.2 1.1.3", current: "1.1.1", auto: true, want: "1.1.2", need: offers.Need{Kubelet: "1.35.4"},
			change: func(v string, i *core.MachineImageVersion) {
				if v == "1.1.3" {
					i.KubeletVersionConstraint = text(">= 1.36")
				}
			}},
		"not in place from here": {strategy: major, offered: "1.1.1 1.1.2 1.1.3", current: "1.1.1", auto: true, want: "1.1.2", need: offers.Need{InPlace: true},
			change: func(v string, i *core.MachineImageVersion) {
				i.InPlaceUpdates = &core.InPlaceUpdates{Supported: true, MinVersionForUpdate: text("1.1.0")}
				if v == "1.1.3" {
					i.InPlaceUpdates.MinVersionForUpdate = text("1.1.2")
				}
			}},
		"not in place at all": {strategy: major, offered: "1.1.1 1.1.2", current: "1.1.1", auto: true, need: offers.Need{InPlace: true}},
		"no version":          {strategy: major, offered: "1.1.1", current: "newest", auto: true, problem: true},
	} {
		row.need.Architecture = "amd64"
		got := versions.Image{Profile: &core.CloudProfileSpec{}, Image: image(row.strategy, row.offered, row.change), Need: row.need, Current: row.current, Auto: row.auto, Now: now()}.Choose()
		if got.Version != row.want || (got.Problem != "") != row.problem || row.want != "" && got.Reason == "" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestCapabilities filters images by capabilities where a profile has them.
func TestCapabilities(t *testing.T) {
	profile := &core.CloudProfileSpec{MachineCapabilities: []core.CapabilityDefinition{
		{Name: "architecture", Values: []string{"amd64", "arm64"}}, {Name: "disk", Values: []string{"scsi", "nvme"}},
	}}
	machine := &core.MachineType{Name: "m", Capabilities: core.Capabilities{"architecture": {"amd64"}, "disk": {"nvme"}}}
	flavor := func(disk string) func(string, *core.MachineImageVersion) {
		return func(v string, i *core.MachineImageVersion) {
			if v == "1.1.3" {
				i.CapabilityFlavors = []core.MachineImageFlavor{{Capabilities: core.Capabilities{"architecture": {"amd64"}, "disk": {disk}}}}
			}
		}
	}
	for disk, want := range map[string]string{"scsi": "1.1.2", "nvme": "1.1.3"} {
		got := versions.Image{Profile: profile, Image: image("", "1.1.1 1.1.2 1.1.3", flavor(disk)), Need: offers.Need{Machine: machine, Architecture: "amd64"}, Current: "1.1.1", Auto: true, Now: now()}.Choose()
		if got.Version != want {
			t.Errorf("%s: %+v", disk, got)
		}
	}
}

// TestImageProperties asks about random images: never down, never out of the
// profile, and asking again and again comes to an end.
func TestImageProperties(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	classes := []string{"supported", "deprecated", "preview", "expired", "unavailable"}
	strategies := []core.MachineImageUpdateStrategy{core.UpdateStrategyPatch, core.UpdateStrategyMinor, core.UpdateStrategyMajor}
	version := func() string { return fmt.Sprintf("%d.%d.%d", random.IntN(3), random.IntN(3), random.IntN(3)) }
	for range 20000 {
		var text []string
		for range random.IntN(12) {
			if v := version(); !slices.ContainsFunc(text, func(t string) bool { return strings.HasPrefix(t, v+"=") }) {
				text = append(text, v+"="+classes[random.IntN(len(classes))])
			}
		}
		i := image(strategies[random.IntN(3)], strings.Join(text, " "), nil)
		q := versions.Image{Profile: &core.CloudProfileSpec{}, Image: i, Need: offers.Need{Architecture: "amd64"}, Current: version(), Auto: random.IntN(2) == 0, Now: now()}
		for step := 0; ; step++ {
			got := q.Choose()
			if got.Version == "" {
				break
			}
			v := offers.ImageVersion(i, got.Version)
			if step > len(text) || v == nil || !offers.Usable(v.ExpirableVersion, now()) || !semver.MustParse(got.Version).GreaterThan(semver.MustParse(q.Current)) {
				t.Fatalf("step %d from %s to %s: %v", step, q.Current, got.Version, text)
			}
			q.Current = got.Version
		}
	}
}
