package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/loam-cloud/loam/fault"
)

// MaxManifest is how long a manifest may be, in bytes: the least that the
// distribution specification has registries take, and the most they do.
const MaxManifest = 4 << 20

// accepted are the types of manifests asked for. All of them always, whatever
// a client would take: with fewer, registries convert, and the digest is not
// that of the tag any more.
func accepted() []string {
	return []string{
		ocispec.MediaTypeImageIndex, "application/vnd.docker.distribution.manifest.list.v2+json",
		ocispec.MediaTypeImageManifest, "application/vnd.docker.distribution.manifest.v2+json",
		"application/vnd.oci.artifact.manifest.v1+json", "*/*;q=0.1",
	}
}

// Manifest is one that has been checked: its bytes have its digest.
type Manifest struct {
	MediaType string
	Digest    digest.Digest
	Content   []byte
}

// Manifest fetches a manifest by tag or digest. Its faults are those of the
// package; one whose bytes are not what they are said to be is asked for again,
// and is Transient if it stays so. One of Docker's schema 1 is Missing: a client that
// still reads those asks the registry itself then.
func (c *Client) Manifest(ctx context.Context, repository, reference string) (Manifest, error) {
	var last error
	for attempt := range c.o.Attempts {
		if attempt > 0 {
			if err := c.sleep(ctx, c.delay(attempt-1), last); err != nil {
				return Manifest{}, err
			}
		}
		resp, err := c.ask(ctx, c.manifestRequest(http.MethodGet, repository, reference))
		if err != nil {
			return Manifest{}, err
		}
		m, err := c.read(resp, reference)
		if err == nil {
			c.note(nil)
			return m, nil
		}
		if ctx.Err() != nil {
			return Manifest{}, context.Cause(ctx)
		}
		if errors.Is(err, fault.Missing) {
			c.note(nil)
			return Manifest{}, err
		}
		last = err
		c.note(err)
	}
	return Manifest{}, last
}

// schema1 are the types of Docker's manifests of before 2015. The digest of one that
// is signed is not of its bytes, and its layers are named by another's.
var schema1 = []string{"application/vnd.docker.distribution.manifest.v1+json", "application/vnd.docker.distribution.manifest.v1+prettyjws"}

func (c *Client) manifestRequest(method, repository, reference string) request {
	return request{
		method: method, url: c.url(repository, "manifests", reference), repository: repository,
		header: http.Header{"Accept": accepted()}, good: []int{http.StatusOK},
	}
}

// read takes a manifest from an answer, if it is the one that was asked for.
func (c *Client) read(resp *http.Response, reference string) (Manifest, error) {
	defer func() { _ = resp.Body.Close() }()
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); slices.Contains(schema1, kind) {
		return Manifest{}, fault.New(fault.Missing, "%s has %s as a manifest of Docker's schema 1 only, which cannot be checked and is not cached", c.o.Name, reference)
	}
	content, err := io.ReadAll(io.LimitReader(resp.Body, MaxManifest+1))
	if err != nil {
		return Manifest{}, err
	}
	if len(content) > MaxManifest {
		return Manifest{}, fault.New(fault.Transient, "%s: the manifest %s is longer than %d bytes", c.o.Name, reference, MaxManifest)
	}
	want := digest.Digest(reference)
	if want.Validate() != nil {
		want = digest.Digest(resp.Header.Get("Docker-Content-Digest"))
	}
	m := Manifest{Content: content, Digest: digest.FromBytes(content)}
	if want.Validate() == nil {
		m.Digest = want.Algorithm().FromBytes(content)
		if m.Digest != want {
			return Manifest{}, fault.New(fault.Transient, "%s: the manifest %s has the digest %s, not %s", c.o.Name, reference, m.Digest, want)
		}
	}
	var said struct {
		MediaType string `json:"mediaType"`
	}
	if content = bytes.TrimSpace(content); !bytes.HasPrefix(content, []byte("{")) || json.Unmarshal(content, &said) != nil {
		// A page that asks to log in, or half of a manifest without its length.
		return Manifest{}, fault.New(fault.Transient, "%s: what came as the manifest %s is no JSON object", c.o.Name, reference)
	}
	if m.MediaType = said.MediaType; m.MediaType == "" {
		m.MediaType, _, _ = mime.ParseMediaType(resp.Header.Get("Content-Type"))
	}
	return m, nil
}

// Resolve returns the digest that a tag has now, without its manifest; empty if
// the upstream does not say digests.
func (c *Client) Resolve(ctx context.Context, repository, tag string) (digest.Digest, error) {
	resp, err := c.ask(ctx, c.manifestRequest(http.MethodHead, repository, tag))
	if err != nil {
		return "", err
	}
	_ = resp.Body.Close()
	c.note(nil)
	if d := digest.Digest(resp.Header.Get("Docker-Content-Digest")); d.Validate() == nil {
		return d, nil
	}
	return "", nil
}

// Has asks whether a repository has a blob, and how long it is; -1 if the
// upstream does not say. It is Missing if it has not.
func (c *Client) Has(ctx context.Context, repository string, d digest.Digest) (int64, error) {
	resp, err := c.ask(ctx, request{
		method: http.MethodHead, url: c.url(repository, "blobs", d.String()), repository: repository, good: []int{http.StatusOK},
	})
	if err != nil {
		return 0, err
	}
	_ = resp.Body.Close()
	c.note(nil)
	if resp.Header.Get("Content-Length") == "" {
		return -1, nil
	}
	return resp.ContentLength, nil
}

// List reads a list of the upstream that is not kept into a value of its JSON:
// the tags of a repository, or what refers to a manifest. elements follow the
// repository in the address; query goes with them.
func (c *Client) List(ctx context.Context, repository string, elements []string, query url.Values, into any) error {
	u := c.url(append([]string{repository}, elements...)...)
	u.RawQuery = query.Encode()
	resp, err := c.ask(ctx, request{method: http.MethodGet, url: u, repository: repository, good: []int{http.StatusOK}})
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	// No list of a page is longer than the longest manifest.
	if err := json.NewDecoder(io.LimitReader(resp.Body, MaxManifest)).Decode(into); err != nil {
		err = fault.New(fault.Transient, "%s: reading %s: %w", c.o.Name, u.Path, err)
		c.note(err)
		return err
	}
	c.note(nil)
	return nil
}

// Check asks the upstream whether it is there and takes the credentials, and
// returns how long the answer took.
func (c *Client) Check(ctx context.Context) (time.Duration, error) {
	began := c.o.Clock.Now()
	resp, err := c.ask(ctx, request{method: http.MethodGet, url: c.url("/"), good: []int{http.StatusOK}})
	if err != nil {
		return 0, err
	}
	_ = resp.Body.Close()
	c.note(nil)
	return c.o.Clock.Since(began), nil
}
