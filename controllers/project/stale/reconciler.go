// Package stale finds Projects that nobody uses, says so in their status, and
// deletes them after the time that is announced there. app adds it to the fleet's
// controllers.
//
// It looks at all Projects, also at the garden's own: an annotation on a
// Project's namespace leaves it out. It must not know what deletion does.
package stale

import (
	"context"
	"fmt"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	"github.com/loam-cloud/loam/controllers/index"
	"github.com/loam-cloud/loam/controllers/internal/observe"
	"github.com/loam-cloud/loam/controllers/internal/spread"
)

// Name is the controller's name, and with it that of its logger.
const Name = "project.stale"

// Reconciler looks for Projects that nobody uses.
type Reconciler struct {
	Client client.Client
	Clock  clock.Clock
	Config controllermanagerconfigv1alpha1.ProjectControllerConfiguration
}

// Declare says what the controller reads and writes.
func (*Reconciler) Declare() declaration.Declaration {
	return declaration.Declaration{
		Controller: Name,
		Reads: []declaration.Read{
			{Resource: "projects.core.gardener.cloud"}, {Resource: "namespaces"}, {Resource: "shoots.core.gardener.cloud"},
			{Resource: "backupentries.core.gardener.cloud"}, {Resource: "quotas.core.gardener.cloud"},
			{Resource: "secretbindings.core.gardener.cloud"}, {Resource: "credentialsbindings.security.gardener.cloud"},
			{Resource: "secrets", MetadataOnly: true}, {Resource: "internalsecrets.core.gardener.cloud", MetadataOnly: true},
			{Resource: "workloadidentities.security.gardener.cloud", MetadataOnly: true},
		},
		Writes: []declaration.Write{
			{Resource: "projects.core.gardener.cloud", Verbs: []string{"patch", "delete"}, Fields: []string{"metadata.annotations"}},
			{Resource: "projects.core.gardener.cloud/status", Verbs: []string{"patch"}, Fields: []string{"status.staleSinceTimestamp", "status.staleAutoDeleteTimestamp"}},
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
	for _, ensure := range []func(context.Context, client.FieldIndexer) error{index.EnsureBindings, index.EnsureShootBindings} {
		if err := ensure(context.Background(), mgr.GetFieldIndexer()); err != nil {
			return err
		}
	}
	return builder.ControllerManagedBy(mgr).
		Named(Name).
		For(&gardencorev1beta1.Project{}, builder.WithPredicates(changed())).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: ptr.Deref(r.Config.ConcurrentSyncs, controllermanagerconfigv1alpha1.DefaultControllerConcurrentSyncs),
			ReconciliationTimeout:   periodsOf(r.Config).sync,
		}).
		Complete(observe.Reconciler(Name, r))
}

// changed leaves out what happens at every activity.
func changed() predicate.Predicate {
	return predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok := e.ObjectOld.(*gardencorev1beta1.Project)
			after, also := e.ObjectNew.(*gardencorev1beta1.Project)
			return ok && also && before.Status.LastActivityTimestamp.Equal(after.Status.LastActivityTimestamp)
		},
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// Reconcile looks at one Project.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	project := &gardencorev1beta1.Project{}
	if err := r.Client.Get(ctx, request.NamespacedName, project); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if project.DeletionTimestamp != nil || ptr.Deref(project.Spec.Namespace, "") == "" {
		return reconcile.Result{}, nil // going, or still coming: its namespace is told of by an update
	}
	now, p := r.Clock.Now(), periodsOf(r.Config)
	namespace := &corev1.Namespace{}
	if err := r.Client.Get(ctx, client.ObjectKey{Name: *project.Spec.Namespace}, namespace); client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("reading namespace %q: %w", *project.Spec.Namespace, err)
	}
	reason := spared(project, namespace.Annotations[v1beta1constants.ProjectSkipStaleCheck] == "true", now, p)
	if reason == "" {
		var err error
		if reason, err = r.use(ctx, *project.Spec.Namespace); err != nil {
			return reconcile.Result{}, err
		}
	}
	have := staleness{project.Status.StaleSinceTimestamp, project.Status.StaleAutoDeleteTimestamp}
	want, due := decide(have, reason, now, p)
	if !have.equal(want) {
		if err := r.report(ctx, project, want, reason); err != nil {
			return reconcile.Result{}, err
		}
	}
	if due {
		return reconcile.Result{}, r.delete(ctx, project)
	}
	return reconcile.Result{RequeueAfter: spread.Until(now, p.sync, project.UID)}, nil
}

func (r *Reconciler) report(ctx context.Context, project *gardencorev1beta1.Project, want staleness, reason string) error {
	if want.since == nil {
		log.FromContext(ctx).Info("The project is in use again", "reason", reason)
	} else {
		log.FromContext(ctx).Info("Nobody uses the project", "since", want.since, "autoDelete", want.end)
	}
	base := project.DeepCopy()
	project.Status.StaleSinceTimestamp, project.Status.StaleAutoDeleteTimestamp = want.since, want.end
	if err := client.IgnoreNotFound(r.Client.Status().Patch(ctx, project, client.MergeFrom(base))); err != nil {
		return fmt.Errorf("reporting whether the project is used: %w", err)
	}
	return nil
}

// delete confirms the deletion first, which the API wants of everybody. Neither
// happens to a Project that changed since it was looked at: it may be in use again.
func (r *Reconciler) delete(ctx context.Context, project *gardencorev1beta1.Project) error {
	log.FromContext(ctx).Info("Deleting the project, which nobody used until the announced time", "autoDelete", project.Status.StaleAutoDeleteTimestamp)
	if project.Annotations[v1beta1constants.ConfirmationDeletion] != "true" {
		base := project.DeepCopy()
		metav1.SetMetaDataAnnotation(&project.ObjectMeta, v1beta1constants.ConfirmationDeletion, "true")
		if err := r.Client.Patch(ctx, project, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
			return fmt.Errorf("confirming the deletion: %w", err)
		}
	}
	if err := client.IgnoreNotFound(r.Client.Delete(ctx, project, client.Preconditions{UID: &project.UID, ResourceVersion: &project.ResourceVersion})); err != nil {
		return fmt.Errorf("deleting the project: %w", err)
	}
	return nil
}
