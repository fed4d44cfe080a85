package store_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/loam-cloud/loam/registry/store"
)

// BenchmarkStart opens a store with a terabyte in a million blobs, sparse files of
// a mebibyte each, and gives out one of them. Making it takes minutes.
func BenchmarkStart(b *testing.B) {
	const blobs = 1_000_000
	dir := b.TempDir()
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	name := func(i int) digest.Digest { return digest.FromString(fmt.Sprint(i)) }
	for i := range blobs {
		d := name(i)
		path := filepath.Join(dir, "blobs", "sha256", d.Encoded()[:2], d.Encoded())
		if i < 4096 {
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				b.Fatal(err)
			}
		}
		f, err := os.Create(path)
		if err != nil {
			b.Fatal(err)
		}
		if err := f.Truncate(1 << 20); err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
	for from := 0; from < blobs; from += 10_000 {
		all := make([]digest.Digest, 10_000)
		for i := range all {
			all[i] = name(from + i)
		}
		if err := s.Adopt(cached, all); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s, err := store.Open(dir, store.Options{})
		if err != nil {
			b.Fatal(err)
		}
		blob, err := s.OpenBlob(cached, name(blobs/2))
		if err != nil {
			b.Fatal(err)
		}
		blob.Close()
		if totals, err := s.Totals(); err != nil || totals.Blobs != blobs || totals.Bytes != blobs<<20 {
			b.Fatal(totals, err)
		}
		b.StopTimer()
		s.Close()
		b.StartTimer()
	}
}

// BenchmarkSweep collects a repository of 100,000 manifests, of which nothing leads to
// any, and pushes to it meanwhile: how long does the unluckiest push wait?
func BenchmarkSweep(b *testing.B) {
	const images = 100_000
	var slowest time.Duration
	pushes := 0
	for b.Loop() {
		b.StopTimer()
		s, err := store.Open(b.TempDir(), store.Options{})
		if err != nil {
			b.Fatal(err)
		}
		for from := 0; from < images; from += 10_000 {
			all := map[digest.Digest]digest.Digest{}
			for i := from; i < from+10_000; i++ {
				manifest, blob := digest.FromString(fmt.Sprint("manifest ", i)), digest.FromString(fmt.Sprint("blob ", i))
				for _, d := range []digest.Digest{manifest, blob} {
					path := filepath.Join(s.Dir(), "blobs", "sha256", d.Encoded()[:2], d.Encoded())
					if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
						b.Fatal(err)
					}
				}
				all[manifest] = blob
			}
			if err := s.AdoptManifests(private, all); err != nil {
				b.Fatal(err)
			}
		}
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for {
				select {
				case <-stop:
					return
				default:
				}
				began := time.Now()
				if err := s.Link(private, digest.FromString("blob 0")); err != nil {
					b.Error(err)
				}
				slowest = max(slowest, time.Since(began))
				pushes++
			}
		}()
		b.StartTimer()
		swept, err := s.SweepRepository(private, store.Sweep{Before: time.Now().Add(-time.Nanosecond), Untagged: true})
		b.StopTimer()
		close(stop)
		<-stopped
		if err != nil || len(swept.Manifests) != images || len(swept.Blobs) != images-1 {
			b.Fatalf("%d manifests and %d blobs went, %v", len(swept.Manifests), len(swept.Blobs), err)
		}
		_ = s.Close()
		b.StartTimer()
	}
	b.ReportMetric(slowest.Seconds()*1000, "ms-slowest-push")
	b.ReportMetric(float64(pushes)/float64(b.N), "pushes-meanwhile")
}
