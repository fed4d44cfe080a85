package through_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	"github.com/opencontainers/go-digest"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/faulty"
	"github.com/loam-cloud/loam/registry/store"
	"github.com/loam-cloud/loam/registry/through"
	"github.com/loam-cloud/loam/registry/upstream"
)

// held is how much of a blob's end nobody may have before it is verified.
const held = 32 << 10

var (
	thing = store.Repository{Upstream: "test.example", Name: "library/thing"}
	other = store.Repository{Upstream: "test.example", Name: "library/other"}
)

// rig is a cache between a store and an upstream that misbehaves.
type rig struct {
	*through.Cache
	store    *store.Store
	upstream *faulty.Upstream
	url      string
	stall    time.Duration
}

// build makes a rig whose cache takes no silence for a stall: how long a test
// takes is no part of it. Cache and store are closed with the test.
func build(t *testing.T, o through.Options) *rig {
	t.Helper()
	return buildWith(t, t.TempDir(), o, time.Hour)
}

func buildIn(t *testing.T, dir string, o through.Options) *rig {
	t.Helper()
	return buildWith(t, dir, o, time.Hour)
}

// hasty makes a rig for upstreams that stall. A busy host does too: what a test
// expects has to hold then as well.
func hasty(t *testing.T, o through.Options) *rig {
	t.Helper()
	return buildWith(t, t.TempDir(), o, 300*time.Millisecond)
}

func buildWith(t *testing.T, dir string, o through.Options, stall time.Duration) *rig {
	t.Helper()
	u := faulty.New(7)
	server := httptest.NewServer(u)
	t.Cleanup(func() { u.Close(); server.Close() })
	r := &rig{upstream: u, url: server.URL, stall: stall}
	r.open(t, dir, o)
	return r
}

func (r *rig) open(t *testing.T, dir string, o through.Options) {
	t.Helper()
	var err error
	if r.store, err = store.Open(dir, store.Options{Clock: o.Clock}); err != nil {
		t.Fatal(err)
	}
	client, err := upstream.New(upstream.Options{
		Name: "test.example", URL: r.url, Stall: r.stall, Attempts: 20,
		Backoff: time.Millisecond, MaxBackoff: 4 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	o.Log = testr.New(t)
	r.Cache = through.New(r.store, client, o)
	t.Cleanup(r.close)
}

func (r *rig) close() {
	r.Close()
	_ = r.store.Close()
}

func some(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)}).Read(b)
	return b
}

// pull reads a whole blob.
func (r *rig) pull(ctx context.Context, d digest.Digest) ([]byte, error) {
	content, err := r.Blob(ctx, thing, d)
	if err != nil {
		return nil, err
	}
	var got bytes.Buffer
	_, err = io.Copy(&got, content)
	return got.Bytes(), errors.Join(err, content.Close())
}

