// Package installer reads what decides about ControllerInstallations, and writes
// them.
//
// The reconcilers for Seeds and for Shoots call it. It must not decide what is
// wanted.
package installer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	gardencorev1 "github.com/gardener/gardener/pkg/apis/core/v1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	corev1 "k8s.io/api/core/v1"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/controllers/controllerregistration/internal/wanted"
	"github.com/loam-cloud/loam/controllers/index"
)

// Annotations of Secrets that say which domain their credentials are for.
const (
	domainAnnotation   = "dns.gardener.cloud/domain"
	providerAnnotation = "dns.gardener.cloud/provider"
)

// Installer reads and writes.
type Installer struct {
	Client client.Client
	// Live reads installations as the server has them: a cache that lags would
	// have them made twice.
	Live client.Reader
	// Metadata reads that of Secrets and ConfigMaps.
	Metadata client.Reader
}

// Registrations are all, by name. They must not be changed.
func (i Installer) Registrations(ctx context.Context) ([]gardencorev1beta1.ControllerRegistration, error) {
	list := &gardencorev1beta1.ControllerRegistrationList{}
	if err := i.Client.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing controller registrations: %w", err)
	}
	slices.SortFunc(list.Items, func(a, b gardencorev1beta1.ControllerRegistration) int { return strings.Compare(a.Name, b.Name) })
	return list.Items, nil
}

