package defaulting_test

import (
	"slices"
	"testing"
	"time"

	"github.com/gardener/gardener/pkg/apis/core"
	apiequality "k8s.io/apimachinery/pkg/api/equality"

	"github.com/loam-cloud/loam/garden/defaulting"
)

func version(text string, classification core.VersionClassification) core.ExpirableVersion {
	return core.ExpirableVersion{Version: text, Classification: &classification}
}

func facts() defaulting.Facts {
	image := func(v string, classification core.VersionClassification, flavors ...core.Capabilities) core.MachineImageVersion {
		result := core.MachineImageVersion{ExpirableVersion: version(v, classification), CRI: []core.CRI{{Name: core.CRINameContainerD}}}
		for _, flavor := range flavors {
			result.CapabilityFlavors = append(result.CapabilityFlavors, core.MachineImageFlavor{Capabilities: flavor})
		}
		return result
	}
	amd, arm := core.Capabilities{"architecture": {"amd64"}}, core.Capabilities{"architecture": {"arm64"}, "gpu": {"yes"}}
	newest := image("12.2.0", core.ClassificationSupported, amd)
	newest.KubeletVersionConstraint = new("< 1.36")
	return defaulting.Facts{
		Now: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC),
		Profile: &core.CloudProfileSpec{
			Kubernetes: core.KubernetesSettings{Versions: []core.ExpirableVersion{
				version("1.37.0", core.ClassificationPreview), version("1.36.3", core.ClassificationSupported), version("1.36.4", core.ClassificationDeprecated),
				version("1.35.4", core.ClassificationSupported), version("1.34.9", core.ClassificationDeprecated), version("1.33.1", core.ClassificationExpired),
			}},
			MachineCapabilities: []core.CapabilityDefinition{{Name: "architecture", Values: []string{"amd64", "arm64"}}, {Name: "gpu", Values: []string{"no", "yes"}}},
			MachineTypes: []core.MachineType{
				{Name: "plain", Capabilities: core.Capabilities{"architecture": {"amd64"}, "gpu": {"no"}}},
				{Name: "gpu", Capabilities: core.Capabilities{"architecture": {"arm64"}, "gpu": {"yes"}}},
				{Name: "arm", Capabilities: core.Capabilities{"architecture": {"arm64"}, "gpu": {"no"}}},
			},
			MachineImages: []core.MachineImage{
				{Name: "debian", Versions: []core.MachineImageVersion{
					image("11.9.0", core.ClassificationSupported, amd), image("12.0.1", core.ClassificationSupported, amd), image("12.1.0", core.ClassificationSupported, amd),
					newest, image("13.0.0", core.ClassificationPreview, amd),
				}},
				{Name: "vision", Versions: []core.MachineImageVersion{image("1.0.0", core.ClassificationSupported, arm)}},
			},
		},
	}
}

func shoot(workers ...core.Worker) *core.Shoot {
	s := &core.Shoot{}
	s.Spec.Provider.Type, s.Spec.Provider.Workers = "metal", workers
	s.Spec.Networking = &core.Networking{Type: new("calico")}
	return s
}

func worker(machine string, change func(*core.Worker)) core.Worker {
	w := core.Worker{Name: machine, Machine: core.Machine{Type: machine}, CRI: &core.CRI{Name: core.CRINameContainerD}}
	if change != nil {
		change(&w)
	}
	return w
}

func TestVersions(t *testing.T) {
	for given, want := range map[string]string{
		"": "1.36.3", "1": "1.36.3", "1.36": "1.36.3", "1.35": "1.35.4", "1.34": "1.34.9", "1.37": "1.37", "1.33": "1.33", "1.36.1": "1.36.1", "new": "new",
	} {
		s := shoot()
		s.Spec.Kubernetes.Version = given
		if defaulting.Create(s, facts()); s.Spec.Kubernetes.Version != want {
			t.Errorf("%q becomes %q, want %q", given, s.Spec.Kubernetes.Version, want)
		}
	}
	for given, want := range map[string]string{"1.36": "1.36.4", "": "1.36.4", "1.35": "1.35.4", "1.35.2": "1.35.2"} {
		s := shoot(worker("plain", func(w *core.Worker) { w.Kubernetes = &core.WorkerKubernetes{Version: &given} }))
		s.Spec.Kubernetes.Version = "1.36.4"
		if defaulting.Create(s, facts()); *s.Spec.Provider.Workers[0].Kubernetes.Version != want {
			t.Errorf("a pool's %q becomes %q, want %q: the control plane's where it matches", given, *s.Spec.Provider.Workers[0].Kubernetes.Version, want)
		}
	}
}

