// Package cachebench compares the image cache with nginx and with distribution's
// registry: each a process of its own on loopback, asked in turn by the same client,
// so that what else the host does meets all of them. What counts are the ratios.
//
// It must not know how the cache works.
package cachebench_test

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// Sizes of blobs, in bytes.
const (
	warmSize   = 1 << 30
	coldSize   = 256 << 20
	sharedSize = 64 << 20
	rounds     = 5
)

// thing is the repository that all blobs are in.
const thing = "library/thing"

// blob is one that the upstream has.
type blob struct {
	path string
	size int64
}

// addBlob writes a blob to where nginx serves it.
func addBlob(b *testing.B, root string, size int64) blob {
	b.Helper()
	dir := filepath.Join(root, "v2", thing, "blobs")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	f, err := os.CreateTemp(dir, "new")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }() // a second time, when all is well
	var seed [32]byte
	_, _ = rand.Read(seed[:]) // it never fails
	hash := digest.SHA256.Digester()
	if _, err := io.CopyN(io.MultiWriter(f, hash.Hash()), mathrand.NewChaCha8(seed), size); err != nil {
		b.Fatal(err)
	}
	// nginx's workers are nobody.
	err = f.Chmod(0o644)
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, hash.Digest().String()))
	}
	if err != nil {
		b.Fatal(err)
	}
	return blob{"/v2/" + thing + "/blobs/" + hash.Digest().String(), size}
}

