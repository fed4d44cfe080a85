package collect

import (
	"context"
	"errors"
	"io"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/time/rate"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/store"
)

// Fetcher brings back from its upstream what is broken here. Missing when the
// repository has no upstream, or it does not have it either.
type Fetcher interface {
	Refetch(ctx context.Context, r store.Repository, d digest.Digest) error
}

// Reading says how a scrub reads.
type Reading struct {
	// Rate is how many bytes are read in a second; no bound when 0.
	Rate int64
	// Resume goes on where the last scrub was interrupted.
	Resume bool
	// DryRun reports what is broken, and leaves it.
	DryRun bool
	// Fetcher repairs what is cached; nobody does when it is nil.
	Fetcher Fetcher
}

// Broken is a blob that is not what its digest says.
type Broken struct {
	Digest digest.Digest `json:"digest"`
	Reason string        `json:"reason"`
	// Repositories are those that had it.
	Repositories []string `json:"repositories"`
	// Repaired says that it was fetched again. What is private, whoever pushed it
	// has to push again.
	Repaired bool `json:"repaired"`
}

// ScrubReport is what a scrub found.
type ScrubReport struct {
	DryRun bool     `json:"dryRun"`
	Blobs  int64    `json:"blobs"`
	Bytes  int64    `json:"bytes"`
	Broken []Broken `json:"broken"`
}

const (
	noteCursor = "scrub-cursor"
	noteEnd    = "scrub-end"
	// noteEvery is how many blobs are read between two notes of how far a scrub is.
	noteEvery = 256
)

// Scrub reads every blob and compares it with its digest. What is wrong is
// quarantined, so that nobody gets it any more, and fetched again where it came
// from an upstream.
func (c Collector) Scrub(ctx context.Context, o Reading) (ScrubReport, error) {
	report := ScrubReport{DryRun: o.DryRun, Broken: []Broken{}}
	behind := ""
	var err error
	if o.Resume {
		if behind, err = c.Store.Noted(noteCursor); err != nil {
			return report, err
		}
	}
	slow := throttle(ctx, o.Rate)
	err = c.Store.EachBlob(digest.Digest(behind), func(b store.BlobInfo) error {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		n, err := c.Store.Verify(b.Digest, slow)
		report.Blobs++
		report.Bytes += n
		if err != nil {
			broken, err := c.repair(ctx, b.Digest, err, o)
			if err != nil {
				return err
			}
			if broken != nil {
				report.Broken = append(report.Broken, *broken)
			}
		}
		if o.DryRun || report.Blobs%noteEvery != 0 {
			return nil
		}
		return c.Store.Note(noteCursor, b.Digest.String())
	})
	if err != nil {
		return report, err
	}
	c.Log.Info("Read everything again", "dryRun", o.DryRun, "blobs", report.Blobs, "bytes", report.Bytes, "broken", len(report.Broken))
	if o.DryRun {
		return report, nil
	}
	return report, errors.Join(c.Store.Note(noteCursor, ""), c.Store.Note(noteEnd, c.Clock.Now().UTC().Format(time.RFC3339)))
}

// repair deals with a blob that could not be verified. Nil says that it was
// removed meanwhile, or put again.
func (c Collector) repair(ctx context.Context, d digest.Digest, problem error, o Reading) (*Broken, error) {
	if !errors.Is(problem, store.ErrDigest) && !errors.Is(problem, fault.Missing) && !errors.Is(problem, syscall.EIO) {
		// Too many open files, an interruption: nothing against the blob.
		return nil, problem
	}
	owners, err := c.Store.Owners(d)
	if err != nil || len(owners) == 0 {
		return nil, err
	}
	broken := &Broken{Digest: d, Reason: problem.Error()}
	for _, r := range owners {
		broken.Repositories = append(broken.Repositories, r.String())
	}
	if o.DryRun {
		return broken, nil
	}
	if done, err := c.Store.Quarantine(d, problem); err != nil || !done {
		return nil, err
	}
	for _, r := range owners {
		if o.Fetcher == nil || !r.Cached() {
			continue
		}
		if err := o.Fetcher.Refetch(ctx, r, d); err != nil {
			c.Log.Error(err, "Could not fetch a broken blob again", "repository", r.String(), "digest", d.String())
			continue
		}
		broken.Repaired = true
	}
	if broken.Repaired {
		broken.Repaired = c.restore(owners, d)
	}
	c.Log.Error(problem, "Quarantined a broken blob", "digest", d.String(), "repositories", broken.Repositories, "repaired", broken.Repaired)
	return broken, nil
}

// restore gives a blob that was fetched again to all that had it.
func (c Collector) restore(owners []store.Repository, d digest.Digest) bool {
	for _, r := range owners {
		if err := c.Store.Restore(r, d); err != nil {
			c.Log.Error(err, "Could not give a repository its blob back", "repository", r.String(), "digest", d.String())
			return false
		}
	}
	return true
}

// burst is how much is read at once.
const burst = 1 << 20

// throttle bounds how fast a scrub reads, and ends reading with the context.
func throttle(ctx context.Context, bytesPerSecond int64) func(io.Reader) io.Reader {
	limit := rate.Inf
	if bytesPerSecond > 0 {
		limit = rate.Limit(bytesPerSecond)
	}
	limiter := rate.NewLimiter(limit, burst)
	return func(r io.Reader) io.Reader { return throttled{ctx, r, limiter} }
}

type throttled struct {
	ctx     context.Context
	from    io.Reader
	limiter *rate.Limiter
}

// Read implements io.Reader.
func (t throttled) Read(b []byte) (int, error) {
	n, err := t.from.Read(b[:min(len(b), burst)])
	if waitErr := t.limiter.WaitN(t.ctx, n); waitErr != nil {
		return n, waitErr
	}
	return n, err
}
