// Package activity notes in each Project when somebody last did something in it.
// app adds it to the fleet's controllers.
//
// It must not conclude anything from that: controllers/project/stale does.
package activity

import (
	"context"
	"fmt"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/declaration"
)

// Name is the controller's name, and with it that of its logger.
const Name = "project.activity"

// Reconciler notes the time of the last activity.
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
			{Resource: "projects.core.gardener.cloud"}, {Resource: "shoots.core.gardener.cloud"},
			{Resource: "backupentries.core.gardener.cloud"}, {Resource: "quotas.core.gardener.cloud"},
			{Resource: "secrets", MetadataOnly: true}, {Resource: "internalsecrets.core.gardener.cloud", MetadataOnly: true},
		},
		Writes: []declaration.Write{{Resource: "projects.core.gardener.cloud/status", Verbs: []string{"patch"}, Fields: []string{"status.lastActivityTimestamp"}}},
	}
}

// Reconcile notes that something happens in a Project now.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	project := &gardencorev1beta1.Project{}
	if err := r.Client.Get(ctx, request.NamespacedName, project); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	now := metav1.NewTime(r.Clock.Now()).Rfc3339Copy() // as it is stored, in seconds
	if now.Equal(project.Status.LastActivityTimestamp) {
		return reconcile.Result{}, nil
	}
	log.FromContext(ctx).V(1).Info("Noting activity in the project", "at", now.Time)
	base := project.DeepCopy()
	project.Status.LastActivityTimestamp = &now
	if err := client.IgnoreNotFound(r.Client.Status().Patch(ctx, project, client.MergeFrom(base))); err != nil {
		return reconcile.Result{}, fmt.Errorf("noting activity: %w", err)
	}
	return reconcile.Result{}, nil
}
