package through

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/store"
	"github.com/loam-cloud/loam/registry/upstream"
)

const (
	// heldBack is how much of an end is not given away before the digest is known
	// to be right: enough that what a client has by then is of no use to it.
	heldBack = 32 << 10
	// mostTries is how often a blob is fetched from its beginning whose bytes were
	// wrong.
	mostTries = 4
)

var (
	errAbandoned = errors.New("everyone who waited for the blob has left")
	errWrong     = errors.New("the upstream sends wrong bytes")
)

// download is the one download of a blob.
//
//	running -> verified            the blob is stored
//	        -> failed              what came is kept and resumed by the next one
//	        -> running, round + 1  what came was wrong and is thrown away
type download struct {
	cache  *Cache
	digest digest.Digest
	// repository is the one that it is fetched from.
	repository store.Repository
	cancel     context.CancelCauseFunc
	// over is closed when it has ended.
	over chan struct{}

	mu      sync.Mutex
	changed chan struct{}      // closed and made anew at every change; nil if nobody waits
	waiting int                // how many use it
	others  []store.Repository // who else gets the blob
	round   int                // how often it began anew
	partial *store.Partial
	written int64
	size    int64 // -1 until it is known
	state   state
	err     error
}

type state int

const (
	running state = iota
	verified
	failed
)

// begin starts the download of a blob; c.mu is held.
func (c *Cache) begin(r store.Repository, d digest.Digest) *download {
	ctx, cancel := context.WithCancelCause(c.life)
	dl := &download{cache: c, digest: d, repository: r, cancel: cancel, over: make(chan struct{}), waiting: 1, size: -1}
	c.downloads[d] = dl
	c.work.Go(func() {
		err := dl.run(ctx)
		c.mu.Lock()
		delete(c.downloads, d)
		c.mu.Unlock()
		dl.finish(err)
		cancel(nil)
	})
	return dl
}

// enter counts one more who waits for it, unless it has been given up.
func (dl *download) enter(r store.Repository) bool {
	dl.mu.Lock()
	defer dl.mu.Unlock()
	if dl.waiting == 0 && dl.cache.o.StopAbandoned || dl.state != running {
		return false
	}
	dl.waiting++
	if r != dl.repository && !slices.Contains(dl.others, r) {
		dl.others = append(dl.others, r)
	}
	return true
}

func (dl *download) leave() {
	dl.mu.Lock()
	defer dl.mu.Unlock()
	if dl.waiting--; dl.waiting == 0 && dl.cache.o.StopAbandoned && dl.state == running {
		dl.cancel(errAbandoned)
	}
}

// tell wakes everyone who waits for a change; dl.mu is held.
func (dl *download) tell() {
	if dl.changed != nil {
		close(dl.changed)
		dl.changed = nil
	}
}

// next is closed at the next change; dl.mu is held.
func (dl *download) next() <-chan struct{} {
	if dl.changed == nil {
		dl.changed = make(chan struct{})
	}
	return dl.changed
}

func (dl *download) finish(err error) {
	dl.mu.Lock()
	dl.err, dl.state, dl.partial = err, verified, nil
	if err != nil {
		dl.state = failed
	}
	dl.tell()
	dl.mu.Unlock()
	close(dl.over)
}

// run fetches the blob until it is right.
func (dl *download) run(ctx context.Context) (err error) {
	c, r := dl.cache, dl.repository
	log := c.log().WithValues("repository", r.Name, "digest", dl.digest.String())
	defer func() {
		switch {
		case err == nil:
		case errors.Is(err, fault.Missing):
			log.V(1).Info("The upstream has no such blob")
		case ctx.Err() != nil:
			err = fault.Wrap(fault.Transient, err)
			log.Info("A blob was not fetched to its end", "bytes", dl.progress(), "reason", err.Error())
		default:
			log.Error(err, "A blob was not fetched; clients that wait for it are cut off", "bytes", dl.progress())
		}
	}()
	// One that ended between the caller's look and now.
	if b, err := c.store.OpenBlob(r, dl.digest); err == nil {
		dl.mu.Lock()
		dl.size = b.Size()
		dl.mu.Unlock()
		return b.Close()
	}
	began := c.o.Clock.Now()
	for try := 1; ; try++ {
		if err = dl.fetch(ctx, r); err == nil {
			break
		}
		if !errors.Is(err, errWrong) && !errors.Is(err, upstream.ErrChanged) || try == mostTries || ctx.Err() != nil {
			return err
		}
		c.stats.wrong.Add(1)
		log.Info("What was fetched of a blob is wrong, and is fetched anew", "try", try, "reason", err.Error())
	}
	log.V(1).Info("Fetched a blob", "bytes", dl.progress(), "seconds", c.o.Clock.Since(began).Seconds())
	return dl.share()
}

