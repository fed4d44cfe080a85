package collect_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/collect"
	"github.com/loam-cloud/loam/registry/store"
)

var (
	app    = store.Repository{Name: "team/app"}
	cached = store.Repository{Upstream: "docker.io", Name: "library/nginx"}
)

// fixture is a store with a clock that only tests move. Files have the time of
// the real one, so it begins there.
type fixture struct {
	t     *testing.T
	clock *clocktesting.FakePassiveClock
	collect.Collector
}

func newFixture(t *testing.T) fixture {
	t.Helper()
	clock := clocktesting.NewFakePassiveClock(time.Now())
	s, err := store.Open(t.TempDir(), store.Options{Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return fixture{t, clock, collect.Collector{Store: s, Clock: clock, Log: logr.Discard()}}
}

func (f fixture) step(d time.Duration) { f.clock.SetTime(f.clock.Now().Add(d)) }

func describe(mediaType, content string) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromString(content), Size: int64(len(content))}
}

func (f fixture) blob(r store.Repository, content string) digest.Digest {
	f.t.Helper()
	d, err := blob(f.Store, r, content)
	if err != nil {
		f.t.Fatal(err)
	}
	return d
}

func blob(s *store.Store, r store.Repository, content string) (digest.Digest, error) {
	p, err := s.StartUpload(r)
	if err != nil {
		return "", err
	}
	d := digest.FromString(content)
	if _, err := io.WriteString(p, content); err != nil {
		return "", errors.Join(err, p.Close())
	}
	return d, p.Commit(r, d)
}

func imageOf(config string, layers ...string) ocispec.Manifest {
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: describe(ocispec.MediaTypeImageConfig, config)}
	for _, l := range layers {
		m.Layers = append(m.Layers, describe(ocispec.MediaTypeImageLayer, l))
	}
	return m
}

func (f fixture) manifest(r store.Repository, tag string, m any) digest.Digest {
	f.t.Helper()
	raw, err := json.Marshal(m)
	if err != nil {
		f.t.Fatal(err)
	}
	put, err := f.Store.PutManifest(r, store.Put{Content: raw, Tag: tag})
	if err != nil {
		f.t.Fatal(err)
	}
	return put.Digest
}

// image pushes an image of a config and a layer that are its own.
func (f fixture) image(r store.Repository, tag, name string) (digest.Digest, ocispec.Descriptor) {
	f.t.Helper()
	f.blob(r, "config of "+name)
	f.blob(r, "layer of "+name)
	m := imageOf("config of "+name, "layer of "+name)
	raw, err := json.Marshal(m)
	if err != nil {
		f.t.Fatal(err)
	}
	return f.manifest(r, tag, m), describe(ocispec.MediaTypeImageManifest, string(raw))
}

func (f fixture) has(r store.Repository, d digest.Digest) bool {
	f.t.Helper()
	b, err := f.Store.OpenBlob(r, d)
	if errors.Is(err, fault.Missing) {
		return false
	}
	if err != nil {
		f.t.Fatal(err)
	}
	b.Close()
	return true
}

func (f fixture) collect(g collect.Garbage) collect.GarbageReport {
	f.t.Helper()
	report, err := f.Collect(f.t.Context(), g)
	if err != nil {
		f.t.Fatal(err)
	}
	return report
}

func untagged(string) bool { return true }

func TestWhatALiveIndexRefersToStays(t *testing.T) {
	f := newFixture(t)
	amd, amdDescriptor := f.image(app, "", "amd64")
	arm, armDescriptor := f.image(app, "", "arm64")
	index := f.manifest(app, "v1", ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{amdDescriptor, armDescriptor}})
	outer := f.manifest(app, "outer", ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{}})
	// A signature of one platform's image, and one of what is not there.
	signature := imageOf("config of amd64")
	signature.Subject = &armDescriptor
	signed := f.manifest(app, "", signature)
	other, _ := f.image(app, "", "untagged")
	stray := f.blob(app, "stray")
	f.step(48 * time.Hour)
	plan := collect.Garbage{Grace: time.Hour, Untagged: untagged, DryRun: true}
	want := []digest.Digest{other, digest.FromString("config of untagged"), digest.FromString("layer of untagged"), stray}
	slices.Sort(want)
	removed := func(report collect.GarbageReport) (all []digest.Digest) {
		for _, r := range report.Removed {
			if r.What != "file" {
				all = append(all, r.Digest)
			}
		}
		slices.Sort(all)
		return all
	}
	for range 2 {
		if got := removed(f.collect(plan)); !slices.Equal(got, want) {
			t.Fatalf("a dry run removes %v, want %v", got, want)
		}
	}
	plan.DryRun = false
	report := f.collect(plan)
	if got := removed(report); !slices.Equal(got, want) || report.Bytes == 0 {
		t.Errorf("removed %v and %d bytes, want %v", got, report.Bytes, want)
	}
	for _, d := range []digest.Digest{amd, arm, index, outer, signed, digest.FromString("layer of arm64"), digest.FromString("config of amd64")} {
		if !f.has(app, d) {
			t.Errorf("%s is gone", d)
		}
	}
	for _, d := range want {
		if f.has(app, d) {
			t.Errorf("%s is still there", d)
		}
	}
	if err := f.Store.DeleteTag(app, "v1"); err != nil {
		t.Fatal(err)
	}
	// The looks above were uses.
	f.step(48 * time.Hour)
	f.collect(plan)
	for _, d := range []digest.Digest{amd, arm, index, signed} {
		if f.has(app, d) {
			t.Errorf("%s outlived its index", d)
		}
	}
}

