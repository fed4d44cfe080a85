package shoot

import (
	"context"

	gardencorev1 "github.com/gardener/gardener/pkg/apis/core/v1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/controllerregistration/internal/installer"
	"github.com/loam-cloud/loam/controllers/index"
	"github.com/loam-cloud/loam/controllers/internal/cluster"
	"github.com/loam-cloud/loam/controllers/internal/observe"
)

// selfHosted is the value of selfHostedIndex of the Shoots that this is about.
const (
	selfHostedIndex = "spec.provider.workers.controlPlane"
	selfHosted      = "true"
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
	if err := index.Ensure(context.Background(), mgr.GetFieldIndexer(), &gardencorev1beta1.Shoot{}, selfHostedIndex, func(object client.Object) []string {
		if isSelfHosted(object) {
			return []string{selfHosted}
		}
		return nil
	}); err != nil {
		return err
	}
	all := handler.EnqueueRequestsFromMapFunc(r.all)
	return builder.ControllerManagedBy(mgr).
		Named(Name).
		For(&gardencorev1beta1.Shoot{}, builder.WithPredicates(installer.ClusterChanged(), predicate.NewPredicateFuncs(isSelfHosted))).
		Watches(&gardencorev1beta1.ControllerRegistration{}, all, builder.WithPredicates(installer.RegistrationChanged())).
		Watches(&gardencorev1.ControllerDeployment{}, all, builder.WithPredicates(installer.DeploymentChanged())).
		Watches(&gardencorev1beta1.BackupBucket{}, handler.EnqueueRequestsFromMapFunc(ofBackup), builder.WithPredicates(installer.BackupChanged())).
		Watches(&gardencorev1beta1.BackupEntry{}, handler.EnqueueRequestsFromMapFunc(ofBackup), builder.WithPredicates(installer.BackupChanged())).
		Watches(&gardencorev1beta1.ControllerInstallation{}, handler.EnqueueRequestsFromMapFunc(ofInstallation), builder.WithPredicates(installer.InstallationChanged())).
		WatchesMetadata(&corev1.Secret{}, all, builder.WithPredicates(installer.ResourceChanged())).
		WatchesMetadata(&corev1.ConfigMap{}, all, builder.WithPredicates(installer.ResourceChanged())).
		WithOptions(installer.Options(r.Config)).
		Complete(observe.Reconciler(Name, r))
}

func isSelfHosted(object client.Object) bool {
	shoot, ok := object.(*gardencorev1beta1.Shoot)
	return ok && cluster.SelfHosted(shoot)
}

// all are the Shoots that look after themselves, whole, as they are in the cache.
func (r *Reconciler) all(ctx context.Context, _ client.Object) []reconcile.Request {
	list := &gardencorev1beta1.ShootList{}
	if err := r.Client.List(ctx, list, client.MatchingFields{selfHostedIndex: selfHosted}, client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "Cannot list the shoots that a change concerns")
		return nil
	}
	requests := make([]reconcile.Request, 0, len(list.Items))
	for i := range list.Items {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
	}
	return requests
}

func ofBackup(_ context.Context, object client.Object) []reconcile.Request {
	switch o := object.(type) {
	case *gardencorev1beta1.BackupBucket:
		return of(o.Spec.ShootRef)
	case *gardencorev1beta1.BackupEntry:
		return of(o.Spec.ShootRef)
	}
	return nil
}

func ofInstallation(_ context.Context, object client.Object) []reconcile.Request {
	installation, ok := object.(*gardencorev1beta1.ControllerInstallation)
	if !ok {
		return nil
	}
	return of(installation.Spec.ShootRef)
}

func of(ref *corev1.ObjectReference) []reconcile.Request {
	if ref == nil {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}}}
}
