package seed

import (
	"context"

	gardencorev1 "github.com/gardener/gardener/pkg/apis/core/v1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/controllerregistration/internal/installer"
	"github.com/loam-cloud/loam/controllers/internal/observe"
)

// AddToManager adds the controller. Fields left nil are filled from the manager.
func (r *Reconciler) AddToManager(mgr manager.Manager) error {
	if r.Client == nil {
		r.Client = mgr.GetClient()
	}
	if r.Live == nil {
		r.Live = mgr.GetAPIReader()
	}
	if r.Recorder == nil {
		r.Recorder = mgr.GetEventRecorder(Name + "-controller")
	}
	// The client of a process may read Secrets past the cache; here it is watched.
	r.metadata = mgr.GetCache()
	all := handler.EnqueueRequestsFromMapFunc(r.all)
	return builder.ControllerManagedBy(mgr).
		Named(Name).
		For(&gardencorev1beta1.Seed{}, builder.WithPredicates(installer.ClusterChanged())).
		Watches(&gardencorev1beta1.ControllerRegistration{}, all, builder.WithPredicates(installer.RegistrationChanged())).
		Watches(&gardencorev1.ControllerDeployment{}, all, builder.WithPredicates(installer.DeploymentChanged())).
		Watches(&gardencorev1beta1.BackupBucket{}, handler.EnqueueRequestsFromMapFunc(ofBucket), builder.WithPredicates(installer.BackupChanged())).
		Watches(&gardencorev1beta1.BackupEntry{}, handler.EnqueueRequestsFromMapFunc(ofEntry), builder.WithPredicates(installer.BackupChanged())).
		Watches(&gardencorev1beta1.Shoot{}, handler.EnqueueRequestsFromMapFunc(ofShoot), builder.WithPredicates(installer.ShootChanged())).
		Watches(&gardencorev1beta1.ControllerInstallation{}, handler.EnqueueRequestsFromMapFunc(ofInstallation), builder.WithPredicates(installer.InstallationChanged())).
		WatchesMetadata(&corev1.Secret{}, all, builder.WithPredicates(installer.ResourceChanged())).
		WatchesMetadata(&corev1.ConfigMap{}, all, builder.WithPredicates(installer.ResourceChanged())).
		WithOptions(installer.Options(r.Config)).
		Complete(observe.Reconciler(Name, r))
}

func (r *Reconciler) all(ctx context.Context, _ client.Object) []reconcile.Request {
	list := &gardencorev1beta1.SeedList{}
	if err := r.Client.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "Cannot list the seeds that a change concerns")
		return nil
	}
	names := make([]string, 0, len(list.Items))
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	return requests(names...)
}

func requests(names ...string) []reconcile.Request {
	var all []reconcile.Request
	for _, name := range names {
		if name != "" {
			all = append(all, reconcile.Request{NamespacedName: types.NamespacedName{Name: name}})
		}
	}
	return all
}

func ofBucket(_ context.Context, object client.Object) []reconcile.Request {
	bucket, ok := object.(*gardencorev1beta1.BackupBucket)
	if !ok {
		return nil
	}
	return requests(ptr.Deref(bucket.Spec.SeedName, ""))
}

func ofEntry(_ context.Context, object client.Object) []reconcile.Request {
	entry, ok := object.(*gardencorev1beta1.BackupEntry)
	if !ok {
		return nil
	}
	return requests(ptr.Deref(entry.Spec.SeedName, ""))
}

// ofShoot finds the Seeds of a Shoot, and the one that it is itself.
func ofShoot(_ context.Context, object client.Object) []reconcile.Request {
	shoot, ok := object.(*gardencorev1beta1.Shoot)
	if !ok {
		return nil
	}
	found := requests(ptr.Deref(shoot.Spec.SeedName, ""), ptr.Deref(shoot.Status.SeedName, ""))
	return append(found, ofCluster(shoot.Namespace, shoot.Name)...)
}

func ofInstallation(_ context.Context, object client.Object) []reconcile.Request {
	installation, ok := object.(*gardencorev1beta1.ControllerInstallation)
	if !ok {
		return nil
	}
	var found []reconcile.Request
	if ref := installation.Spec.SeedRef; ref != nil {
		found = requests(ref.Name)
	}
	if ref := installation.Spec.ShootRef; ref != nil {
		found = append(found, ofCluster(ref.Namespace, ref.Name)...)
	}
	return found
}

// ofCluster is the Seed that a Shoot may be as well.
func ofCluster(namespace, name string) []reconcile.Request {
	if namespace != v1beta1constants.GardenNamespace {
		return nil
	}
	return requests(name)
}
