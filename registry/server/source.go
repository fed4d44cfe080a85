package server

import (
	"context"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/loam-cloud/loam/registry/store"
)

// Source answers pulls from the repositories of one upstream, or from the private
// ones. Errors carry a fault: Missing is the specification's 404, Denied 403,
// Exhausted 429 (with RetryAfter() time.Duration in the chain, if the upstream
// named a pause), Transient and Waiting 503, anything else 500.
type Source interface {
	// Manifest returns the manifest under a tag or a digest. Its content has its
	// digest.
	Manifest(ctx context.Context, r store.Repository, reference string) (Manifest, error)
	// Blob opens a blob. It may still be arriving: then Read waits for it, Seek goes
	// anywhere in it, and the last bytes are given out only once the digest is right.
	// Reads end when ctx does. The caller closes it.
	Blob(ctx context.Context, r store.Repository, d digest.Digest) (store.Content, error)
	// BlobSize says how large a blob is, without fetching it.
	BlobSize(ctx context.Context, r store.Repository, d digest.Digest) (int64, error)
	// Tags lists tags behind one, in order, limit of them at most; all when it is
	// negative. stale says why the list may be out of date.
	Tags(ctx context.Context, r store.Repository, after string, limit int) (tags []string, stale string, err error)
	// Referrers lists the manifests about a subject, of one type if one is given.
	Referrers(ctx context.Context, r store.Repository, subject digest.Digest, artifactType string) (referrers []ocispec.Descriptor, stale string, err error)
}

// Manifest is the answer of a Source.
type Manifest struct {
	store.Manifest
	// Stale says why the tag may mean another manifest by now; empty when it does not.
	Stale string
}

// Private is the Source of what clients pushed themselves: the store alone.
type Private struct {
	Store *store.Store
}

// Manifest implements Source.
func (p Private) Manifest(_ context.Context, r store.Repository, reference string) (Manifest, error) {
	d := digest.Digest(reference)
	if store.CheckDigest(d) != nil {
		tag, err := p.Store.Tag(r, reference)
		if err != nil {
			return Manifest{}, err
		}
		d = tag.Digest
	}
	m, err := p.Store.Manifest(r, d)
	return Manifest{Manifest: m}, err
}

// Blob implements Source.
func (p Private) Blob(_ context.Context, r store.Repository, d digest.Digest) (store.Content, error) {
	b, err := p.Store.OpenBlob(r, d)
	if err != nil {
		// Not b itself: a nil *Blob would be a Content that is not nil.
		return nil, err
	}
	return b, nil
}

// BlobSize implements Source.
func (p Private) BlobSize(_ context.Context, r store.Repository, d digest.Digest) (int64, error) {
	info, err := p.Store.StatBlob(r, d)
	return info.Size, err
}

// Tags implements Source.
func (p Private) Tags(_ context.Context, r store.Repository, after string, limit int) ([]string, string, error) {
	tags, err := p.Store.Tags(r, after, limit)
	names := make([]string, len(tags))
	for i, tag := range tags {
		names[i] = tag.Name
	}
	return names, "", err
}

// Referrers implements Source.
func (p Private) Referrers(_ context.Context, r store.Repository, subject digest.Digest, artifactType string) ([]ocispec.Descriptor, string, error) {
	referrers, err := p.Store.Referrers(r, subject, artifactType)
	return referrers, "", err
}