func TestUntaggedManifestsStayUnlessAskedFor(t *testing.T) {
	f := newFixture(t)
	d, _ := f.image(app, "", "by digest")
	f.step(48 * time.Hour)
	f.collect(collect.Garbage{Grace: time.Hour})
	if !f.has(app, d) || !f.has(app, digest.FromString("layer of by digest")) {
		t.Error("what was pushed by digest is gone")
	}
}

func TestGraceUseAndPinsProtect(t *testing.T) {
	f := newFixture(t)
	old, used, pinned := f.blob(app, "old"), f.blob(app, "used"), f.blob(app, "pinned")
	defer f.Store.Pin(pinned)()
	f.step(2 * time.Hour)
	young := f.blob(app, "young")
	// Who asks before a push relies on the answer.
	if _, err := f.Store.StatBlob(app, used); err != nil {
		t.Fatal(err)
	}
	f.collect(collect.Garbage{Grace: time.Hour, Unfinished: time.Hour})
	for d, want := range map[digest.Digest]bool{old: false, used: true, pinned: true, young: true} {
		if got, err := f.Store.HasBlob(d); err != nil || got != want {
			t.Errorf("%s is there: %v, %v, want %v", d, got, err, want)
		}
	}
}

func TestUnfinishedUploadsExpire(t *testing.T) {
	f := newFixture(t)
	var partials []*store.Partial
	for range 2 {
		p, err := f.Store.StartUpload(app)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(p, "half"); err != nil {
			t.Fatal(err)
		}
		partials = append(partials, p)
	}
	if err := partials[0].Close(); err != nil {
		t.Fatal(err)
	}
	defer partials[1].Close()
	if report := f.collect(collect.Garbage{Grace: time.Hour, Unfinished: time.Hour}); report.Unfinished != 0 {
		t.Errorf("a young upload was removed: %+v", report)
	}
	f.step(2 * time.Hour)
	if report := f.collect(collect.Garbage{Grace: time.Hour, Unfinished: time.Hour}); report.Unfinished != 1 || report.UnfinishedBytes != 4 {
		t.Errorf("got %+v", report)
	}
	if _, err := f.Store.Upload(app, partials[0].ID); !errors.Is(err, fault.Missing) {
		t.Errorf("got %v", err)
	}
}

// A kill between the rename of a file and its record leaves a file of which the
// index knows nothing.
func TestFilesWithoutRecordsAreCollected(t *testing.T) {
	f := newFixture(t)
	d := digest.FromString("orphan")
	path := filepath.Join(f.Store.Dir(), "blobs", "sha256", d.Encoded()[:2], d.Encoded())
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("orphan"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.collect(collect.Garbage{Grace: time.Hour})
	if _, err := os.Stat(path); err != nil {
		t.Errorf("it may have been renamed just now: %v", err)
	}
	f.step(2 * time.Hour)
	if report := f.collect(collect.Garbage{Grace: time.Hour}); report.Bytes != 6 {
		t.Errorf("got %+v", report)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// Collections without any grace run as fast as they can while images are pushed:
// a push may be refused, as its blobs are gone again, but what was answered is
// complete, and stays.
func TestCollectionsNeverBreakAPushThatWasAnswered(t *testing.T) {
	s, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := collect.Collector{Store: s, Log: logr.Discard(), Clock: realClock{}}
	stop := make(chan struct{})
	var collecting, pushing sync.WaitGroup
	collecting.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := c.Collect(t.Context(), collect.Garbage{Untagged: untagged, Unfinished: time.Hour}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	const pushers, images = 4, 12
	for p := range pushers {
		pushing.Go(func() {
			for i := range images {
				// A layer is shared by all, one by two images, one is the image's own.
				if err := pushUntilAnswered(s, fmt.Sprintf("p%d-%d", p, i), "shared", fmt.Sprintf("half %d-%d", p, i/2), fmt.Sprintf("own %d-%d", p, i)); err != nil {
					t.Error(err)
					return
				}
				if i%3 == 2 {
					if err := s.DeleteTag(app, fmt.Sprintf("p%d-%d", p, i-1)); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	pushing.Wait()
	close(stop)
	collecting.Wait()
	tags, err := s.Tags(app, "", -1)
	if err != nil || len(tags) != pushers*images*2/3 {
		t.Fatalf("%d tags, %v", len(tags), err)
	}
	manifests, err := s.Manifests(app)
	if err != nil {
		t.Fatal(err)
	}
	references := map[digest.Digest][]digest.Digest{}
	for _, m := range manifests {
		references[m.Digest] = m.References
	}
	for _, tag := range tags {
		for _, d := range append([]digest.Digest{tag.Digest}, references[tag.Digest]...) {
			if _, err := s.Verify(d, func(r io.Reader) io.Reader { return r }); err != nil {
				t.Errorf("tag %s: %v", tag.Name, err)
			}
			if b, err := s.OpenBlob(app, d); err != nil {
				t.Errorf("tag %s: %v", tag.Name, err)
			} else {
				b.Close()
			}
		}
		if len(references[tag.Digest]) != 4 {
			t.Errorf("tag %s refers to %v", tag.Name, references[tag.Digest])
		}
	}
}

type realClock struct{}

func (realClock) Now() time.Time                  { return time.Now() }
func (realClock) Since(t time.Time) time.Duration { return time.Since(t) }

// pushUntilAnswered does what a client does whose push is refused.
func pushUntilAnswered(s *store.Store, tag string, layers ...string) error {
	raw, err := json.Marshal(imageOf("config of "+tag, layers...))
	if err != nil {
		return err
	}
	for {
		for _, content := range append([]string{"config of " + tag}, layers...) {
			if _, err := blob(s, app, content); err != nil {
				return err
			}
		}
		_, err := s.PutManifest(app, store.Put{Content: raw, Tag: tag})
		var refused *store.ManifestError
		if !errors.As(err, &refused) {
			return err
		}
	}
}