// wait waits until the store has a blob.
func (r *rig) wait(t *testing.T, d digest.Digest) {
	t.Helper()
	for {
		b, err := r.store.OpenBlob(thing, d)
		if err == nil {
			_ = b.Close()
			return
		}
		if !errors.Is(err, fault.Missing) || t.Context().Err() != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestFaults is guarantee 3: whatever the upstream does, a client has the right
// blob or an error; the next pull has the right one.
func TestFaults(t *testing.T) {
	content := some(300_000)
	for _, size := range []int{0, 1000, held + 1, len(content)} {
		for _, f := range append(faulty.All(), faulty.None) {
			t.Run(fmt.Sprintf("%s of %d", f, size), func(t *testing.T) {
				t.Parallel()
				r := hasty(t, through.Options{})
				d := r.upstream.AddBlob(thing.Name, content[:size])
				r.upstream.Next(f, faulty.Cut, f, f)
				got, err := r.pull(t.Context(), d)
				if err == nil && !bytes.Equal(got, content[:size]) {
					t.Fatalf("a complete answer of %d bytes is wrong", len(got))
				}
				if err != nil && size < held {
					t.Errorf("so short a blob is fetched before anything is said of it: %v", err)
				}
				if got, err := r.pull(t.Context(), d); err != nil || !bytes.Equal(got, content[:size]) {
					t.Errorf("the next pull got %d bytes, %v", len(got), err)
				}
				requests := r.upstream.Counts().Blobs
				r.upstream.Down(true)
				if got, err := r.pull(t.Context(), d); err != nil || !bytes.Equal(got, content[:size]) || r.upstream.Counts().Blobs != requests {
					t.Errorf("with the upstream gone a pull got %d bytes, %v", len(got), err)
				}
			})
		}
	}
}

// TestNothingWrongIsEverComplete is guarantees 1 and 2 against an upstream that
// always lies: no client gets the held back bytes, and nothing is stored.
func TestNothingWrongIsEverComplete(t *testing.T) {
	content := some(200_000)
	for _, f := range []faulty.Fault{faulty.WrongByte, faulty.WrongEnd, faulty.Short, faulty.Ended, faulty.Long, faulty.Page} {
		t.Run(string(f), func(t *testing.T) {
			r := build(t, through.Options{})
			d := r.upstream.AddBlob(thing.Name, content)
			r.upstream.Mix(1, f)
			for range 3 {
				c, err := r.Blob(t.Context(), thing, d)
				if err != nil {
					continue
				}
				got, err := io.ReadAll(c)
				if err == nil || int64(len(got)) > max(0, c.Size()-held) {
					t.Errorf("got %d bytes of %d, %v", len(got), c.Size(), err)
				}
				_ = c.Close()
			}
			if has, err := r.store.HasBlob(d); has || err != nil {
				t.Errorf("the store has it: %v, %v", has, err)
			}
			r.upstream.Mix(0)
			if got, err := r.pull(t.Context(), d); err != nil || !bytes.Equal(got, content) {
				t.Errorf("the next pull got %d bytes, %v", len(got), err)
			}
		})
	}
}

// What was given away may have been right although the rest was wrong: then the
// client gets the rest, and never knows.
func TestWrongEndIsMendedBehindARunningAnswer(t *testing.T) {
	content := some(200_000)
	r := build(t, through.Options{})
	d := r.upstream.AddBlob(thing.Name, content)
	r.upstream.Next(faulty.WrongEnd)
	c, err := r.Blob(t.Context(), thing, d)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, content) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if s := r.Stats(); s.Wrong != 1 {
		t.Errorf("%+v", s)
	}
}

// TestOneDownload is guarantee 2: whoever comes while a blob arrives shares its
// download, gets at once what is there, and waits for nobody else.
func TestOneDownload(t *testing.T) {
	const half = 500_000
	content := some(2 * half)
	r := build(t, through.Options{})
	d := r.upstream.AddBlob(thing.Name, content)
	reached, release := r.upstream.Hold(d, half)
	defer release()

	slow, err := r.Blob(t.Context(), thing, d)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = slow.Close() }()
	<-reached
	var all sync.WaitGroup
	var halves sync.WaitGroup
	for range 64 {
		halves.Add(1)
		all.Go(func() {
			c, err := r.Blob(t.Context(), thing, d)
			if err != nil {
				halves.Done()
				t.Error(err)
				return
			}
			defer func() { _ = c.Close() }()
			got := make([]byte, half)
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, content[:half]) {
				t.Errorf("of what has arrived: %v", err)
			}
			halves.Done()
			rest, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(rest, content[half:]) {
				t.Errorf("of the rest: %d bytes, %v", len(rest), err)
			}
		})
	}
	halves.Wait()
	release()
	all.Wait()
	if n := r.upstream.Counts(); n.Blobs != 1 || n.Bytes != 2*half {
		t.Errorf("the upstream sent %d bytes of %d in %d answers", n.Bytes, 2*half, n.Blobs)
	}
	if s := r.Stats(); s.Misses != 65 || s.Joined != 64 {
		t.Errorf("%+v", s)
	}
	// Who read nothing all the while has lost nothing.
	if got, err := io.ReadAll(slow); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the slow one got %d bytes, %v", len(got), err)
	}
}

