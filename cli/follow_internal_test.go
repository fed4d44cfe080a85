package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	clientfake "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/scheme"
)

// scene is a garden with one Shoot, in which things happen as time passes: one
// each second, when the Shoot is asked for.
type scene struct {
	*testing.T
	api   client.WithWatch
	plain client.WithWatch
	shoot *gardencorev1beta1.Shoot
	acts  []func()
	began time.Time
	// silent makes the garden not answer.
	silent bool
	events int
	// before are events of an earlier operation.
	before map[string]bool
}

func newScene(t *testing.T) *scene {
	s := &scene{T: t, began: time.Now()}
	s.shoot = &gardencorev1beta1.Shoot{ObjectMeta: metav1.ObjectMeta{Namespace: "garden-local", Name: "demo", UID: "u", Generation: 1}}
	s.plain = clientfake.NewClientBuilder().WithScheme(scheme.Client()).WithObjects(s.shoot.DeepCopy()).WithStatusSubresource(s.shoot).
		WithIndex(&eventsv1.Event{}, "regarding.uid", func(o client.Object) []string {
			return []string{string(o.(*eventsv1.Event).Regarding.UID)}
		}).Build()
	s.api = interceptor.NewClient(s.plain, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
			for len(s.acts) > 0 && time.Since(s.began) >= time.Second {
				s.began = s.began.Add(time.Second)
				s.acts[0]()
				s.acts = s.acts[1:]
			}
			if s.silent {
				return errors.New("connection refused")
			}
			return c.Get(ctx, key, o, options...)
		},
	})
	return s
}

func (s *scene) status(state gardencorev1beta1.LastOperationState, problems ...gardencorev1beta1.LastError) func() {
	return func() {
		now := &gardencorev1beta1.Shoot{}
		must(s.T, s.plain.Get(s.Context(), client.ObjectKeyFromObject(s.shoot), now))
		now.Status.LastOperation = &gardencorev1beta1.LastOperation{Type: gardencorev1beta1.LastOperationTypeCreate, State: state, Progress: 40, Description: "described"}
		now.Status.LastErrors = problems
		now.Status.ObservedGeneration = 1
		if state == gardencorev1beta1.LastOperationStateProcessing {
			now.Status.ObservedGeneration = 0
		}
		must(s.T, s.plain.Status().Update(s.Context(), now))
	}
}

func (s *scene) event(kind, note string) func() {
	return func() {
		s.events++
		must(s.T, s.plain.Create(s.Context(), &eventsv1.Event{
			ObjectMeta: metav1.ObjectMeta{Namespace: "garden-local", Name: fmt.Sprintf("demo.%d", s.events)},
			Regarding:  referenceTo(s.shoot), Type: kind, Note: note,
		}))
	}
}

// play follows the Shoot for a minute at most, and returns what the user reads.
func (s *scene) play(acts ...func()) (string, error) {
	s.acts = acts
	ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
	defer cancel()
	var out strings.Builder
	err := follow(ctx, s.api, s.shoot.DeepCopy(), s.before, &out)
	return out.String(), err
}

const (
	processing = gardencorev1beta1.LastOperationStateProcessing
	succeeded  = gardencorev1beta1.LastOperationStateSucceeded
	failed     = gardencorev1beta1.LastOperationStateFailed
	erred      = gardencorev1beta1.LastOperationStateError
)

func problem(description string, codes ...gardencorev1beta1.ErrorCode) gardencorev1beta1.LastError {
	return gardencorev1beta1.LastError{Description: description, Codes: codes}
}

func TestFollow(t *testing.T) {
	for name, tc := range map[string]struct {
		acts func(*scene) []func()
		out  string
		err  string
		kind fault.Kind
	}{
		"success": {func(s *scene) []func() {
			return []func(){s.status(processing), s.event("Normal", "one took 1.0s"), s.event("Normal", "two took 2.0s"), s.status(succeeded)}
		}, " ✓ one took 1.0s\n ✓ two took 2.0s\nReady after 4.0 s\n", "", ""},
		"what was done before": {func(s *scene) []func() {
			s.before = map[string]bool{"demo.1": true}
			return []func(){s.event("Normal", "one took 1.0s"), s.event("Normal", "two took 2.0s"), s.status(succeeded)}
		}, " ✓ two took 2.0s\nReady after 3.0 s\n", "", ""},
		"problems that pass": {func(s *scene) []func() {
			return []func(){
				s.event("Warning", "one failed"), s.status(erred, problem("first\nwith a tail")), s.status(processing, problem("first\nwith a tail")),
				s.status(erred, problem("first\nwith a tail")), s.status(erred, problem("second")), s.status(succeeded),
			}
		}, " ✗ first\n   with a tail\n   It is tried again.\n ✗ second\n   It is tried again.\nReady after 6.0 s\n", "", ""},
		"what the user must mend": {func(s *scene) []func() {
			return []func(){s.status(failed, problem("wrong", gardencorev1beta1.ErrorConfigurationProblem))}
		}, "", "the cluster cannot be made: described", fault.Invalid},
		"no room": {func(s *scene) []func() {
			return []func(){s.status(erred, problem("1 MiB is left", gardencorev1beta1.ErrorInfraResourcesDepleted))}
		}, "", "the cluster cannot be made now: 1 MiB is left", fault.Exhausted},
		"never": {func(s *scene) []func() {
			return []func(){s.status(processing)}
		}, "", "the cluster is not ready after 60 s: Create Processing (40%): described", fault.Transient},
		"nobody works on it": {func(s *scene) []func() { return nil }, "", "not started yet; does an agent run for its seed?", fault.Transient},
		"a garden that starts again": {func(s *scene) []func() {
			return []func(){func() { s.silent = true }, func() {}, func() { s.silent = false }, s.status(succeeded)}
		}, "Ready after 4.0 s\n", "", ""},
		"a cluster that is to sleep": {func(s *scene) []func() {
			return []func(){func() {
				patch := `{"spec":{"hibernation":{"enabled":true}}}`
				must(s.T, s.plain.Patch(s.Context(), s.shoot.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(patch))))
			}, s.status(succeeded)}
		}, "Stopped after 2.1 s\n", "", ""},
		"deleted by somebody": {func(s *scene) []func() {
			return []func(){func() { must(s.T, s.plain.Delete(s.Context(), s.shoot.DeepCopy())) }}
		}, "", "was deleted", fault.Missing},
	} {
		t.Run(name, func(t *testing.T) {
			// Inside, time passes without costing any.
			synctest.Test(t, func(t *testing.T) {
				s := newScene(t)
				out, err := s.play(tc.acts(s)...)
				if out != tc.out {
					t.Errorf("the user reads\n%s\nwant\n%s", out, tc.out)
				}
				if fault.KindOf(err) != tc.kind || err != nil && !strings.Contains(err.Error(), tc.err) {
					t.Errorf("got %q %v, want %q %s", fault.KindOf(err), err, tc.kind, tc.err)
				}
			})
		})
	}
}

