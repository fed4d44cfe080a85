package defaulting

import (
	"net/netip"

	"github.com/gardener/gardener/pkg/apis/core"

	"github.com/loam-cloud/loam/garden/offers"
)

// fillWorker fills in a pool; old is the pool of that name before, nil for a new
// one.
func fillWorker(shoot *core.Shoot, worker, old *core.Worker, facts Facts) {
	fillKubelet(shoot, worker, old, facts)
	if old != nil && worker.Machine.Type == old.Machine.Type && worker.Machine.Image == nil && old.Machine.Image == nil {
		// It has done without so far; a default would roll its machines.
		return
	}
	if old != nil && worker.Machine.Architecture == nil && worker.Machine.Type == old.Machine.Type {
		worker.Machine.Architecture = old.Machine.Architecture
	}
	var machine *core.MachineType
	if facts.Profile != nil {
		machine = offers.MachineType(facts.Profile, worker.Machine.Type)
		if machine != nil && worker.Machine.Architecture == nil {
			worker.Machine.Architecture = new(offers.Architecture(facts.Profile, machine))
		}
	}
	if old != nil {
		keepImage(worker, old)
	}
	if facts.Profile == nil || machine == nil {
		// Without a machine type nobody can say what image fits.
		return
	}
	fillImage(shoot, worker, facts)
}

// fillKubelet completes the pool's own Kubernetes version, if it wants one. The
// control plane's version is as new as a pool can be, so it is the choice where
// it matches.
func fillKubelet(shoot *core.Shoot, worker, old *core.Worker, facts Facts) {
	if worker.Kubernetes == nil || worker.Kubernetes.Version == nil || !offers.IsPrefix(*worker.Kubernetes.Version) {
		return
	}
	prefix := *worker.Kubernetes.Version
	version := prefix
	switch {
	case old != nil && old.Kubernetes != nil && old.Kubernetes.Version != nil && offers.HasPrefix(*old.Kubernetes.Version, prefix):
		version = *old.Kubernetes.Version
	case offers.HasPrefix(shoot.Spec.Kubernetes.Version, prefix):
		version = shoot.Spec.Kubernetes.Version
	case facts.Profile != nil:
		version = complete(prefix, facts.Profile.Kubernetes.Versions, facts.Now)
	}
	worker.Kubernetes.Version = &version
}

// keepImage leaves a pool the image it has where the manifest leaves it open.
func keepImage(worker, old *core.Worker) {
	if old.Machine.Image == nil || worker.Machine.Type != old.Machine.Type {
		return
	}
	if worker.Machine.Image == nil {
		worker.Machine.Image = old.Machine.Image.DeepCopy()
		return
	}
	image := worker.Machine.Image
	if image.Name == "" {
		image.Name = old.Machine.Image.Name
	}
	if image.Name == old.Machine.Image.Name && offers.IsPrefix(image.Version) && offers.HasPrefix(old.Machine.Image.Version, image.Version) {
		image.Version = old.Machine.Image.Version
	}
}

func fillImage(shoot *core.Shoot, worker *core.Worker, facts Facts) {
	need := offers.NeedOf(shoot, worker, facts.Profile)
	image := worker.Machine.Image
	if image == nil || image.Name == "" {
		// The first image that fits, in the profile's order: a profile with images
		// for several architectures offers each to its own machines.
		for i := range facts.Profile.MachineImages {
			candidate := &facts.Profile.MachineImages[i]
			if version, found := offers.NewestImage(facts.Profile, candidate, imagePrefix(image), need, facts.Now); found {
				if image == nil {
					image = &core.ShootMachineImage{}
					worker.Machine.Image = image
				}
				image.Name, image.Version = candidate.Name, version
				return
			}
		}
		return
	}
	if !offers.IsPrefix(image.Version) {
		return
	}
	known := offers.Image(facts.Profile, image.Name)
	if known == nil || image.Version != "" && offers.ImageVersion(known, image.Version) != nil {
		// Some images have versions of one or two numbers.
		return
	}
	if version, found := offers.NewestImage(facts.Profile, known, image.Version, need, facts.Now); found {
		image.Version = version
	}
}

func imagePrefix(image *core.ShootMachineImage) string {
	if image == nil {
		return ""
	}
	return image.Version
}

// overlapsAny tells whether a range shares an address with one of others; what
// does not parse overlaps nothing.
func overlapsAny(text string, others ...*string) bool {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return false
	}
	for _, other := range others {
		if other == nil {
			continue
		}
		if parsed, err := netip.ParsePrefix(*other); err == nil && parsed.Overlaps(prefix) {
			return true
		}
	}
	return false
}
