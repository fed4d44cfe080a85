// Package cache keeps what a build makes, by content hash, so that nothing is
// made twice. Package images and its internal packages call it.
//
// It must not know what an entry holds.
package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"

	"github.com/loam-cloud/loam/fault"
)

// Folder is a cache on disk. An entry appears under its key all at once or not
// at all; whoever is killed leaves no more than a file in the folder tmp, which
// the next holder of the lock removes.
type Folder struct {
	root string
	// used are the entries that Fill returned, as kind/key.
	used map[string]bool
}

// Open makes the folder where it is missing. Faults: Denied when it cannot be
// written.
func Open(root string) (*Folder, error) {
	if err := os.MkdirAll(filepath.Join(root, "tmp"), 0o755); err != nil {
		return nil, fault.New(fault.Denied, "opening cache folder %q: %w; choose another with LOAM_CACHE_DIR", root, err)
	}
	return &Folder{root: root, used: map[string]bool{}}, nil
}

// Path returns where the folder is.
func (f *Folder) Path() string { return f.root }

// Lock waits until no other process builds in this folder, then clears what a
// killed one left. waiting is called once when there is something to wait for.
func (f *Folder) Lock(ctx context.Context, waiting func()) (release func(), err error) {
	lock := flock.New(filepath.Join(f.root, "lock"))
	held, err := lock.TryLock()
	if err == nil && !held {
		waiting()
		_, err = lock.TryLockContext(ctx, 200*time.Millisecond)
	}
	if err != nil {
		return nil, fmt.Errorf("locking cache folder %q: %w", f.root, err)
	}
	if err := f.clearTemporary(); err != nil {
		_ = lock.Unlock()
		return nil, err
	}
	return func() {
		// What stays here costs room until the next build, and nothing else.
		_ = f.clearTemporary()
		_ = lock.Unlock()
	}, nil
}

func (f *Folder) clearTemporary() error {
	tmp := filepath.Join(f.root, "tmp")
	left, err := os.ReadDir(tmp)
	if err != nil {
		return fmt.Errorf("listing %q: %w", tmp, err)
	}
	for _, entry := range left {
		if err := os.RemoveAll(filepath.Join(tmp, entry.Name())); err != nil {
			return fmt.Errorf("removing what an earlier build left: %w", err)
		}
	}
	return nil
}

// Temporary makes an empty folder that lasts until the lock is taken next.
func (f *Folder) Temporary() (string, error) {
	dir, err := os.MkdirTemp(filepath.Join(f.root, "tmp"), "build-")
	if err != nil {
		return "", fmt.Errorf("making a work folder: %w", err)
	}
	return dir, nil
}

// Find returns the path of an entry and whether it exists.
func (f *Folder) Find(kind string, key Key) (string, bool) {
	path := filepath.Join(f.root, kind, string(key))
	_, err := os.Stat(path)
	return path, err == nil
}

// Fill returns the path of the entry, a folder, and calls fill to make its
// content when it is missing. The lock must be held.
func (f *Folder) Fill(kind string, key Key, fill func(dir string) error) (string, error) {
	f.used[filepath.Join(kind, string(key))] = true
	path, found := f.Find(kind, key)
	if found {
		return path, nil
	}
	dir, err := f.Temporary()
	if err != nil {
		return "", err
	}
	if err := fill(dir); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", fmt.Errorf("making folder for %s: %w", kind, err)
	}
	if err := os.Rename(dir, path); err != nil {
		return "", fmt.Errorf("keeping %s: %w", kind, err)
	}
	return path, nil
}

// Used lists the entries that Fill has returned so far, as kind/key, sorted.
func (f *Folder) Used() []string { return slices.Sorted(maps.Keys(f.used)) }

// Prune removes every entry of the given kinds that is not kept, named as Used
// names them. The lock must be held.
func (f *Folder) Prune(kinds []string, kept map[string]bool) error {
	for _, kind := range kinds {
		entries, err := os.ReadDir(filepath.Join(f.root, kind))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("listing %s: %w", kind, err)
		}
		for _, entry := range entries {
			if kept[filepath.Join(kind, entry.Name())] {
				continue
			}
			if err := f.Remove(kind, Key(entry.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// Remove deletes an entry; one that is missing is a success. It is taken away at
// once and then deleted, so that none is ever found half deleted. The lock must
// be held.
func (f *Folder) Remove(kind string, key Key) error {
	path, found := f.Find(kind, key)
	if !found {
		return nil
	}
	dir, err := f.Temporary()
	if err != nil {
		return err
	}
	if err := os.Rename(path, filepath.Join(dir, "entry")); err != nil {
		return fmt.Errorf("removing %s/%s: %w", kind, key, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("removing %s/%s: %w", kind, key, err)
	}
	return nil
}

// Key names an entry: the hash of everything that its content depends on.
type Key string

// Hash collects what a key depends on. The zero value is not usable.
type Hash struct {
	state interface {
		Write([]byte) (int, error)
		Sum([]byte) []byte
	}
}

// NewHash starts a key. The recipe names what is made and how: it is changed by
// hand whenever the code that makes it would make something else.
func NewHash(recipe string) *Hash {
	hash := &Hash{state: sha256.New()}
	return hash.Add("recipe", []byte(recipe))
}

// Add puts one named input into the key. Name and length go in too, so that two
// inputs never read as one.
func (h *Hash) Add(name string, content []byte) *Hash {
	// A hash never returns an error.
	_, _ = fmt.Fprintf(h.state, "%d %s %d\n", len(name), name, len(content))
	_, _ = h.state.Write(content)
	return h
}

// Key ends the hash.
func (h *Hash) Key() Key { return Key(hex.EncodeToString(h.state.Sum(nil))[:32]) }