// TestOrderOfVersions wants the newest supported version of Kubernetes and of an
// image, wherever in the profile it stands: nobody has to sort a profile.
func TestOrderOfVersions(t *testing.T) {
	f := facts()
	kubernetes, images := f.Profile.Kubernetes.Versions, f.Profile.MachineImages[0].Versions
	for _, reversed := range []bool{false, true} {
		if reversed {
			slices.Reverse(kubernetes)
			slices.Reverse(images)
		}
		for turn := range len(kubernetes) * len(images) {
			f.Profile.Kubernetes.Versions = append(slices.Clone(kubernetes[turn%len(kubernetes):]), kubernetes[:turn%len(kubernetes)]...)
			f.Profile.MachineImages[0].Versions = append(slices.Clone(images[turn%len(images):]), images[:turn%len(images)]...)
			for given, want := range map[string]string{"": "1.36.3", "1": "1.36.3", "1.36": "1.36.3", "1.35": "1.35.4", "1.34": "1.34.9", "1.37": "1.37"} {
				s := shoot(worker("plain", nil))
				s.Spec.Kubernetes.Version = given
				defaulting.Create(s, f)
				if s.Spec.Kubernetes.Version != want {
					t.Fatalf("of %v: %q becomes %q, want %q", f.Profile.Kubernetes.Versions, given, s.Spec.Kubernetes.Version, want)
				}
				newest := "12.1.0"
				if given == "1.35" || given == "1.34" {
					newest = "12.2.0" // that takes no later kubelet
				}
				if image := s.Spec.Provider.Workers[0].Machine.Image; image == nil || image.Version != newest {
					t.Fatalf("of %v, for %s: got image %v, want %s", f.Profile.MachineImages[0].Versions, want, image, newest)
				}
			}
		}
	}
}

func TestMachines(t *testing.T) {
	image := func(name, v string) func(*core.Worker) {
		return func(w *core.Worker) { w.Machine.Image = &core.ShootMachineImage{Name: name, Version: v} }
	}
	for name, test := range map[string]struct {
		worker       core.Worker
		kubernetes   string
		architecture string
		image        string
	}{
		"newest that takes the kubelet":  {worker("plain", nil), "1.36.3", "amd64", "debian 12.1.0"},
		"newest for an older kubelet":    {worker("plain", nil), "1.35.4", "amd64", "debian 12.2.0"},
		"a pool's own kubelet":           {worker("plain", func(w *core.Worker) { w.Kubernetes = &core.WorkerKubernetes{Version: new("1.35.4")} }), "1.36.3", "amd64", "debian 12.2.0"},
		"the first image that fits":      {worker("gpu", nil), "1.36.3", "arm64", "vision 1.0.0"},
		"none fits":                      {worker("arm", nil), "1.36.3", "arm64", ""},
		"major completed":                {worker("plain", image("debian", "12")), "1.36.3", "amd64", "debian 12.1.0"},
		"minor completed":                {worker("plain", image("debian", "12.0")), "1.36.3", "amd64", "debian 12.0.1"},
		"name only":                      {worker("plain", image("debian", "")), "1.36.3", "amd64", "debian 12.1.0"},
		"version only":                   {worker("plain", image("", "11")), "1.36.3", "amd64", "debian 11.9.0"},
		"never a preview":                {worker("plain", image("debian", "13")), "1.36.3", "amd64", "debian 13"},
		"what is given stays":            {worker("plain", image("debian", "13.0.0")), "1.36.3", "amd64", "debian 13.0.0"},
		"unknown image stays":            {worker("plain", image("suse", "1")), "1.36.3", "amd64", "suse 1"},
		"unknown machine type":           {worker("huge", nil), "1.36.3", "", ""},
		"container runtimes do not fit":  {worker("plain", func(w *core.Worker) { w.CRI.ContainerRuntimes = []core.ContainerRuntime{{Type: "gvisor"}} }), "1.36.3", "amd64", ""},
		"updates in place are not there": {worker("plain", func(w *core.Worker) { w.UpdateStrategy = new(core.AutoInPlaceUpdate) }), "1.36.3", "amd64", ""},
	} {
		s := shoot(test.worker)
		s.Spec.Kubernetes.Version = test.kubernetes
		defaulting.Create(s, facts())
		machine, got, architecture := s.Spec.Provider.Workers[0].Machine, "", ""
		if machine.Image != nil {
			got = machine.Image.Name + " " + machine.Image.Version
		}
		if machine.Architecture != nil {
			architecture = *machine.Architecture
		}
		if got != test.image || architecture != test.architecture {
			t.Errorf("%s: got %q for %q, want %q for %q", name, got, architecture, test.image, test.architecture)
		}
	}
}

