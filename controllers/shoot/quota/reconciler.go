// Package quota ends Shoots whose time is up: quotas may bound how long a
// cluster lives. app adds it to the fleet's controllers.
//
//	no quota bounds it -> no annotation
//	first seen -> annotation with the end, which users may put off
//	end passed -> confirmed, deleted
//
// It must not judge how far the end may be put off: that is the API's.
package quota

import (
	"context"
	"fmt"
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	securityv1alpha1 "github.com/gardener/gardener/pkg/apis/security/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/internal/observe"
	"github.com/loam-cloud/loam/controllers/internal/spread"
)

// Name is the controller's name, and with it that of its logger and its events.
const Name = "shoot.quota"

// defaultPeriod is how often Shoots are looked at, for a configuration that was
// not defaulted.
const defaultPeriod = time.Hour

// Reconciler bounds the life of Shoots.
type Reconciler struct {
	Client   client.Client
	Clock    clock.Clock
	Recorder events.EventRecorder
	Config   controllermanagerconfigv1alpha1.ShootQuotaControllerConfiguration
}

// Declare says what the controller reads and writes.
func (r *Reconciler) Declare() declaration.Declaration {
	return declaration.Declaration{
		Controller: Name,
		Reads: []declaration.Read{
			{Resource: "shoots.core.gardener.cloud"}, {Resource: "quotas.core.gardener.cloud"},
			{Resource: "secretbindings.core.gardener.cloud"}, {Resource: "credentialsbindings.security.gardener.cloud"},
		},
		Writes: []declaration.Write{
			{Resource: "shoots.core.gardener.cloud", Verbs: []string{"patch"}, Fields: []string{
				"metadata.annotations[" + v1beta1constants.ShootExpirationTimestamp + "]", "metadata.annotations[" + v1beta1constants.ConfirmationDeletion + "]"}},
			{Resource: "shoots.core.gardener.cloud", Verbs: []string{"delete"}},
			declaration.Events(),
		},
	}
}

// AddToManager adds the controller. Fields left nil are filled from the manager.
func (r *Reconciler) AddToManager(mgr manager.Manager) error {
	if r.Client == nil {
		r.Client = mgr.GetClient()
	}
	if r.Clock == nil {
		r.Clock = clock.RealClock{}
	}
	if r.Recorder == nil {
		r.Recorder = mgr.GetEventRecorder(Name + "-controller")
	}
	return builder.ControllerManagedBy(mgr).
		Named(Name).
		For(&gardencorev1beta1.Shoot{}, builder.WithPredicates(predicate.Funcs{
			UpdateFunc: func(event.UpdateEvent) bool { return false },
			DeleteFunc: func(event.DeleteEvent) bool { return false },
		})).
		WithOptions(controller.Options{MaxConcurrentReconciles: ptr.Deref(r.Config.ConcurrentSyncs, controllermanagerconfigv1alpha1.DefaultControllerConcurrentSyncs)}).
		Complete(observe.Reconciler(Name, r))
}

// Reconcile looks at one Shoot, and again a period later, or when its time is up.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	shoot := &gardencorev1beta1.Shoot{}
	if err := r.Client.Get(ctx, request.NamespacedName, shoot); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if shoot.DeletionTimestamp != nil {
		return reconcile.Result{}, nil
	}
	limit, err := r.limit(ctx, shoot)
	if err != nil {
		return reconcile.Result{}, err
	}
	now := r.Clock.Now()
	d := decide(shoot, limit, now)
	if d.problem != "" {
		log.FromContext(ctx).Info("Cannot bound the life of the shoot", "problem", d.problem)
	}
	if err := r.annotate(ctx, shoot, d); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if d.expired {
		return reconcile.Result{}, client.IgnoreNotFound(r.delete(ctx, shoot, d))
	}
	period := ptr.Deref(r.Config.SyncPeriod, metav1.Duration{Duration: defaultPeriod}).Duration
	after := spread.Until(now, period, shoot.UID)
	if !d.end.IsZero() {
		after = min(after, d.end.Sub(now))
	}
	return reconcile.Result{RequeueAfter: after}, nil
}

