package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"golang.org/x/term"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/fault"
)

// followInterval is how often a cluster's progress is looked at.
const followInterval = 150 * time.Millisecond

// follow shows the steps of a cluster's operation until it has ended. Each step
// that is done becomes a line with its time, and so does each new problem that
// is tried to overcome; on a terminal the last line shows what is running. A
// garden that does not answer for a moment is asked again.
//
// Faults: Invalid and Exhausted for what only the user can mend, Missing when
// the cluster was deleted, Transient when the time is up.
//
// Events that were there before are given by name; nil means none.
func follow(ctx context.Context, api client.Client, shoot *gardencorev1beta1.Shoot, before map[string]bool, out io.Writer) error {
	p := progress{out: out, began: time.Now(), seen: map[string]bool{}}
	maps.Copy(p.seen, before)
	if f, ok := out.(*os.File); ok {
		p.live = term.IsTerminal(int(f.Fd()))
	}
	generation := shoot.Generation
	for {
		now := &gardencorev1beta1.Shoot{}
		silence := api.Get(ctx, client.ObjectKeyFromObject(shoot), now)
		if silence == nil {
			*shoot = *now
			silence = p.steps(ctx, api, shoot)
		}
		ready, err := outcome(shoot, generation)
		switch {
		case apierrors.IsNotFound(silence):
			p.clear()
			return fault.New(fault.Missing, "the cluster was deleted while it was made")
		case ready || err != nil:
			p.clear()
			if ready {
				state := "Ready"
				if hibernated(shoot) {
					state = "Stopped"
				}
				fmt.Fprintf(out, "%s after %.1f s\n", state, time.Since(p.began).Seconds())
			}
			return err
		case ctx.Err() != nil:
			p.clear()
			return fault.New(fault.Transient, "the cluster is not ready after %.0f s: %s", time.Since(p.began).Seconds(), lastOperation(shoot))
		}
		p.problems(shoot.Status.LastErrors)
		p.running(shoot.Status.LastOperation)
		select {
		case <-ctx.Done():
		case <-time.After(followInterval):
		}
	}
}

// outcome tells whether the operation for a generation has come to an end that
// only the user can change.
func outcome(shoot *gardencorev1beta1.Shoot, generation int64) (ready bool, err error) {
	last := shoot.Status.LastOperation
	if last == nil || shoot.Status.ObservedGeneration < generation {
		return false, nil
	}
	switch last.State {
	case gardencorev1beta1.LastOperationStateSucceeded:
		return true, nil
	case gardencorev1beta1.LastOperationStateFailed:
		return false, fault.New(fault.Invalid, "the cluster cannot be made: %s", last.Description)
	case gardencorev1beta1.LastOperationStateError:
		for _, e := range shoot.Status.LastErrors {
			if slices.ContainsFunc(e.Codes, func(c gardencorev1beta1.ErrorCode) bool {
				return c == gardencorev1beta1.ErrorInfraResourcesDepleted || c == gardencorev1beta1.ErrorInfraUnauthorized
			}) {
				return false, fault.New(fault.Exhausted, "the cluster cannot be made now: %s", e.Description)
			}
		}
	}
	return false, nil
}

// progress remembers what was shown already: events by name, problems by text.
type progress struct {
	out   io.Writer
	live  bool
	began time.Time
	seen  map[string]bool
	turns int
	width int
}

// eventNames are those of the events that a Shoot has.
func eventNames(ctx context.Context, api client.Client, shoot *gardencorev1beta1.Shoot) (map[string]bool, error) {
	var events eventsv1.EventList
	if err := api.List(ctx, &events, client.InNamespace(shoot.Namespace), client.MatchingFields{"regarding.uid": string(shoot.UID)}); err != nil {
		return nil, fmt.Errorf("asking for events: %w", err)
	}
	names := map[string]bool{}
	for _, e := range events.Items {
		names[e.Name] = true
	}
	return names, nil
}

// steps prints the events of steps that were done since the last look.
func (p *progress) steps(ctx context.Context, api client.Client, shoot *gardencorev1beta1.Shoot) error {
	var events eventsv1.EventList
	if err := api.List(ctx, &events, client.InNamespace(shoot.Namespace), client.MatchingFields{"regarding.uid": string(shoot.UID)}); err != nil {
		return fmt.Errorf("asking for events: %w", err)
	}
	for _, e := range events.Items {
		if p.seen[e.Name] || e.Type != corev1.EventTypeNormal {
			continue
		}
		p.seen[e.Name] = true
		p.clear()
		fmt.Fprintf(p.out, " ✓ %s\n", e.Note)
	}
	return nil
}

// problems prints those that were not printed yet.
func (p *progress) problems(all []gardencorev1beta1.LastError) {
	for _, e := range all {
		if p.seen[e.Description] {
			continue
		}
		p.seen[e.Description] = true
		p.clear()
		fmt.Fprintf(p.out, " ✗ %s\n   It is tried again.\n", strings.ReplaceAll(e.Description, "\n", "\n   "))
	}
}

// running shows what is going on, on a terminal only.
func (p *progress) running(last *gardencorev1beta1.LastOperation) {
	if !p.live || last == nil {
		return
	}
	p.clear()
	wheel := []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
	text := fmt.Sprintf(" %c %s (%d%%, %.0f s)", wheel[p.turns%len(wheel)], firstLine(last.Description), last.Progress, time.Since(p.began).Seconds())
	p.turns++
	p.width = len([]rune(text))
	fmt.Fprint(p.out, text)
}

func (p *progress) clear() {
	if p.width > 0 {
		fmt.Fprint(p.out, "\r"+strings.Repeat(" ", p.width)+"\r")
		p.width = 0
	}
}

// sayMachines lists a cluster's machines.
func sayMachines(ctx context.Context, api client.Client, p *project, cluster string, say sayer) error {
	var machines v1alpha1.MachineList
	if err := api.List(ctx, &machines, client.InNamespace(p.namespace())); err != nil {
		return fmt.Errorf("listing machines: %w", err)
	}
	for _, m := range machines.Items {
		if m.Spec.ShootName == cluster {
			say("  %s  %s  %s", m.Name, m.Status.State, m.Status.ProviderID)
		}
	}
	return nil
}
