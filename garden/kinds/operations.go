package kinds

import (
	"context"
	"fmt"
	"time"

	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	"github.com/gardener/gardener/pkg/apis/operations"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/validation/field"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/garden/kinds/internal/cells"
	"github.com/loam-cloud/loam/garden/kinds/internal/lookup"
	"github.com/loam-cloud/loam/garden/strategy"
	operationrules "github.com/loam-cloud/loam/garden/validation/operations"
)

// bastionLifetime is how long a bastion lives after its last heartbeat.
const bastionLifetime = time.Hour

func operationsKinds(r rules) []strategy.Kind {
	return []strategy.Kind{
		strategy.Define[operations.Bastion, operations.BastionList](strategy.Definition[operations.Bastion]{
			Resource: "bastions", Singular: "bastion",
			Columns: []strategy.Column[operations.Bastion]{
				{Name: "Shoot", Description: "Cluster that it leads to.", Cell: func(b *operations.Bastion) any { return b.Spec.ShootRef.Name }},
				{Name: "Seed", Description: "Seed of the cluster.", Cell: func(b *operations.Bastion) any { return ptr.Deref(b.Spec.SeedName, "") }},
				{Name: "Address", Description: "Where it listens.", Cell: func(b *operations.Bastion) any {
					ingress := ptr.Deref(b.Status.Ingress, corev1.LoadBalancerIngress{})
					if ingress.IP != "" {
						return ingress.IP
					}
					return ingress.Hostname
				}},
				{Name: "Status", Description: "Whether it is ready.", Cell: func(b *operations.Bastion) any { return cells.Readiness(b.Status.Conditions) }},
			},
			Fields: func(b *operations.Bastion) fields.Set {
				return fields.Set{operations.BastionSeedName: ptr.Deref(b.Spec.SeedName, ""), operations.BastionShootName: b.Spec.ShootRef.Name}
			},
			PrepareForCreate: r.prepareBastionForCreate,
			PrepareForUpdate: func(_ context.Context, b, old *operations.Bastion) { prepareBastionForUpdate(b, old, r.clock.Now()) },
			Validate:         whenChanged(func(b *operations.Bastion) any { return b.Spec }, r.validateBastion),
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

// prepareBastionForCreate fills in what the cluster behind a bastion knows and
// starts its life.
func (r rules) prepareBastionForCreate(ctx context.Context, bastion *operations.Bastion) {
	if user, ok := genericapirequest.UserFrom(ctx); ok {
		metav1.SetMetaDataAnnotation(&bastion.ObjectMeta, v1beta1constants.GardenCreatedBy, user.GetName())
	}
	// Without a cluster there is nothing to fill in, and validation says so.
	if shoot, err := r.Shoot(ctx, bastion.Namespace, bastion.Spec.ShootRef.Name, strategy.Current); err == nil && shoot != nil {
		provider := shoot.Spec.Provider.Type
		bastion.Spec.ProviderType = &provider
		if seed := shoot.Spec.SeedName; seed != nil {
			name := *seed
			bastion.Spec.SeedName = &name
		}
	}
	keepAlive(bastion, r.clock.Now())
}

// prepareBastionForUpdate keeps what was filled in when a manifest without it is
// written again, and takes a heartbeat.
func prepareBastionForUpdate(bastion, old *operations.Bastion, now time.Time) {
	if creator, known := old.Annotations[v1beta1constants.GardenCreatedBy]; known {
		metav1.SetMetaDataAnnotation(&bastion.ObjectMeta, v1beta1constants.GardenCreatedBy, creator)
	}
	if bastion.Spec.ProviderType == nil {
		bastion.Spec.ProviderType = old.Spec.ProviderType
	}
	if bastion.Spec.SeedName == nil {
		bastion.Spec.SeedName = old.Spec.SeedName
	}
	if bastion.Annotations[bastionOperation] == v1beta1constants.GardenerOperationKeepalive {
		keepAlive(bastion, now)
	}
}

func (r rules) validateBastion(ctx context.Context, bastion, old *operations.Bastion) field.ErrorList {
	return lookup.Again(func(freshness strategy.Freshness) field.ErrorList {
		errs := operationrules.ValidateBastion(bastion, old)
		if old != nil {
			return errs
		}
		path, name := field.NewPath("spec", "shootRef", "name"), bastion.Spec.ShootRef.Name
		shoot, err := r.Shoot(ctx, bastion.Namespace, name, freshness)
		if err != nil {
			return append(errs, field.InternalError(path, fmt.Errorf("reading shoot %q: %w", name, err)))
		}
		return append(errs, operationrules.ValidateBastionShoot(bastion, shoot)...)
	})
}
