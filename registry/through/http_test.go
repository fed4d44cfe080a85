package through_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/opencontainers/go-digest"

	"github.com/loam-cloud/loam/registry/faulty"
	"github.com/loam-cloud/loam/registry/server"
	"github.com/loam-cloud/loam/registry/store"
	"github.com/loam-cloud/loam/registry/through"
)

// source is a cache as the server asks it.
type source struct{ *through.Cache }

func (s source) Manifest(ctx context.Context, r store.Repository, reference string) (server.Manifest, error) {
	m, err := s.Cache.Manifest(ctx, r, reference)
	return server.Manifest{Manifest: m.Manifest}, err
}

// serve answers HTTP from the cache of a rig.
func (r *rig) serve(t *testing.T, tls bool) *httptest.Server {
	t.Helper()
	s := server.New(server.Options{Store: r.store, Sources: map[string]server.Source{"test.example": source{r.Cache}}, Log: testr.New(t)})
	front := httptest.NewUnstartedServer(s.Handler("test.example"))
	if tls {
		front.StartTLS()
	} else {
		front.Start()
	}
	t.Cleanup(front.Close)
	return front
}

type answer struct {
	status int
	body   []byte
	err    error
}

func get(t *testing.T, front *httptest.Server, d digest.Digest, span string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, front.URL+"/v2/"+thing.Name+"/blobs/"+d.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if span != "" {
		req.Header.Set("Range", span)
	}
	resp, err := front.Client().Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, body, err}
}

// right says whether an answer is the part of the content, or says that it is not.
func (a answer) right(want []byte) bool {
	return a.err != nil || a.status >= 400 || bytes.Equal(a.body, want)
}

// TestFaultsOverHTTP is guarantee 3 as a client sees it: an answer that is
// complete is right, whole blobs and parts of them, with TLS and without.
func TestFaultsOverHTTP(t *testing.T) {
	const size = 200_000
	content := some(size)
	for _, tls := range []bool{false, true} {
		for _, f := range faulty.All() {
			t.Run(fmt.Sprintf("%s, TLS %v", f, tls), func(t *testing.T) {
				t.Parallel()
				r := hasty(t, through.Options{})
				d := r.upstream.AddBlob(thing.Name, content)
				front := r.serve(t, tls)
				r.upstream.Next(f, faulty.WrongByte, faulty.Cut, f)
				var all sync.WaitGroup
				for span, want := range map[string][]byte{
					"": content, "bytes=1000-1999": content[1000:2000], "bytes=0-99999": content[:100_000],
					"bytes=150000-": content[150_000:], "bytes=-10": content[size-10:],
				} {
					all.Go(func() {
						if a := get(t, front, d, span); !a.right(want) {
							t.Errorf("range %q: status %d, %d bytes, complete, and wrong", span, a.status, len(a.body))
						}
					})
				}
				all.Wait()
				if a := get(t, front, d, ""); a.err != nil || !bytes.Equal(a.body, content) {
					t.Errorf("the next pull: status %d, %d bytes, %v", a.status, len(a.body), a.err)
				}
			})
		}
	}
}

// TestPartsAreRightByThemselves: of an upstream that always lies nobody gets
// even a part.
func TestPartsAreRightByThemselves(t *testing.T) {
	r := build(t, through.Options{})
	d := r.upstream.AddBlob(thing.Name, some(200_000))
	r.upstream.Mix(1, faulty.WrongEnd)
	front := r.serve(t, false)
	for _, span := range []string{"bytes=0-9", "bytes=1000-1999", "bytes=-10", "bytes=0-", "bytes=0-9,100-109"} {
		if a := get(t, front, d, span); a.err == nil && a.status < 500 {
			t.Errorf("%s: status %d with %d bytes", span, a.status, len(a.body))
		}
	}
}

func TestFirstBytesComeAtOnce(t *testing.T) {
	const half = 500_000
	content := some(2 * half)
	for _, tls := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %v", tls), func(t *testing.T) {
			r := build(t, through.Options{})
			d := r.upstream.AddBlob(thing.Name, content)
			reached, release := r.upstream.Hold(d, half)
			defer release()
			front := r.serve(t, tls)
			resp, err := front.Client().Get(front.URL + "/v2/" + thing.Name + "/blobs/" + d.String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			<-reached
			// The upstream sends no more before this is read.
			got := make([]byte, half)
			if _, err := io.ReadFull(resp.Body, got); err != nil || !bytes.Equal(got, content[:half]) {
				t.Errorf("what has arrived: %v", err)
			}
			release()
			if rest, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(rest, content[half:]) {
				t.Errorf("the rest: %d bytes, %v", len(rest), err)
			}
		})
	}
}

// TestCrane pulls a whole image with the library of crane through an upstream
// that does every wrong in turn, and again with the upstream gone.
func TestCrane(t *testing.T) {
	r := hasty(t, through.Options{TTL: time.Nanosecond})
	r.upstream.AddImage(thing.Name, "latest", some(100_000), some(50_000))
	front := r.serve(t, false)
	ref, err := name.ParseReference(front.Listener.Addr().String()+"/"+thing.Name+":latest", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	pull := func() error {
		desc, err := remote.Get(ref, remote.WithContext(t.Context()))
		if err != nil {
			return err
		}
		image, err := desc.Image()
		if err != nil {
			return err
		}
		layers, err := image.Layers()
		if err != nil {
			return err
		}
		for _, layer := range layers {
			content, err := layer.Compressed()
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, content)
			if err := errors.Join(err, content.Close()); err != nil {
				return err
			}
		}
		return validate.Image(image, validate.Fast)
	}
	r.upstream.Next(faulty.All()...)
	for pull() != nil {
		// Clients see errors, and come again.
		if t.Context().Err() != nil {
			t.Fatal("it never succeeds")
		}
	}
	r.upstream.Down(true)
	if err := pull(); err != nil {
		t.Error(err)
	}
}

// An upstream that sends in chunks does not say how long a blob is: nobody can be
// told before all of it is there.
func TestLengthsThatAreNotSaid(t *testing.T) {
	content := some(200_000)
	d := digest.FromBytes(content)
	cuts := 1
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		half := len(content) / 2
		_, _ = w.Write(content[:half])
		_ = http.NewResponseController(w).Flush()
		if r.Method == http.MethodGet && cuts > 0 {
			cuts--
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(content[half:])
	}))
	t.Cleanup(origin.Close)
	r := &rig{url: origin.URL, stall: time.Hour}
	r.open(t, t.TempDir(), through.Options{})
	front := r.serve(t, false)
	for range 2 {
		if a := get(t, front, d, ""); a.err != nil || !bytes.Equal(a.body, content) {
			t.Errorf("status %d, %d bytes, %v", a.status, len(a.body), a.err)
		}
	}
}