func TestNetworksAndTolerations(t *testing.T) {
	seeded := facts()
	seeded.Seed = &core.Seed{}
	seeded.Seed.Spec.Networks.ShootDefaults = &core.ShootNetworks{Pods: new("10.200.0.0/16")}
	seeded.Project = &core.Project{}
	seeded.Project.Spec.Tolerations = &core.ProjectTolerations{Defaults: []core.Toleration{{Key: "a"}, {Key: "b"}}}
	for name, test := range map[string]struct {
		facts          defaulting.Facts
		change         func(*core.Shoot)
		pods, services string
	}{
		"of the API":    {facts(), func(*core.Shoot) {}, "100.96.0.0/11", "100.64.0.0/13"},
		"of the seed":   {seeded, func(*core.Shoot) {}, "10.200.0.0/16", "100.64.0.0/13"},
		"given":         {seeded, func(s *core.Shoot) { s.Spec.Networking.Pods = new("10.9.0.0/16") }, "10.9.0.0/16", "100.64.0.0/13"},
		"would overlap": {facts(), func(s *core.Shoot) { s.Spec.Networking.Nodes = new("100.64.0.0/16") }, "100.96.0.0/11", ""},
		"none for IPv6": {facts(), func(s *core.Shoot) { s.Spec.Networking.IPFamilies = []core.IPFamily{core.IPFamilyIPv6} }, "", ""},
		"those of kind for a local one of IPv6": {facts(), func(s *core.Shoot) {
			s.Spec.Provider.Type, s.Spec.Networking.IPFamilies, s.Spec.Networking.Services = "local", []core.IPFamily{core.IPFamilyIPv6}, new("fd01::/112")
		}, "fd00:10:244::/56", "fd01::/112"},
		"none without nodes":  {facts(), func(s *core.Shoot) { s.Spec.Provider.Workers = nil }, "", ""},
		"a local one has one": {facts(), func(s *core.Shoot) { s.Spec.Provider.Workers, s.Spec.Provider.Type = nil, "local" }, "100.96.0.0/11", "100.64.0.0/13"},
	} {
		s := shoot(worker("plain", nil))
		s.Spec.Tolerations = []core.Toleration{{Key: "b", Value: new("mine")}}
		test.change(s)
		defaulting.Create(s, test.facts)
		pods, services := "", ""
		if s.Spec.Networking.Pods != nil {
			pods = *s.Spec.Networking.Pods
		}
		if s.Spec.Networking.Services != nil {
			services = *s.Spec.Networking.Services
		}
		if pods != test.pods || services != test.services {
			t.Errorf("%s: pods %q, services %q, want %q, %q", name, pods, services, test.pods, test.services)
		}
		if want := 1; test.facts.Project == nil && len(s.Spec.Tolerations) != want || test.facts.Project != nil && (len(s.Spec.Tolerations) != 2 || *s.Spec.Tolerations[0].Value != "mine") {
			t.Errorf("%s: tolerations are %v", name, s.Spec.Tolerations)
		}
	}
}

// TestReplace applies what a user wrote once more: nothing may change, although
// the profile offers more by now.
func TestReplace(t *testing.T) {
	written := func() *core.Shoot {
		s := shoot(worker("plain", func(w *core.Worker) { w.Kubernetes = &core.WorkerKubernetes{Version: new("1.35")} }), worker("gpu", func(w *core.Worker) { w.Machine.Image = &core.ShootMachineImage{Name: "vision", Version: "1"} }))
		s.Spec.Kubernetes.Version = "1.36"
		return s
	}
	stored := written()
	defaulting.Create(stored, facts())
	later := facts()
	for i, text := range []string{"1.36.9", "1.35.9"} {
		later.Profile.Kubernetes.Versions = append(later.Profile.Kubernetes.Versions, version(text, core.ClassificationSupported))
		v := later.Profile.MachineImages[i].Versions[0]
		v.Version = []string{"12.9.0", "1.9.0"}[i]
		later.Profile.MachineImages[i].Versions = append(later.Profile.MachineImages[i].Versions, v)
	}
	for name, f := range map[string]defaulting.Facts{"with the profile": later, "without any": {}} {
		again := written()
		if defaulting.Update(again, stored, f); !apiequality.Semantic.DeepEqual(again, stored) {
			t.Errorf("%s: got %+v, want %+v", name, again.Spec, stored.Spec)
		}
	}
	raised := written()
	raised.Spec.Kubernetes.Version = "1.37"
	raised.Spec.Provider.Workers = append(raised.Spec.Provider.Workers, worker("plain", func(w *core.Worker) { w.Name = "new" }))
	later.Profile.Kubernetes.Versions[0] = version("1.37.1", core.ClassificationSupported)
	defaulting.Update(raised, stored, later)
	if got := raised.Spec.Kubernetes.Version; got != "1.37.1" {
		t.Errorf("1.37 becomes %q", got)
	}
	if got := raised.Spec.Provider.Workers[2].Machine.Image; got == nil || got.Version != "12.9.0" {
		t.Errorf("a new pool gets image %+v", got)
	}

	bare := shoot(worker("plain", nil))
	replaced := bare.DeepCopy()
	if defaulting.Update(replaced, bare, later); replaced.Spec.Provider.Workers[0].Machine.Image != nil {
		t.Error("a pool that did without an image got one, which would replace its machines")
	}
}

