package store

import (
	"encoding/json"
	"time"

	"github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"

	"github.com/loam-cloud/loam/fault"
)

// Tag is a name for a manifest of a repository.
type Tag struct {
	Name   string
	Digest digest.Digest
	// Updated is when it last came to mean this manifest.
	Updated time.Time
	// Checked is when the upstream last said that it does; zero in private repositories.
	Checked time.Time
	// Used is when it was last pulled, zero when never.
	Used  time.Time
	Pulls int64
	// Expiring is since when a retention rule wants it gone, zero when none does.
	Expiring time.Time
}

// Tag looks a tag up. Missing when the repository has none of this name.
func (s *Store) Tag(r Repository, name string) (Tag, error) {
	var record tagRecord
	err := s.db.View(func(tx *bbolt.Tx) error {
		found, err := get(tx, tagsBucket, r.key(name), &record)
		if err == nil && !found {
			err = fault.New(fault.Missing, "%s has no tag %q", r, name)
		}
		return err
	})
	if err != nil {
		return Tag{}, classify(err)
	}
	return s.makeTag(r, name, record), nil
}

func (s *Store) makeTag(r Repository, name string, record tagRecord) Tag {
	t := Tag{Name: name, Digest: record.Digest, Updated: record.Updated, Checked: record.Checked, Used: record.Used, Pulls: record.Pulls, Expiring: record.Expiring}
	s.mu.Lock()
	defer s.mu.Unlock()
	if u, ok := s.tags[tagKey{r, name}]; ok {
		t.Used, t.Pulls = u.last, t.Pulls+u.pulls
	}
	return t
}

// SetTag makes a tag mean a manifest that the repository has, and notes that the
// upstream has said so now. Missing when it has no such manifest.
func (s *Store) SetTag(r Repository, name string, d digest.Digest) error {
	return classify(s.db.Update(func(tx *bbolt.Tx) error {
		var record manifestRecord
		found, err := get(tx, manifestsBucket, r.key(d.String()), &record)
		if err != nil {
			return err
		}
		if !found || !has(tx, ownersBucket, ownerKey(d, r)) {
			return fault.New(fault.Missing, "%s has no manifest %s", r, d)
		}
		record.Linked = s.now()
		if err := put(tx, manifestsBucket, r.key(d.String()), record); err != nil {
			return err
		}
		if err := s.refresh(tx, r, record); err != nil {
			return err
		}
		return s.tag(tx, r, name, d)
	}))
}

func (s *Store) tag(tx *bbolt.Tx, r Repository, name string, d digest.Digest) error {
	if !validTag(name) {
		return fault.New(fault.Invalid, "tag %q must not be empty nor hold NUL", name)
	}
	s.touch(r, d)
	var record tagRecord
	if _, err := get(tx, tagsBucket, r.key(name), &record); err != nil {
		return err
	}
	if record.Digest != d {
		record.Digest, record.Updated = d, s.now()
	}
	record.Expiring = time.Time{}
	if r.Cached() {
		record.Checked = s.now()
	}
	return put(tx, tagsBucket, r.key(name), record)
}

// DeleteTag takes a tag out of the repository; its manifest stays. Missing when
// there is no such tag.
func (s *Store) DeleteTag(r Repository, name string) error {
	return classify(s.db.Update(func(tx *bbolt.Tx) error {
		if !has(tx, tagsBucket, r.key(name)) {
			return fault.New(fault.Missing, "%s has no tag %q", r, name)
		}
		return remove(tx, tagsBucket, r.key(name))
	}))
}

// DeleteTagIf deletes a tag only if it is still as it was seen; false says that it
// is not.
func (s *Store) DeleteTagIf(r Repository, seen Tag) (bool, error) {
	return s.changeTag(r, seen, func(tx *bbolt.Tx, _ tagRecord) error { return remove(tx, tagsBucket, r.key(seen.Name)) })
}

// ExpireTag notes since when a retention rule wants a tag gone, or with a zero time
// that none does, if the tag is still as it was seen.
func (s *Store) ExpireTag(r Repository, seen Tag, since time.Time) (bool, error) {
	return s.changeTag(r, seen, func(tx *bbolt.Tx, record tagRecord) error {
		record.Expiring = since
		return put(tx, tagsBucket, r.key(seen.Name), record)
	})
}

// changeTag changes a tag that nobody has pushed since it was seen.
func (s *Store) changeTag(r Repository, seen Tag, change func(tx *bbolt.Tx, record tagRecord) error) (bool, error) {
	same := false
	err := s.db.Update(func(tx *bbolt.Tx) error {
		var record tagRecord
		found, err := get(tx, tagsBucket, r.key(seen.Name), &record)
		if err != nil {
			return err
		}
		same = found && record.Digest == seen.Digest && record.Updated.Equal(seen.Updated) && record.Expiring.Equal(seen.Expiring)
		if !same {
			return nil
		}
		return change(tx, record)
	})
	return same && err == nil, classify(err)
}

// Tags lists the repository's tags behind one, in the order of their bytes, limit
// of them at most; all when it is negative. Missing when there is no such
// repository.
func (s *Store) Tags(r Repository, after string, limit int) ([]Tag, error) {
	tags := []Tag{}
	err := s.db.View(func(tx *bbolt.Tx) error {
		if !has(tx, repositoriesBucket, r.key()) {
			return fault.New(fault.Missing, "there is no repository %s", r)
		}
		if limit == 0 {
			return nil
		}
		return eachTag(tx, r, after, func(name string, record tagRecord) (bool, error) {
			tags = append(tags, s.makeTag(r, name, record))
			return limit < 0 || len(tags) < limit, nil
		})
	})
	return tags, classify(err)
}

func eachTag(tx *bbolt.Tx, r Repository, after string, do func(name string, record tagRecord) (bool, error)) error {
	var from []byte
	if after != "" {
		from = r.key(after)
	}
	return scan(tx, tagsBucket, r.prefix(), from, func(key, raw []byte) (bool, error) {
		var record tagRecord
		if err := json.Unmarshal(raw, &record); err != nil {
			return false, err
		}
		return do(lastPart(key), record)
	})
}

// Repositories lists those of one upstream (private ones when it is empty) whose
// names come behind after, in the order of their bytes, limit of them at most;
// all when it is negative.
func (s *Store) Repositories(upstream, after string, limit int) ([]Repository, error) {
	repositories := []Repository{}
	if limit == 0 {
		return repositories, nil
	}
	var from []byte
	if after != "" {
		from = Repository{upstream, after}.key()
	}
	err := s.db.View(func(tx *bbolt.Tx) error {
		return scan(tx, repositoriesBucket, []byte(upstream+"\x00"), from, func(key, _ []byte) (bool, error) {
			repositories = append(repositories, parseRepository(key))
			return limit < 0 || len(repositories) < limit, nil
		})
	})
	return repositories, classify(err)
}

// AllRepositories lists every repository, private ones first.
func (s *Store) AllRepositories() ([]Repository, error) {
	var repositories []Repository
	err := s.db.View(func(tx *bbolt.Tx) error {
		return scan(tx, repositoriesBucket, nil, nil, func(key, _ []byte) (bool, error) {
			repositories = append(repositories, parseRepository(key))
			return true, nil
		})
	})
	return repositories, classify(err)
}
