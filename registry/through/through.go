// Package through is a cache of one upstream: what a store has is served from
// it, what it lacks is fetched, stored, and streamed to everyone who waits for
// it while it arrives. Nobody is given the last bytes of anything before its
// digest is known to be right, and nothing wrong is ever kept.
//
// The registry's server calls it for repositories of upstreams. It must not know
// HTTP, who asks, or what may be removed when.
package through

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/singleflight"
	"k8s.io/utils/clock"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/store"
	"github.com/loam-cloud/loam/registry/upstream"
)

// Options say how fresh what is served has to be. Zero values take the defaults
// named with them.
type Options struct {
	// TTL is how long a tag is taken to mean what the upstream last said; a minute.
	TTL time.Duration
	// Offline serves what is stored, and never asks the upstream.
	Offline bool
	// Patience is how long a tag that is stored waits for the upstream to confirm
	// it, before it is served stale; 5 s. After one that failed, all tags are
	// served stale for as long again.
	Patience time.Duration
	// StopAbandoned ends a download when everyone who waited for it has left; the
	// next pull takes it up there. By default it is finished: who left comes again.
	StopAbandoned bool
	// Clock measures ages; nil is the real one.
	Clock clock.PassiveClock
	// Log takes what happens to downloads, which outlive the requests that began
	// them.
	Log logr.Logger
}

// Cache serves the repositories of one upstream. It is safe for use by many at
// once.
type Cache struct {
	store    *store.Store
	upstream *upstream.Client
	o        Options

	life context.Context
	end  context.CancelCauseFunc
	work sync.WaitGroup

	mu        sync.Mutex
	downloads map[digest.Digest]*download
	restUntil time.Time

	manifests singleflight.Group
	stats     counters
}

var errClosed = errors.New("the image cache is being stopped")

// New returns a cache of the upstream, in a store that it may share with others.
// Close has to be called before the store is closed.
func New(s *store.Store, u *upstream.Client, o Options) *Cache {
	if o.TTL == 0 {
		o.TTL = time.Minute
	}
	if o.Patience == 0 {
		o.Patience = 5 * time.Second
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	c := &Cache{store: s, upstream: u, o: o, downloads: map[digest.Digest]*download{}}
	log := o.Log.WithValues("upstream", u.Name())
	c.life, c.end = context.WithCancelCause(logr.NewContext(context.Background(), log))
	return c
}

// Close stops all downloads, so that they can be resumed, and waits for them.
func (c *Cache) Close() {
	c.mu.Lock()
	c.end(errClosed)
	c.mu.Unlock()
	c.work.Wait()
}

// enter counts work that Close waits for, and refuses it once Close was called.
func (c *Cache) enter() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := context.Cause(c.life); err != nil {
		return fault.Wrap(fault.Transient, err)
	}
	c.work.Add(1)
	return nil
}

func (c *Cache) log() logr.Logger { return logr.FromContextOrDiscard(c.life) }

// Health returns how the upstream did lately, and what went to and came from it.
func (c *Cache) Health() (upstream.Health, upstream.Traffic) {
	return c.upstream.Health(), c.upstream.Traffic()
}

// Stats is what was asked of a cache since it was made.
type Stats struct {
	// Hits were served from the store, Misses needed the upstream; Joined are
	// those of the misses that shared a download which ran already.
	Hits, Misses, Joined int64
	// Stale tags were served though the upstream could not confirm them.
	Stale int64
	// Resumed downloads took up what an earlier one had left; Wrong ones brought
	// bytes that are not what their digest says.
	Resumed, Wrong int64
	// Running is how many downloads run now.
	Running int64
}

type counters struct{ hits, misses, joined, stale, resumed, wrong atomic.Int64 }

// Stats returns what was asked so far.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	running := int64(len(c.downloads))
	c.mu.Unlock()
	return Stats{
		Hits: c.stats.hits.Load(), Misses: c.stats.misses.Load(), Joined: c.stats.joined.Load(), Stale: c.stats.stale.Load(),
		Resumed: c.stats.resumed.Load(), Wrong: c.stats.wrong.Load(), Running: running,
	}
}

// missing is the answer where the upstream is not to be asked.
func (c *Cache) missing(what string) error {
	return fault.New(fault.Missing, "%s has no %s stored, and is set to be offline", c.upstream.Name(), what)
}
