package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"golang.org/x/term"
	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/fault"
)

// followInterval is how often a cluster's progress is looked at.
const followInterval = 150 * time.Millisecond

// follow shows the steps of a cluster's operation until it has ended. Each step
// that is done becomes a line with its time; on a terminal the last line shows
// what is running.
func follow(ctx context.Context, api client.Client, shoot *gardencorev1beta1.Shoot, out io.Writer) error {
	p := progress{out: out, began: time.Now(), seen: map[string]bool{}}
	if f, ok := out.(*os.File); ok {
		p.live = term.IsTerminal(int(f.Fd()))
	}
	generation := shoot.Generation
	for {
		if err := api.Get(ctx, client.ObjectKeyFromObject(shoot), shoot); err != nil && ctx.Err() == nil {
			return fmt.Errorf("asking for progress: %w", err)
		}
		if err := p.steps(ctx, api, shoot); err != nil && ctx.Err() == nil {
			return err
		}
		last := shoot.Status.LastOperation
		done := last != nil && shoot.Status.ObservedGeneration >= generation
		switch {
		case done && last.State == gardencorev1beta1.LastOperationStateSucceeded:
			p.clear()
			fmt.Fprintf(out, "Ready after %.1f s\n", time.Since(p.began).Seconds())
			return nil
		case done && last.State == gardencorev1beta1.LastOperationStateFailed:
			p.clear()
			return fault.New(fault.Invalid, "the cluster cannot be made: %s", last.Description)
		case ctx.Err() != nil:
			p.clear()
			return fault.New(fault.Transient, "the cluster is not ready after %.0f s: %s", time.Since(p.began).Seconds(), lastOperation(shoot))
		}
		p.running(last)
		select {
		case <-ctx.Done():
		case <-time.After(followInterval):
		}
	}
}

// progress remembers what was shown already.
type progress struct {
	out   io.Writer
	live  bool
	began time.Time
	seen  map[string]bool
	turns int
	width int
}

// steps prints the events of steps that ended since the last look.
func (p *progress) steps(ctx context.Context, api client.Client, shoot *gardencorev1beta1.Shoot) error {
	var events eventsv1.EventList
	if err := api.List(ctx, &events, client.InNamespace(shoot.Namespace), client.MatchingFields{"regarding.uid": string(shoot.UID)}); err != nil {
		return fmt.Errorf("asking for events: %w", err)
	}
	for _, e := range events.Items {
		if p.seen[e.Name] {
			continue
		}
		p.seen[e.Name] = true
		p.clear()
		mark := "✓"
		if e.Type != "Normal" {
			mark = "✗"
		}
		fmt.Fprintf(p.out, " %s %s\n", mark, e.Note)
	}
	return nil
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
