// Package graph runs named steps in the order that their dependencies allow,
// as many at once as there are. The shoot flows are built from it.
//
// It must not know what a step does. Steps are idempotent, so that a graph cut
// short by a crash is simply run again from the start.
package graph

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/utils/clock"
)

// Step is one node of the graph.
type Step struct {
	// Name says what is done, as a user reads it: "joining workers".
	Name string
	// After names the steps that must have succeeded before.
	After []string
	// Run does the work. It must be idempotent and end soon after its context
	// is cancelled.
	Run func(context.Context) error
}

// State is how far a step has come.
type State string

// The states that an observer sees.
const (
	Started   State = "Started"
	Succeeded State = "Succeeded"
	Failed    State = "Failed"
)

// Change tells an observer that a step started or ended.
type Change struct {
	Step  string
	State State
	// Took is how long the step ran; zero when it started.
	Took time.Duration
	// Err is set when the step failed.
	Err error
	// Done and Total count the graph's steps.
	Done, Total int
	// Running lists the steps under way after this change, in the order in
	// which they were started.
	Running []string
}

// Validate reports every doubled name, unknown dependency and cycle.
func Validate(steps []Step) error {
	var problems []error
	after := make(map[string][]string, len(steps))
	for _, s := range steps {
		if _, double := after[s.Name]; double {
			problems = append(problems, fmt.Errorf("step %q stands twice", s.Name))
		}
		after[s.Name] = s.After
	}
	for _, s := range steps {
		for _, d := range s.After {
			if _, known := after[d]; !known {
				problems = append(problems, fmt.Errorf("step %q comes after %q, which is not a step", s.Name, d))
			}
		}
	}
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	for len(after) > 0 {
		ready := ready(after)
		if len(ready) == 0 {
			var left []string
			for name := range after {
				left = append(left, name)
			}
			slices.Sort(left)
			return fmt.Errorf("steps wait for each other: %s", strings.Join(left, ", "))
		}
		for _, name := range ready {
			delete(after, name)
		}
	}
	return nil
}

func ready(after map[string][]string) []string {
	var names []string
	for name, deps := range after {
		if !slices.ContainsFunc(deps, func(d string) bool { _, open := after[d]; return open }) {
			names = append(names, name)
		}
	}
	return names
}

// Run runs the steps and returns the errors of those that failed, joined. After
// the first failure no further step is started and the context of those under
// way is cancelled. The observer is called from one goroutine at a time; it may
// be nil.
func Run(ctx context.Context, clock clock.PassiveClock, steps []Step, observe func(Change)) error {
	if err := Validate(steps); err != nil {
		return err
	}
	if observe == nil {
		observe = func(Change) {}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &run{clock: clock, steps: steps, observe: observe, ended: make(chan ending), begun: map[string]time.Time{}, done: map[string]bool{}}
	r.start(ctx)
	for len(r.running) > 0 {
		if r.end(<-r.ended) {
			r.start(ctx)
		} else {
			cancel()
		}
	}
	if len(r.problems) == 0 && len(r.done) < len(steps) {
		return context.Cause(ctx)
	}
	return errors.Join(r.problems...)
}

type ending struct {
	step string
	err  error
}

// run is one run of a graph. Only Run's own goroutine touches it.
type run struct {
	clock    clock.PassiveClock
	steps    []Step
	observe  func(Change)
	ended    chan ending
	begun    map[string]time.Time
	done     map[string]bool
	running  []string
	problems []error
}

func (r *run) start(ctx context.Context) {
	for _, s := range r.steps {
		_, begun := r.begun[s.Name]
		if begun || ctx.Err() != nil || slices.ContainsFunc(s.After, func(d string) bool { return !r.done[d] }) {
			continue
		}
		r.begun[s.Name] = r.clock.Now()
		r.running = append(r.running, s.Name)
		r.observe(r.change(s.Name, Started, nil))
		go func() { r.ended <- ending{step: s.Name, err: s.Run(ctx)} }()
	}
}

// end records that a step ended and tells whether further ones may start.
func (r *run) end(e ending) bool {
	r.running = slices.DeleteFunc(r.running, func(name string) bool { return name == e.step })
	if e.err != nil {
		// A step that ended because another one failed has nothing to tell.
		if len(r.problems) == 0 || !errors.Is(e.err, context.Canceled) {
			r.problems = append(r.problems, fmt.Errorf("%s: %w", e.step, e.err))
		}
		r.observe(r.change(e.step, Failed, e.err))
		return false
	}
	r.done[e.step] = true
	r.observe(r.change(e.step, Succeeded, nil))
	return len(r.problems) == 0
}

func (r *run) change(step string, state State, err error) Change {
	c := Change{Step: step, State: state, Err: err, Done: len(r.done), Total: len(r.steps), Running: slices.Clone(r.running)}
	if state != Started {
		c.Took = r.clock.Since(r.begun[step])
	}
	return c
}
