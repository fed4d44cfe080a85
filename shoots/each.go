package shoots

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/utils/clock"

	"github.com/loam-cloud/loam/fault"
)

// atOnce bounds how many machines of a cluster are worked on at the same time.
const atOnce = 8

// each does something for all items, several at once. All are tried; their
// errors are joined.
func each[T any](ctx context.Context, items []T, do func(context.Context, T) error) error {
	problems := make([]error, len(items))
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i, item := range items {
		g.Go(func() error {
			problems[i] = do(ctx, item)
			return nil
		})
	}
	_ = g.Wait() // the functions return nil
	return errors.Join(problems...)
}

// indices are those of a slice, for each to work through slices of one length.
func indices[T any](items []T) []int {
	all := make([]int, len(items))
	for i := range all {
		all[i] = i
	}
	return all
}

const (
	// pollInterval is the pause between two questions.
	pollInterval = 200 * time.Millisecond
	// startLimit bounds the wait for an API server and for nodes: ten times
	// what a slow host needs.
	startLimit = 5 * time.Minute
)

// poll asks until there is no problem left, or an Invalid one, which does
// not pass by waiting. When the time is up the error is the last problem.
func poll(ctx context.Context, clock clock.Clock, ask func(context.Context) error) error {
	end := clock.After(startLimit)
	for {
		problem := ask(ctx)
		if problem == nil || fault.KindOf(problem) == fault.Invalid {
			return problem
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-end:
			return fault.New(fault.Transient, "after %s still: %w", startLimit, problem)
		case <-clock.After(pollInterval):
		}
	}
}
