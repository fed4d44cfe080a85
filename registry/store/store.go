// Package store is the folder on disk of the image cache: blobs under their
// digests, and an index of repositories, manifests, tags, referrers and use.
// The server, the pull-through cache and the collector share one Store.
//
// A blob is under its digest only when it is complete and right: it is written
// beside, hashed as it arrives, synced, renamed, and its folder synced, before
// any repository links to it. Nothing is walked when a store is opened.
//
// It must not know HTTP, upstreams or policies: whether a repository may be
// written, and what may be removed, its callers decide.
package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
	"k8s.io/utils/clock"

	"github.com/loam-cloud/loam/fault"
)

// Options say how a store is opened.
type Options struct {
	// Clock is the real one when nil.
	Clock clock.PassiveClock
	// LockTimeout is how long another process's lock is waited for; a second when 0.
	LockTimeout time.Duration
}

// Store is an open folder. All methods may be called at once.
type Store struct {
	dir   string
	db    *bbolt.DB
	clock clock.PassiveClock

	mu   sync.Mutex
	pins map[digest.Digest]int
	open map[string]bool // paths of partials that are in use
	uses map[digest.Digest]use
	tags map[tagKey]use
	// watches are of repositories that are being swept.
	watches map[Repository][]*watch
}

// ErrLocked is returned, wrapped as Waiting, by Open when another process has
// the store open.
var ErrLocked = errors.New("another process uses the folder")

// formatVersion is written to new stores; a store of another is refused.
const formatVersion = "1"

// Open opens the store in a folder, and makes it if there is none. It reads the
// head of the index only. Errors: Waiting with ErrLocked, Invalid when the
// folder holds a store of another format.
func Open(dir string, o Options) (*Store, error) {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.LockTimeout == 0 {
		o.LockTimeout = time.Second
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	for _, sub := range []string{"", blobsDir, uploadsDir, downloadsDir, quarantineDir} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, classify(fmt.Errorf("making the store's folders: %w", err))
		}
	}
	db, err := bbolt.Open(filepath.Join(dir, "index.db"), 0o600, &bbolt.Options{Timeout: o.LockTimeout, FreelistType: bbolt.FreelistMapType})
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return nil, fault.New(fault.Waiting, "opening the store in %s: %w", dir, ErrLocked)
	}
	if err != nil {
		return nil, classify(fmt.Errorf("opening the store's index in %s: %w", dir, err))
	}
	s := &Store{
		dir: dir, db: db, clock: o.Clock,
		pins: map[digest.Digest]int{}, open: map[string]bool{},
		uses: map[digest.Digest]use{}, tags: map[tagKey]use{}, watches: map[Repository][]*watch{},
	}
	if err := s.prepare(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

// prepare makes the index's buckets and checks its format.
func (s *Store) prepare() error {
	return classify(s.db.Update(func(tx *bbolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		meta := tx.Bucket([]byte(metaBucket))
		switch have := string(meta.Get([]byte(formatKey))); have {
		case formatVersion:
			return nil
		case "":
			return meta.Put([]byte(formatKey), []byte(formatVersion))
		default:
			return fault.New(fault.Invalid, "%s holds a store of format %q, this version reads %q", s.dir, have, formatVersion)
		}
	}))
}

// Close writes down what was used and closes the index. Blobs that are open stay
// readable.
func (s *Store) Close() error {
	return errors.Join(s.FlushUse(), s.db.Close())
}

// Dir is the store's folder.
func (s *Store) Dir() string { return s.dir }

// Totals is what a store holds.
type Totals struct {
	// Blobs counts blobs, manifests among them; Bytes is their size.
	Blobs, Bytes int64
}

// Totals reads the counters of the index; nothing is walked.
func (s *Store) Totals() (Totals, error) {
	var t Totals
	err := s.db.View(func(tx *bbolt.Tx) error {
		t = readTotals(tx)
		return nil
	})
	return t, classify(err)
}
