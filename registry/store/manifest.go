package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.etcd.io/bbolt"

	"github.com/loam-cloud/loam/fault"
)

// Manifest is a manifest as it was pushed, byte for byte.
type Manifest struct {
	Digest    digest.Digest
	MediaType string
	Content   []byte
	// Subject is the manifest that this one is about, if it is about one.
	Subject digest.Digest
}

// Put says how a manifest is put into a repository.
type Put struct {
	// Digest is what the content must have; when empty it is its sha256.
	Digest digest.Digest
	// MediaType is what the content was sent as.
	MediaType string
	Content   []byte
	// Tag names the manifest in the repository, when it is not empty.
	Tag string
	// Sparse lets it refer to blobs and manifests that the repository does not
	// have (yet): what is cached comes in any order.
	Sparse bool
}

// PutManifest stores a manifest, its tag, and its place among the referrers of its
// subject, all at once. It is on disk when PutManifest returns. Everything that
// it refers to becomes as young as the push, so that no collection takes it.
//
// Invalid with ErrDigest, or with a *ManifestError when the content is no
// manifest or refers to what the repository does not have.
func (s *Store) PutManifest(r Repository, p Put) (Manifest, error) {
	if p.Digest == "" {
		p.Digest = digest.FromBytes(p.Content)
	}
	if err := errors.Join(r.check(), CheckDigest(p.Digest)); err != nil {
		return Manifest{}, err
	}
	if got := p.Digest.Algorithm().FromBytes(p.Content); got != p.Digest {
		return Manifest{}, fault.New(fault.Invalid, "%w: the manifest is %s, not %s", ErrDigest, got, p.Digest)
	}
	record, err := parseManifest(p.MediaType, p.Content)
	if err != nil {
		return Manifest{}, err
	}
	m := Manifest{Digest: p.Digest, MediaType: record.MediaType, Content: p.Content, Subject: record.Subject}
	defer s.Pin(p.Digest)()
	// Looked at first, so that a refused push leaves no file behind.
	if err := s.db.View(func(tx *bbolt.Tx) error { return checkReferences(tx, r, record, p.Sparse) }); err != nil {
		return Manifest{}, classify(err)
	}
	if err := s.writeManifest(p); err != nil {
		return Manifest{}, classify(err)
	}
	err = s.db.Update(func(tx *bbolt.Tx) error { return s.recordManifest(tx, r, p, record) })
	return m, classify(err)
}

// writeManifest publishes the manifest's content, if it is not there already. A
// file that has gone bad is replaced.
func (s *Store) writeManifest(p Put) error {
	if there, err := os.ReadFile(s.blobPath(p.Digest)); err == nil && bytes.Equal(there, p.Content) {
		return nil
	}
	f, err := os.CreateTemp(filepath.Join(s.dir, uploadsDir), "manifest-*")
	if err != nil {
		return err
	}
	_, err = f.Write(p.Content)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = s.publish(f.Name(), p.Digest)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("writing the manifest: %w", err), removeIfThere(f.Name()))
	}
	return nil
}

func (s *Store) recordManifest(tx *bbolt.Tx, r Repository, p Put, record manifestRecord) error {
	if err := checkReferences(tx, r, record, p.Sparse); err != nil {
		return err
	}
	if err := s.own(tx, r, p.Digest); err != nil {
		return err
	}
	record.Linked = s.now()
	s.touch(r, p.Digest)
	if err := put(tx, manifestsBucket, r.key(p.Digest.String()), record); err != nil {
		return err
	}
	if record.Subject != "" {
		if err := tx.Bucket([]byte(referrersBucket)).Put(r.key(record.Subject.String(), p.Digest.String()), []byte{1}); err != nil {
			return err
		}
	}
	if err := s.refresh(tx, r, record); err != nil || p.Tag == "" {
		return err
	}
	return s.tag(tx, r, p.Tag, p.Digest)
}

// checkReferences finds what a manifest refers to and the repository lacks. Its
// subject may be missing: the specification wants such a manifest accepted.
func checkReferences(tx *bbolt.Tx, r Repository, record manifestRecord, sparse bool) error {
	if sparse {
		return nil
	}
	var missing []digest.Digest
	for _, d := range record.Blobs {
		if !has(tx, ownersBucket, ownerKey(d, r)) {
			missing = append(missing, d)
		}
	}
	for _, d := range record.Manifests {
		if !has(tx, manifestsBucket, r.key(d.String())) {
			missing = append(missing, d)
		}
	}
	if len(missing) > 0 {
		return fault.Wrap(fault.Invalid, &ManifestError{Reason: "it refers to what " + r.String() + " does not have", Unknown: missing})
	}
	return nil
}