// Installations are those with the given fields, the oldest first.
func (i Installer) Installations(ctx context.Context, fields client.MatchingFields) ([]gardencorev1beta1.ControllerInstallation, error) {
	list := &gardencorev1beta1.ControllerInstallationList{}
	if err := i.Live.List(ctx, list, fields); err != nil {
		return nil, fmt.Errorf("listing controller installations: %w", err)
	}
	slices.SortFunc(list.Items, func(a, b gardencorev1beta1.ControllerInstallation) int {
		if c := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return list.Items, nil
}

// Backups are the buckets and entries with the given fields.
func (i Installer) Backups(ctx context.Context, fields client.MatchingFields) (wanted.Backups, error) {
	var found wanted.Backups
	buckets, entries := &gardencorev1beta1.BackupBucketList{}, &gardencorev1beta1.BackupEntryList{}
	for _, list := range []client.ObjectList{buckets, entries} {
		if err := i.Client.List(ctx, list, fields, client.UnsafeDisableDeepCopy); err != nil {
			return found, fmt.Errorf("listing backups: %w", err)
		}
	}
	found.Buckets = buckets.Items
	types := map[string]string{}
	for j := range entries.Items {
		name := entries.Items[j].Spec.BucketName
		if _, known := types[name]; known {
			continue
		}
		bucket := &gardencorev1beta1.BackupBucket{}
		if err := i.Client.Get(ctx, client.ObjectKey{Name: name}, bucket); client.IgnoreNotFound(err) != nil {
			return found, fmt.Errorf("reading backup bucket %q: %w", name, err)
		}
		types[name] = bucket.Spec.Provider.Type // empty if it is gone
		found.EntryTypes = append(found.EntryTypes, types[name])
	}
	return found, nil
}

// Domains are those of a Seed, or of the garden where it names none; seed may be
// nil.
func (i Installer) Domains(ctx context.Context, seed *gardencorev1beta1.Seed) (wanted.Domains, error) {
	var found wanted.Domains
	if seed != nil {
		if internal := seed.Spec.DNS.Internal; internal != nil {
			found.Internal = &wanted.Domain{Name: internal.Domain, Provider: internal.Type}
		}
		for _, domain := range seed.Spec.DNS.Defaults {
			found.Defaults = append(found.Defaults, wanted.Domain{Name: domain.Domain, Provider: domain.Type})
		}
	}
	if found.Internal == nil {
		internal, err := i.domainsOf(ctx, v1beta1constants.GardenRoleInternalDomain)
		if err != nil {
			return found, err
		}
		if len(internal) > 0 {
			found.Internal = &internal[0]
		}
	}
	if len(found.Defaults) == 0 {
		var err error
		if found.Defaults, err = i.domainsOf(ctx, v1beta1constants.GardenRoleDefaultDomain); err != nil {
			return found, err
		}
	}
	return found, nil
}

func (i Installer) domainsOf(ctx context.Context, role string) ([]wanted.Domain, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	if err := i.Metadata.List(ctx, list, client.InNamespace(v1beta1constants.GardenNamespace), client.MatchingLabels{v1beta1constants.GardenRole: role}); err != nil {
		return nil, fmt.Errorf("listing secrets with role %s: %w", role, err)
	}
	slices.SortFunc(list.Items, func(a, b metav1.PartialObjectMetadata) int { return strings.Compare(a.Name, b.Name) })
	var found []wanted.Domain
	for j := range list.Items {
		annotations := list.Items[j].Annotations
		if name := annotations[domainAnnotation]; name != "" {
			found = append(found, wanted.Domain{Name: name, Provider: annotations[providerAnnotation]})
		}
	}
	return found, nil
}

// Source reads what an installation of a registration is made of.
func (i Installer) Source(ctx context.Context, registration *gardencorev1beta1.ControllerRegistration) (wanted.Source, error) {
	source := wanted.Source{Registration: registration}
	if registration.Spec.Deployment == nil || len(registration.Spec.Deployment.DeploymentRefs) == 0 {
		return source, nil
	}
	// More than one is not supported by the API.
	name := registration.Spec.Deployment.DeploymentRefs[0].Name
	source.Deployment = &gardencorev1.ControllerDeployment{}
	if err := i.Client.Get(ctx, client.ObjectKey{Name: name}, source.Deployment); err != nil {
		return source, fmt.Errorf("reading controller deployment %q: %w", name, err)
	}
	for _, resource := range source.Deployment.Resources {
		ref := resource.ResourceRef
		kind := schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind)
		if kind != corev1.SchemeGroupVersion.WithKind("Secret") && kind != corev1.SchemeGroupVersion.WithKind("ConfigMap") {
			continue // nothing else can be in a chart's values
		}
		object := &metav1.PartialObjectMetadata{}
		object.SetGroupVersionKind(kind)
		if err := i.Metadata.Get(ctx, client.ObjectKey{Namespace: v1beta1constants.GardenNamespace, Name: ref.Name}, object); err != nil {
			return source, fmt.Errorf("reading %s %q, which controller deployment %q names as %q: %w", ref.Kind, ref.Name, name, resource.Name, err)
		}
		source.Resources = append(source.Resources, corev1.ObjectReference{
			APIVersion: ref.APIVersion, Kind: ref.Kind, Namespace: object.Namespace, Name: object.Name, ResourceVersion: object.ResourceVersion,
		})
	}
	return source, nil
}

// Shoots are those with a Seed in their spec or in their status, each once. They
// must not be changed.
func (i Installer) Shoots(ctx context.Context, fields ...client.MatchingFields) ([]*gardencorev1beta1.Shoot, error) {
	var found []*gardencorev1beta1.Shoot
	seen := map[client.ObjectKey]bool{}
	for _, field := range fields {
		list := &gardencorev1beta1.ShootList{}
		if err := i.Client.List(ctx, list, field, client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("listing shoots: %w", err)
		}
		for j := range list.Items {
			if key := client.ObjectKeyFromObject(&list.Items[j]); !seen[key] {
				seen[key] = true
				found = append(found, &list.Items[j])
			}
		}
	}
	return found, nil
}

// ObserveShoot reads all that decides about a Shoot, and all installations in it,
// also those that only a Seed needs.
func (i Installer) ObserveShoot(ctx context.Context, shoot *gardencorev1beta1.Shoot, registrations []gardencorev1beta1.ControllerRegistration) (wanted.ShootFacts, []gardencorev1beta1.ControllerInstallation, error) {
	facts := wanted.ShootFacts{Shoot: shoot, Registrations: registrations}
	fields := client.MatchingFields{index.ShootRefNamespace: shoot.Namespace, index.ShootRefName: shoot.Name}
	all, err := i.Installations(ctx, fields)
	if err != nil {
		return facts, nil, err
	}
	for j := range all {
		if !wanted.OnlySeed(&all[j]) {
			facts.Installations = append(facts.Installations, all[j])
		}
	}
	var errs [2]error
	facts.Domains, errs[0] = i.Domains(ctx, nil)
	facts.Backups, errs[1] = i.Backups(ctx, fields)
	return facts, all, errors.Join(errs[:]...)
}
