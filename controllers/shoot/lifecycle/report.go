package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/controllers/policy"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/shoots"
	"github.com/loam-cloud/loam/shoots/graph"
)

// operationRun is one operation on one Shoot.
type operationRun struct {
	*Reconciler
	shoot *gardencorev1beta1.Shoot
	kind  gardencorev1beta1.LastOperationType
}

// flow returns a flow whose steps are reported as they go.
func (o *operationRun) flow(ctx context.Context) *shoots.Flow {
	return &shoots.Flow{Machines: o.Machines, Clock: o.Clock, Observe: func(c graph.Change) { o.observe(ctx, c) }}
}

// observe shows a change of a step: an event when it ended, and what runs now
// in the last operation. A status that cannot be written is not worth ending a
// flow for; the operation's end writes it again.
func (o *operationRun) observe(ctx context.Context, c graph.Change) {
	logger := log.FromContext(ctx)
	switch c.State {
	case graph.Succeeded:
		logger.Info("Step done", "step", c.Step, "seconds", c.Took.Seconds())
		o.event(corev1.EventTypeNormal, reason(c.Step), string(o.kind), "%s took %.1fs", c.Step, c.Took.Seconds())
	case graph.Failed:
		if !errors.Is(c.Err, context.Canceled) {
			o.event(corev1.EventTypeWarning, reason(c.Step)+"Failed", string(o.kind), "%s failed after %.1fs: %s", c.Step, c.Took.Seconds(), firstLine(c.Err.Error()))
		}
	}
	if len(c.Running) == 0 {
		return
	}
	// The last percent belongs to the operation's end.
	progress := min(int32(c.Done*100/c.Total), 99)
	description := strings.Join(c.Running, ", ")
	if err := o.write(ctx, func(s *gardencorev1beta1.ShootStatus) {
		s.LastOperation = operation(o.kind, gardencorev1beta1.LastOperationStateProcessing, progress, description, o.now())
	}); err != nil {
		logger.V(1).Info("Progress was not written", "problem", err.Error())
	}
}

// begin reports that the operation runs.
func (o *operationRun) begin(ctx context.Context) error {
	id := o.shoot.Status.TechnicalID
	if id == "" {
		project, err := o.project(ctx)
		if err != nil {
			return err
		}
		id = technicalID(project, o.shoot.Name)
	}
	return o.write(ctx, func(s *gardencorev1beta1.ShootStatus) {
		s.TechnicalID = id
		s.UID = o.shoot.UID
		s.SeedName = o.shoot.Spec.SeedName
		s.Gardener = o.Config.Identity
		s.ClusterIdentity = ptr.To(id + "-" + string(o.shoot.UID))
		s.LastOperation = operation(o.kind, gardencorev1beta1.LastOperationStateProcessing, 0, "starting", o.now())
	})
}

// succeed reports that the operation is done.
func (o *operationRun) succeed(ctx context.Context) error {
	asleep := hibernated(o.shoot)
	description := "The cluster is ready."
	if asleep {
		description = "The cluster is hibernated."
	}
	o.event(corev1.EventTypeNormal, gardencorev1beta1.EventReconciled, string(o.kind), "%s", description)
	return o.write(ctx, func(s *gardencorev1beta1.ShootStatus) {
		s.ObservedGeneration = o.shoot.Generation
		s.IsHibernated = asleep
		s.LastErrors = nil
		s.LastOperation = operation(o.kind, gardencorev1beta1.LastOperationStateSucceeded, 100, description, o.now())
	})
}

// fail reports why the operation did not get to its end.
func (o *operationRun) fail(ctx context.Context, problem error) error {
	// The flow's context may have ended, its outcome is to be told all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	p := policy.Of(problem)
	state := gardencorev1beta1.LastOperationStateError
	switch {
	case !p.Retry:
		state = gardencorev1beta1.LastOperationStateFailed
	case errors.Is(problem, context.Canceled):
		state = gardencorev1beta1.LastOperationStateAborted
	case errors.Is(problem, fault.Waiting):
		state = gardencorev1beta1.LastOperationStateProcessing
	}
	return o.write(ctx, func(s *gardencorev1beta1.ShootStatus) {
		var progress int32
		if s.LastOperation != nil {
			progress = s.LastOperation.Progress
		}
		now := o.now()
		s.ObservedGeneration = o.shoot.Generation
		s.LastOperation = operation(o.kind, state, progress, problem.Error(), now)
		s.LastErrors = []gardencorev1beta1.LastError{{Description: problem.Error(), Codes: p.Codes, LastUpdateTime: &now}}
	})
}

// write changes the status by a merge patch, when there is something to change.
func (o *operationRun) write(ctx context.Context, change func(*gardencorev1beta1.ShootStatus)) error {
	base := o.shoot.DeepCopy()
	change(&o.shoot.Status)
	if equality.Semantic.DeepEqual(base.Status, o.shoot.Status) {
		return nil
	}
	if err := o.Client.Status().Patch(ctx, o.shoot, client.MergeFrom(base)); err != nil {
		return fmt.Errorf("writing the shoot's status: %w", fault.Wrap(fault.Transient, err))
	}
	return nil
}

