// Package quota keeps Quotas as long as bindings refer to them. app adds it to
// the fleet's controllers.
//
// It must not know what a quota limits.
package quota

import (
	"context"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	securityv1alpha1 "github.com/gardener/gardener/pkg/apis/security/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/index"
	"github.com/loam-cloud/loam/controllers/internal/guard"
)

// Name is the controller's name, and with it that of its logger and its events.
const Name = "quota"

// Reconciler guards Quotas.
type Reconciler struct {
	Client   client.Client
	Recorder events.EventRecorder
	Config   controllermanagerconfigv1alpha1.QuotaControllerConfiguration
}

func (r *Reconciler) controller() guard.Controller {
	return guard.Controller{
		Name: Name, Guarded: &gardencorev1beta1.Quota{}, Resource: "quotas.core.gardener.cloud",
		Referrers: []guard.Referrer{
			guard.By(&gardencorev1beta1.SecretBinding{}, "secretbindings.core.gardener.cloud", func(b *gardencorev1beta1.SecretBinding) []types.NamespacedName { return names(b.Quotas) }),
			guard.By(&securityv1alpha1.CredentialsBinding{}, "credentialsbindings.security.gardener.cloud", func(b *securityv1alpha1.CredentialsBinding) []types.NamespacedName { return names(b.Quotas) }),
		},
		Syncs: r.Config.ConcurrentSyncs,
	}
}

// Declare says what the controller reads and writes.
func (r *Reconciler) Declare() declaration.Declaration { return r.controller().Declare() }

// AddToManager adds the controller. Fields left nil are filled from the manager.
func (r *Reconciler) AddToManager(mgr manager.Manager) error {
	if r.Client == nil {
		r.Client = mgr.GetClient()
	}
	if r.Recorder == nil {
		r.Recorder = mgr.GetEventRecorder(Name + "-controller")
	}
	if err := index.EnsureBindings(context.Background(), mgr.GetFieldIndexer()); err != nil {
		return err
	}
	return r.controller().AddToManager(mgr, r)
}

func names(refs []corev1.ObjectReference) []types.NamespacedName {
	var all []types.NamespacedName
	for _, ref := range refs {
		all = append(all, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name})
	}
	return all
}

// Reconcile guards one Quota against the bindings of all namespaces.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	g := guard.Reconciler[*gardencorev1beta1.Quota]{
		Guard: guard.Guard{Client: r.Client, Recorder: r.Recorder},
		New:   func() *gardencorev1beta1.Quota { return &gardencorev1beta1.Quota{} },
		Blockers: func(ctx context.Context, quota *gardencorev1beta1.Quota) (guard.Blockers, error) {
			mine := client.MatchingFields{index.BindingQuota: client.ObjectKeyFromObject(quota).String()}
			blockers, err := guard.List(ctx, r.Client, "SecretBinding", &gardencorev1beta1.SecretBindingList{}, mine)
			if err != nil || len(blockers.Names) > 0 {
				return blockers, err
			}
			return guard.List(ctx, r.Client, "CredentialsBinding", &securityv1alpha1.CredentialsBindingList{}, mine)
		},
	}
	return g.Reconcile(ctx, request)
}
