package through

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/store"
)

// longestFetch bounds a fetch of a manifest, which goes on for others when the
// one who began it has left.
const longestFetch = 2 * time.Minute

// Manifest is a manifest that has its digest.
type Manifest struct {
	store.Manifest
	// Stale says why the upstream could not confirm that the tag still means this
	// one; empty if it could, lately enough.
	Stale string
}

// Manifest returns a manifest by tag or digest. What a digest names never
// changes, so that is asked for once; a tag is confirmed by the upstream when its
// time is over, and served stale when that is not to be reached, refuses, or
// wants to be left alone. A tag that the upstream says is gone is Missing.
func (c *Cache) Manifest(ctx context.Context, r store.Repository, reference string) (Manifest, error) {
	if d := digest.Digest(reference); store.CheckDigest(d) == nil {
		return c.byDigest(ctx, r, d)
	}
	held, age, err := c.held(r, reference)
	if err != nil && !errors.Is(err, fault.Missing) {
		return Manifest{}, err
	}
	have := err == nil
	switch {
	case have && (c.o.Offline || age < c.o.TTL):
		c.stats.hits.Add(1)
		return held, nil
	case c.o.Offline:
		return Manifest{}, c.missing("tag " + strconv.Quote(reference))
	case have && c.resting():
		return c.stale(held, "the upstream does not answer lately"), nil
	}
	c.stats.misses.Add(1)
	fresh, err := c.shared(ctx, r, reference, func(ctx context.Context) (Manifest, error) {
		if !have {
			return c.fetch(ctx, r, reference)
		}
		return c.confirm(ctx, r, reference, held)
	})
	switch {
	case err == nil, errors.Is(err, fault.Missing), !have, ctx.Err() != nil:
		return fresh, err
	}
	c.rest()
	c.log().Info("Serving a tag that the upstream does not confirm", "repository", r.Name, "tag", reference, "digest", held.Digest.String(), "reason", err.Error())
	return c.stale(held, err.Error()), nil
}

func (c *Cache) byDigest(ctx context.Context, r store.Repository, d digest.Digest) (Manifest, error) {
	m, err := c.store.Manifest(r, d)
	if err == nil {
		c.stats.hits.Add(1)
		return Manifest{Manifest: m}, nil
	}
	if !errors.Is(err, fault.Missing) {
		return Manifest{}, err
	}
	if c.o.Offline {
		return Manifest{}, c.missing("manifest " + d.String())
	}
	c.stats.misses.Add(1)
	return c.shared(ctx, r, d.String(), func(ctx context.Context) (Manifest, error) { return c.fetch(ctx, r, d.String()) })
}

// held returns what is stored under a tag, and how long ago the upstream
// confirmed it.
func (c *Cache) held(r store.Repository, tag string) (Manifest, time.Duration, error) {
	t, err := c.store.Tag(r, tag)
	if err != nil {
		return Manifest{}, 0, err
	}
	m, err := c.store.Manifest(r, t.Digest)
	return Manifest{Manifest: m}, c.o.Clock.Since(t.Checked), err
}

func (c *Cache) stale(m Manifest, why string) Manifest {
	c.stats.stale.Add(1)
	m.Stale = why
	return m
}

// resting says whether the upstream failed so lately that whoever can be served
// stale is not made to wait for it again.
func (c *Cache) resting() bool {
	now := c.o.Clock.Now()
	if c.upstream.Health().PausedUntil.After(now) {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.restUntil.After(now)
}

func (c *Cache) rest() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.restUntil = c.o.Clock.Now().Add(c.o.Patience)
}

// shared asks the upstream once for all who want the same now.
func (c *Cache) shared(ctx context.Context, r store.Repository, reference string, ask func(context.Context) (Manifest, error)) (Manifest, error) {
	got := c.manifests.DoChan(r.Name+"\x00"+reference, func() (any, error) {
		if err := c.enter(); err != nil {
			return nil, err
		}
		defer c.work.Done()
		ctx, cancel := context.WithTimeout(c.life, longestFetch)
		defer cancel()
		return ask(ctx)
	})
	select {
	case result := <-got:
		m, _ := result.Val.(Manifest)
		return m, result.Err
	case <-ctx.Done():
		return Manifest{}, context.Cause(ctx)
	}
}

