package upstream_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/faulty"
	"github.com/loam-cloud/loam/registry/upstream"
)

const repository = "library/thing"

// serve starts an upstream that misbehaves on demand, and a client of it that
// has little time.
func serve(t *testing.T, o upstream.Options) (*faulty.Upstream, *upstream.Client) {
	t.Helper()
	u := faulty.New(1)
	server := httptest.NewServer(u)
	t.Cleanup(func() { u.Close(); server.Close() })
	o.Name, o.URL = "test", server.URL
	return u, client(t, o)
}

func client(t *testing.T, o upstream.Options) *upstream.Client {
	t.Helper()
	if o.Stall == 0 {
		o.Stall = 300 * time.Millisecond
	}
	if o.Attempts == 0 {
		o.Attempts = 20
	}
	o.Backoff, o.MaxBackoff = time.Millisecond, 4*time.Millisecond
	c, err := upstream.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// some returns bytes that do not repeat.
func some(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = r.Read(b)
	return b
}

type sink struct {
	bytes.Buffer
	size int64
	full error
}

func (s *sink) Size(n int64) error { s.size = n; return nil }

func (s *sink) Write(p []byte) (int, error) {
	if s.full != nil {
		return 0, s.full
	}
	return s.Buffer.Write(p)
}

func TestDownloadResumesWhereItWasCut(t *testing.T) {
	content := some(300_000)
	for name, faults := range map[string][]faulty.Fault{
		"nothing":                           nil,
		"cut":                               {faulty.Cut},
		"cut again and again":               {faulty.Cut, faulty.Cut, faulty.Cut},
		"stalled":                           {faulty.Stall},
		"never answered":                    {faulty.Silence},
		"500, 502 and 503":                  {faulty.Failed, faulty.Bad, faulty.Unavailable},
		"429":                               {faulty.TooMany},
		"a circle":                          {faulty.Loop},
		"an expired token":                  {faulty.Expired},
		"cut, then all answers":             {faulty.Cut, faulty.Failed, faulty.Stall, faulty.Expired, faulty.Cut, faulty.Loop, faulty.TooMany},
		"cut, then ended without a length":  {faulty.Cut, faulty.Ended},
		"cut, then another range":           {faulty.Cut, faulty.OtherRange},
		"cut, then no ranges":               {faulty.Cut, faulty.NoRange},
		"cut, then nothing of it in ranges": {faulty.Cut, faulty.NoRange, faulty.Cut, faulty.NoRange},
	} {
		t.Run(name, func(t *testing.T) {
			u, c := serve(t, upstream.Options{})
			d := u.AddBlob(repository, content)
			u.Next(faults...)
			var got sink
			if err := c.Download(t.Context(), repository, d, 0, &got); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), content) || got.size != int64(len(content)) {
				t.Errorf("got %d bytes of %d, told of %d; right: %v", got.Len(), len(content), got.size, bytes.Equal(got.Bytes(), content))
			}
			if h := c.Health(); h.Down() || h.LastSuccess.IsZero() {
				t.Errorf("the upstream counts as down: %+v", h)
			}
		})
	}
}

func TestDownloadBeginsInTheMiddle(t *testing.T) {
	content := some(100_000)
	u, c := serve(t, upstream.Options{})
	d := u.AddBlob(repository, content)
	for _, from := range []int64{1, 50_000, 99_999, 100_000} {
		u.Next(faulty.None)
		var got sink
		if err := c.Download(t.Context(), repository, d, from, &got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), content[from:]) {
			t.Errorf("from %d on came %d bytes that are not the rest", from, got.Len())
		}
	}
	if sent := u.Counts().Bytes; sent != 99_999+50_000+1 {
		t.Errorf("%d bytes were sent: ranges were not used", sent)
	}
}

// What an upstream contradicts itself about cannot be mended by asking again
// for the rest.
func TestDownloadSeesContradictions(t *testing.T) {
	content := some(100_000)
	for name, tc := range map[string]struct {
		from   int64
		faults []faulty.Fault
	}{
		"more before than there is":         {100_001, nil},
		"cut, then longer":                  {0, []faulty.Fault{faulty.Cut, faulty.Long}},
		"cut, then shorter":                 {0, []faulty.Fault{faulty.Cut, faulty.Short}},
		"cut, then a page":                  {0, []faulty.Fault{faulty.Cut, faulty.Page}},
		"in the middle, what comes shorter": {50_000, []faulty.Fault{faulty.Page}},
	} {
		t.Run(name, func(t *testing.T) {
			u, c := serve(t, upstream.Options{})
			d := u.AddBlob(repository, content)
			u.Next(tc.faults...)
			if err := c.Download(t.Context(), repository, d, tc.from, &sink{}); !errors.Is(err, upstream.ErrChanged) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestDownloadGivesUp(t *testing.T) {
	u, c := serve(t, upstream.Options{Attempts: 3})
	d := u.AddBlob(repository, some(1000))
	t.Run("what is not there", func(t *testing.T) {
		err := c.Download(t.Context(), repository, digest.FromString("other"), 0, &sink{})
		if !errors.Is(err, fault.Missing) || u.Counts().Blobs != 1 {
			t.Errorf("got %v after %d requests", err, u.Counts().Blobs)
		}
	})
	t.Run("what fails always", func(t *testing.T) {
		u.Mix(1, faulty.Failed)
		defer u.Mix(0)
		err := c.Download(t.Context(), repository, d, 0, &sink{})
		if !errors.Is(err, fault.Transient) || !c.Health().Down() {
			t.Errorf("got %v, health %+v", err, c.Health())
		}
	})
	t.Run("what nobody takes", func(t *testing.T) {
		full := errors.New("disk full")
		before := u.Counts().Blobs
		if err := c.Download(t.Context(), repository, d, 0, &sink{full: full}); !errors.Is(err, full) || u.Counts().Blobs != before+1 {
			t.Errorf("got %v after %d requests", err, u.Counts().Blobs-before)
		}
	})
	t.Run("what nobody waits for", func(t *testing.T) {
		reached, release := u.Hold(d, 500)
		defer release()
		gone := errors.New("all clients left")
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() { <-reached; cancel(gone) }()
		c := client(t, upstream.Options{Name: "test", URL: c.Root(), Stall: time.Hour})
		if err := c.Download(ctx, repository, d, 0, &sink{}); !errors.Is(err, gone) {
			t.Errorf("got %v", err)
		}
	})
}
