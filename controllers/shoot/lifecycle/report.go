package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gardener/gardener/pkg/apis/core"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/loam-cloud/loam/controllers/policy"
	"github.com/loam-cloud/loam/controllers/shoot/internal/target"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/shoots"
	"github.com/loam-cloud/loam/shoots/graph"
)

// operationRun is one operation on one Shoot, whose spec and generation are
// those that it began with.
type operationRun struct {
	*Reconciler
	shoot *gardencorev1beta1.Shoot
	kind  gardencorev1beta1.LastOperationType
}

// learn takes over what the API server answered to a change. A spec that came
// after the operation's is left for the next one: were its generation taken
// over, it would count as done.
func (o *operationRun) learn(fresh *gardencorev1beta1.Shoot) {
	generation := o.shoot.Generation
	o.shoot.ObjectMeta, o.shoot.Status = fresh.ObjectMeta, fresh.Status
	o.shoot.Generation = generation
}

// flow returns a flow whose steps are reported as they go.
func (o *operationRun) flow(ctx context.Context) *shoots.Flow {
	return &shoots.Flow{Machines: o.Machines, Clock: o.Clock, Connect: o.Connect, Cache: o.Cache, Observe: func(c graph.Change) { o.observe(ctx, c) }}
}

// observe shows a change of a step: an event when it ended, and what runs now
// in the last operation. A status that cannot be written is not worth ending a
// flow for; the operation's end writes it again.
func (o *operationRun) observe(ctx context.Context, c graph.Change) {
	if ctx.Err() != nil {
		return // steps end because they are to, which is no news
	}
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
	percent := min(int32(c.Done*100/c.Total), 99)
	description := strings.Join(c.Running, ", ")
	if err := o.write(ctx, func(s *gardencorev1beta1.ShootStatus) {
		s.LastOperation = operation(o.kind, gardencorev1beta1.LastOperationStateProcessing, percent, description, o.now())
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
	asleep := target.Hibernated(o.shoot)
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
	p := policy.Of(problem)
	state := gardencorev1beta1.LastOperationStateError
	switch {
	case !p.Retry:
		state = gardencorev1beta1.LastOperationStateFailed
	case fault.KindOf(problem) == fault.Waiting:
		return o.write(ctx, func(s *gardencorev1beta1.ShootStatus) {
			s.LastOperation = operation(o.kind, gardencorev1beta1.LastOperationStateProcessing, progress(s), problem.Error(), o.now())
		})
	}
	return o.write(ctx, func(s *gardencorev1beta1.ShootStatus) {
		now := o.now()
		s.ObservedGeneration = o.shoot.Generation
		s.LastOperation = operation(o.kind, state, progress(s), problem.Error(), now)
		s.LastErrors = []gardencorev1beta1.LastError{{Description: problem.Error(), Codes: p.Codes, LastUpdateTime: &now}}
	})
}

// progress is how far the operation that is running, or was, has come.
func progress(s *gardencorev1beta1.ShootStatus) int32 {
	if s.LastOperation == nil {
		return 0
	}
	return s.LastOperation.Progress
}

// write changes the status by a merge patch, when there is something to change.
func (o *operationRun) write(ctx context.Context, change func(*gardencorev1beta1.ShootStatus)) error {
	fresh := o.shoot.DeepCopy()
	change(&fresh.Status)
	if equality.Semantic.DeepEqual(fresh.Status, o.shoot.Status) {
		return nil
	}
	if err := o.Client.Status().Patch(ctx, fresh, client.MergeFrom(o.shoot)); err != nil {
		return fmt.Errorf("writing the shoot's status: %w", fault.Wrap(fault.Transient, err))
	}
	o.learn(fresh)
	return nil
}

// project finds the project that a Shoot's namespace belongs to. The namespace's
// label says so, as soon as its project's controller has been there; an agent
// may have no right to look further.
func (o *operationRun) project(ctx context.Context) (string, error) {
	namespace := &corev1.Namespace{}
	if err := o.Client.Get(ctx, client.ObjectKey{Name: o.shoot.Namespace}, namespace); err != nil {
		return "", fault.Wrap(fault.Transient, err)
	}
	if name := namespace.Labels[v1beta1constants.ProjectName]; name != "" {
		return name, nil
	}
	var projects gardencorev1beta1.ProjectList
	if err := o.Live.List(ctx, &projects, client.MatchingFields{core.ProjectNamespace: o.shoot.Namespace}); err != nil {
		return "", fault.Wrap(fault.Transient, err)
	}
	if len(projects.Items) == 0 {
		return "", fault.New(fault.Invalid, "metadata.namespace: %q belongs to no project", o.shoot.Namespace)
	}
	return projects.Items[0].Name, nil
}

func (o *operationRun) now() metav1.Time { return metav1.NewTime(o.Clock.Now()) }

// event records what happened to the Shoot. Of warnings those that repeat while
// a step is tried again become one, which counts them: that is so for events
// about the same version of an object.
func (o *operationRun) event(kind, reason, action, format string, args ...any) {
	about := o.shoot
	if kind == corev1.EventTypeWarning {
		about = o.shoot.DeepCopy()
		about.ResourceVersion = ""
	}
	o.Recorder.Eventf(about, nil, kind, reason, action, format, args...)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
