// Package wanted decides which extensions have to be installed
// where. It is pure: what is there goes in, what is wanted comes out.
//
// The reconcilers of installations call it, one for Seeds and one for Shoots that look
// after themselves. It must not know how an installation is written.
package wanted

import (
	"slices"
	"strings"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	extensionsv1alpha1 "github.com/gardener/gardener/pkg/apis/extensions/v1alpha1"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/controllers/internal/cluster"
)

// SeedRefName is the label of an installation in a cluster that is Seed and
// Shoot at once, which only the Seed needs. Its value is the Seed's name.
const SeedRefName = "seed-ref-name"

// unmanaged is the type of a DNS provider without records (DNSUnmanaged of
// Gardener's internal API).
const unmanaged = "unmanaged"

// Extension is something that an extension controller may take care of.
type Extension struct {
	// Kind is an extension API's, Type one of those that its controllers know.
	Kind, Type string
}

// String is how people write it.
func (e Extension) String() string { return e.Kind + "/" + e.Type }

// Set is what is wanted.
type Set map[Extension]struct{}

// Add adds one type for some kinds. An empty type is none.
func (s Set) Add(kind string, types ...string) {
	for _, t := range types {
		if t != "" {
			s[Extension{kind, t}] = struct{}{}
		}
	}
}

// Domain is one under which clusters get names.
type Domain struct {
	Name string
	// Provider is the type of DNSRecords in it.
	Provider string
}

// Domains are those of a garden or a Seed.
type Domains struct {
	// Internal is nil where there is none.
	Internal *Domain
	Defaults []Domain
}

// Backups are what is stored for a Seed or a Shoot.
type Backups struct {
	Buckets []gardencorev1beta1.BackupBucket
	// EntryTypes are the types of the buckets that entries are in, which may be
	// others' buckets.
	EntryTypes []string
}

func (b Backups) addTo(s Set) {
	for i := range b.Buckets {
		s.Add(extensionsv1alpha1.BackupBucketResource, b.Buckets[i].Spec.Provider.Type)
	}
	s.Add(extensionsv1alpha1.BackupEntryResource, b.EntryTypes...)
}

// addSeed adds what a Seed itself needs.
func (s Set) addSeed(seed *gardencorev1beta1.Seed, registrations []gardencorev1beta1.ControllerRegistration) {
	s.addProvider(seed.Spec.Provider.Type)
	if provider := seed.Spec.DNS.Provider; provider != nil {
		s.Add(extensionsv1alpha1.DNSRecordResource, provider.Type)
	}
	s.addExtensions(seed.Spec.Extensions, registrations, func(r *gardencorev1beta1.ControllerResource) bool {
		return slices.Contains(r.AutoEnable, gardencorev1beta1.ClusterTypeSeed)
	})
}

// addHosted adds what a Shoot needs on the Seed that holds its control plane.
func (s Set) addHosted(shoot *gardencorev1beta1.Shoot, seed *gardencorev1beta1.Seed, registrations []gardencorev1beta1.ControllerRegistration, domains Domains) {
	s.Add(extensionsv1alpha1.ControlPlaneResource, seed.Spec.Provider.Type)
	s.addBackup(seed.Spec.Backup)
	s.addShoot(shoot, registrations, domains)
}

// addShoot adds what a Shoot needs wherever its control plane is.
func (s Set) addShoot(shoot *gardencorev1beta1.Shoot, registrations []gardencorev1beta1.ControllerRegistration, domains Domains) {
	workerless := cluster.Workerless(shoot)
	if !workerless {
		s.addProvider(shoot.Spec.Provider.Type)
		if networking := shoot.Spec.Networking; networking != nil {
			s.Add(extensionsv1alpha1.NetworkResource, ptr.Deref(networking.Type, ""))
		}
	}
	for i := range shoot.Spec.Provider.Workers {
		s.addWorker(shoot, &shoot.Spec.Provider.Workers[i])
	}
	s.addDNS(shoot.Spec.DNS, domains)
	s.addExtensions(shoot.Spec.Extensions, registrations, func(r *gardencorev1beta1.ControllerResource) bool {
		return slices.Contains(r.AutoEnable, gardencorev1beta1.ClusterTypeShoot) && (!workerless || ptr.Deref(r.WorkerlessSupported, false))
	})
}

func (s Set) addProvider(name string) {
	for _, kind := range []string{extensionsv1alpha1.ControlPlaneResource, extensionsv1alpha1.InfrastructureResource, extensionsv1alpha1.WorkerResource} {
		s.Add(kind, name)
	}
}

func (s Set) addBackup(backup *gardencorev1beta1.Backup) {
	if backup != nil {
		s.Add(extensionsv1alpha1.BackupBucketResource, backup.Provider)
		s.Add(extensionsv1alpha1.BackupEntryResource, backup.Provider)
	}
}

func (s Set) addWorker(shoot *gardencorev1beta1.Shoot, worker *gardencorev1beta1.Worker) {
	if image := worker.Machine.Image; image != nil {
		s.Add(extensionsv1alpha1.OperatingSystemConfigResource, image.Name)
	}
	if worker.CRI != nil {
		for _, runtime := range worker.CRI.ContainerRuntimes {
			s.Add(extensionsv1alpha1.ContainerRuntimeResource, runtime.Type)
		}
	}
	if plane := worker.ControlPlane; plane != nil {
		s.addBackup(plane.Backup)
		if plane.Exposure != nil && plane.Exposure.Extension != nil {
			s.Add(extensionsv1alpha1.SelfHostedShootExposureResource, ptr.Deref(plane.Exposure.Extension.Type, shoot.Spec.Provider.Type))
		}
	}
}

func (s Set) addDNS(dns *gardencorev1beta1.DNS, domains Domains) {
	if domains.Internal != nil {
		s.Add(extensionsv1alpha1.DNSRecordResource, domains.Internal.Provider)
	}
	if dns == nil {
		return
	}
	primary := false
	for _, provider := range dns.Providers {
		if ptr.Deref(provider.Primary, false) {
			primary = true
			if t := ptr.Deref(provider.Type, ""); t != unmanaged {
				s.Add(extensionsv1alpha1.DNSRecordResource, t)
			}
		}
	}
	if primary {
		return
	}
	// Without a provider of its own the external domain is one of the garden's.
	for _, domain := range domains.Defaults {
		if strings.HasSuffix(ptr.Deref(dns.Domain, ""), "."+domain.Name) {
			s.Add(extensionsv1alpha1.DNSRecordResource, domain.Provider)
			return
		}
	}
}

// addExtensions adds those that are asked for and those that come by themselves,
// unless they are refused.
func (s Set) addExtensions(asked []gardencorev1beta1.Extension, registrations []gardencorev1beta1.ControllerRegistration, auto func(*gardencorev1beta1.ControllerResource) bool) {
	refused := map[string]bool{}
	for _, extension := range asked {
		if ptr.Deref(extension.Disabled, false) {
			refused[extension.Type] = true
		} else {
			s.Add(extensionsv1alpha1.ExtensionResource, extension.Type)
		}
	}
	for i := range registrations {
		for j := range registrations[i].Spec.Resources {
			resource := &registrations[i].Spec.Resources[j]
			if resource.Kind == extensionsv1alpha1.ExtensionResource && auto(resource) && !refused[resource.Type] {
				s.Add(resource.Kind, resource.Type)
			}
		}
	}
}
