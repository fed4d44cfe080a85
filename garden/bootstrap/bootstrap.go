// Package bootstrap puts into a new garden what a user needs to grow a first
// cluster: the roles that every garden has, the namespaces that it and its
// agents work in, and a project, a cloud profile and a seed, all named local.
//
// The garden calls Ensure at every start; the app may call RefreshVersions when
// a node image was built. It must not know how clusters are made.
package bootstrap

import (
	"context"
	"fmt"
	"runtime"

	corev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/garden/authorization/roles"
)

const (
	// Name is that of the project, the cloud profile, its region, machine type,
	// and the seed.
	Name = "local"
	// ProjectNamespace is where the project's clusters live.
	ProjectNamespace = "garden-local"

	// The seed has no pods and services of its own; it has to name networks, and
	// no cluster may use them.
	seedPods     = "10.3.0.0/16"
	seedServices = "10.4.0.0/16"

	// What every node image is.
	imageName    = "debian"
	imageVersion = "12.0.0"
)

// Ensure makes what is missing, and keeps the versions of the cloud profile as
// RefreshVersions does. The project belongs to the user named owner. What is there already and was changed stays changed.
func Ensure(ctx context.Context, c client.Client, owner string, versions []string) error {
	if err := roles.Ensure(ctx, c); err != nil {
		return err
	}
	for _, object := range []client.Object{
		namespace(v1beta1constants.GardenNamespace, nil),
		// Agents write their heartbeats there, and may not make it.
		namespace(corev1beta1.GardenerSeedLeaseNamespace, nil),
		namespace(ProjectNamespace, map[string]string{
			v1beta1constants.GardenRole:  v1beta1constants.GardenRoleProject,
			v1beta1constants.ProjectName: Name,
		}),
		LocalSeed(Name, Name),
	} {
		if err := createMissing(ctx, c, object); err != nil {
			return err
		}
	}
	if err := ensureProject(ctx, c, owner); err != nil {
		return err
	}
	return RefreshVersions(ctx, c, versions)
}

func createMissing(ctx context.Context, c client.Client, object client.Object) error {
	if err := c.Create(ctx, object); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating %T %q: %w", object, object.GetName(), err)
	}
	return nil
}

// ensureProject makes the project and, because its namespace is made here as
// well, reports it as ready. Later phases are a controller's.
func ensureProject(ctx context.Context, c client.Client, owner string) error {
	project := &corev1beta1.Project{}
	switch err := c.Get(ctx, client.ObjectKey{Name: Name}, project); {
	case apierrors.IsNotFound(err):
		namespace, description := ProjectNamespace, "Clusters on this host"
		project = &corev1beta1.Project{
			ObjectMeta: metav1.ObjectMeta{Name: Name},
			Spec: corev1beta1.ProjectSpec{
				Namespace: &namespace, Description: &description,
				Owner: &rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: owner},
			},
		}
		if err := c.Create(ctx, project); err != nil {
			return fmt.Errorf("creating project %q: %w", Name, err)
		}
	case err != nil:
		return fmt.Errorf("reading project %q: %w", Name, err)
	}
	if project.Status.Phase != "" {
		return nil
	}
	before := project.DeepCopy()
	project.Status.Phase = corev1beta1.ProjectReady
	project.Status.ObservedGeneration = project.Generation
	if err := c.Status().Patch(ctx, project, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("reporting project %q as ready: %w", Name, err)
	}
	return nil
}

func namespace(name string, labels map[string]string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
}

// LocalSeed is a seed whose machines are containers on its agent's host.
func LocalSeed(name, region string) *corev1beta1.Seed {
	return &corev1beta1.Seed{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1beta1.SeedSpec{
			Provider: corev1beta1.SeedProvider{Type: Name, Region: region},
			Networks: corev1beta1.SeedNetworks{Pods: seedPods, Services: seedServices},
		},
	}
}

// cloudProfile offers no version yet.
func cloudProfile() *corev1beta1.CloudProfile {
	architecture := runtime.GOARCH
	return &corev1beta1.CloudProfile{
		ObjectMeta: metav1.ObjectMeta{Name: Name},
		Spec: corev1beta1.CloudProfileSpec{
			Type:         Name,
			Regions:      []corev1beta1.Region{{Name: Name}},
			MachineTypes: machineTypes(),
			MachineImages: []corev1beta1.MachineImage{{
				Name: imageName,
				Versions: []corev1beta1.MachineImageVersion{{
					ExpirableVersion: supported(imageVersion),
					Architectures:    []string{architecture},
				}},
			}},
		},
	}
}

// supported is a version that is on offer from now on.
func supported(text string) corev1beta1.ExpirableVersion {
	return corev1beta1.ExpirableVersion{
		Version:   text,
		Lifecycle: []corev1beta1.LifecycleStage{{Classification: corev1beta1.ClassificationSupported}},
	}
}