func TestSpellings(t *testing.T) {
	s := shoot(worker("plain", func(w *core.Worker) { w.Kubernetes = &core.WorkerKubernetes{Version: new("v1.35.4")} }))
	s.Spec.CloudProfileName, s.Spec.Kubernetes.Version = new("metal"), "v1.36.3"
	former := defaulting.Canonicalize(s)
	if len(former) != 1 || s.Spec.CloudProfileName != nil || s.Spec.CloudProfile.Name != "metal" || s.Spec.CloudProfile.Kind != "CloudProfile" ||
		s.Spec.Kubernetes.Version != "1.36.3" || *s.Spec.Provider.Workers[0].Kubernetes.Version != "1.35.4" {
		t.Errorf("got %+v, %v", s.Spec, former)
	}
	s.Spec.CloudProfileName = new("other")
	if defaulting.Canonicalize(s); s.Spec.CloudProfileName == nil || s.Spec.CloudProfile.Name != "metal" {
		t.Error("a contradiction was resolved, validation should name it")
	}
}

func TestDNSCredentials(t *testing.T) {
	provider := func(v string, p core.DNSProvider) *core.Shoot {
		s := shoot()
		s.Spec.Kubernetes.Version, s.Spec.DNS = v, &core.DNS{Providers: []core.DNSProvider{p}}
		return s
	}
	old := provider("1.34.9", core.DNSProvider{SecretName: new("s")})
	if defaulting.SyncDNS(old, nil); old.Spec.DNS.Providers[0].CredentialsRef == nil || old.Spec.DNS.Providers[0].CredentialsRef.Name != "s" {
		t.Errorf("the present field is not filled in: %+v", old.Spec.DNS.Providers[0])
	}
	raised := old.DeepCopy()
	raised.Spec.Kubernetes.Version = "1.35.4"
	if defaulting.SyncDNS(raised, old); raised.Spec.DNS.Providers[0].SecretName != nil {
		t.Error("the former field stays although this version has it no more")
	}
	fresh := provider("1.35.4", core.DNSProvider{SecretName: new("s")})
	if defaulting.SyncDNS(fresh, nil); fresh.Spec.DNS.Providers[0].SecretName == nil || fresh.Spec.DNS.Providers[0].CredentialsRef != nil {
		t.Error("what is refused should be left for validation to name")
	}
}

func TestLabels(t *testing.T) {
	s := shoot(worker("plain", func(w *core.Worker) {
		w.Machine.Image = &core.ShootMachineImage{Name: "debian"}
		w.CRI.ContainerRuntimes = []core.ContainerRuntime{{Type: "gvisor"}}
	}))
	s.Labels = map[string]string{"mine": "x", "extensions.extensions.gardener.cloud/gone": "true", "provider.extensions.gardener.cloud/metal": "false"}
	s.Spec.Extensions = []core.Extension{{Type: "registry"}, {Type: "off", Disabled: new(true)}, {Type: "not a label"}}
	s.Spec.DNS = &core.DNS{Providers: []core.DNSProvider{{Type: new("route53")}, {Type: new("unmanaged")}}}
	defaulting.Label(s)
	want := map[string]string{
		"mine": "x", "extensions.extensions.gardener.cloud/registry": "true", "provider.extensions.gardener.cloud/metal": "true",
		"networking.extensions.gardener.cloud/calico": "true", "dnsrecord.extensions.gardener.cloud/route53": "true",
		"operatingsystemconfig.extensions.gardener.cloud/debian": "true", "containerruntime.extensions.gardener.cloud/gvisor": "true",
	}
	if !apiequality.Semantic.DeepEqual(s.Labels, want) {
		t.Errorf("got %v, want %v", s.Labels, want)
	}
}
