// Package namespacedcloudprofile keeps NamespacedCloudProfiles as long as Shoots
// use them, and says in their status what they offer: the parent's profile with
// their changes. app adds it to the fleet's controllers.
//
// It must not judge what a profile may add: that is the API's.
package namespacedcloudprofile

import (
	"context"
	"fmt"
	"strings"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/index"
	"github.com/loam-cloud/loam/controllers/internal/guard"
	"github.com/loam-cloud/loam/controllers/internal/observe"
)

// Name is the controller's name, and with it that of its logger and its events.
const Name = "namespacedcloudprofile"

// Reconciler keeps NamespacedCloudProfiles and their status.
type Reconciler struct {
	Client   client.Client
	Recorder events.EventRecorder
	Config   controllermanagerconfigv1alpha1.NamespacedCloudProfileControllerConfiguration
}

// Declare says what the controller reads and writes.
func (*Reconciler) Declare() declaration.Declaration {
	return declaration.Declaration{
		Controller: Name,
		Reads: []declaration.Read{
			{Resource: "namespacedcloudprofiles.core.gardener.cloud"},
			{Resource: "cloudprofiles.core.gardener.cloud"}, {Resource: "shoots.core.gardener.cloud"},
		},
		Writes: []declaration.Write{
			{Resource: "namespacedcloudprofiles.core.gardener.cloud", Verbs: []string{"patch"}, Fields: []string{"metadata.finalizers"}},
			{Resource: "namespacedcloudprofiles.core.gardener.cloud/status", Verbs: []string{"patch"}},
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
	if err := index.EnsureShootProfile(context.Background(), mgr.GetFieldIndexer()); err != nil {
		return err
	}
	return builder.ControllerManagedBy(mgr).
		Named(Name).
		For(&gardencorev1beta1.NamespacedCloudProfile{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&gardencorev1beta1.CloudProfile{}, handler.EnqueueRequestsFromMapFunc(r.ofParent)).
		Watches(&gardencorev1beta1.Shoot{}, guard.Referrers(profilesOf)).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: ptr.Deref(r.Config.ConcurrentSyncs, controllermanagerconfigv1alpha1.DefaultControllerConcurrentSyncs),
		}).
		Complete(observe.Reconciler(Name, r))
}

// ofParent wakes all profiles that extend a CloudProfile.
func (r *Reconciler) ofParent(ctx context.Context, parent client.Object) []reconcile.Request {
	profiles := &gardencorev1beta1.NamespacedCloudProfileList{}
	if err := r.Client.List(ctx, profiles, client.MatchingFields{index.ParentName: parent.GetName()}, client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "Listing the profiles that extend one", "parent", parent.GetName())
		return nil
	}
	var requests []reconcile.Request
	for i := range profiles.Items {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&profiles.Items[i])})
	}
	return requests
}

func profilesOf(shoot *gardencorev1beta1.Shoot) []types.NamespacedName {
	var all []types.NamespacedName
	for _, key := range index.ProfilesOf(shoot) {
		if name, found := strings.CutPrefix(key, index.ProfileKey(v1beta1constants.CloudProfileReferenceKindNamespacedCloudProfile, "")); found {
			all = append(all, types.NamespacedName{Namespace: shoot.Namespace, Name: name})
		}
	}
	return all
}

// Reconcile keeps one NamespacedCloudProfile.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	profile := &gardencorev1beta1.NamespacedCloudProfile{}
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
	parent := &gardencorev1beta1.CloudProfile{}
	if err := r.Client.Get(ctx, client.ObjectKey{Name: profile.Spec.Parent.Name}, parent); err != nil {
		// When it comes, its event wakes this up.
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	return reconcile.Result{}, r.report(ctx, profile, parent)
}

// report writes what the profile offers. What counts as changed is the JSON: a
// provider's part of a profile may be read in another form than it was written.
func (r *Reconciler) report(ctx context.Context, profile *gardencorev1beta1.NamespacedCloudProfile, parent *gardencorev1beta1.CloudProfile) error {
	base := profile.DeepCopy()
	profile.Status.CloudProfileSpec = merge(&parent.Spec, &profile.Spec)
	profile.Status.ObservedGeneration = profile.Generation
	patch := client.MergeFrom(base)
	data, err := patch.Data(profile)
	if err != nil {
		return fmt.Errorf("comparing what the profile offers: %w", err)
	}
	if string(data) == "{}" {
		return nil
	}
	log.FromContext(ctx).Info("Merging the profile with its parent", "parent", parent.Name)
	if err := client.IgnoreNotFound(r.Client.Status().Patch(ctx, profile, patch)); err != nil {
		return fmt.Errorf("reporting what the profile offers: %w", err)
	}
	return nil
}

// release lets a profile go that no Shoot of its namespace refers to.
func (r *Reconciler) release(ctx context.Context, g guard.Guard, profile *gardencorev1beta1.NamespacedCloudProfile) error {
	if !g.Holds(profile) {
		return nil
	}
	key := index.ProfileKey(v1beta1constants.CloudProfileReferenceKindNamespacedCloudProfile, profile.Name)
	blockers, err := guard.List(ctx, r.Client, "Shoot", &gardencorev1beta1.ShootList{}, client.InNamespace(profile.Namespace), client.MatchingFields{index.ShootProfile: key})
	if err != nil || g.Blocked(ctx, profile, blockers) {
		return err
	}
	return g.Release(ctx, profile)
}