// refresh makes everything that a manifest refers to as young as now.
func (s *Store) refresh(tx *bbolt.Tx, r Repository, record manifestRecord) error {
	for _, d := range record.Blobs {
		if has(tx, linksBucket, r.key(d.String())) {
			if err := put(tx, linksBucket, r.key(d.String()), linkRecord{Linked: s.now()}); err != nil {
				return err
			}
		}
	}
	for _, d := range record.Manifests {
		var child manifestRecord
		found, err := get(tx, manifestsBucket, r.key(d.String()), &child)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		child.Linked = s.now()
		// Digests cannot form a circle, so this ends.
		if err := errors.Join(put(tx, manifestsBucket, r.key(d.String()), child), s.refresh(tx, r, child)); err != nil {
			return err
		}
	}
	return nil
}

// Manifest reads a manifest of the repository by its digest and counts it as
// used. Missing when there is none.
func (s *Store) Manifest(r Repository, d digest.Digest) (Manifest, error) {
	var record manifestRecord
	err := s.db.View(func(tx *bbolt.Tx) error {
		found, err := get(tx, manifestsBucket, r.key(d.String()), &record)
		if err == nil && !found {
			err = fault.New(fault.Missing, "%s has no manifest %s", r, d)
		}
		return err
	})
	if err != nil {
		return Manifest{}, classify(err)
	}
	b, err := s.OpenBlob(r, d)
	if err != nil {
		return Manifest{}, err
	}
	defer func() { _ = b.Close() }() // it was only read
	content := make([]byte, b.Size())
	if _, err := io.ReadFull(b, content); err != nil {
		return Manifest{}, classify(fmt.Errorf("reading the manifest %s: %w", d, err))
	}
	return Manifest{Digest: d, MediaType: record.MediaType, Content: content, Subject: record.Subject}, nil
}

// DeleteManifest takes a manifest, and every tag that names it, out of the
// repository. Missing when there is none.
func (s *Store) DeleteManifest(r Repository, d digest.Digest) error {
	return classify(s.db.Update(func(tx *bbolt.Tx) error {
		var tags []string
		err := eachTag(tx, r, "", func(tag string, record tagRecord) (bool, error) {
			if record.Digest == d {
				tags = append(tags, tag)
			}
			return true, nil
		})
		if err != nil {
			return err
		}
		for _, tag := range tags {
			if err := remove(tx, tagsBucket, r.key(tag)); err != nil {
				return err
			}
		}
		return s.dropManifest(tx, r, d)
	}))
}

// dropManifest removes the records of a manifest that no tag names.
func (s *Store) dropManifest(tx *bbolt.Tx, r Repository, d digest.Digest) error {
	var record manifestRecord
	found, err := get(tx, manifestsBucket, r.key(d.String()), &record)
	if err != nil {
		return err
	}
	if !found {
		return fault.New(fault.Missing, "%s has no manifest %s", r, d)
	}
	if record.Subject != "" {
		if err := remove(tx, referrersBucket, r.key(record.Subject.String(), d.String())); err != nil {
			return err
		}
	}
	if err := remove(tx, manifestsBucket, r.key(d.String())); err != nil || has(tx, linksBucket, r.key(d.String())) {
		return err
	}
	return remove(tx, ownersBucket, ownerKey(d, r))
}

// Referrers are the manifests of the repository that are about a subject, oldest
// digest first, those of one artifact type when it is not empty. None is no error.
func (s *Store) Referrers(r Repository, subject digest.Digest, artifactType string) ([]ocispec.Descriptor, error) {
	referrers := []ocispec.Descriptor{}
	err := s.db.View(func(tx *bbolt.Tx) error {
		return scan(tx, referrersBucket, r.prefix(subject.String()), nil, func(key, _ []byte) (bool, error) {
			d := digest.Digest(lastPart(key))
			var record manifestRecord
			found, err := get(tx, manifestsBucket, r.key(d.String()), &record)
			if found && (artifactType == "" || record.ArtifactType == artifactType) {
				referrers = append(referrers, record.descriptor(d))
			}
			return true, err
		})
	})
	return referrers, classify(err)
}

// ManifestInfo is a manifest as the index knows it.
type ManifestInfo struct {
	ocispec.Descriptor
	Linked time.Time
	// References are the blobs and manifests that it refers to, Bytes their size.
	References []digest.Digest
	Bytes      int64
}
