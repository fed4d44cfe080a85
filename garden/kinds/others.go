package kinds

import (
	"context"
	"strings"
	"time"

	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	"github.com/gardener/gardener/pkg/apis/operations"
	"github.com/gardener/gardener/pkg/apis/security"
	"github.com/gardener/gardener/pkg/apis/seedmanagement"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/utils/clock"

	loamv1alpha1 "github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/garden/scheme"
	"github.com/loam-cloud/loam/garden/strategy"
)

func seedManagementKinds() []strategy.Kind {
	return []strategy.Kind{
		strategy.Define[seedmanagement.ManagedSeed, seedmanagement.ManagedSeedList](strategy.Definition[seedmanagement.ManagedSeed]{
			Resource: "managedseeds", Singular: "managedseed", ShortNames: []string{"ms"},
			Columns: []strategy.Column[seedmanagement.ManagedSeed]{
				{Name: "Shoot", Description: "Cluster that becomes a seed.", Cell: func(s *seedmanagement.ManagedSeed) any { return shootOf(s) }},
				{Name: "Status", Description: "Whether the seed is registered.", Cell: func(s *seedmanagement.ManagedSeed) any { return readiness(s.Status.Conditions) }},
			},
			Fields: func(s *seedmanagement.ManagedSeed) fields.Set {
				return fields.Set{seedmanagement.ManagedSeedShootName: shootOf(s)}
			},
			Validate: validateManagedSeed,
		}),
		strategy.Define[seedmanagement.ManagedSeedSet, seedmanagement.ManagedSeedSetList](strategy.Definition[seedmanagement.ManagedSeedSet]{
			Resource: "managedseedsets", Singular: "managedseedset", ShortNames: []string{"mss"},
			Columns: []strategy.Column[seedmanagement.ManagedSeedSet]{
				{Name: "Replicas", Description: "Seeds that are wanted.", Cell: func(s *seedmanagement.ManagedSeedSet) any { return int64(deref(s.Spec.Replicas)) }},
				{Name: "Ready", Description: "Seeds that are ready.", Cell: func(s *seedmanagement.ManagedSeedSet) any { return int64(s.Status.ReadyReplicas) }},
			},
			Validate: validateManagedSeedSet,
		}),
		strategy.Define[seedmanagement.Gardenlet, seedmanagement.GardenletList](strategy.Definition[seedmanagement.Gardenlet]{
			Resource: "gardenlets", Singular: "gardenlet",
			Columns: []strategy.Column[seedmanagement.Gardenlet]{
				{Name: "Status", Description: "Whether the agent is deployed.", Cell: func(g *seedmanagement.Gardenlet) any { return readiness(g.Status.Conditions) }},
			},
		}),
	}
}

func shootOf(seed *seedmanagement.ManagedSeed) string { return deref(seed.Spec.Shoot).Name }

// bastionLifetime is how long a bastion lives after its last heartbeat.
const bastionLifetime = time.Hour

func operationsKinds(clock clock.PassiveClock) []strategy.Kind {
	return []strategy.Kind{
		strategy.Define[operations.Bastion, operations.BastionList](strategy.Definition[operations.Bastion]{
			Resource: "bastions", Singular: "bastion",
			Columns: []strategy.Column[operations.Bastion]{
				{Name: "Shoot", Description: "Cluster that it leads to.", Cell: func(b *operations.Bastion) any { return b.Spec.ShootRef.Name }},
				{Name: "Seed", Description: "Seed of the cluster.", Cell: func(b *operations.Bastion) any { return deref(b.Spec.SeedName) }},
				{Name: "Address", Description: "Where it listens.", Cell: func(b *operations.Bastion) any {
					ingress := deref(b.Status.Ingress)
					if ingress.IP != "" {
						return ingress.IP
					}
					return ingress.Hostname
				}},
				{Name: "Status", Description: "Whether it is ready.", Cell: func(b *operations.Bastion) any { return readiness(b.Status.Conditions) }},
			},
			Fields: func(b *operations.Bastion) fields.Set {
				return fields.Set{operations.BastionSeedName: deref(b.Spec.SeedName), operations.BastionShootName: b.Spec.ShootRef.Name}
			},
			PrepareForCreate: func(_ context.Context, b *operations.Bastion) { keepAlive(b, clock.Now()) },
			PrepareForUpdate: func(_ context.Context, b, _ *operations.Bastion) {
				if b.Annotations[bastionOperation] == v1beta1constants.GardenerOperationKeepalive {
					keepAlive(b, clock.Now())
				}
			},
			Validate: validateBastion,
		}),
	}
}

