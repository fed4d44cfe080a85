package store

import (
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.etcd.io/bbolt"
)

// Adopt links a repository to many files at once.
func (s *Store) Adopt(r Repository, all []digest.Digest) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		for _, d := range all {
			if err := s.link(tx, r, d); err != nil {
				return err
			}
		}
		return nil
	})
}

// SweepAround is SweepRepository with something that happens between mark and sweep.
func (s *Store) SweepAround(r Repository, o Sweep, between func()) (Swept, error) {
	w, err := s.watch(r)
	if err != nil {
		return Swept{}, err
	}
	defer s.unwatch(r, w)
	found, err := s.find(r, o)
	if err != nil {
		return found, err
	}
	between()
	return s.sweep(r, o, w, found)
}

// AdoptManifests puts records of many images into a repository at once, each of one
// blob, which lies there as does the manifest.
func (s *Store) AdoptManifests(r Repository, images map[digest.Digest]digest.Digest) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		for manifest, blob := range images {
			if err := s.link(tx, r, blob); err != nil {
				return err
			}
			if err := s.own(tx, r, manifest); err != nil {
				return err
			}
			record := manifestRecord{Linked: s.now(), MediaType: ocispec.MediaTypeImageManifest, Blobs: []digest.Digest{blob}}
			if err := put(tx, manifestsBucket, r.key(manifest.String()), record); err != nil {
				return err
			}
		}
		return nil
	})
}
