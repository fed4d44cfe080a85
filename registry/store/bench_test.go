package store_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

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
