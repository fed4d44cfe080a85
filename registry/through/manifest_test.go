package through_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/faulty"
	"github.com/loam-cloud/loam/registry/store"
	"github.com/loam-cloud/loam/registry/through"
)

const indexType = "application/vnd.oci.image.index.v1+json"

// manifest pulls one that has to be there.
func (r *rig) manifest(t *testing.T, reference string, want digest.Digest, stale bool) {
	t.Helper()
	m, err := r.Manifest(t.Context(), thing, reference)
	if err != nil {
		t.Errorf("%s: %v", reference, err)
		return
	}
	if m.Digest != want || want.Algorithm().FromBytes(m.Content) != want || (m.Stale != "") != stale {
		t.Errorf("%s: got %s, want %s; stale: %q, want %v", reference, m.Digest, want, m.Stale, stale)
	}
}

func (r *rig) asked() [2]int {
	n := r.upstream.Counts()
	return [2]int{n.Manifests, n.Heads}
}

func TestTags(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Now())
	r := build(t, through.Options{TTL: time.Minute, Clock: clock})
	later := func(d time.Duration) { clock.SetTime(clock.Now().Add(d)) }
	first := r.upstream.AddImage(thing.Name, "latest", some(10))

	expect := func(manifests, heads int) {
		t.Helper()
		if got := r.asked(); got != [2]int{manifests, heads} {
			t.Errorf("the upstream was asked for %d manifests and %d heads, want %d and %d", got[0], got[1], manifests, heads)
		}
	}
	r.manifest(t, "latest", first, false)
	r.manifest(t, first.String(), first, false)
	later(59 * time.Second)
	r.manifest(t, "latest", first, false)
	expect(1, 0)
	later(time.Second)
	r.manifest(t, "latest", first, false)
	r.manifest(t, "latest", first, false)
	expect(1, 1)

	// It moves: seen once its time is over, and not before.
	second := r.upstream.AddImage(thing.Name, "latest", some(11))
	r.manifest(t, "latest", first, false)
	later(time.Minute)
	r.manifest(t, "latest", second, false)
	r.manifest(t, first.String(), first, false)
	expect(2, 2)
	// And back, to one that is there.
	r.upstream.AddImage(thing.Name, "latest", some(10))
	later(time.Minute)
	r.manifest(t, "latest", first, false)
	expect(2, 3)

	// The upstream is gone: all there was is served, and marked.
	r.upstream.Down(true)
	r.manifest(t, "latest", first, false)
	later(time.Minute)
	r.manifest(t, "latest", first, true)
	r.manifest(t, first.String(), first, false)
	r.manifest(t, second.String(), second, false)
	if _, err := r.Manifest(t.Context(), thing, "other"); !errors.Is(err, fault.Transient) {
		t.Errorf("what was never pulled: %v", err)
	}
	r.upstream.Down(false)
	// It is left alone for a moment after it failed.
	r.manifest(t, "latest", first, true)
	expect(2, 3)
	later(time.Minute)
	r.manifest(t, "latest", first, false)
	expect(2, 4)

	r.upstream.RemoveTag(thing.Name, "latest")
	later(time.Minute)
	if _, err := r.Manifest(t.Context(), thing, "latest"); !errors.Is(err, fault.Missing) {
		t.Errorf("what the upstream has no more: %v", err)
	}
	r.manifest(t, first.String(), first, false)
}

// TestStale is the row of Docker Hub's limits: who is held off, refused or
// answered nonsense serves what it has, and says so.
func TestStale(t *testing.T) {
	for _, f := range []faulty.Fault{faulty.TooMany, faulty.Failed, faulty.Silence, faulty.Loop, faulty.Bad} {
		t.Run(string(f), func(t *testing.T) {
			clock := clocktesting.NewFakePassiveClock(time.Now())
			r := hasty(t, through.Options{Clock: clock, Patience: 200 * time.Millisecond})
			d := r.upstream.AddImage(thing.Name, "latest", some(10))
			r.manifest(t, "latest", d, false)
			clock.SetTime(clock.Now().Add(time.Hour))
			r.upstream.Mix(1, f)
			r.manifest(t, "latest", d, true)
			if s := r.Stats(); s.Stale != 1 {
				t.Errorf("%+v", s)
			}
		})
	}
	t.Run("refused", func(t *testing.T) {
		clock := clocktesting.NewFakePassiveClock(time.Now())
		r := build(t, through.Options{Clock: clock})
		d := r.upstream.AddImage(thing.Name, "latest", some(10))
		r.manifest(t, "latest", d, false)
		clock.SetTime(clock.Now().Add(time.Hour))
		r.upstream.Login("me", "a new password")
		r.manifest(t, "latest", d, true)
		if h, _ := r.Health(); !h.Down() {
			t.Errorf("nothing says that the credentials are refused: %+v", h)
		}
	})
}

func TestOneRequestForOneManifest(t *testing.T) {
	r := build(t, through.Options{})
	d := r.upstream.AddImage(thing.Name, "latest", some(10))
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { r.manifest(t, "latest", d, false) })
	}
	all.Wait()
	if n := r.asked(); n[0] != 1 {
		t.Errorf("the upstream was asked %d times", n[0])
	}
}

