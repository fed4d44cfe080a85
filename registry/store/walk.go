package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"

	"github.com/loam-cloud/loam/fault"
)

// EachFile calls do for every file among the blobs, until it returns an error.
// This walks the folders: a job in the background, never of a start.
func (s *Store) EachFile(do func(d digest.Digest) error) error {
	root := filepath.Join(s.dir, blobsDir)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || entry.IsDir() {
			return err
		}
		algorithm := filepath.Base(filepath.Dir(filepath.Dir(path)))
		d := digest.NewDigestFromEncoded(digest.Algorithm(algorithm), entry.Name())
		if CheckDigest(d) == nil && path == s.blobPath(d) {
			return do(d)
		}
		// Not put there by a store: nothing that it may remove.
		return nil
	})
	return classify(err)
}

// page is how many records are read in one transaction by what may take long: an
// open reading transaction keeps old pages of the index from being used again.
const page = 1000

// EachBlob calls do for every blob that the index knows behind a digest, in order,
// until it returns an error.
func (s *Store) EachBlob(behind digest.Digest, do func(BlobInfo) error) error {
	after := []byte(behind)
	for {
		var infos []BlobInfo
		err := s.db.View(func(tx *bbolt.Tx) error {
			return scan(tx, blobsBucket, nil, after, func(key, raw []byte) (bool, error) {
				var record blobRecord
				if err := json.Unmarshal(raw, &record); err != nil {
					return false, err
				}
				d := digest.Digest(key)
				infos = append(infos, BlobInfo{d, record.Size, record.Stored, s.lastUse(d, record), record.Pulls + s.pendingPulls(d)})
				return len(infos) < page, nil
			})
		})
		if err != nil || len(infos) == 0 {
			return classify(err)
		}
		for _, info := range infos {
			if err := do(info); err != nil {
				return err
			}
		}
		after = []byte(infos[len(infos)-1].Digest)
	}
}

func (s *Store) pendingPulls(d digest.Digest) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.uses[d].pulls
}

// Manifests lists the manifests of a repository, in the order of their digests.
func (s *Store) Manifests(r Repository) ([]ManifestInfo, error) {
	var all []ManifestInfo
	err := s.db.View(func(tx *bbolt.Tx) error {
		return scan(tx, manifestsBucket, r.prefix(), nil, func(key, raw []byte) (bool, error) {
			var record manifestRecord
			if err := json.Unmarshal(raw, &record); err != nil {
				return false, err
			}
			all = append(all, ManifestInfo{
				Descriptor: record.descriptor(digest.Digest(lastPart(key))), Linked: record.Linked,
				References: append(append([]digest.Digest{}, record.Blobs...), record.Manifests...), Bytes: record.Bytes,
			})
			return true, nil
		})
	})
	return all, classify(err)
}

// Verify reads a blob from the disk and compares it with its digest. Invalid with
// ErrDigest when it is another one, Missing when its file is gone.
func (s *Store) Verify(d digest.Digest, reader func(io.Reader) io.Reader) (int64, error) {
	defer s.Pin(d)()
	f, err := os.Open(s.blobPath(d))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fault.Wrap(fault.Missing, err)
	}
	if err != nil {
		return 0, classify(err)
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return 0, classify(err)
	}
	verifier := d.Verifier()
	n, err := io.Copy(verifier, reader(f))
	if err != nil {
		return n, classify(fmt.Errorf("reading the blob %s: %w", d, &wrongFile{err, info}))
	}
	if !verifier.Verified() {
		return n, fault.Wrap(fault.Invalid, &wrongFile{fmt.Errorf("%w: the file of %s has other content", ErrDigest, d), info})
	}
	return n, nil
}

// PartialBytes is the size of what is arriving, and of what once did and was not
// finished.
func (s *Store) PartialBytes() (total int64, err error) {
	for _, dir := range []string{uploadsDir, downloadsDir} {
		entries, err := os.ReadDir(filepath.Join(s.dir, dir))
		if err != nil {
			return total, classify(err)
		}
		for _, entry := range entries {
			// One that is gone by now has no size.
			if info, err := entry.Info(); err == nil {
				total += info.Size()
			}
		}
	}
	return total, nil
}

// IsManifest says whether a repository has, or had before it was quarantined, a
// manifest of this digest.
func (s *Store) IsManifest(r Repository, d digest.Digest) (found bool, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		found = has(tx, manifestsBucket, r.key(d.String()))
		return nil
	})
	return found, classify(err)
}

// Note keeps a word for somebody across restarts: when a scrub last ended, and
// how far it is.
func (s *Store) Note(name, value string) error {
	return classify(s.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(metaBucket)).Put([]byte("note/"+name), []byte(value))
	}))
}

// Noted is what was noted last; empty when nothing was.
func (s *Store) Noted(name string) (value string, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		value = string(tx.Bucket([]byte(metaBucket)).Get([]byte("note/" + name)))
		return nil
	})
	return value, classify(err)
}

// CheckFile compares what the index knows of a blob with its file, without
// reading it. Missing when it is lost, Invalid when it has another size.
func (s *Store) CheckFile(b BlobInfo) error {
	info, err := os.Stat(s.blobPath(b.Digest))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.Missing, "its file is lost")
	case err != nil:
		return classify(err)
	case info.Size() != b.Size:
		return fault.New(fault.Invalid, "its file has %d bytes, had %d when it was stored", info.Size(), b.Size)
	}
	return nil
}

// FindBlob says what the index knows of a blob of the repository, and is no use of
// it. Missing when it has none.
func (s *Store) FindBlob(r Repository, d digest.Digest) (BlobInfo, error) {
	var record blobRecord
	err := s.db.View(func(tx *bbolt.Tx) error {
		found := has(tx, ownersBucket, ownerKey(d, r))
		var err error
		if found {
			found, err = get(tx, blobsBucket, []byte(d), &record)
		}
		if err == nil && !found {
			err = fault.New(fault.Missing, "%s has no blob %s", r, d)
		}
		return err
	})
	if err != nil {
		return BlobInfo{}, classify(err)
	}
	return BlobInfo{d, record.Size, record.Stored, s.lastUse(d, record), record.Pulls + s.pendingPulls(d)}, nil
}

// RepositoryBytes is the size of all blobs that a repository has, each once,
// manifests among them.
func (s *Store) RepositoryBytes(r Repository) (total int64, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		add := func(key, _ []byte) (bool, error) {
			var record blobRecord
			found, err := get(tx, blobsBucket, []byte(lastPart(key)), &record)
			if found {
				total += record.Size
			}
			return true, err
		}
		if err := scan(tx, linksBucket, r.prefix(), nil, add); err != nil {
			return err
		}
		return scan(tx, manifestsBucket, r.prefix(), nil, func(key, raw []byte) (bool, error) {
			if has(tx, linksBucket, key) {
				return true, nil
			}
			return add(key, raw)
		})
	})
	return total, classify(err)
}
