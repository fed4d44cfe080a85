package store

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/loam-cloud/loam/fault"
)

// Errors of partials, for errors.Is.
var (
	// ErrBusy is returned, as Waiting, when somebody else has the partial open.
	ErrBusy = errors.New("somebody else is writing it")
	// ErrDigest is returned, as Invalid, when content is not what its digest says.
	ErrDigest = errors.New("the content does not have this digest")
)

// Partial is a blob that is arriving: an upload, or a download. It is written by
// one; reading what is there already may go on meanwhile.
//
//	Upload, Download -> Write... -> Commit                 the blob is published
//	                             -> Close                  it can be resumed, also after a restart
//	                             -> Discard                it is gone
type Partial struct {
	store *Store
	file  *os.File
	path  string
	// ID names an upload; it is empty for a download.
	ID string

	mu        sync.Mutex
	size      int64
	algorithm digest.Algorithm
	// hash is of what is there; nil when it has to be read for it.
	hash    hash.Hash
	flushed int64
	done    bool

	flushing atomic.Bool
}

// partialState lies beside an upload, so that resuming hashes only what came
// after it was written.
type partialState struct {
	Upstream   string `json:"upstream,omitempty"`
	Repository string `json:"repository"`
	Size       int64  `json:"size"`
	Hash       []byte `json:"hash,omitempty"`
}

const stateSuffix = ".json"

// StartUpload makes a new upload into a repository.
func (s *Store) StartUpload(r Repository) (*Partial, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	id := uuid.NewString()
	p := &Partial{store: s, path: filepath.Join(s.dir, uploadsDir, id), ID: id, algorithm: digest.SHA256}
	if err := p.writeState(partialState{Upstream: r.Upstream, Repository: r.Name}); err != nil {
		return nil, classify(err)
	}
	return p, p.begin(os.O_CREATE | os.O_EXCL)
}

// Upload opens an upload of the repository where it ended. Missing when there is
// none of this name, Waiting with ErrBusy when it is open.
func (s *Store) Upload(r Repository, id string) (*Partial, error) {
	if _, err := uuid.Parse(id); err != nil || strings.ToLower(id) != id {
		return nil, fault.New(fault.Missing, "%s has no upload %q", r, id)
	}
	p := &Partial{store: s, path: filepath.Join(s.dir, uploadsDir, id), ID: id, algorithm: digest.SHA256}
	state, err := p.readState()
	if errors.Is(err, fs.ErrNotExist) || err == nil && (state.Repository != r.Name || state.Upstream != r.Upstream) {
		return nil, fault.New(fault.Missing, "%s has no upload %q", r, id)
	}
	if err != nil {
		return nil, classify(err)
	}
	return p, p.begin(0)
}

// Download opens the download of a blob where it ended, or begins it. There is
// one of each blob, whichever repository wants it: Waiting with ErrBusy when it
// is open.
func (s *Store) Download(d digest.Digest) (*Partial, error) {
	if err := CheckDigest(d); err != nil {
		return nil, err
	}
	name := d.Algorithm().String() + "-" + d.Encoded()
	p := &Partial{store: s, path: filepath.Join(s.dir, downloadsDir, name), algorithm: d.Algorithm()}
	return p, p.begin(os.O_CREATE)
}

// begin opens the file and brings the hash to its end.
func (p *Partial) begin(flags int) (err error) {
	if !p.store.reserve(p.path) {
		return fault.New(fault.Waiting, "opening the partial blob %s: %w", filepath.Base(p.path), ErrBusy)
	}
	defer func() {
		if err != nil {
			p.store.release(p.path)
			if p.file != nil {
				err = errors.Join(err, p.file.Close())
			}
			err = classify(err)
		}
	}()
	if p.file, err = os.OpenFile(p.path, os.O_RDWR|flags, 0o600); errors.Is(err, fs.ErrNotExist) {
		return fault.Wrap(fault.Missing, err)
	} else if err != nil {
		return err
	}
	info, err := p.file.Stat()
	if err != nil {
		return err
	}
	p.hash = p.algorithm.Hash()
	if state, err := p.readState(); err == nil && len(state.Hash) > 0 && state.Size <= info.Size() {
		// A state that cannot be read costs time only: all is hashed anew.
		if u, ok := p.hash.(encoding.BinaryUnmarshaler); ok && u.UnmarshalBinary(state.Hash) == nil {
			p.size = state.Size
		} else {
			p.hash.Reset()
		}
	}
	n, err := io.Copy(p.hash, io.NewSectionReader(p.file, p.size, info.Size()-p.size))
	p.size += n
	p.flushed = p.size
	return err
}

