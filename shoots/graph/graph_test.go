package graph_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/utils/clock"

	"github.com/loam-cloud/loam/shoots/graph"
)

func step(name string, run func(context.Context) error, after ...string) graph.Step {
	if run == nil {
		run = func(context.Context) error { return nil }
	}
	return graph.Step{Name: name, After: after, Run: run}
}

func TestRunHonoursOrderAndRunsAtOnce(t *testing.T) {
	var mu sync.Mutex
	var order []string
	note := func(name string) func(context.Context) error {
		return func(context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, name)
			return nil
		}
	}
	// b and c meet each other: each waits until the other has started.
	b, c := make(chan struct{}), make(chan struct{})
	steps := []graph.Step{
		step("d", note("d"), "b", "c"),
		step("b", func(ctx context.Context) error { close(b); <-c; return note("b")(ctx) }, "a"),
		step("c", func(ctx context.Context) error { close(c); <-b; return note("c")(ctx) }, "a"),
		step("a", note("a")),
	}
	var last graph.Change
	if err := graph.Run(t.Context(), clock.RealClock{}, steps, func(c graph.Change) { last = c }); err != nil {
		t.Fatal(err)
	}
	if order[0] != "a" || order[3] != "d" || len(order) != 4 {
		t.Errorf("order is %v", order)
	}
	if last.Step != "d" || last.State != graph.Succeeded || last.Done != 4 || last.Total != 4 || len(last.Running) != 0 {
		t.Errorf("last change is %+v", last)
	}
}

func TestRunStopsAfterFailure(t *testing.T) {
	boom := errors.New("boom")
	var started []string
	steps := []graph.Step{
		step("bad", func(context.Context) error { return boom }),
		step("long", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }),
		step("next", nil, "bad"),
		step("later", nil, "long"),
	}
	err := graph.Run(t.Context(), clock.RealClock{}, steps, func(c graph.Change) {
		if c.State == graph.Started {
			started = append(started, c.Step)
		}
	})
	if !errors.Is(err, boom) || err.Error() != "bad: boom" {
		t.Errorf("error is %v", err)
	}
	slices.Sort(started)
	if !slices.Equal(started, []string{"bad", "long"}) {
		t.Errorf("started %v", started)
	}
}

func TestRunReportsCancellation(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the shoot is being deleted")
	steps := []graph.Step{
		step("first", func(context.Context) error { cancel(why); return nil }),
		step("second", nil, "first"),
	}
	if err := graph.Run(ctx, clock.RealClock{}, steps, nil); !errors.Is(err, why) {
		t.Errorf("error is %v", err)
	}
}

func TestValidate(t *testing.T) {
	for name, tc := range map[string]struct {
		steps []graph.Step
		want  []string
	}{
		"fine":    {[]graph.Step{step("a", nil), step("b", nil, "a")}, nil},
		"double":  {[]graph.Step{step("a", nil), step("a", nil)}, []string{`"a" stands twice`}},
		"unknown": {[]graph.Step{step("a", nil, "x"), step("b", nil, "y")}, []string{`after "x"`, `after "y"`}},
		"cycle":   {[]graph.Step{step("a", nil, "c"), step("b", nil, "a"), step("c", nil, "b"), step("d", nil)}, []string{"a, b, c"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := graph.Validate(tc.steps)
			if (err == nil) != (tc.want == nil) {
				t.Fatalf("error is %v", err)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}
