// Package cloudprofile keeps CloudProfiles as long as something refers to them,
// and says in their status what each version is classified as right now. app
// adds it to the fleet's controllers.
//
// It must not judge what a profile offers: that is the API's.
package cloudprofile

import (
	"context"
	"fmt"
	"strings"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/index"
	"github.com/loam-cloud/loam/controllers/internal/guard"
	"github.com/loam-cloud/loam/controllers/internal/observe"
)

// Name is the controller's name, and with it that of its logger and its events.
const Name = "cloudprofile"

// Reconciler keeps CloudProfiles and their status.
type Reconciler struct {
	Client   client.Client
	Recorder events.EventRecorder
	Clock    clock.Clock
	Config   controllermanagerconfigv1alpha1.CloudProfileControllerConfiguration
}

// Declare says what the controller reads and writes.
func (*Reconciler) Declare() declaration.Declaration {
	return declaration.Declaration{
		Controller: Name,
		Reads: []declaration.Read{
			{Resource: "cloudprofiles.core.gardener.cloud"},
			{Resource: "namespacedcloudprofiles.core.gardener.cloud"}, {Resource: "shoots.core.gardener.cloud"},
		},
		Writes: []declaration.Write{
			{Resource: "cloudprofiles.core.gardener.cloud", Verbs: []string{"patch"}, Fields: []string{"metadata.finalizers"}},
			{Resource: "cloudprofiles.core.gardener.cloud/status", Verbs: []string{"patch"}},
			declaration.Events(),
		},
	}
}

// AddToManager adds the controller. Fields left nil are filled from the manager.
func (r *Reconciler) AddToManager(mgr manager.Manager) error {
	if r.Client == nil {
		r.Client = mgr.GetClient()
	}
	if r.Recorder == nil {
		r.Recorder = mgr.GetEventRecorder(Name + "-controller")
	}
	if r.Clock == nil {
		r.Clock = clock.RealClock{}
	}
	if err := index.EnsureShootProfile(context.Background(), mgr.GetFieldIndexer()); err != nil {
		return err
	}
	return builder.ControllerManagedBy(mgr).
		Named(Name).
		For(&gardencorev1beta1.CloudProfile{}).
		Watches(&gardencorev1beta1.NamespacedCloudProfile{}, guard.Referrers(func(p *gardencorev1beta1.NamespacedCloudProfile) []types.NamespacedName {
			return []types.NamespacedName{{Name: p.Spec.Parent.Name}}
		})).
		Watches(&gardencorev1beta1.Shoot{}, guard.Referrers(profilesOf)).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: ptr.Deref(r.Config.ConcurrentSyncs, controllermanagerconfigv1alpha1.DefaultControllerConcurrentSyncs),
		}).
		Complete(observe.Reconciler(Name, r))
}

func profilesOf(shoot *gardencorev1beta1.Shoot) []types.NamespacedName {
	var all []types.NamespacedName
	for _, key := range index.ProfilesOf(shoot) {
		if name, found := strings.CutPrefix(key, index.ProfileKey(v1beta1constants.CloudProfileReferenceKindCloudProfile, "")); found {
			all = append(all, types.NamespacedName{Name: name})
		}
	}
	return all
}

// Reconcile keeps one CloudProfile.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	profile := &gardencorev1beta1.CloudProfile{}
	if err := r.Client.Get(ctx, request.NamespacedName, profile); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	g := guard.Guard{Client: r.Client, Recorder: r.Recorder}
	if profile.DeletionTimestamp != nil {
		return reconcile.Result{}, r.release(ctx, g, profile)
	}
	if err := g.Hold(ctx, profile); err != nil {
		return reconcile.Result{}, err
	}
	status, holds := decide(&profile.Spec, r.Clock.Now())
	if !equality.Semantic.DeepEqual(profile.Status, status) {
		log.FromContext(ctx).Info("Classifying the versions anew", "next", holds)
		base := profile.DeepCopy()
		profile.Status = status
		if err := client.IgnoreNotFound(r.Client.Status().Patch(ctx, profile, client.MergeFrom(base))); err != nil {
			return reconcile.Result{}, fmt.Errorf("reporting the versions: %w", err)
		}
	}
	return reconcile.Result{RequeueAfter: holds}, nil
}

// release lets a profile go that neither a NamespacedCloudProfile nor a Shoot of
// any namespace refers to.
func (r *Reconciler) release(ctx context.Context, g guard.Guard, profile *gardencorev1beta1.CloudProfile) error {
	if !g.Holds(profile) {
		return nil
	}
	blockers, err := guard.List(ctx, r.Client, "NamespacedCloudProfile", &gardencorev1beta1.NamespacedCloudProfileList{}, client.MatchingFields{index.ParentName: profile.Name})
	if err != nil || g.Blocked(ctx, profile, blockers) {
		return err
	}
	key := index.ProfileKey(v1beta1constants.CloudProfileReferenceKindCloudProfile, profile.Name)
	blockers, err = guard.List(ctx, r.Client, "Shoot", &gardencorev1beta1.ShootList{}, client.MatchingFields{index.ShootProfile: key})
	if err != nil || g.Blocked(ctx, profile, blockers) {
		return err
	}
	return g.Release(ctx, profile)
}
