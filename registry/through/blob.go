package through

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/store"
)

// Blob opens a blob of a repository. One that is not stored is fetched: Blob
// returns when its first bytes can be read, and reading the rest waits for it.
// Of one that is not known to be right, Read holds the last bytes back until it
// is. The faults are Missing, and those of the upstream and of the store.
//
// A reader of only a part of a blob has to wait for it with Verified: its last
// bytes are not the blob's.
func (c *Cache) Blob(ctx context.Context, r store.Repository, d digest.Digest) (store.Content, error) {
	b, err := c.stored(ctx, r, d)
	if err != nil {
		return nil, err
	}
	if b != nil {
		c.stats.hits.Add(1)
		return b, nil
	}
	if c.o.Offline {
		return nil, c.missing("blob " + d.String())
	}
	dl, began, err := c.join(ctx, r, d)
	if err != nil {
		return nil, err
	}
	c.stats.misses.Add(1)
	if !began {
		c.stats.joined.Add(1)
	}
	s, err := dl.open(ctx)
	if err != nil {
		dl.leave()
		return nil, err
	}
	return s, nil
}

// stored opens a blob that the store has; nil if it has to be fetched. If
// another repository brought it, the upstream is asked whether this one has it
// too: knowing a digest is no right to it.
func (c *Cache) stored(ctx context.Context, r store.Repository, d digest.Digest) (*store.Blob, error) {
	b, err := c.store.OpenBlob(r, d)
	if err == nil {
		return b, nil
	}
	if !errors.Is(err, fault.Missing) {
		return nil, err
	}
	known, err := c.store.HasBlob(d)
	if err != nil || !known || c.o.Offline {
		return nil, err
	}
	if _, err := c.upstream.Has(ctx, r.Name, d); err != nil {
		return nil, err
	}
	if err := c.store.Link(r, d); err != nil && !errors.Is(err, fault.Missing) {
		return nil, err
	}
	if b, err = c.store.OpenBlob(r, d); errors.Is(err, fault.Missing) {
		// It was collected, or found to be broken, just now.
		return nil, nil
	}
	return b, err
}

// join returns the download of a blob, and whether it was begun now. The caller
// has to leave it.
func (c *Cache) join(ctx context.Context, r store.Repository, d digest.Digest) (dl *download, began bool, err error) {
	asked := false
	for {
		c.mu.Lock()
		if err := context.Cause(c.life); err != nil {
			c.mu.Unlock()
			return nil, false, fault.Wrap(fault.Transient, err)
		}
		dl := c.downloads[d]
		if dl == nil {
			dl = c.begin(r, d)
			c.mu.Unlock()
			return dl, true, nil
		}
		if (dl.repository == r || asked) && dl.enter(r) {
			c.mu.Unlock()
			return dl, false, nil
		}
		c.mu.Unlock()
		if dl.repository != r && !asked {
			// It runs on another repository's behalf.
			if _, err := c.upstream.Has(ctx, r.Name, d); err != nil {
				return nil, false, err
			}
			asked = true
			continue
		}
		// It was abandoned just now: the next one resumes it.
		select {
		case <-dl.over:
		case <-ctx.Done():
			return nil, false, context.Cause(ctx)
		}
	}
}

// BlobSize returns a blob's size without fetching it. The faults are those of
// Blob.
func (c *Cache) BlobSize(ctx context.Context, r store.Repository, d digest.Digest) (int64, error) {
	b, err := c.stored(ctx, r, d)
	if err != nil {
		return 0, err
	}
	if b != nil {
		c.stats.hits.Add(1)
		return b.Size(), b.Close()
	}
	if c.o.Offline {
		return 0, c.missing("blob " + d.String())
	}
	c.stats.misses.Add(1)
	return c.upstream.Has(ctx, r.Name, d)
}

// Refetch brings a blob back that was lost or is broken, and returns when it is
// stored.
func (c *Cache) Refetch(ctx context.Context, r store.Repository, d digest.Digest) error {
	b, err := c.Blob(ctx, r, d)
	if err != nil {
		return err
	}
	if s, ok := b.(*stream); ok {
		err = s.Verified(ctx)
	}
	return errors.Join(err, b.Close())
}