func TestManifestFaults(t *testing.T) {
	for _, f := range faulty.All() {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			r := hasty(t, through.Options{})
			d := r.upstream.AddImage(thing.Name, "latest", some(10))
			r.upstream.Next(f, f)
			r.manifest(t, "latest", d, false)
			r.upstream.Next(f)
			r.manifest(t, d.String(), d, false)
		})
	}
	t.Run("what is no manifest", func(t *testing.T) {
		r := build(t, through.Options{})
		r.upstream.AddManifest(thing.Name, "latest", indexType, []byte(`{"schemaVersion":1}`))
		if m, err := r.Manifest(t.Context(), thing, "latest"); !errors.Is(err, fault.Transient) {
			t.Errorf("got %+v, %v", m, err)
		}
	})
}

// TestOffline is guarantee 6: everything once pulled can be pulled again, with
// the upstream gone, and with a cache that may not ask it.
func TestOffline(t *testing.T) {
	r := build(t, through.Options{TTL: time.Nanosecond})
	layers := [][]byte{some(10), some(100_000), some(40_000)}
	image := r.upstream.AddImage(thing.Name, "1.0", layers...)
	index := []byte(`{"schemaVersion":2,"mediaType":"` + indexType + `","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"` + image.String() + `","size":1}]}`)
	d := r.upstream.AddManifest(thing.Name, "latest", indexType, index)
	unknown := r.upstream.AddImage(thing.Name, "never", some(12))

	all := func(stale bool) {
		t.Helper()
		r.manifest(t, "latest", d, stale)
		r.manifest(t, d.String(), d, false)
		r.manifest(t, "1.0", image, stale)
		for _, layer := range layers {
			if got, err := r.pull(t.Context(), digest.FromBytes(layer)); err != nil || !bytes.Equal(got, layer) {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
		}
	}
	all(false)
	r.upstream.Down(true)
	all(true)
	dir := r.store.Dir()
	r.close()
	r.open(t, dir, through.Options{TTL: time.Nanosecond, Offline: true})
	r.upstream.Down(false)
	before := r.asked()
	all(false)
	for _, reference := range []string{"never", unknown.String()} {
		if _, err := r.Manifest(t.Context(), thing, reference); !errors.Is(err, fault.Missing) || !strings.Contains(err.Error(), "offline") {
			t.Errorf("%s: %v", reference, err)
		}
	}
	if _, err := r.Blob(t.Context(), thing, digest.FromBytes(some(12))); !errors.Is(err, fault.Missing) || !strings.Contains(err.Error(), "offline") {
		t.Error(err)
	}
	if tags, stale, err := r.Tags(t.Context(), thing, "", -1); err != nil || stale == "" || !slices.Equal(tags, []string{"1.0", "latest"}) {
		t.Errorf("got %v, %q, %v", tags, stale, err)
	}
	if r.asked() != before {
		t.Error("the upstream was asked")
	}
}

func TestLists(t *testing.T) {
	r := build(t, through.Options{})
	r.upstream.AddImage(thing.Name, "1.0", some(10))
	r.upstream.AddImage(thing.Name, "1.1", some(11))
	r.manifest(t, "1.0", r.upstream.AddImage(thing.Name, "1.0", some(10)), false)
	tags, stale, err := r.Tags(t.Context(), thing, "", -1)
	slices.Sort(tags)
	if err != nil || stale != "" || !slices.Equal(tags, []string{"1.0", "1.1"}) {
		t.Errorf("got %v, %q, %v", tags, stale, err)
	}
	r.upstream.Down(true)
	if tags, stale, err := r.Tags(t.Context(), thing, "", -1); err != nil || stale == "" || !slices.Equal(tags, []string{"1.0"}) {
		t.Errorf("got %v, %q, %v", tags, stale, err)
	}
	// This upstream knows no referrers; those that were pulled are known.
	r.upstream.Down(false)
	subject := digest.FromString("subject")
	about := []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"a/b","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"` + digest.FromString("{}").String() + `","size":2},"layers":[],"subject":{"mediaType":"x/y","digest":"` + subject.String() + `","size":1}}`)
	d := r.upstream.AddManifest(thing.Name, "", "application/vnd.oci.image.manifest.v1+json", about)
	r.manifest(t, d.String(), d, false)
	for artifactType, want := range map[string]int{"": 1, "a/b": 1, "c/d": 0} {
		got, _, err := r.Referrers(t.Context(), thing, subject, artifactType)
		if err != nil || len(got) != want {
			t.Errorf("%q: got %v, %v", artifactType, got, err)
		}
	}
}

func TestClosedCacheAnswersErrors(t *testing.T) {
	r := build(t, through.Options{})
	d := r.upstream.AddImage(thing.Name, "latest", some(10))
	r.Close()
	if _, err := r.Manifest(t.Context(), thing, "latest"); !errors.Is(err, fault.Transient) {
		t.Errorf("got %v", err)
	}
	if _, err := r.Blob(t.Context(), store.Repository{Upstream: "test.example", Name: "x"}, d); !errors.Is(err, fault.Transient) {
		t.Errorf("got %v", err)
	}
}