func TestClientsThatLeave(t *testing.T) {
	const half = 300_000
	content := some(2 * half)
	for name, stop := range map[string]bool{"the download is finished": false, "the download is stopped": true} {
		t.Run(name, func(t *testing.T) {
			r := build(t, through.Options{StopAbandoned: stop})
			d := r.upstream.AddBlob(thing.Name, content)
			reached, release := r.upstream.Hold(d, half)
			defer release()
			ctx, cancel := context.WithCancel(t.Context())
			c, err := r.Blob(ctx, thing, d)
			if err != nil {
				t.Fatal(err)
			}
			<-reached
			stays, err := r.Blob(t.Context(), thing, d)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(stays, make([]byte, half)); err != nil {
				t.Fatal(err)
			}
			cancel()
			if _, err := io.ReadAll(c); !errors.Is(err, context.Canceled) {
				t.Errorf("who has gone still reads: %v", err)
			}
			_ = c.Close()
			if n := r.Stats().Running; n != 1 {
				t.Errorf("%d downloads run though one client waits", n)
			}
			_ = stays.Close()
			if stop {
				for r.Stats().Running > 0 {
					time.Sleep(time.Millisecond)
				}
			}
			release()
			if !stop {
				r.wait(t, d)
			}
			if got, err := r.pull(t.Context(), d); err != nil || !bytes.Equal(got, content) {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
			want := []int64{0}
			if stop {
				want = []int64{0, half}
			}
			if n := r.upstream.Counts(); !slices.Equal(n.Begins, want) {
				t.Errorf("the upstream was asked for what begins at %v, want %v", n.Begins, want)
			}
		})
	}
}

// TestRestart is guarantees 3 and 4: what had come before the process ended is
// not fetched again, and is not trusted either.
func TestRestart(t *testing.T) {
	const half = 1_000_000
	content := some(2 * half)
	for name, spoil := range map[string]func(t *testing.T, partial string){
		"as it was":     func(*testing.T, string) {},
		"wrong bytes":   func(t *testing.T, f string) { write(t, f, 100, "what a loss of power leaves") },
		"more than all": func(t *testing.T, f string) { write(t, f, 3*half, "?") },
		"gone":          func(t *testing.T, f string) { _ = os.Remove(f) },
		"all of it":     func(t *testing.T, f string) { write(t, f, 0, string(content)) },
	} {
		t.Run(name, func(t *testing.T) {
			r := build(t, through.Options{})
			dir := r.store.Dir()
			d := r.upstream.AddBlob(thing.Name, content)
			reached, release := r.upstream.Hold(d, half)
			c, err := r.Blob(t.Context(), thing, d)
			if err != nil {
				t.Fatal(err)
			}
			<-reached
			if _, err := io.ReadFull(c, make([]byte, half)); err != nil {
				t.Fatal(err)
			}
			r.close()
			if _, err := io.ReadAll(c); err == nil {
				t.Error("a client had a complete answer from a cache that was stopped in its middle")
			}
			_ = c.Close()
			release()
			partials, err := filepath.Glob(filepath.Join(dir, "partial", "downloads", "sha256-*"))
			if err != nil || len(partials) != 1 {
				t.Fatal(partials, err)
			}
			spoil(t, partials[0])
			r.open(t, dir, through.Options{})
			if got, err := r.pull(t.Context(), d); err != nil && name != "wrong bytes" || err == nil && !bytes.Equal(got, content) {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
			r.wait(t, d)
			if got, err := r.pull(t.Context(), d); err != nil || !bytes.Equal(got, content) {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
			want := map[string][]int64{"as it was": {0, half}, "all of it": {0, 2 * half}, "wrong bytes": {0, half, 0}, "more than all": {0, 3*half + 1, 0}, "gone": {0, 0}}
			if n := r.upstream.Counts(); !slices.Equal(n.Begins, want[name]) {
				t.Errorf("the upstream was asked for what begins at %v, want %v", n.Begins, want[name])
			}
		})
	}
}

func write(t *testing.T, file string, at int64, text string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(text), at); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// A digest is no key to a blob of a repository that one may not see: the upstream
// says which repository has what.
func TestBlobsOfOtherRepositories(t *testing.T) {
	content := some(100_000)
	r := build(t, through.Options{})
	d := r.upstream.AddBlob(thing.Name, content)
	reached, release := r.upstream.Hold(d, 50_000)
	defer release()
	c, err := r.Blob(t.Context(), thing, d)
	if err != nil {
		t.Fatal(err)
	}
	<-reached
	if _, err := r.Blob(t.Context(), other, d); !errors.Is(err, fault.Missing) {
		t.Errorf("while it arrives: got %v", err)
	}
	r.upstream.AddBlob(other.Name, content)
	joined, err := r.Blob(t.Context(), other, d)
	if err != nil {
		t.Fatal(err)
	}
	release()
	for _, c := range []store.Content{c, joined} {
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, content) {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
		_ = c.Close()
	}
	third := store.Repository{Upstream: "test.example", Name: "third"}
	if _, err := r.Blob(t.Context(), third, d); !errors.Is(err, fault.Missing) {
		t.Errorf("once it is stored: got %v", err)
	}
	if n := r.upstream.Counts().Blobs; n != 1 {
		t.Errorf("it was fetched %d times", n)
	}
	r.upstream.Down(true)
	if _, err := r.BlobSize(t.Context(), other, d); err != nil {
		t.Errorf("the repository that joined does not have it: %v", err)
	}
}

func TestBlobSizeFetchesNothing(t *testing.T) {
	r := build(t, through.Options{})
	d := r.upstream.AddBlob(thing.Name, some(1000))
	for range 2 {
		if n, err := r.BlobSize(t.Context(), thing, d); err != nil || n != 1000 {
			t.Errorf("got %d, %v", n, err)
		}
		if _, err := r.BlobSize(t.Context(), other, d); !errors.Is(err, fault.Missing) {
			t.Errorf("got %v", err)
		}
		if n := r.upstream.Counts().Blobs; n > 1 {
			t.Errorf("it was fetched %d times", n)
		}
		if err := r.Refetch(t.Context(), thing, d); err != nil {
			t.Error(err)
		}
	}
}

func TestSeek(t *testing.T) {
	content := some(200_000)
	r := build(t, through.Options{})
	d := r.upstream.AddBlob(thing.Name, content)
	c, err := r.Blob(t.Context(), thing, d)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if n, err := c.Seek(0, io.SeekEnd); err != nil || n != 200_000 {
		t.Errorf("got %d, %v", n, err)
	}
	for _, from := range []int64{100_000, 10, 199_999} {
		if _, err := c.Seek(from, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, content[from:]) {
			t.Errorf("from %d on: %d bytes, %v", from, len(got), err)
		}
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("got %d, %v", n, err)
	}
	if _, err := c.Seek(-1, io.SeekStart); err == nil {
		t.Error("seeks before the beginning")
	}
}
