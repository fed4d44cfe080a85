package store

import (
	"encoding/json"
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

// Sweep says what of a private repository may be removed.
type Sweep struct {
	// Before protects what was pushed, linked or used later: a push in progress has
	// blobs that no manifest refers to yet.
	Before time.Time
	// Untagged removes manifests that no tag leads to, too.
	Untagged bool
	// DryRun only says what would be removed.
	DryRun bool
}

// Swept is what was removed from a repository.
type Swept struct {
	Manifests, Blobs []digest.Digest
}

// SweepRepository removes what nothing in the repository needs: blobs that no
// manifest refers to, and on request manifests that neither a tag, nor an index
// that stays, nor a subject that stays leads to. All is one write transaction, in
// which nothing can be pushed. Files stay until RemoveUnowned.
func (s *Store) SweepRepository(r Repository, o Sweep) (Swept, error) {
	var swept Swept
	run := s.db.Update
	if o.DryRun {
		run = s.db.View
	}
	err := run(func(tx *bbolt.Tx) error {
		swept = Swept{}
		live, dead, err := s.mark(tx, r, o)
		if err != nil {
			return err
		}
		swept.Manifests = dead
		if swept.Blobs, err = s.unneeded(tx, r, o, live); err != nil || o.DryRun {
			return err
		}
		for _, d := range dead {
			if err := s.dropManifest(tx, r, d); err != nil {
				return err
			}
		}
		for _, d := range swept.Blobs {
			if err := s.unlink(tx, r, d); err != nil {
				return err
			}
		}
		return s.forgetIfEmpty(tx, r, o.Before)
	})
	return swept, classify(err)
}

// mark finds the blobs that manifests which stay refer to, and the manifests that
// do not stay.
func (s *Store) mark(tx *bbolt.Tx, r Repository, o Sweep) (live map[digest.Digest]bool, dead []digest.Digest, err error) {
	records := map[digest.Digest]manifestRecord{}
	referrers := map[digest.Digest][]digest.Digest{}
	var order, todo []digest.Digest
	err = scan(tx, manifestsBucket, r.prefix(), nil, func(key, raw []byte) (bool, error) {
		var record manifestRecord
		d := digest.Digest(lastPart(key))
		if err := json.Unmarshal(raw, &record); err != nil {
			return false, err
		}
		records[d], order = record, append(order, d)
		if record.Subject != "" {
			referrers[record.Subject] = append(referrers[record.Subject], d)
		}
		young, err := s.young(tx, d, record.Linked, o.Before)
		if young || !o.Untagged {
			todo = append(todo, d)
		}
		return true, err
	})
	if err != nil {
		return nil, nil, err
	}
	err = eachTag(tx, r, "", func(_ string, record tagRecord) (bool, error) {
		todo = append(todo, record.Digest)
		return true, nil
	})
	live = map[digest.Digest]bool{}
	for len(todo) > 0 {
		d := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if live[d] {
			continue
		}
		live[d] = true
		record := records[d]
		for _, b := range record.Blobs {
			live[b] = true
		}
		todo = append(append(todo, record.Manifests...), referrers[d]...)
		if record.Subject != "" {
			// What a referrer is about is needed as long as it is.
			todo = append(todo, record.Subject)
		}
	}
	for _, d := range order {
		if !live[d] {
			dead = append(dead, d)
		}
	}
	return live, dead, err
}

// young says whether something is protected by its age, by a pin, or by use.
func (s *Store) young(tx *bbolt.Tx, d digest.Digest, linked, before time.Time) (bool, error) {
	if !linked.Before(before) || s.pinned(d) {
		return true, nil
	}
	var record blobRecord
	if _, err := get(tx, blobsBucket, []byte(d), &record); err != nil {
		return true, err
	}
	return !s.lastUse(d, record).Before(before), nil
}

func (s *Store) unneeded(tx *bbolt.Tx, r Repository, o Sweep, live map[digest.Digest]bool) (dead []digest.Digest, err error) {
	return dead, scan(tx, linksBucket, r.prefix(), nil, func(key, raw []byte) (bool, error) {
		d := digest.Digest(lastPart(key))
		if live[d] {
			return true, nil
		}
		var record linkRecord
		if err := json.Unmarshal(raw, &record); err != nil {
			return false, err
		}
		young, err := s.young(tx, d, record.Linked, o.Before)
		if !young && err == nil {
			dead = append(dead, d)
		}
		return true, err
	})
}

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

// Quarantine takes a blob that is wrong out of every repository and puts its file
// aside with the reason. Manifests' records and tags stay, so that what the blob's
// images consist of is not collected; the blob itself can be put again.
func (s *Store) Quarantine(d digest.Digest, reason string) error {
	if err := CheckDigest(d); err != nil {
		return err
	}
	return classify(s.db.Update(func(tx *bbolt.Tx) error {
		for _, r := range owners(tx, d) {
			if err := errors.Join(remove(tx, linksBucket, r.key(d.String())), remove(tx, ownersBucket, ownerKey(d, r))); err != nil {
				return err
			}
		}
		if err := dropRecord(tx, d); err != nil {
			return err
		}
		aside := filepath.Join(s.dir, quarantineDir, strings.ReplaceAll(d.String(), ":", "-"))
		err := os.Rename(s.blobPath(d), aside)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return os.WriteFile(aside+".reason", []byte(s.now().Format(time.RFC3339)+" "+reason+"\n"), 0o600)
	}))
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