// project finds the project that a Shoot's namespace belongs to.
func (o *operationRun) project(ctx context.Context) (string, error) {
	var projects gardencorev1beta1.ProjectList
	if err := o.Client.List(ctx, &projects); err != nil {
		return "", fault.Wrap(fault.Transient, err)
	}
	for _, p := range projects.Items {
		if p.Spec.Namespace != nil && *p.Spec.Namespace == o.shoot.Namespace {
			return p.Name, nil
		}
	}
	return "", fault.New(fault.Invalid, "metadata.namespace: %q belongs to no project", o.shoot.Namespace)
}

// publishMachines shows the cluster's machines as Machine objects.
func (o *operationRun) publishMachines(ctx context.Context, flow *shoots.Flow, cluster shoots.Cluster) error {
	reported, err := flow.Report(ctx, cluster)
	if err != nil {
		return err
	}
	existing := map[string]bool{}
	var problems []error
	for _, m := range reported {
		existing[m.Name] = true
		problems = append(problems, o.publishMachine(ctx, m))
	}
	var all v1alpha1.MachineList
	if err := o.Client.List(ctx, &all, client.InNamespace(o.shoot.Namespace)); err != nil {
		return fault.Wrap(fault.Transient, err)
	}
	for i := range all.Items {
		if m := &all.Items[i]; m.Spec.ShootName == o.shoot.Name && !existing[m.Name] {
			problems = append(problems, client.IgnoreNotFound(o.Client.Delete(ctx, m)))
		}
	}
	return fault.Wrap(fault.Transient, errors.Join(problems...))
}

func (o *operationRun) publishMachine(ctx context.Context, m v1alpha1.Machine) error {
	have := &v1alpha1.Machine{ObjectMeta: o.owned(m.Name)}
	if _, err := controllerutil.CreateOrPatch(ctx, o.Client, have, func() error {
		have.OwnerReferences = o.owned(m.Name).OwnerReferences
		have.Spec = m.Spec
		have.Spec.ProviderType = o.shoot.Spec.Provider.Type
		return nil
	}); err != nil {
		return fmt.Errorf("publishing machine %q: %w", m.Name, err)
	}
	if equality.Semantic.DeepEqual(have.Status, m.Status) {
		return nil
	}
	base := have.DeepCopy()
	have.Status = m.Status
	return o.Client.Status().Patch(ctx, have, client.MergeFrom(base))
}

// kubeconfigLifetime bounds the certificate in the kubeconfig Secret;
// kubeconfigRenewal is what must be left of it, else it is made anew.
const (
	kubeconfigLifetime = 365 * 24 * time.Hour
	kubeconfigRenewal  = 90 * 24 * time.Hour
)

// renewAnnotation tells when a kubeconfig is to be made anew.
const renewAnnotation = "loam.dev/renew-after"

// publishKubeconfig keeps an administrator's kubeconfig in Secret
// <shoot>.kubeconfig.
func (o *operationRun) publishKubeconfig(ctx context.Context, flow *shoots.Flow, cluster shoots.Cluster, authorities shoots.Authorities) error {
	server, err := flow.Endpoint(ctx, cluster)
	if errors.Is(err, fault.Missing) {
		return nil // nothing to reach yet
	}
	if err != nil {
		return err
	}
	now := o.Clock.Now()
	secret := &corev1.Secret{ObjectMeta: o.owned(o.shoot.Name + ".kubeconfig")}
	_, err = controllerutil.CreateOrPatch(ctx, o.Client, secret, func() error {
		if renew, err := time.Parse(time.RFC3339, secret.Annotations[renewAnnotation]); err == nil && now.Before(renew) && strings.Contains(string(secret.Data["kubeconfig"]), server+"\n") {
			return nil
		}
		file, err := authorities.Kubeconfig("loam-"+o.shoot.Name, server, shoots.Identity{
			User: "loam:admin", Groups: []string{"kubeadm:cluster-admins"}, Lifetime: kubeconfigLifetime,
		}, now)
		if err != nil {
			return err
		}
		secret.OwnerReferences = o.owned("").OwnerReferences
		metav1.SetMetaDataAnnotation(&secret.ObjectMeta, renewAnnotation, now.Add(kubeconfigLifetime-kubeconfigRenewal).UTC().Format(time.RFC3339))
		secret.Data = map[string][]byte{"kubeconfig": file, "ca.crt": authorities["ca.crt"]}
		return nil
	})
	if err != nil {
		return fmt.Errorf("publishing the kubeconfig: %w", fault.Wrap(fault.Transient, err))
	}
	return nil
}

func (o *operationRun) now() metav1.Time { return metav1.NewTime(o.Clock.Now()) }

func (o *operationRun) event(kind, reason, action, format string, args ...any) {
	o.Recorder.Eventf(o.shoot, nil, kind, reason, action, format, args...)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
