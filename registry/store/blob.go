package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"

	"github.com/loam-cloud/loam/fault"
)

// Content is bytes that a client gets: a file of the store, or what arrives just
// now. Read waits for bytes that are still to come; an error of Read other than
// io.EOF at Size means that they will never come.
type Content interface {
	io.ReadSeekCloser
	// Size is how many bytes there are in all.
	Size() int64
}

// Blob is a complete blob that is open for reading. It is pinned until closed.
type Blob struct {
	// File is the blob itself; who knows that it is a file can send it without
	// copying.
	*os.File
	size   int64
	unpin  func()
	Digest digest.Digest
}

// Size is the blob's size in bytes.
func (b *Blob) Size() int64 { return b.size }

// Close lets the blob go.
func (b *Blob) Close() error {
	b.unpin()
	return b.File.Close()
}

// OpenBlob opens a blob that the repository links to, and counts it as used.
// Missing means that there is none, or that its file was lost or cut: then the
// link is gone too, and the blob can be put again.
func (s *Store) OpenBlob(r Repository, d digest.Digest) (*Blob, error) {
	if err := CheckDigest(d); err != nil {
		return nil, err
	}
	unpin := s.Pin(d)
	b, err := s.openLinked(r, d, unpin)
	if err != nil {
		unpin()
		return nil, err
	}
	s.use(d, 0)
	return b, nil
}

func (s *Store) openLinked(r Repository, d digest.Digest, unpin func()) (*Blob, error) {
	var record blobRecord
	linked := false
	err := s.db.View(func(tx *bbolt.Tx) (err error) {
		if !has(tx, ownersBucket, ownerKey(d, r)) {
			return nil
		}
		linked, err = get(tx, blobsBucket, []byte(d), &record)
		return err
	})
	if err != nil {
		return nil, classify(err)
	}
	if !linked {
		return nil, fault.New(fault.Missing, "%s has no blob %s", r, d)
	}
	f, err := os.Open(s.blobPath(d))
	if err == nil {
		var info fs.FileInfo
		if info, err = f.Stat(); err == nil && info.Size() != record.Size {
			err = fmt.Errorf("blob %s has %d bytes, had %d when it was stored", d, info.Size(), record.Size)
			return nil, errors.Join(s.quarantine(d, &wrongFile{err, info}), f.Close())
		}
		if err == nil {
			return &Blob{File: f, size: record.Size, unpin: unpin, Digest: d}, nil
		}
		err = errors.Join(err, f.Close())
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, s.quarantine(d, err)
	}
	return nil, classify(err)
}

// BlobInfo says what is known of a blob.
type BlobInfo struct {
	Digest digest.Digest
	Size   int64
	Stored time.Time
	// Used is when it was last pulled, or asked for; Stored when never.
	Used  time.Time
	Pulls int64
}

// StatBlob says whether the repository links to a blob, and counts the question
// as use: who asks before a push relies on the answer. Missing when it does not.
func (s *Store) StatBlob(r Repository, d digest.Digest) (BlobInfo, error) {
	b, err := s.OpenBlob(r, d)
	if err != nil {
		return BlobInfo{}, err
	}
	return BlobInfo{Digest: d, Size: b.size}, b.Close()
}

// HasBlob says whether the store holds a blob, in whichever repository.
func (s *Store) HasBlob(d digest.Digest) (bool, error) {
	found := false
	err := s.db.View(func(tx *bbolt.Tx) error {
		found = has(tx, blobsBucket, []byte(d))
		return nil
	})
	return found, classify(err)
}

// Link makes a blob that the store holds one of the repository as well. Missing
// when it holds none. Linking again is no error and makes the link younger.
func (s *Store) Link(r Repository, d digest.Digest) error {
	if err := errors.Join(r.check(), CheckDigest(d)); err != nil {
		return err
	}
	defer s.Pin(d)()
	err := s.db.Update(func(tx *bbolt.Tx) error {
		if !has(tx, blobsBucket, []byte(d)) {
			return fault.New(fault.Missing, "no repository has the blob %s", d)
		}
		return s.link(tx, r, d)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return s.quarantine(d, err)
	}
	return classify(err)
}

// Unlink takes a blob from the repository. Its file stays until it is collected.
// Missing when the repository does not link to it.
func (s *Store) Unlink(r Repository, d digest.Digest) error {
	return classify(s.db.Update(func(tx *bbolt.Tx) error {
		if !has(tx, linksBucket, r.key(d.String())) {
			return fault.New(fault.Missing, "%s has no blob %s", r, d)
		}
		return s.unlink(tx, r, d)
	}))
}

// link writes down that a repository has a blob whose file is there.
func (s *Store) link(tx *bbolt.Tx, r Repository, d digest.Digest) error {
	if err := s.own(tx, r, d); err != nil {
		return err
	}
	return put(tx, linksBucket, r.key(d.String()), linkRecord{Linked: s.now()})
}

// own makes the records of a blob's file, of its repository, and of who has it.
// The file is looked at inside the transaction, as it is removed inside one.
func (s *Store) own(tx *bbolt.Tx, r Repository, d digest.Digest) error {
	info, err := os.Stat(s.blobPath(d))
	if err != nil {
		return err
	}
	if !has(tx, blobsBucket, []byte(d)) {
		if err := errors.Join(
			put(tx, blobsBucket, []byte(d), blobRecord{Size: info.Size(), Stored: s.now()}),
			addTotals(tx, 1, info.Size())); err != nil {
			return err
		}
	}
	if !has(tx, repositoriesBucket, r.key()) {
		if err := put(tx, repositoriesBucket, r.key(), repositoryRecord{Created: s.now()}); err != nil {
			return err
		}
	}
	return tx.Bucket([]byte(ownersBucket)).Put(ownerKey(d, r), []byte{1})
}

func (s *Store) unlink(tx *bbolt.Tx, r Repository, d digest.Digest) error {
	if err := remove(tx, linksBucket, r.key(d.String())); err != nil {
		return err
	}
	if has(tx, manifestsBucket, r.key(d.String())) {
		return nil
	}
	return remove(tx, ownersBucket, ownerKey(d, r))
}

func (s *Store) now() time.Time { return s.clock.Now().UTC().Truncate(time.Millisecond) }
