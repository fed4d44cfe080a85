package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"

	"github.com/loam-cloud/loam/fault"
)

// forgetIfEmpty removes the record of a repository that has nothing any more.
func (s *Store) forgetIfEmpty(tx *bbolt.Tx, r Repository, before time.Time) error {
	var record repositoryRecord
	if _, err := get(tx, repositoriesBucket, r.key(), &record); err != nil || !record.Created.Before(before) {
		return err
	}
	for _, bucket := range []string{manifestsBucket, linksBucket, tagsBucket} {
		if anyKey(tx, bucket, r.prefix()) {
			return nil
		}
	}
	return remove(tx, repositoriesBucket, r.key())
}

// RemoveUnowned removes a blob's file if no repository has it, nothing pins it,
// and neither it nor its last use is younger than before; false says that it
// stays. A file of which the index knows nothing counts as such a blob.
func (s *Store) RemoveUnowned(d digest.Digest, before time.Time, dryRun bool) (size int64, removed bool, err error) {
	info, err := os.Stat(s.blobPath(d))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, false, classify(err)
	}
	if info != nil {
		size = info.Size()
		if !info.ModTime().Before(before) {
			return 0, false, nil
		}
	}
	run := s.db.Update
	if dryRun {
		run = s.db.View
	}
	err = run(func(tx *bbolt.Tx) error {
		if anyKey(tx, ownersBucket, []byte(d.String()+"\x00")) || s.pinned(d) {
			return nil
		}
		var record blobRecord
		if known, err := get(tx, blobsBucket, []byte(d), &record); err != nil || known && !s.lastUse(d, record).Before(before) {
			return err
		}
		removed = true
		if dryRun {
			return nil
		}
		return s.forget(tx, d)
	})
	return size, removed && err == nil, classify(err)
}

// forget removes a blob's record and its file, in this transaction: whoever links
// to a blob looks at its file in one, too.
func (s *Store) forget(tx *bbolt.Tx, d digest.Digest) error {
	if err := dropRecord(tx, d); err != nil {
		return err
	}
	return removeIfThere(s.blobPath(d))
}

func dropRecord(tx *bbolt.Tx, d digest.Digest) error {
	var record blobRecord
	known, err := get(tx, blobsBucket, []byte(d), &record)
	if err != nil || !known {
		return err
	}
	return errors.Join(remove(tx, blobsBucket, []byte(d)), addTotals(tx, -1, -record.Size))
}

// EvictCached removes a blob that only cached repositories have: its file and
// every record that says they have it. Tags stay, and lead to a manifest that is
// fetched again. False says that it stays: a private repository has it, or a pin.
func (s *Store) EvictCached(d digest.Digest) (bool, error) {
	evicted := false
	err := s.db.Update(func(tx *bbolt.Tx) error {
		owners := owners(tx, d)
		for _, r := range owners {
			if !r.Cached() {
				return nil
			}
		}
		if s.pinned(d) {
			return nil
		}
		evicted = true
		for _, r := range owners {
			if has(tx, manifestsBucket, r.key(d.String())) {
				if err := s.dropManifest(tx, r, d); err != nil {
					return err
				}
			}
			if err := s.unlink(tx, r, d); err != nil {
				return err
			}
		}
		return s.forget(tx, d)
	})
	return evicted && err == nil, classify(err)
}

func owners(tx *bbolt.Tx, d digest.Digest) (all []Repository) {
	prefix := []byte(d.String() + "\x00")
	// Nothing that this calls returns an error.
	_ = scan(tx, ownersBucket, prefix, nil, func(key, _ []byte) (bool, error) {
		all = append(all, parseRepository(key[len(prefix):]))
		return true, nil
	})
	return all
}

// Owners are the repositories that have a blob.
func (s *Store) Owners(d digest.Digest) (all []Repository, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		all = owners(tx, d)
		return nil
	})
	return all, classify(err)
}

// wrongFile is what is wrong about a blob's file, which another may have replaced
// since.
type wrongFile struct {
	error
	file fs.FileInfo
}

func (w *wrongFile) Unwrap() error { return w.error }

// Quarantine takes a blob that is wrong out of every repository and puts its file
// aside with the reason. Manifests' records and tags stay, so that what the blob's
// images consist of is not collected; the blob itself can be put again. False says
// that it was, before this: what is wrong is the error of Verify, or that the file is
// not there.
func (s *Store) Quarantine(d digest.Digest, problem error) (done bool, err error) {
	if err := CheckDigest(d); err != nil {
		return false, err
	}
	err = s.db.Update(func(tx *bbolt.Tx) error {
		info, err := os.Stat(s.blobPath(d))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		var wrong *wrongFile
		if errors.As(problem, &wrong) {
			done = err == nil && os.SameFile(info, wrong.file) && info.ModTime().Equal(wrong.file.ModTime())
		} else {
			done = err != nil
		}
		if !done {
			return nil
		}
		for _, r := range owners(tx, d) {
			if err := errors.Join(remove(tx, linksBucket, r.key(d.String())), remove(tx, ownersBucket, ownerKey(d, r))); err != nil {
				return err
			}
		}
		if err := dropRecord(tx, d); err != nil {
			return err
		}
		aside := filepath.Join(s.dir, quarantineDir, strings.ReplaceAll(d.String(), ":", "-"))
		if wrong == nil {
			return nil
		}
		if err := os.Rename(s.blobPath(d), aside); err != nil {
			return err
		}
		return os.WriteFile(aside+".reason", []byte(s.now().Format(time.RFC3339)+" "+problem.Error()+"\n"), 0o600)
	})
	return done && err == nil, classify(err)
}

// quarantine makes a blob that is wrong missing.
func (s *Store) quarantine(d digest.Digest, problem error) error {
	_, err := s.Quarantine(d, problem)
	return fault.Wrap(fault.Missing, errors.Join(problem, err))
}

// Restore gives a repository a blob back that it had before it was quarantined,
// once the store has it again. Missing when it does not.
func (s *Store) Restore(r Repository, d digest.Digest) error {
	defer s.Pin(d)()
	return classify(s.db.Update(func(tx *bbolt.Tx) error {
		if !has(tx, blobsBucket, []byte(d)) {
			return fault.New(fault.Missing, "the store does not have %s", d)
		}
		if has(tx, manifestsBucket, r.key(d.String())) {
			return s.own(tx, r, d)
		}
		return s.link(tx, r, d)
	}))
}