// fetch takes up what is there of the blob, and publishes it when it is whole.
func (dl *download) fetch(ctx context.Context, r store.Repository) error {
	c := dl.cache
	p, err := dl.take(ctx)
	if err != nil {
		return err
	}
	from := p.Size()
	if from > 0 {
		c.stats.resumed.Add(1)
	}
	dl.mu.Lock()
	dl.partial, dl.written, dl.size = p, from, -1
	dl.round++
	dl.tell()
	dl.mu.Unlock()
	err = c.upstream.Download(ctx, r.Name, dl.digest, from, (*sink)(dl))
	switch {
	case errors.Is(err, upstream.ErrChanged):
		return errors.Join(err, p.Discard())
	case err != nil:
		return errors.Join(err, p.Close())
	}
	if err := p.Commit(r, dl.digest); errors.Is(err, store.ErrDigest) {
		// Not wrapped: it is not the fault of who asked for this digest.
		return fault.New(fault.Transient, "%w: %v", errWrong, err)
	} else if err != nil {
		return err
	}
	dl.mu.Lock()
	dl.size = dl.written
	dl.mu.Unlock()
	return nil
}

// take opens what there is of the blob. Only a collection that looks whether it
// is too old holds it, and for a moment.
func (dl *download) take(ctx context.Context) (*store.Partial, error) {
	for {
		p, err := dl.cache.store.Download(dl.digest)
		if !errors.Is(err, store.ErrBusy) {
			return p, err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// share gives the blob to the other repositories that waited for it.
func (dl *download) share() error {
	dl.mu.Lock()
	defer dl.mu.Unlock()
	var all []error
	for _, r := range dl.others {
		all = append(all, dl.cache.store.Link(r, dl.digest))
	}
	// From here on nobody enters whose repository would not be linked.
	dl.state = verified
	dl.tell()
	return errors.Join(all...)
}

func (dl *download) progress() int64 {
	dl.mu.Lock()
	defer dl.mu.Unlock()
	return dl.written
}

// sink is a download as the upstream's client sees it.
type sink download

func (s *sink) Size(n int64) error {
	dl := (*download)(s)
	dl.mu.Lock()
	defer dl.mu.Unlock()
	dl.size = n
	dl.tell()
	return nil
}

func (s *sink) Write(p []byte) (int, error) {
	dl := (*download)(s)
	n, err := dl.partial.Write(p)
	dl.mu.Lock()
	defer dl.mu.Unlock()
	dl.written += int64(n)
	dl.tell()
	if err != nil {
		// A full disk, say: nothing that a client could ask for less of.
		err = fault.New(fault.Transient, "storing the blob: %w", err)
	}
	return n, err
}

// view is what a download is at one moment.
type view struct {
	round         int
	written, size int64
	state         state
	err           error
	changed       <-chan struct{}
}

func (dl *download) look() view {
	dl.mu.Lock()
	defer dl.mu.Unlock()
	v := view{round: dl.round, written: dl.written, size: dl.size, state: dl.state, err: dl.err}
	if v.state == running {
		v.changed = dl.next()
	}
	return v
}

// given is how much of it may be given away.
func (v view) given() int64 {
	switch {
	case v.state == verified:
		return v.size
	case v.state == failed || v.size < 0:
		return 0
	}
	return max(0, min(v.written, v.size-heldBack))
}

// file opens what there is for reading, and says which round's it is.
func (dl *download) file() (*os.File, int, error) {
	dl.mu.Lock()
	p, round := dl.partial, dl.round
	dl.mu.Unlock()
	if p == nil {
		return nil, round, fault.New(fault.Missing, "the download has ended")
	}
	f, err := p.Reader()
	return f, round, err
}
