package collect

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// Plan is what a Keeper does, and how often.
type Plan struct {
	// Interval is how far apart collections are, each after retention; none when
	// negative.
	Interval time.Duration
	Garbage  Garbage
	Rules    []Rule
	// Cap is what all may take, in bytes; no bound when 0.
	Cap int64
	// ScrubInterval is how far apart scrubs are; none when negative.
	ScrubInterval time.Duration
	Reading       Reading
}

// Keeper runs a plan while the cache is in use. What is asked for by hand takes
// its turn with what the plan wants.
type Keeper struct {
	Collector
	Plan Plan
	// Ticks is the clock that wakes the keeper; the real one when nil.
	Ticks clock.WithTicker

	turn, scrubTurn sync.Mutex
}

// lookEvery is how often the keeper looks whether something is to be done, and
// writes down what was used.
const lookEvery = time.Minute

const noteCollected = "collected"

// Run keeps the plan until the context ends.
func (k *Keeper) Run(ctx context.Context) {
	if k.Ticks == nil {
		k.Ticks = clock.RealClock{}
	}
	ticker := k.Ticks.NewTicker(lookEvery)
	defer ticker.Stop()
	var scrub sync.WaitGroup
	defer scrub.Wait()
	scrubbing := make(chan struct{}, 1)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
		}
		if err := k.Look(ctx); err != nil && ctx.Err() == nil {
			k.Log.Error(err, "Could not tidy up")
		}
		select {
		case scrubbing <- struct{}{}:
			// Beside everything else: it takes hours.
			scrub.Go(func() {
				defer func() { <-scrubbing }()
				if err := k.scrubIfDue(ctx); err != nil && ctx.Err() == nil {
					k.Log.Error(err, "Could not read everything again")
				}
			})
		default:
		}
	}
}

// Look writes down what was used and does what is due.
func (k *Keeper) Look(ctx context.Context) error {
	k.turn.Lock()
	defer k.turn.Unlock()
	err := k.Store.FlushUse()
	if k.Plan.Cap > 0 {
		_, evictErr := k.Evict(ctx, k.Plan.Cap)
		err = errors.Join(err, evictErr)
	}
	due, dueErr := k.due(noteCollected, k.Plan.Interval)
	if err = errors.Join(err, dueErr); err != nil || !due {
		return err
	}
	if _, err := k.Retain(ctx, k.Plan.Rules, false); err != nil {
		return err
	}
	if _, err := k.Collect(ctx, k.garbage(false)); err != nil {
		return err
	}
	return k.Store.Note(noteCollected, k.Clock.Now().UTC().Format(time.RFC3339))
}

// garbage is the plan's; where tags go by a rule, so does what they leave behind.
func (k *Keeper) garbage(dryRun bool) Garbage {
	g := k.Plan.Garbage
	g.DryRun = dryRun
	always := g.Untagged
	g.Untagged = func(repository string) bool {
		return always != nil && always(repository) || RuleFor(k.Plan.Rules, repository) != nil
	}
	return g
}

func (k *Keeper) due(note string, interval time.Duration) (bool, error) {
	if interval < 0 {
		return false, nil
	}
	text, err := k.Store.Noted(note)
	if err != nil {
		return false, err
	}
	last, err := time.Parse(time.RFC3339, text)
	if err != nil {
		// Never, so far: the interval begins now. Nothing is removed because a
		// process has just been started.
		return false, k.Store.Note(note, k.Clock.Now().UTC().Format(time.RFC3339))
	}
	return k.Clock.Since(last) >= interval, nil
}

func (k *Keeper) scrubIfDue(ctx context.Context) error {
	k.scrubTurn.Lock()
	defer k.scrubTurn.Unlock()
	cursor, err := k.Store.Noted(noteCursor)
	if err != nil || k.Plan.ScrubInterval < 0 {
		return err
	}
	due, err := k.due(noteEnd, k.Plan.ScrubInterval)
	if err != nil || !due && cursor == "" {
		return err
	}
	o := k.Plan.Reading
	o.Resume = true
	_, err = k.Scrub(ctx, o)
	return err
}

// CollectNow collects garbage by hand.
func (k *Keeper) CollectNow(ctx context.Context, dryRun bool) (GarbageReport, error) {
	k.turn.Lock()
	defer k.turn.Unlock()
	return k.Collect(ctx, k.garbage(dryRun))
}

// RetainNow applies the plan's rules by hand.
func (k *Keeper) RetainNow(ctx context.Context, dryRun bool) (RetentionReport, error) {
	k.turn.Lock()
	defer k.turn.Unlock()
	return k.Retain(ctx, k.Plan.Rules, dryRun)
}

// ScrubNow reads everything from the beginning.
func (k *Keeper) ScrubNow(ctx context.Context, dryRun bool) (ScrubReport, error) {
	k.scrubTurn.Lock()
	defer k.scrubTurn.Unlock()
	o := k.Plan.Reading
	o.Resume, o.DryRun = false, dryRun
	return k.Scrub(ctx, o)
}
