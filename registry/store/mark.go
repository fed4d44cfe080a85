package store

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"
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

// batch is how much is removed in one transaction, for whose end pushes wait: some
// ten milliseconds.
const batch = 200

// SweepRepository removes what nothing in the repository needs: blobs that no
// manifest refers to, and on request manifests that neither a tag, nor an index
// that stays, nor a subject that stays leads to. Files stay until RemoveUnowned.
//
// What can go is found in a transaction that only reads, and goes in small ones that
// write. Pushes come between them. They leave word of the manifests that they put or
// tag; all that those lead to is looked up again, and stays. A manifest goes before
// those that it leads to: one that is wanted again meanwhile still has all of them.
func (s *Store) SweepRepository(r Repository, o Sweep) (Swept, error) {
	w, err := s.watch(r)
	if err != nil {
		return Swept{}, classify(err)
	}
	defer s.unwatch(r, w)
	found, err := s.find(r, o)
	if err != nil || o.DryRun {
		return found, classify(err)
	}
	swept, err := s.sweep(r, o, w, found)
	return swept, classify(err)
}

// find says what can go.
func (s *Store) find(r Repository, o Sweep) (found Swept, err error) {
	return found, s.db.View(func(tx *bbolt.Tx) error {
		live, dead, err := s.mark(tx, r, o)
		if err != nil {
			return err
		}
		found.Manifests = dead
		found.Blobs, err = s.unneeded(tx, r, o, live)
		return err
	})
}

// sweep removes what was found, but for what somebody wants again.
func (s *Store) sweep(r Repository, o Sweep, w *watch, found Swept) (swept Swept, err error) {
	inBatches := func(all []digest.Digest, drop func(tx *bbolt.Tx, d digest.Digest, needed map[digest.Digest]bool) (bool, error)) (gone []digest.Digest, err error) {
		for part := range slices.Chunk(all, batch) {
			var now []digest.Digest
			err := s.db.Update(func(tx *bbolt.Tx) error {
				needed, err := s.needed(tx, r, w)
				for i := 0; err == nil && i < len(part); i++ {
					var dropped bool
					if dropped, err = drop(tx, part[i], needed); dropped {
						now = append(now, part[i])
					}
				}
				return err
			})
			if err != nil {
				return gone, err
			}
			gone = append(gone, now...)
		}
		return gone, nil
	}
	if swept.Manifests, err = inBatches(found.Manifests, func(tx *bbolt.Tx, d digest.Digest, needed map[digest.Digest]bool) (bool, error) {
		return s.sweepManifest(tx, r, d, o, needed)
	}); err != nil {
		return swept, err
	}
	if swept.Blobs, err = inBatches(found.Blobs, func(tx *bbolt.Tx, d digest.Digest, needed map[digest.Digest]bool) (bool, error) {
		return s.sweepBlob(tx, r, d, o, needed)
	}); err != nil {
		return swept, err
	}
	return swept, s.db.Update(func(tx *bbolt.Tx) error { return s.forgetIfEmpty(tx, r, o.Before) })
}

// sweepManifest drops a manifest unless somebody wants it again.
func (s *Store) sweepManifest(tx *bbolt.Tx, r Repository, d digest.Digest, o Sweep, needed map[digest.Digest]bool) (bool, error) {
	var record manifestRecord
	found, err := get(tx, manifestsBucket, r.key(d.String()), &record)
	if err != nil || !found || needed[d] {
		return false, err
	}
	young, err := s.young(tx, d, record.Linked, o.Before)
	if err != nil || young {
		// It was pulled. What it leads to has not gone yet.
		s.touch(r, d)
		return false, errors.Join(err, s.need(tx, r, needed, d))
	}
	return true, s.dropManifest(tx, r, d)
}

// sweepBlob drops a link unless somebody wants it again.
func (s *Store) sweepBlob(tx *bbolt.Tx, r Repository, d digest.Digest, o Sweep, needed map[digest.Digest]bool) (bool, error) {
	var record linkRecord
	found, err := get(tx, linksBucket, r.key(d.String()), &record)
	if err != nil || !found || needed[d] {
		return false, err
	}
	if young, err := s.young(tx, d, record.Linked, o.Before); young || err != nil {
		return false, err
	}
	return true, s.unlink(tx, r, d)
}

// watch is what was put or tagged in a repository since somebody began to look.
type watch map[digest.Digest]bool

// watch begins to look. No push is in the middle then: one that was told before would
// leave no word, and not be seen by who reads now either.
func (s *Store) watch(r Repository) (*watch, error) {
	tx, err := s.db.Begin(true)
	if err != nil {
		return nil, err
	}
	w := &watch{}
	s.mu.Lock()
	s.watches[r] = append(s.watches[r], w)
	s.mu.Unlock()
	return w, tx.Rollback()
}

func (s *Store) unwatch(r Repository, w *watch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watches[r] = slices.DeleteFunc(s.watches[r], func(other *watch) bool { return other == w }); len(s.watches[r]) == 0 {
		delete(s.watches, r)
	}
}

// touch leaves word that a manifest is wanted from now on. It is called within the
// transaction that makes it so.
func (s *Store) touch(r Repository, d digest.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.watches[r] {
		(*w)[d] = true
	}
}

// needed is all that the manifests of a watch lead to.
func (s *Store) needed(tx *bbolt.Tx, r Repository, w *watch) (map[digest.Digest]bool, error) {
	s.mu.Lock()
	roots := slices.Collect(maps.Keys(*w))
	s.mu.Unlock()
	needed := map[digest.Digest]bool{}
	return needed, s.need(tx, r, needed, roots...)
}

// need adds to what is needed: manifests, and all that mark would follow from them.
func (s *Store) need(tx *bbolt.Tx, r Repository, needed map[digest.Digest]bool, todo ...digest.Digest) error {
	for len(todo) > 0 {
		d := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if needed[d] {
			continue
		}
		needed[d] = true
		var record manifestRecord
		if found, err := get(tx, manifestsBucket, r.key(d.String()), &record); err != nil || !found {
			if err != nil {
				return err
			}
			continue
		}
		for _, b := range record.Blobs {
			needed[b] = true
		}
		todo = append(todo, record.Manifests...)
		if record.Subject != "" {
			todo = append(todo, record.Subject)
		}
		if err := scan(tx, referrersBucket, r.prefix(d.String()), nil, func(key, _ []byte) (bool, error) {
			todo = append(todo, digest.Digest(lastPart(key)))
			return true, nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// mark finds the blobs that manifests which stay refer to, and the manifests that
// do not stay: an index before what it refers to, a subject before its referrers.
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
	var visit func(d digest.Digest)
	seen := map[digest.Digest]bool{}
	visit = func(d digest.Digest) {
		// Digests cannot form a circle, so this ends.
		if record, ok := records[d]; ok && !live[d] && !seen[d] {
			seen[d] = true
			for _, below := range append(slices.Clone(record.Manifests), referrers[d]...) {
				visit(below)
			}
			dead = append(dead, d)
		}
	}
	for _, d := range order {
		visit(d)
	}
	slices.Reverse(dead)
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
