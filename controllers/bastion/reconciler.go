// Package bastion removes Bastions that nobody needs any more: whose cluster is
// gone or moves, and those that ran out of time. app adds it to the fleet's
// controllers.
//
// It must not know what a bastion consists of, nor put its end off.
package bastion

import (
	"context"
	"fmt"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	operationsv1alpha1 "github.com/gardener/gardener/pkg/apis/operations/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/declaration"
)

// Name is the controller's name, and with it that of its logger.
const Name = "bastion"

// Reconciler deletes Bastions.
type Reconciler struct {
	Client client.Client
	Clock  clock.Clock
	Config controllermanagerconfigv1alpha1.BastionControllerConfiguration
}

// Declare says what the controller reads and writes.
func (r *Reconciler) Declare() declaration.Declaration {
	return declaration.Declaration{
		Controller: Name,
		Reads:      []declaration.Read{{Resource: "bastions.operations.gardener.cloud"}, {Resource: "shoots.core.gardener.cloud"}},
		Writes:     []declaration.Write{{Resource: "bastions.operations.gardener.cloud", Verbs: []string{"delete"}}},
	}
}

// Reconcile deletes one Bastion if it is time, and looks again when it is.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	bastion := &operationsv1alpha1.Bastion{}
	if err := r.Client.Get(ctx, request.NamespacedName, bastion); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if bastion.DeletionTimestamp != nil {
		return reconcile.Result{}, nil
	}
	shoot := &gardencorev1beta1.Shoot{}
	if err := r.Client.Get(ctx, client.ObjectKey{Namespace: bastion.Namespace, Name: bastion.Spec.ShootRef.Name}, shoot); apierrors.IsNotFound(err) {
		shoot = nil
	} else if err != nil {
		return reconcile.Result{}, fmt.Errorf("reading the bastion's shoot: %w", err)
	}
	lifetime := ptr.Deref(r.Config.MaxLifetime, metav1.Duration{Duration: defaultLifetime}).Duration
	d := decide(bastion, shoot, lifetime, r.Clock.Now())
	if d.message == "" {
		return reconcile.Result{RequeueAfter: d.after}, nil
	}
	log.FromContext(ctx).Info(d.message, "shoot", bastion.Spec.ShootRef.Name)
	// The one that was seen, not another of its name.
	err := r.Client.Delete(ctx, bastion, client.Preconditions{UID: &bastion.UID})
	if err := client.IgnoreNotFound(err); err != nil {
		return reconcile.Result{}, fmt.Errorf("deleting the bastion: %w", err)
	}
	return reconcile.Result{}, nil
}
