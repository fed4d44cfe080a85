// Package project makes Projects real: the namespace, the quota and the roles of
// each, and their end. app adds it to the fleet's controllers.
//
//	Pending -> namespace -> spec.namespace -> quota -> roles -> Ready
//	   any step that fails -> Failed, tried again
//	   deletion -> Terminating while there are Shoots, then the namespace goes
//
// It must not judge who may be a member: that is the API's.
package project

import (
	"context"
	"errors"
	"fmt"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/internal/finalizer"
)

// Name is the controller's name, and with it that of its logger and its events.
const Name = "project"

// Reconciler keeps what belongs to Projects.
type Reconciler struct {
	Client   client.Client
	Recorder events.EventRecorder
	Config   controllermanagerconfigv1alpha1.ProjectControllerConfiguration
	// RateLimiter spaces what is tried again; nil means controller-runtime's.
	RateLimiter workqueue.TypedRateLimiter[reconcile.Request]
}

// Declare says what the controller reads and writes.
func (*Reconciler) Declare() declaration.Declaration {
	d := declaration.Declaration{
		Controller: Name,
		Reads:      []declaration.Read{{Resource: "projects.core.gardener.cloud"}, {Resource: "shoots.core.gardener.cloud"}},
		Writes: []declaration.Write{
			{Resource: "projects.core.gardener.cloud", Verbs: []string{"patch"}, Fields: []string{"metadata.finalizers", "spec.namespace"}},
			{Resource: "projects.core.gardener.cloud/status", Verbs: []string{"patch"}, Fields: []string{"status.phase", "status.observedGeneration"}},
			declaration.Events(),
		},
	}
	for _, owned := range []declaration.Write{
		{Resource: "namespaces", Verbs: []string{"create", "patch", "delete"}},
		{Resource: "resourcequotas", Verbs: []string{"create", "patch"}},
		{Resource: "rolebindings.rbac.authorization.k8s.io", Verbs: []string{"create", "patch", "delete"}},
		{Resource: "clusterrolebindings.rbac.authorization.k8s.io", Verbs: []string{"create", "patch", "delete"}},
		// Roles give rights that the controller need not have.
		{Resource: "clusterroles.rbac.authorization.k8s.io", Verbs: []string{"create", "patch", "delete", "bind", "escalate"}},
	} {
		d.Reads, d.Writes = append(d.Reads, declaration.Read{Resource: owned.Resource}), append(d.Writes, owned)
	}
	return d
}

// Reconcile brings one Project to what it asks for.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	project := &gardencorev1beta1.Project{}
	if err := r.Client.Get(ctx, request.NamespacedName, project); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if project.DeletionTimestamp != nil {
		return r.delete(ctx, project)
	}
	err := r.ensure(ctx, project)
	phase := gardencorev1beta1.ProjectReady
	if err != nil {
		phase = gardencorev1beta1.ProjectFailed
		r.event(project, corev1.EventTypeWarning, gardencorev1beta1.ProjectEventNamespaceReconcileFailed, "Reconcile", "%s", err)
	}
	// Also what only a user can mend is tried again: nobody watches the namespace
	// that lacks a label.
	return reconcile.Result{}, errors.Join(err, r.report(ctx, project, phase))
}

// ensure makes everything, in an order in which each part finds what it needs.
func (r *Reconciler) ensure(ctx context.Context, project *gardencorev1beta1.Project) error {
	if err := finalizer.Add(ctx, r.Client, project, gardencorev1beta1.GardenerName); err != nil {
		return err
	}
	if project.Status.Phase == "" {
		if err := r.report(ctx, project, gardencorev1beta1.ProjectPending); err != nil {
			return err
		}
	}
	namespace, err := r.ensureNamespace(ctx, project)
	if err != nil {
		return err
	}
	if project.Spec.Namespace == nil {
		base := project.DeepCopy()
		project.Spec.Namespace = &namespace.Name
		if err := r.Client.Patch(ctx, project, client.MergeFrom(base)); err != nil {
			return fmt.Errorf("naming the namespace in the project: %w", err)
		}
		r.event(project, corev1.EventTypeNormal, gardencorev1beta1.ProjectEventNamespaceReconcileSuccessful, "Reconcile", "Namespace %q is the project's", namespace.Name)
	}
	if err := r.ensureQuota(ctx, project, namespace.Name); err != nil {
		return err
	}
	return r.ensureAccess(ctx, project, namespace.Name)
}

// report writes the phase, with the generation that it is of, when either is new.
func (r *Reconciler) report(ctx context.Context, project *gardencorev1beta1.Project, phase gardencorev1beta1.ProjectPhase) error {
	base := project.DeepCopy()
	project.Status.Phase, project.Status.ObservedGeneration = phase, project.Generation
	if equality.Semantic.DeepEqual(base.Status, project.Status) {
		return nil
	}
	log.FromContext(ctx).Info("Changing the project's phase", "before", base.Status.Phase, "after", phase)
	if err := client.IgnoreNotFound(r.Client.Status().Patch(ctx, project, client.MergeFrom(base))); err != nil {
		return fmt.Errorf("reporting phase %s: %w", phase, err)
	}
	return nil
}

func (r *Reconciler) event(project *gardencorev1beta1.Project, kind, reason, action, format string, args ...any) {
	r.Recorder.Eventf(project, nil, kind, reason, action, format, args...)
}