// fetch gets a blob, and returns how long it took to its first byte and to its end.
func fetch(b *testing.B, base string, x blob) (first, all time.Duration) {
	began := time.Now()
	response, err := http.Get(base + x.path)
	if err != nil {
		b.Error(err)
		return 0, 0
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	var total int64
	for buffer := make([]byte, 256<<10); ; {
		n, err := response.Body.Read(buffer)
		if total == 0 && n > 0 {
			first = time.Since(began)
		}
		total += int64(n)
		if err == io.EOF {
			break
		}
		if err != nil {
			b.Errorf("%s: %v", base, err)
			return 0, 0
		}
	}
	if response.StatusCode != http.StatusOK || total != x.size {
		b.Errorf("%s: status %d, %d bytes of %d", base, response.StatusCode, total, x.size)
	}
	return first, time.Since(began)
}

// series are measurements of each server.
type series map[string][]float64

func (s series) median(of string) float64 {
	all := slices.Sorted(slices.Values(s[of]))
	if len(all) == 0 {
		return 0
	}
	return all[len(all)/2]
}

// turns asks servers in turn, round by round, each first once.
func turns(n int, servers []string, ask func(round int, server string)) {
	for round := range n {
		for i := range servers {
			ask(round, servers[(i+round)%len(servers)])
		}
	}
}

func rate(size int64, took time.Duration) float64 { return float64(size) / 1e6 / took.Seconds() }

// BenchmarkWarm is a blob of 1 GiB that all have.
func BenchmarkWarm(b *testing.B) {
	h := newHost(b)
	x := addBlob(b, h.root, warmSize)
	bases := map[string]string{"nginx": h.nginx(0), "loam": h.loam(h.nginxAt).base, "distribution": h.proxy(h.nginxAt).base}
	for _, base := range bases {
		fetch(b, base, x)
	}
	unix.Sync()
	got := series{}
	turns(rounds, []string{"nginx", "loam", "distribution"}, func(_ int, server string) {
		_, took := fetch(b, bases[server], x)
		got[server] = append(got[server], rate(x.size, took))
	})
	report(b, got, "MB/s", "nginx", "distribution")
	b.ReportMetric(h.residentMiB("loam"), "MiB-most-resident")
}

// report says all medians, and loam's as a ratio to the others.
func report(b *testing.B, got series, unit string, others ...string) {
	b.ReportMetric(0, "ns/op") // the sum of all says nothing
	b.ReportMetric(got.median("loam"), "loam-"+unit)
	for _, other := range others {
		b.ReportMetric(got.median(other), other+"-"+unit)
		b.ReportMetric(got.median("loam")/got.median(other), "loam/"+other)
	}
}

// BenchmarkCold is blobs that no cache has: as fast as nginx gives them, and at a
// gigabit a second. How fast this host hashes, and writes so that it lasts, bounds
// what can be had of the first.
func BenchmarkCold(b *testing.B) {
	for _, line := range []struct {
		name string
		rate int64
	}{{"line=loopback", 0}, {"line=gigabit", 125_000_000}} {
		b.Run(line.name, func(b *testing.B) {
			h := newHost(b)
			bases := map[string]string{"upstream": h.nginx(line.rate), "loam": h.loam(h.nginxAt).base, "distribution": h.proxy(h.nginxAt).base}
			got, first := series{}, series{}
			var blobs []blob
			for range rounds {
				blobs = append(blobs, addBlob(b, h.root, coldSize))
			}
			turns(rounds, []string{"upstream", "loam", "distribution"}, func(round int, server string) {
				unix.Sync() // nobody waits for what another has written
				begun, took := fetch(b, bases[server], blobs[round])
				got[server] = append(got[server], rate(coldSize, took))
				first[server] = append(first[server], begun.Seconds()*1000)
			})
			report(b, got, "MB/s", "upstream", "distribution")
			b.ReportMetric(first.median("loam")-first.median("upstream"), "loam-ms-to-first-byte")
			b.ReportMetric(first.median("distribution")-first.median("upstream"), "distribution-ms-to-first-byte")
			b.ReportMetric(digestRate(), "sha256-MB/s")
			b.ReportMetric(diskRate(b), "disk-MB/s")
		})
	}
}

// digestRate is how fast one processor hashes.
func digestRate() float64 {
	piece := make([]byte, 1<<20)
	binary.LittleEndian.PutUint64(piece, uint64(os.Getpid()))
	hash := digest.SHA256.Hash()
	began := time.Now()
	for range coldSize / len(piece) {
		hash.Write(piece)
	}
	return rate(coldSize, time.Since(began))
}

// diskRate is how fast a file is written and synced.
func diskRate(b *testing.B) float64 {
	b.Helper()
	f, err := os.Create(filepath.Join(b.TempDir(), "file"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }() // it is removed
	piece := make([]byte, 256<<10)
	_, _ = rand.Read(piece)
	unix.Sync()
	began := time.Now()
	for range coldSize / len(piece) {
		if _, err := f.Write(piece); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	return rate(coldSize, time.Since(began))
}

// BenchmarkShared is 64 clients who want one cold blob at once.
func BenchmarkShared(b *testing.B) {
	h := newHost(b)
	h.nginx(0)
	got, asked := series{}, series{}
	through := map[string]*counter{"loam": h.count(), "distribution": h.count()}
	bases := map[string]string{"loam": h.loam(through["loam"].address).base, "distribution": h.proxy(through["distribution"].address).base}
	turns(rounds, []string{"loam", "distribution"}, func(_ int, server string) {
		x := addBlob(b, h.root, sharedSize)
		unix.Sync()
		before, began := through[server].bytes.Load(), time.Now()
		ended := make(chan struct{})
		for range 64 {
			go func() { fetch(b, bases[server], x); ended <- struct{}{} }()
		}
		for range 64 {
			<-ended
		}
		got[server] = append(got[server], rate(64*sharedSize, time.Since(began)))
		asked[server] = append(asked[server], float64(through[server].bytes.Load()-before)/sharedSize)
	})
	report(b, got, "MB/s", "distribution")
	b.ReportMetric(asked.median("loam"), "loam-upstream-bytes/blob")
	b.ReportMetric(asked.median("distribution"), "distribution-upstream-bytes/blob")
	b.ReportMetric(h.residentMiB("loam"), "MiB-most-resident")
}

// BenchmarkManifests is a warm manifest, asked for by many at once.
func BenchmarkManifests(b *testing.B) {
	h := newHost(b)
	servers := map[string]*process{"loam": h.loam(""), "distribution": h.distribution()}
	for _, server := range servers {
		h.push(server.base)
	}
	http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = 64
	got, spent := series{}, series{}
	turns(3, []string{"loam", "distribution"}, func(_ int, server string) {
		p := servers[server]
		used := p.processorTime(b)
		n, took := h.manifests(p.base, 2*time.Second)
		got[server] = append(got[server], float64(n)/took.Seconds())
		spent[server] = append(spent[server], float64((p.processorTime(b)-used).Microseconds())/float64(n))
	})
	report(b, got, "requests/s", "distribution")
	for _, server := range []string{"loam", "distribution"} {
		b.ReportMetric(spent.median(server), fmt.Sprintf("%s-cpu-µs/request", server))
	}
}