// Size is how many bytes are there; they can be read.
func (p *Partial) Size() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.size
}

// flushEvery is how much is written before the disk is told to begin with it, so
// that the sync at the end has little left to wait for.
const flushEvery = 8 << 20

// Write appends. After an error Size says what is there. Exhausted when the disk
// is full.
func (p *Partial) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done {
		return 0, fault.Wrap(fault.Internal, os.ErrClosed)
	}
	hashed := p.beginHash(b)
	n, err := p.file.WriteAt(b, p.size)
	hashed()
	if n < len(b) {
		// The hash has been given what is not there.
		p.hash = nil
	}
	p.size += int64(n)
	if p.size-p.flushed >= flushEvery && p.flushing.CompareAndSwap(false, true) {
		go p.flush(p.flushed, p.size-p.flushed)
		p.flushed = p.size
	}
	return n, classify(err)
}

// worthHashingAside is from which length on hashing is done by another processor
// while this one writes, in bytes: it takes some ten times as long as to say so.
const worthHashingAside = 32 << 10

// beginHash hashes what is written; end waits for it.
func (p *Partial) beginHash(b []byte) (end func()) {
	switch {
	case p.hash == nil:
		return func() {}
	case len(b) < worthHashingAside:
		return func() { p.hash.Write(b) }
	}
	done := make(chan struct{})
	go func() {
		p.hash.Write(b)
		close(done)
	}()
	return func() { <-done }
}

// flush has the disk begin with what was written. It may wait for the disk, as who
// writes does not have to.
func (p *Partial) flush(from, n int64) {
	defer p.flushing.Store(false)
	if c, err := p.file.SyscallConn(); err == nil {
		// A hint: what it cannot do, or comes too late for, the sync does.
		_ = c.Control(func(fd uintptr) { _ = unix.SyncFileRange(int(fd), from, n, unix.SYNC_FILE_RANGE_WRITE) })
	}
}

// ReadAt reads bytes that were written. It works until the partial is closed;
// Reader gives what works longer.
func (p *Partial) ReadAt(b []byte, off int64) (int, error) { return p.file.ReadAt(b, off) }

// Reader opens what is being written for reading. It stays valid when the blob
// is published, closed or discarded, and is closed by its user.
func (p *Partial) Reader() (*os.File, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done {
		return nil, fault.Wrap(fault.Missing, os.ErrClosed)
	}
	f, err := os.Open(p.path)
	return f, classify(err)
}

