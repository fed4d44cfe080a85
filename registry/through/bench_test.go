package through_test

import (
	"bytes"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime/metrics"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/opencontainers/go-digest"

	"github.com/loam-cloud/loam/registry/server"
	"github.com/loam-cloud/loam/registry/store"
	"github.com/loam-cloud/loam/registry/through"
	"github.com/loam-cloud/loam/registry/upstream"
)

// Sizes of the benchmarks' blobs, in bytes.
const (
	warmSize   = 1 << 30
	coldSize   = 256 << 20
	sharedSize = 64 << 20
)

// plain is an upstream that does nothing but send one blob as fast as it goes,
// or at a rate in bytes a second.
type plain struct {
	content []byte
	rate    int
	sent    atomic.Int64
	// first is when the first byte of the last answer went out, in ns since 1970.
	first atomic.Int64
}

func (p *plain) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", strconv.Itoa(len(p.content)))
	const piece = 256 << 10
	began := time.Now()
	for at := 0; at < len(p.content); at += piece {
		n, err := w.Write(p.content[at:min(len(p.content), at+piece)])
		if at == 0 {
			p.first.Store(time.Now().UnixNano())
		}
		p.sent.Add(int64(n))
		if err != nil {
			return
		}
		if p.rate > 0 {
			time.Sleep(time.Until(began.Add(time.Duration(at+n) * time.Second / time.Duration(p.rate))))
		}
	}
}

// bench is a cache behind HTTP whose upstream is a handler.
type bench struct {
	store *store.Store
	url   string
	close func()
}

func open(b *testing.B, upstreamURL string) *bench {
	b.Helper()
	s, err := store.Open(b.TempDir(), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	client, err := upstream.New(upstream.Options{Name: "test.example", URL: upstreamURL})
	if err != nil {
		b.Fatal(err)
	}
	c := through.New(s, client, through.Options{TTL: time.Hour})
	front := httptest.NewServer(server.New(server.Options{
		Store: s, Sources: map[string]server.Source{"test.example": source{c}}, Log: logr.Discard(),
	}).Handler("test.example"))
	return &bench{s, front.URL, func() {
		front.Close()
		c.Close()
		_ = s.Close()
	}}
}

// fetch gets a URL and returns when its first byte came.
func fetch(b *testing.B, url string, size int64) time.Time {
	resp, err := http.Get(url)
	if err != nil {
		b.Error(err)
		return time.Time{}
	}
	defer func() { _ = resp.Body.Close() }()
	var first [1]byte
	_, err = io.ReadFull(resp.Body, first[:])
	at := time.Now()
	if n, copyErr := io.Copy(io.Discard, resp.Body); err != nil || copyErr != nil || n+1 != size {
		b.Errorf("%s: status %d, %d bytes, %v, %v", url, resp.StatusCode, n+1, err, copyErr)
	}
	return at
}

// sparse puts a blob into the store that is long and takes no room on disk.
func sparse(b *testing.B, s *store.Store, size int64) (file string, d digest.Digest) {
	b.Helper()
	file = filepath.Join(b.TempDir(), "blob")
	f, err := os.Create(file)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := f.Truncate(size); err != nil {
		b.Fatal(err)
	}
	d, err = digest.FromReader(f)
	if err != nil {
		b.Fatal(err)
	}
	p, err := s.Download(d)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		b.Fatal(err)
	}
	if _, err := io.Copy(p, f); err != nil {
		b.Fatal(err)
	}
	if err := p.Commit(thing, d); err != nil {
		b.Fatal(err)
	}
	return file, d
}