func TestDeleteShoot(t *testing.T) {
	for name, tc := range map[string]struct {
		prepare func(*scene)
		wait    bool
		want    string
		err     string
	}{
		"gone at once":      {func(*scene) {}, true, "is gone after 0.0 s", ""},
		"gone after a time": {func(s *scene) { s.hold(); s.acts = []func(){func() {}, s.release} }, true, "is gone after 2.0 s", ""},
		"not waited for":    {func(s *scene) { s.hold() }, false, "is being deleted", ""},
		"never was":         {func(s *scene) { must(s.T, s.plain.Delete(s.Context(), s.shoot.DeepCopy())) }, true, "does not exist", ""},
		"a garden that starts again": {func(s *scene) {
			s.hold()
			s.acts = []func(){func() { s.silent = true }, func() {}, func() { s.silent = false }, s.release}
		}, true, "is gone after 4.0 s", ""},
		"made anew by somebody": {func(s *scene) {
			s.hold()
			s.acts = []func(){func() {
				s.release()
				must(s.T, s.plain.Create(s.Context(), &gardencorev1beta1.Shoot{ObjectMeta: metav1.ObjectMeta{Namespace: "garden-local", Name: "demo", UID: "other"}}))
			}}
		}, true, "is gone after 1.0 s", ""},
		"never goes": {func(s *scene) { s.hold(); s.status(processing)() }, true, "", "is still being deleted: Create Processing (40%): described"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(t)
				tc.prepare(s)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				var said strings.Builder
				err := deleteShoot(ctx, s.api, &project{name: "local"}, "demo", tc.wait, printer(&said))
				if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
					t.Errorf("got %v, want %q", err, tc.err)
				}
				if !strings.Contains(said.String(), tc.want) {
					t.Errorf("the user reads %q, want %q", said.String(), tc.want)
				}
			})
		})
	}
}

// hold keeps the Shoot from going, as an agent does that removes its machines.
func (s *scene) hold() {
	s.change(func(now *gardencorev1beta1.Shoot) { now.Finalizers = []string{"gardener"} })
}

// release lets it go; its deletion must have been confirmed.
func (s *scene) release() {
	s.change(func(now *gardencorev1beta1.Shoot) {
		if now.Annotations[v1beta1constants.ConfirmationDeletion] != "true" {
			s.Error("the deletion was not confirmed")
		}
		now.Finalizers = nil
	})
}

func (s *scene) change(change func(*gardencorev1beta1.Shoot)) {
	now := &gardencorev1beta1.Shoot{}
	must(s.T, s.plain.Get(s.Context(), client.ObjectKeyFromObject(s.shoot), now))
	change(now)
	must(s.T, s.plain.Update(s.Context(), now))
}

func TestGiveUp(t *testing.T) {
	for retain, want := range map[bool]string{true: "demo-worker-0  Running  id", false: "is gone after"} {
		synctest.Test(t, func(t *testing.T) {
			s := newScene(t)
			for cluster, name := range map[string]string{"demo": "demo-worker-0", "other": "other-worker-0"} {
				m := &v1alpha1.Machine{ObjectMeta: metav1.ObjectMeta{Namespace: "garden-local", Name: name}, Spec: v1alpha1.MachineSpec{ShootName: cluster}, Status: v1alpha1.MachineStatus{State: "Running", ProviderID: "id"}}
				must(t, s.plain.Create(t.Context(), m))
			}
			// The command was interrupted, which must not end this too.
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			var said strings.Builder
			must(t, (&createOptions{retain: retain}).giveUp(ctx, s.api, &project{name: "local"}, "demo", printer(&said)))
			if !strings.Contains(said.String(), want) || strings.Contains(said.String(), "other-worker-0") {
				t.Errorf("with --retain=%v the user reads\n%s", retain, said.String())
			}
			left := s.plain.Get(t.Context(), client.ObjectKeyFromObject(s.shoot), &gardencorev1beta1.Shoot{}) == nil
			if left != retain {
				t.Errorf("with --retain=%v the cluster is left: %v", retain, left)
			}
		})
	}
}