// Commit publishes the blob under its digest and links the repository to it. It
// is on disk when Commit returns. Invalid with ErrDigest when the content is
// another one: then the partial is discarded. After any other error it can be
// resumed.
func (p *Partial) Commit(r Repository, d digest.Digest) error {
	if err := errors.Join(r.check(), CheckDigest(d)); err != nil {
		return errors.Join(err, p.Close())
	}
	defer p.store.Pin(d)()
	if err := p.verify(d); err != nil {
		if errors.Is(err, ErrDigest) {
			return errors.Join(err, p.Discard())
		}
		return classify(errors.Join(err, p.Close()))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.file.Sync(); err != nil {
		return classify(errors.Join(err, p.end()))
	}
	if err := p.store.publish(p.path, d); err != nil {
		return classify(errors.Join(err, p.end()))
	}
	err := p.store.db.Update(func(tx *bbolt.Tx) error { return p.store.link(tx, r, d) })
	return classify(errors.Join(err, p.end(), removeIfThere(p.path+stateSuffix)))
}

// verify compares the content with a digest.
func (p *Partial) verify(d digest.Digest) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done {
		return fault.Wrap(fault.Internal, os.ErrClosed)
	}
	if d.Algorithm() != p.algorithm || p.hash == nil {
		p.algorithm, p.hash = d.Algorithm(), d.Algorithm().Hash()
		if _, err := io.Copy(p.hash, io.NewSectionReader(p.file, 0, p.size)); err != nil {
			return err
		}
	}
	if got := digest.NewDigest(p.algorithm, p.hash); got != d {
		return fault.New(fault.Invalid, "%w: %d bytes are %s, not %s", ErrDigest, p.size, got, d)
	}
	return nil
}

// Close keeps what is there, to be resumed. It may be called after Commit and
// Discard, and does nothing then.
func (p *Partial) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done {
		return nil
	}
	var err error
	if p.ID != "" {
		err = p.saveState()
	}
	return classify(errors.Join(err, p.end()))
}

// Discard removes what is there.
func (p *Partial) Discard() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done {
		return nil
	}
	return classify(errors.Join(removeIfThere(p.path), removeIfThere(p.path+stateSuffix), p.end()))
}

func (p *Partial) end() error {
	p.done = true
	p.store.release(p.path)
	return p.file.Close()
}

func (p *Partial) saveState() error {
	state, err := p.readState()
	if err != nil {
		return err
	}
	state.Size, state.Hash = p.size, nil
	if m, ok := p.hash.(encoding.BinaryMarshaler); ok && p.algorithm == digest.SHA256 {
		if state.Hash, err = m.MarshalBinary(); err != nil {
			return err
		}
	}
	return p.writeState(state)
}

func (p *Partial) readState() (state partialState, err error) {
	raw, err := os.ReadFile(p.path + stateSuffix)
	if err != nil {
		return state, err
	}
	return state, json.Unmarshal(raw, &state)
}

func (p *Partial) writeState(state partialState) error {
	raw, err := json.Marshal(state)
	if err != nil {
		return err
	}
	// Renamed, so that a kill leaves the old state or the new one.
	next := p.path + stateSuffix + ".new"
	if err := os.WriteFile(next, raw, 0o600); err != nil {
		return errors.Join(fmt.Errorf("writing down the state of an upload: %w", err), removeIfThere(next))
	}
	return os.Rename(next, p.path+stateSuffix)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (s *Store) reserve(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[path] {
		return false
	}
	s.open[path] = true
	return true
}

func (s *Store) release(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, path)
}

// ExpirePartials removes uploads and downloads that nobody has touched since, and
// returns how many and how many bytes they were.
func (s *Store) ExpirePartials(since time.Time, dryRun bool) (count int, bytes int64, err error) {
	for _, dir := range []string{uploadsDir, downloadsDir} {
		entries, err := os.ReadDir(filepath.Join(s.dir, dir))
		if err != nil {
			return count, bytes, classify(err)
		}
		for _, entry := range entries {
			if strings.Contains(entry.Name(), stateSuffix) {
				continue
			}
			size, expired, err := s.expirePartial(filepath.Join(s.dir, dir, entry.Name()), since, dryRun)
			if err != nil {
				return count, bytes, classify(err)
			}
			if expired {
				count, bytes = count+1, bytes+size
			}
		}
	}
	return count, bytes, nil
}

func (s *Store) expirePartial(path string, since time.Time, dryRun bool) (size int64, expired bool, err error) {
	if !s.reserve(path) {
		return 0, false, nil
	}
	defer s.release(path)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil || info.ModTime().After(since) {
		return 0, false, err
	}
	if dryRun {
		return info.Size(), true, nil
	}
	return info.Size(), true, errors.Join(os.Remove(path), removeIfThere(path+stateSuffix))
}