// bastionOperation is the annotation by which a client keeps its bastion.
const bastionOperation = "operations.gardener.cloud/operation"

// keepAlive records a heartbeat and consumes what asked for it.
func keepAlive(bastion *operations.Bastion, now time.Time) {
	heartbeat, expiration := metav1.NewTime(now), metav1.NewTime(now.Add(bastionLifetime))
	bastion.Status.LastHeartbeatTimestamp, bastion.Status.ExpirationTimestamp = &heartbeat, &expiration
	delete(bastion.Annotations, bastionOperation)
}

func securityKinds() []strategy.Kind {
	return []strategy.Kind{
		strategy.Define[security.CredentialsBinding, security.CredentialsBindingList](strategy.Definition[security.CredentialsBinding]{
			Resource: "credentialsbindings", Singular: "credentialsbinding", ShortNames: []string{"credb"},
			WithoutGeneration: true,
			Columns: []strategy.Column[security.CredentialsBinding]{
				{Name: "Provider", Description: "Type of infrastructure.", Cell: func(b *security.CredentialsBinding) any { return b.Provider.Type }},
				{Name: "Credentials", Description: "Kind, namespace and name of the credentials.", Cell: func(b *security.CredentialsBinding) any {
					return strings.TrimSpace(b.CredentialsRef.Kind + " " + namespacedName(b.CredentialsRef.Namespace, b.CredentialsRef.Name))
				}},
			},
			Validate: validateCredentialsBinding,
		}),
		strategy.Define[security.WorkloadIdentity, security.WorkloadIdentityList](strategy.Definition[security.WorkloadIdentity]{
			Resource: "workloadidentities", Singular: "workloadidentity", ShortNames: []string{"wlid"},
			Columns: []strategy.Column[security.WorkloadIdentity]{
				{Name: "Type", Description: "System that trusts the identity.", Cell: func(w *security.WorkloadIdentity) any { return w.Spec.TargetSystem.Type }},
				{Name: "Subject", Description: "Who a token of it names.", Wide: true, Cell: func(w *security.WorkloadIdentity) any { return w.Status.Sub }},
			},
			PrepareForCreate: func(_ context.Context, w *security.WorkloadIdentity) {
				w.Status.Sub = strings.Join([]string{"gardener.cloud", "workloadidentity", w.Namespace, w.Name, string(w.UID)}, ":")
			},
			Validate: validateWorkloadIdentity,
		}),
	}
}

func loamKinds() []strategy.Kind {
	return []strategy.Kind{
		strategy.Define[loamv1alpha1.Machine, loamv1alpha1.MachineList](strategy.Definition[loamv1alpha1.Machine]{
			Resource: "machines", Singular: "machine",
			Columns: []strategy.Column[loamv1alpha1.Machine]{
				{Name: "Shoot", Description: "Cluster of the machine.", Cell: func(m *loamv1alpha1.Machine) any { return m.Spec.ShootName }},
				{Name: "Pool", Description: "Worker pool of the machine.", Cell: func(m *loamv1alpha1.Machine) any { return m.Spec.Pool }},
				{Name: "Role", Description: "What the machine does.", Cell: func(m *loamv1alpha1.Machine) any { return string(m.Spec.Role) }},
				{Name: "State", Description: "What the driver last saw.", Cell: func(m *loamv1alpha1.Machine) any { return m.Status.State }},
				{Name: "Node", Description: "Node that it became.", Cell: func(m *loamv1alpha1.Machine) any { return m.Status.NodeName }},
				{Name: "Address", Description: "Primary address.", Cell: func(m *loamv1alpha1.Machine) any {
					if len(m.Status.Addresses) == 0 {
						return ""
					}
					return m.Status.Addresses[0]
				}},
				{Name: "Provider", Description: "Driver of the machine.", Wide: true, Cell: func(m *loamv1alpha1.Machine) any { return m.Spec.ProviderType }},
				{Name: "Image", Description: "What the machine booted from.", Wide: true, Cell: func(m *loamv1alpha1.Machine) any { return m.Spec.Image }},
			},
			Fields: func(m *loamv1alpha1.Machine) fields.Set {
				return fields.Set{scheme.MachineShootName: m.Spec.ShootName}
			},
			Validate: validateMachine,
		}),
	}
}