// BenchmarkWarmPull is 1 GiB that is stored, beside the same from net/http's own
// file server.
func BenchmarkWarmPull(b *testing.B) {
	r := open(b, "http://127.0.0.1:1")
	defer r.close()
	file, d := sparse(b, r.store, warmSize)
	files := httptest.NewServer(http.FileServer(http.Dir(filepath.Dir(file))))
	defer files.Close()
	for _, from := range []struct{ name, url string }{
		{"server=files", files.URL + "/blob"},
		{"server=cache", r.url + "/v2/" + thing.Name + "/blobs/" + d.String()},
	} {
		b.Run(from.name, func(b *testing.B) {
			b.SetBytes(warmSize)
			for b.Loop() {
				fetch(b, from.url, warmSize)
			}
			b.ReportMetric(float64(heap())/(1<<20), "MiB-of-memory")
		})
	}
}

// heap is what the process has taken from the system for Go's own use.
func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64() - sample[1].Value.Uint64()
}

// BenchmarkColdPull is a blob that is not stored, beside the same straight from
// the upstream: one that is as fast as loopback, and one of a gigabit a second.
func BenchmarkColdPull(b *testing.B) {
	for _, line := range []struct {
		name string
		rate int
	}{{"upstream=loopback", 0}, {"upstream=gigabit", 125_000_000}} {
		u := &plain{content: make([]byte, coldSize), rate: line.rate}
		d := digest.FromBytes(u.content)
		origin := httptest.NewServer(u)
		defer origin.Close()
		path := "/v2/" + thing.Name + "/blobs/" + d.String()
		b.Run(line.name+"/from=upstream", func(b *testing.B) {
			b.SetBytes(coldSize)
			for b.Loop() {
				fetch(b, origin.URL+path, coldSize)
			}
		})
		b.Run(line.name+"/from=cache", func(b *testing.B) {
			b.SetBytes(coldSize)
			late := time.Duration(math.MaxInt64)
			for b.Loop() {
				b.StopTimer()
				r := open(b, origin.URL)
				b.StartTimer()
				first := fetch(b, r.url+path, coldSize)
				late = min(late, first.Sub(time.Unix(0, u.first.Load())))
				b.StopTimer()
				r.close()
				b.StartTimer()
			}
			b.ReportMetric(late.Seconds()*1000, "ms-to-first-byte")
		})
	}
}

// BenchmarkSharedPull is 64 clients who want one cold blob at once.
func BenchmarkSharedPull(b *testing.B) {
	u := &plain{content: make([]byte, sharedSize)}
	d := digest.FromBytes(u.content)
	origin := httptest.NewServer(u)
	defer origin.Close()
	b.SetBytes(64 * sharedSize)
	pulls := 0
	for b.Loop() {
		r := open(b, origin.URL)
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() { fetch(b, r.url+"/v2/"+thing.Name+"/blobs/"+d.String(), sharedSize) })
		}
		all.Wait()
		r.close()
		pulls++
	}
	b.ReportMetric(float64(u.sent.Load())/float64(pulls)/sharedSize, "upstream-bytes/blob-bytes")
}

// busy is how long the process has had a processor: what others do on the host
// meanwhile is no part of it. The clients are.
func busy(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkManifests are warm requests of many clients at once.
func BenchmarkManifests(b *testing.B) {
	r := open(b, "http://127.0.0.1:1")
	defer r.close()
	content := []byte(`{"schemaVersion":2,"mediaType":"` + indexType + `","manifests":[],"annotations":{"a":"` + string(bytes.Repeat([]byte("a"), 2000)) + `"}}`)
	m, err := r.store.PutManifest(thing, store.Put{MediaType: indexType, Content: content, Tag: "latest"})
	if err != nil {
		b.Fatal(err)
	}
	http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = 64
	for _, by := range []struct{ name, reference string }{{"by=tag", "latest"}, {"by=digest", m.Digest.String()}} {
		b.Run(by.name, func(b *testing.B) {
			b.SetParallelism(8)
			before := busy(b)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					fetch(b, r.url+"/v2/"+thing.Name+"/manifests/"+by.reference, int64(len(content)))
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
			b.ReportMetric(float64((busy(b)-before).Microseconds())/float64(b.N), "cpu-µs/request")
		})
	}
}
