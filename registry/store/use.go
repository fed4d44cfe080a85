package store

import (
	"errors"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"
)

// use is what is remembered of a blob or a tag until it is written down.
type use struct {
	last  time.Time
	pulls int64
}

type tagKey struct {
	repository Repository
	tag        string
}

// Pin keeps a blob from being removed until release is called, once or more.
func (s *Store) Pin(d digest.Digest) (release func()) {
	s.mu.Lock()
	s.pins[d]++
	s.mu.Unlock()
	released := false
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if released {
			return
		}
		released = true
		if s.pins[d]--; s.pins[d] == 0 {
			delete(s.pins, d)
		}
	}
}

func (s *Store) pinned(d digest.Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pins[d] > 0
}

// use remembers that a blob was wanted now; pulls counts those who got it.
func (s *Store) use(d digest.Digest, pulls int64) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uses[d] = use{last: now, pulls: s.uses[d].pulls + pulls}
}

// CountPull counts that a client has got a blob, or a manifest by its digest.
func (s *Store) CountPull(d digest.Digest) { s.use(d, 1) }

// CountTagPull counts that a client has got a manifest by a tag.
func (s *Store) CountTagPull(r Repository, tag string) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	k := tagKey{r, tag}
	s.tags[k] = use{last: now, pulls: s.tags[k].pulls + 1}
}

// lastUse is when a blob was last used, whether written down or not.
func (s *Store) lastUse(d digest.Digest, record blobRecord) time.Time {
	last := record.Used
	if last.Before(record.Stored) {
		last = record.Stored
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if u, ok := s.uses[d]; ok && u.last.After(last) {
		last = u.last
	}
	return last
}

// FlushUse writes down what was used since the last time. It is to be called now
// and then; what a kill loses is statistics.
func (s *Store) FlushUse() error {
	s.mu.Lock()
	uses, tags := s.uses, s.tags
	s.uses, s.tags = map[digest.Digest]use{}, map[tagKey]use{}
	s.mu.Unlock()
	if len(uses)+len(tags) == 0 {
		return nil
	}
	err := s.db.Update(func(tx *bbolt.Tx) error { return errors.Join(writeUses(tx, uses), writeTagUses(tx, tags)) })
	if err == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for d, u := range uses {
		s.uses[d] = merge(s.uses[d], u)
	}
	for k, u := range tags {
		s.tags[k] = merge(s.tags[k], u)
	}
	return classify(err)
}

func merge(a, b use) use {
	if b.last.After(a.last) {
		a.last = b.last
	}
	a.pulls += b.pulls
	return a
}

func writeUses(tx *bbolt.Tx, uses map[digest.Digest]use) error {
	for d, u := range uses {
		var record blobRecord
		found, err := get(tx, blobsBucket, []byte(d), &record)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		record.Used, record.Pulls = u.last, record.Pulls+u.pulls
		if err := put(tx, blobsBucket, []byte(d), record); err != nil {
			return err
		}
	}
	return nil
}

func writeTagUses(tx *bbolt.Tx, tags map[tagKey]use) error {
	for k, u := range tags {
		var record tagRecord
		key := k.repository.key(k.tag)
		found, err := get(tx, tagsBucket, key, &record)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		record.Used, record.Pulls = u.last, record.Pulls+u.pulls
		if err := put(tx, tagsBucket, key, record); err != nil {
			return err
		}
	}
	return nil
}

// validTag says whether the index can hold a name.
func validTag(tag string) bool { return tag != "" && !strings.ContainsRune(tag, 0) }
