package collect_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/loam-cloud/loam/registry/collect"
	"github.com/loam-cloud/loam/registry/store"
)

// client pushes as clients do: what is refused, since it was collected before a
// manifest could name it, is pushed again.
type client struct {
	s *store.Store
	r store.Repository
	// grace is what collections leave alone, in ns: a little more after each refusal,
	// or a push might never come through.
	grace *atomic.Int64
}

// push puts a manifest, with its blobs and what else it needs before it, until it is
// answered.
func (c client) push(tag string, m any, blobs []string, before ...func() error) (ocispec.Descriptor, error) {
	raw, err := json.Marshal(m)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	for {
		for _, content := range blobs {
			if _, err := blob(c.s, c.r, content); err != nil {
				return ocispec.Descriptor{}, err
			}
		}
		for _, do := range before {
			if err := do(); err != nil {
				return ocispec.Descriptor{}, err
			}
		}
		put, err := c.s.PutManifest(c.r, store.Put{Content: raw, Tag: tag})
		var refused *store.ManifestError
		if !errors.As(err, &refused) {
			c.grace.Store(0)
			return ocispec.Descriptor{MediaType: put.MediaType, Digest: put.Digest, Size: int64(len(raw))}, err
		}
		c.grace.Add(int64(5 * time.Millisecond))
	}
}

func (c client) image(name string, before ...func() error) (ocispec.Descriptor, error) {
	// One layer is everybody's, in private and in cached repositories.
	return c.push("", imageOf("config of "+name, "layer of "+name, "shared"), []string{"config of " + name, "layer of " + name, "shared"}, before...)
}

// index pushes one of two images without tags, one of which has a layer whose upload
// rests for a while.
func (c client) index(tag string, rest func()) (ocispec.Descriptor, error) {
	var images [2]ocispec.Descriptor
	children := func() (err error) {
		if images[0], err = c.image(tag + " for one"); err != nil {
			return err
		}
		images[1], err = c.push("", imageOf("shared", "slow "+tag), []string{"shared"}, func() error { return c.slowly("slow "+tag, rest) })
		return err
	}
	if err := children(); err != nil {
		return ocispec.Descriptor{}, err
	}
	return c.push(tag, ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: images[:]}, nil, children)
}

// slowly uploads a blob in two parts.
func (c client) slowly(content string, rest func()) error {
	p, err := c.s.StartUpload(c.r)
	if err != nil {
		return err
	}
	half := len(content) / 2
	if _, err := io.WriteString(p, content[:half]); err != nil {
		return errors.Join(err, p.Close())
	}
	if err := p.Close(); err != nil {
		return err
	}
	rest()
	if p, err = c.s.Upload(c.r, p.ID); err != nil {
		return fmt.Errorf("an upload that rested is gone: %w", err)
	}
	if _, err := io.WriteString(p, content[half:]); err != nil {
		return errors.Join(err, p.Close())
	}
	return p.Commit(c.r, digest.FromString(content))
}

// sign pushes a manifest about another.
func (c client) sign(subject ocispec.Descriptor) (ocispec.Descriptor, error) {
	m := imageOf("signature of " + subject.Digest.String())
	m.Layers, m.Subject, m.ArtifactType = []ocispec.Descriptor{}, &subject, "application/x.signature"
	return c.push("", m, []string{"signature of " + subject.Digest.String()})
}

// TestHousekeepingNeverTakesWhatIsNeeded has collections, retention, scrubs and the cap
// run as fast as they can, with next to no grace, while indexes are pushed with their
// images, one upload of each resting, and signed. What was answered is there at the
// end, and all that it needs.
func TestHousekeepingNeverTakesWhatIsNeeded(t *testing.T) {
	s, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	c := collect.Collector{Store: s, Log: logr.Discard(), Clock: realClock{}}
	stop := make(chan struct{})
	var keeping, pushing sync.WaitGroup
	keep := func(do func() error) {
		keeping.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := do(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var grace atomic.Int64
	keep(func() error {
		_, err := c.Collect(t.Context(), collect.Garbage{Untagged: untagged, Grace: time.Duration(grace.Load()), Unfinished: time.Hour})
		return err
	})
	keep(func() error {
		_, err := c.Retain(t.Context(), []collect.Rule{{Repositories: []string{"*"}, Count: 0, Keep: []string{"keep-*"}}}, false)
		return err
	})
	keep(func() error {
		if _, err := c.Evict(t.Context(), 1); err != nil {
			return err
		}
		report, err := c.Scrub(t.Context(), collect.Reading{})
		for _, broken := range report.Broken {
			t.Errorf("taken for broken: %+v", broken)
		}
		return err
	})
	const pushers, each = 3, 3
	var mu sync.Mutex
	signatures := map[string]ocispec.Descriptor{}
	for p := range pushers {
		pushing.Go(func() {
			own, theirs := client{s, app, &grace}, client{s, cached, &grace}
			for i := range each {
				tag := fmt.Sprintf("keep-%d-%d", p, i)
				_, err := theirs.image("cached " + tag)
				var index, signature ocispec.Descriptor
				if err == nil {
					index, err = own.index(tag, func() { time.Sleep(5 * time.Millisecond) })
				}
				if err == nil {
					signature, err = own.sign(index)
				}
				if err == nil {
					// Retention takes this tag, and nothing else.
					_, err = own.push(fmt.Sprintf("old-%d-%d", p, i), imageOf("config of old "+tag, "shared"), []string{"config of old " + tag, "shared"})
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				signatures[tag] = signature
				mu.Unlock()
			}
		})
	}
	pushing.Wait()
	close(stop)
	keeping.Wait()
	for tag, signature := range signatures {
		found, err := s.Tag(app, tag)
		if err != nil {
			t.Errorf("%s: %v", tag, err)
			continue
		}
		walk(t, s, tag, found.Digest)
		walk(t, s, tag+"'s signature", signature.Digest)
		if all, err := s.Referrers(app, found.Digest, ""); err != nil || len(all) != 1 || all[0].Digest != signature.Digest {
			t.Errorf("%s is signed by %v, %v", tag, all, err)
		}
	}
}

// walk reads a manifest and all below it.
func walk(t *testing.T, s *store.Store, of string, d digest.Digest) {
	t.Helper()
	if _, err := s.Verify(d, func(r io.Reader) io.Reader { return r }); err != nil {
		t.Errorf("%s: %v", of, err)
		return
	}
	b, err := s.OpenBlob(app, d)
	if err != nil {
		t.Errorf("%s: %v", of, err)
		return
	}
	_ = b.Close()
	if is, err := s.IsManifest(app, d); err != nil || !is {
		return
	}
	m, err := s.Manifest(app, d)
	if err != nil {
		t.Errorf("%s: %v", of, err)
		return
	}
	var refers struct {
		Config    *ocispec.Descriptor  `json:"config"`
		Layers    []ocispec.Descriptor `json:"layers"`
		Manifests []ocispec.Descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(m.Content, &refers); err != nil {
		t.Error(err)
	}
	if refers.Config != nil {
		refers.Layers = append(refers.Layers, *refers.Config)
	}
	for _, below := range append(refers.Layers, refers.Manifests...) {
		walk(t, s, of, below.Digest)
	}
}
