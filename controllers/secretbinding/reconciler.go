// Package secretbinding keeps SecretBindings as long as Shoots use them, and protects
// and labels the credentials and Quotas that they refer to. app adds it to the
// fleet's controllers.
//
// It must not know what is in credentials.
package secretbinding

import (
	"context"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/internal/credentials"
)

// Name is the controller's name, and with it that of its logger and its events.
const Name = "secretbinding"

// FinalizerName holds the credentials that SecretBindings refer to.
const FinalizerName = "gardener.cloud/secretbinding"

// Reconciler looks after SecretBindings.
type Reconciler struct {
	Client   client.Client
	Recorder events.EventRecorder
	Config   controllermanagerconfigv1alpha1.SecretBindingControllerConfiguration
}

func (r *Reconciler) bindings() *credentials.Reconciler {
	return &credentials.Reconciler{
		Kind: credentials.Kind{
			Name: Name, Finalizer: FinalizerName, Label: v1beta1constants.LabelSecretBindingReference,
			EventType: corev1.EventTypeNormal,
			Binding:   &gardencorev1beta1.SecretBinding{}, List: &gardencorev1beta1.SecretBindingList{},
		},
		Client: r.Client, Recorder: r.Recorder,
	}
}

// Declare says what the controller reads and writes.
func (r *Reconciler) Declare() declaration.Declaration { return r.bindings().Declare() }

// AddToManager adds the controller. Fields left nil are filled from the manager.
func (r *Reconciler) AddToManager(mgr manager.Manager) error {
	if r.Client == nil {
		r.Client = mgr.GetClient()
	}
	if r.Recorder == nil {
		r.Recorder = mgr.GetEventRecorder(Name + "-controller")
	}
	return r.bindings().AddToManager(mgr, ptr.Deref(r.Config.ConcurrentSyncs, controllermanagerconfigv1alpha1.DefaultControllerConcurrentSyncs))
}

// Reconcile looks after one SecretBinding.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	return r.bindings().Reconcile(ctx, request)
}
