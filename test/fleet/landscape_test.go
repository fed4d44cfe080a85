package fleet_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/garden/bootstrap"
	"github.com/loam-cloud/loam/garden/gardentest"
)

const (
	statusLabel = "shoot.gardener.cloud/status"
	// Each Shoot has secrets of its own, as those have that Gardener keeps.
	secretsOfShoot = 4
	secretBytes    = 2 << 10
)

// landscape is what a garden is filled with.
type landscape struct{ shoots, projects, seeds int }

func projectNamespace(i int) string { return fmt.Sprintf("garden-f%04d", i) }
func seedName(i int) string         { return fmt.Sprintf("f%03d", i) }

// fill makes what is missing; a smaller landscape is a part of a larger one.
func (l landscape) fill(b *testing.B) {
	b.Helper()
	c := gardentest.Client(b)
	each(b, l.seeds, func(ctx context.Context, i int) error { return makeSeed(ctx, c, seedName(i)) })
	each(b, l.projects, func(ctx context.Context, i int) error {
		project := &gardencorev1beta1.Project{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("f%04d", i)}, Spec: gardencorev1beta1.ProjectSpec{Namespace: ptr.To(projectNamespace(i))}}
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: projectNamespace(i), Labels: map[string]string{
			"gardener.cloud/role": "project", "project.gardener.cloud/name": project.Name,
		}}}
		if err := c.Create(ctx, namespace); err != nil {
			return client.IgnoreAlreadyExists(err)
		}
		return c.Create(ctx, project)
	})
	each(b, l.shoots, func(ctx context.Context, i int) error {
		return makeShoot(ctx, c, projectNamespace(i%l.projects), fmt.Sprintf("s%d", i/l.projects), seedName(i%l.seeds))
	})
}

// each calls make for 0 to count-1 from ten clients at once.
func each(b *testing.B, count int, make func(context.Context, int) error) {
	b.Helper()
	const clients = 10
	var running sync.WaitGroup
	for one := range clients {
		running.Go(func() {
			for i := one; i < count; i += clients {
				if err := make(b.Context(), i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	running.Wait()
	if b.Failed() {
		b.FailNow()
	}
}

// makeSeed makes one whose agent is alive for as long as anybody measures.
func makeSeed(ctx context.Context, c client.Client, name string) error {
	seed := bootstrap.LocalSeed(name, "local")
	if err := c.Create(ctx, seed); err != nil {
		return client.IgnoreAlreadyExists(err)
	}
	now := metav1.Now()
	seed.Status.Conditions = []gardencorev1beta1.Condition{{
		Type: gardencorev1beta1.GardenletReady, Status: gardencorev1beta1.ConditionTrue, LastTransitionTime: now, LastUpdateTime: now, Reason: "GardenletReady", Message: "The agent beats.",
	}}
	if err := c.Status().Update(ctx, seed); err != nil {
		return err
	}
	return c.Create(ctx, &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: gardencorev1beta1.GardenerSeedLeaseNamespace, Name: name},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: ptr.To(name), RenewTime: ptr.To(metav1.NewMicroTime(now.Add(24 * time.Hour)))},
	})
}

// makeShoot makes one that has grown: with a status as an agent leaves it, and
// with its secrets, one of which it refers to.
func makeShoot(ctx context.Context, c client.Client, namespace, name, seed string) error {
	for i := range secretsOfShoot {
		secret := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("%s.%d", name, i)},
			Data:       map[string][]byte{"kubeconfig": bytes.Repeat([]byte("x"), secretBytes)},
		}
		if err := c.Create(ctx, secret); err != nil {
			return client.IgnoreAlreadyExists(err)
		}
	}
	shoot := &gardencorev1beta1.Shoot{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: gardencorev1beta1.ShootSpec{
			CloudProfile: &gardencorev1beta1.CloudProfileReference{Kind: "CloudProfile", Name: "local"},
			SeedName:     &seed,
			Region:       "local",
			Kubernetes:   gardencorev1beta1.Kubernetes{Version: gardentest.Versions()[0][1:]},
			Provider: gardencorev1beta1.Provider{Type: "local", Workers: []gardencorev1beta1.Worker{{
				Name: "worker", Minimum: 1, Maximum: 1, Machine: gardencorev1beta1.Machine{Type: "local"},
			}}},
			Resources: []gardencorev1beta1.NamedResourceReference{{
				Name: "own", ResourceRef: autoscalingv1.CrossVersionObjectReference{APIVersion: "v1", Kind: "Secret", Name: name + ".0"},
			}},
		},
	}
	if err := c.Create(ctx, shoot); err != nil {
		return err
	}
	now := metav1.Now()
	shoot.Status = gardencorev1beta1.ShootStatus{
		SeedName: &seed, TechnicalID: "shoot--" + namespace + "--" + name, UID: shoot.UID, ObservedGeneration: shoot.Generation,
		LastOperation: &gardencorev1beta1.LastOperation{
			Type: gardencorev1beta1.LastOperationTypeReconcile, State: gardencorev1beta1.LastOperationStateSucceeded, Progress: 100, LastUpdateTime: now, Description: "All is done.",
		},
	}
	for _, kind := range []gardencorev1beta1.ConditionType{
		gardencorev1beta1.ShootAPIServerAvailable, gardencorev1beta1.ShootControlPlaneHealthy, gardencorev1beta1.ShootEveryNodeReady, gardencorev1beta1.ShootSystemComponentsHealthy,
	} {
		shoot.Status.Conditions = append(shoot.Status.Conditions, gardencorev1beta1.Condition{
			Type: kind, Status: gardencorev1beta1.ConditionTrue, LastTransitionTime: now, LastUpdateTime: now, Reason: "AllFine", Message: "All is as it should be.",
		})
	}
	return c.Status().Update(ctx, shoot)
}
