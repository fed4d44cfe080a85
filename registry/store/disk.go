package store

import (
	// Digests of both algorithms are taken; go-digest finds those that are linked.
	_ "crypto/sha256"
	_ "crypto/sha512"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/opencontainers/go-digest"

	"github.com/loam-cloud/loam/fault"
)

const (
	blobsDir      = "blobs"
	uploadsDir    = "partial/uploads"
	downloadsDir  = "partial/downloads"
	quarantineDir = "quarantine"
)

// blobPath is where a blob lies once it is complete. Two letters of the hash are
// a folder, so that no folder holds more than a few thousand of a million.
func (s *Store) blobPath(d digest.Digest) string {
	return filepath.Join(s.dir, blobsDir, d.Algorithm().String(), d.Encoded()[:2], d.Encoded())
}

// publish moves a complete and synced file to its digest's place and makes the
// move last: the folder, and the one above when it is new, are synced.
func (s *Store) publish(from string, d digest.Digest) error {
	to := s.blobPath(d)
	if err := s.makeFolder(filepath.Dir(to)); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(to))
}

// makeFolder makes a folder of blobs last across a loss of power.
func (s *Store) makeFolder(dir string) error {
	if _, err := os.Stat(dir); err == nil || dir == s.dir {
		return err
	}
	if err := s.makeFolder(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(filepath.Dir(dir))
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// classify gives errors of the disk a kind. Those that have one keep it.
func classify(err error) error {
	switch {
	case err == nil:
		return nil
	case fault.KindOf(err) != fault.Internal:
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fault.Wrap(fault.Exhausted, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fault.Wrap(fault.Denied, err)
	}
	return err
}

// CheckDigest refuses what is no digest of an algorithm that the store keeps.
func CheckDigest(d digest.Digest) error {
	if err := d.Validate(); err != nil {
		return fault.New(fault.Invalid, "digest %q: %w", d, err)
	}
	if a := d.Algorithm(); a != digest.SHA256 && a != digest.SHA512 {
		return fault.New(fault.Invalid, "digest %q: algorithm %s is not one of sha256, sha512", d, a)
	}
	return nil
}
