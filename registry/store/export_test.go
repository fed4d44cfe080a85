package store

import (
	"github.com/opencontainers/go-digest"
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
