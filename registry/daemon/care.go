package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/admin"
	"github.com/loam-cloud/loam/registry/collect"
	"github.com/loam-cloud/loam/registry/config"
	"github.com/loam-cloud/loam/registry/store"
)

// plan is the housekeeping that a configuration wants; fetch may be nil.
func plan(c config.Configuration, fetch collect.Fetcher) collect.Plan {
	p := collect.Plan{
		Interval: c.Collection.Interval.Duration,
		Garbage: collect.Garbage{
			Grace: c.Collection.Grace.Duration, Unfinished: c.Collection.Unfinished.Duration,
			Untagged: func(string) bool { return c.Collection.Untagged },
		},
		ScrubInterval: c.Scrub.Interval.Duration,
		Reading:       collect.Reading{Rate: c.Scrub.Rate.Value(), Fetcher: fetch},
	}
	if c.Cap.Size != nil {
		p.Cap = c.Cap.Size.Value()
	}
	for _, r := range c.Retention {
		rule := collect.Rule{Repositories: r.Repositories, Count: -1, Age: r.Age.Duration, Keep: r.Keep, Delay: r.Delay.Duration}
		if r.Count != nil {
			rule.Count = *r.Count
		}
		p.Rules = append(p.Rules, rule)
	}
	return p
}

// Caretaker looks after an image cache: one that runs, or a folder.
type Caretaker interface {
	Status(ctx context.Context) (admin.Status, error)
	Check(ctx context.Context) (collect.CheckReport, error)
	CollectNow(ctx context.Context, dryRun bool) (collect.GarbageReport, error)
	RetainNow(ctx context.Context, dryRun bool) (collect.RetentionReport, error)
	ScrubNow(ctx context.Context, dryRun bool) (collect.ScrubReport, error)
	Close() error
}

// Running finds the process that runs the cache of a configuration. Missing when
// none does.
func Running(ctx context.Context, c config.Configuration) (*admin.Client, error) {
	return admin.Dial(ctx, filepath.Join(c.DataDir, ownerSocket))
}

// Caretake looks after the image cache of a configuration: through the
// process that runs it, with that one's configuration, or on its folder when none
// does. Nothing is fetched then.
func Caretake(ctx context.Context, c config.Configuration) (Caretaker, error) {
	client, err := Running(ctx, c)
	if err == nil {
		return client, nil
	}
	if !errors.Is(err, fault.Missing) {
		return nil, err
	}
	if _, err := os.Stat(c.DataDir); err != nil {
		return nil, fault.New(fault.Invalid, "there is no image cache: %w", err)
	}
	s, err := store.Open(c.DataDir, store.Options{})
	if err != nil {
		return nil, err
	}
	return folder{&collect.Keeper{Collector: collect.Collector{Store: s, Clock: clock.RealClock{}, Log: logr.Discard()}, Plan: plan(c, nil)}}, nil
}

// folder is an image cache that does not run.
type folder struct{ *collect.Keeper }

// Status implements Caretaker.
func (f folder) Status(context.Context) (admin.Status, error) { return admin.FolderStatus(f.Keeper) }

// Close implements Caretaker.
func (f folder) Close() error { return f.Store.Close() }