// annotate writes when the Shoot's life ends, if that is new.
func (r *Reconciler) annotate(ctx context.Context, shoot *gardencorev1beta1.Shoot, d decision) error {
	base := shoot.DeepCopy()
	switch d.annotation {
	case keep:
		return nil
	case remove:
		delete(shoot.Annotations, v1beta1constants.ShootExpirationTimestamp)
	case set:
		metav1.SetMetaDataAnnotation(&shoot.ObjectMeta, v1beta1constants.ShootExpirationTimestamp, d.end.UTC().Format(time.RFC3339))
	}
	if err := r.Client.Patch(ctx, shoot, client.MergeFrom(base)); err != nil {
		return fmt.Errorf("writing when the shoot's life ends: %w", err)
	}
	log.FromContext(ctx).Info("Changed when the shoot's life ends", "end", shoot.Annotations[v1beta1constants.ShootExpirationTimestamp])
	return nil
}

// delete confirms, and deletes the Shoot that was seen, not another of its name.
func (r *Reconciler) delete(ctx context.Context, shoot *gardencorev1beta1.Shoot, d decision) error {
	base := shoot.DeepCopy()
	metav1.SetMetaDataAnnotation(&shoot.ObjectMeta, v1beta1constants.ConfirmationDeletion, "true")
	if base.Annotations[v1beta1constants.ConfirmationDeletion] != "true" {
		// Only as it was seen: the end may have been put off meanwhile.
		if err := r.Client.Patch(ctx, shoot, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
			return fmt.Errorf("confirming the deletion of the shoot: %w", err)
		}
	}
	if err := r.Client.Delete(ctx, shoot, client.Preconditions{UID: &shoot.UID, ResourceVersion: &shoot.ResourceVersion}); err != nil {
		return fmt.Errorf("deleting the shoot whose life has ended: %w", err)
	}
	r.Recorder.Eventf(shoot, nil, corev1.EventTypeNormal, "LifetimeExpired", "Delete", "Deleting the cluster: its life ended at %s", d.end.UTC().Format(time.RFC3339))
	log.FromContext(ctx).Info("Deleted the shoot whose life has ended", "end", d.end)
	return nil
}

// limit reads the quotas of the Shoot's binding.
func (r *Reconciler) limit(ctx context.Context, shoot *gardencorev1beta1.Shoot) (limit, error) {
	var refs []corev1.ObjectReference
	switch {
	case shoot.Spec.CredentialsBindingName != nil:
		binding := &securityv1alpha1.CredentialsBinding{}
		if err := r.Client.Get(ctx, client.ObjectKey{Namespace: shoot.Namespace, Name: *shoot.Spec.CredentialsBindingName}, binding); err != nil {
			return missing(err, "credentials binding "+*shoot.Spec.CredentialsBindingName)
		}
		refs = binding.Quotas
	case shoot.Spec.SecretBindingName != nil:
		binding := &gardencorev1beta1.SecretBinding{}
		if err := r.Client.Get(ctx, client.ObjectKey{Namespace: shoot.Namespace, Name: *shoot.Spec.SecretBindingName}, binding); err != nil {
			return missing(err, "secret binding "+*shoot.Spec.SecretBindingName)
		}
		refs = binding.Quotas
	}
	var all limit
	for _, ref := range refs {
		quota := &gardencorev1beta1.Quota{}
		if err := r.Client.Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, quota); err != nil {
			gone, err := missing(err, "quota "+ref.Namespace+"/"+ref.Name)
			if err != nil {
				return limit{}, err
			}
			all.missing = append(all.missing, gone.missing...)
			continue
		}
		if days := quota.Spec.ClusterLifetimeDays; days != nil && (all.days == nil || *days < *all.days) {
			all.days = days
		}
	}
	return all, nil
}

// missing takes an object that is not there for a fact: it is looked for again
// at the next turn, not in ever shorter intervals.
func missing(err error, what string) (limit, error) {
	if apierrors.IsNotFound(err) {
		return limit{missing: []string{what}}, nil
	}
	return limit{}, fmt.Errorf("reading the %s: %w", what, err)
}