// fetch gets a manifest and stores it, under its tag if it was asked for by one.
func (c *Cache) fetch(ctx context.Context, r store.Repository, reference string) (Manifest, error) {
	got, err := c.upstream.Manifest(ctx, r.Name, reference)
	if err != nil {
		return Manifest{}, err
	}
	put := store.Put{Digest: got.Digest, MediaType: got.MediaType, Content: got.Content, Sparse: true}
	if got.Digest.String() != reference {
		put.Tag = reference
	}
	m, err := c.store.PutManifest(r, put)
	if errors.Is(err, fault.Invalid) {
		// Whoever pulls did nothing wrong.
		err = fault.New(fault.Transient, "%s: the manifest %s of %s: %w", c.upstream.Name(), reference, r.Name, err)
	}
	return Manifest{Manifest: m}, err
}

// confirm asks what a tag means now, and fetches that if it is something else.
// There is less time for it than for what is not stored at all.
func (c *Cache) confirm(ctx context.Context, r store.Repository, tag string, held Manifest) (Manifest, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.o.Patience, fault.New(fault.Transient, "%s did not answer within %s", c.upstream.Name(), c.o.Patience))
	defer cancel()
	d, err := c.upstream.Resolve(ctx, r.Name, tag)
	if err != nil {
		return Manifest{}, err
	}
	if d != held.Digest {
		m, err := c.store.Manifest(r, d)
		if err != nil {
			return c.fetch(ctx, r, tag)
		}
		held = Manifest{Manifest: m}
	}
	if err := c.store.SetTag(r, tag, held.Digest); !errors.Is(err, fault.Missing) {
		return held, err
	}
	// It was collected meanwhile.
	return c.fetch(ctx, r, tag)
}

// Tags lists the tags of a repository as the upstream does; those that are
// stored when it is not to be asked or does not answer, and then says why.
func (c *Cache) Tags(ctx context.Context, r store.Repository, after string, limit int) (tags []string, stale string, err error) {
	query := url.Values{}
	if limit >= 0 {
		query.Set("n", strconv.Itoa(limit))
	}
	if after != "" {
		query.Set("last", after)
	}
	var list struct {
		Tags []string `json:"tags"`
	}
	err = c.list(ctx, r, []string{"tags", "list"}, query, &list)
	if err == nil || errors.Is(err, fault.Missing) && !c.o.Offline || ctx.Err() != nil {
		return list.Tags, "", err
	}
	stored, lookup := c.store.Tags(r, after, limit)
	if lookup != nil {
		return nil, "", errors.Join(err, lookup)
	}
	for _, t := range stored {
		tags = append(tags, t.Name)
	}
	return tags, err.Error(), nil
}

// Referrers lists what refers to a manifest, as Tags lists tags.
func (c *Cache) Referrers(ctx context.Context, r store.Repository, subject digest.Digest, artifactType string) (referrers []ocispec.Descriptor, stale string, err error) {
	query := url.Values{}
	if artifactType != "" {
		query.Set("artifactType", artifactType)
	}
	var index ocispec.Index
	err = c.list(ctx, r, []string{"referrers", subject.String()}, query, &index)
	if err != nil && ctx.Err() == nil {
		// An upstream without this interface answers 404; what is stored may know.
		stale = err.Error()
		index.Manifests, err = c.store.Referrers(r, subject, artifactType)
	}
	if artifactType == "" {
		return index.Manifests, stale, err
	}
	for _, m := range index.Manifests {
		// Upstreams may leave the filter to who asks.
		if m.ArtifactType == artifactType {
			referrers = append(referrers, m)
		}
	}
	return referrers, stale, err
}

func (c *Cache) list(ctx context.Context, r store.Repository, elements []string, query url.Values, into any) error {
	switch {
	case c.o.Offline:
		return fault.New(fault.Missing, "%s is set to be offline", c.upstream.Name())
	case c.resting():
		return fault.New(fault.Transient, "%s does not answer lately", c.upstream.Name())
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 2*c.o.Patience, fault.New(fault.Transient, "%s did not answer within %s", c.upstream.Name(), 2*c.o.Patience))
	defer cancel()
	if err := c.upstream.List(ctx, r.Name, elements, query, into); err != nil {
		return fmt.Errorf("listing %v of %s: %w", elements[0], r.Name, err)
	}
	return nil
}
