package preload

import (
	"errors"
	"fmt"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"
)

// settle rewrites a database of containerd such that the same images give the same
// bytes: times become the epoch, and pages are laid out anew.
func settle(path string) error {
	fresh := path + ".new"
	if err := copySettled(path, fresh); err != nil {
		return errors.Join(fmt.Errorf("settling database %q: %w", path, err), os.Remove(fresh))
	}
	if err := os.Rename(fresh, path); err != nil {
		return fmt.Errorf("settling database %q: %w", path, err)
	}
	return nil
}

func copySettled(from, to string) (err error) {
	old, err := bolt.Open(from, 0o600, &bolt.Options{Timeout: 10 * time.Second})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, old.Close()) }()
	epoch, err := time.Unix(0, 0).UTC().MarshalBinary()
	if err != nil {
		return err
	}
	err = old.Update(func(tx *bolt.Tx) error {
		return tx.ForEach(func(_ []byte, bucket *bolt.Bucket) error { return stopClocks(bucket, epoch) })
	})
	if err != nil {
		return err
	}
	fresh, err := bolt.Open(to, 0o600, &bolt.Options{Timeout: 10 * time.Second, NoSync: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fresh.Close()) }()
	// A transaction per entry: one with several buckets gives them pages in no
	// particular order.
	if err := bolt.Compact(fresh, old, 1); err != nil {
		return err
	}
	return fresh.Sync()
}

// stopClocks sets the times at which entries were made and changed, in a bucket and
// all buckets in it.
func stopClocks(bucket *bolt.Bucket, epoch []byte) error {
	for _, key := range [][]byte{[]byte("createdat"), []byte("updatedat")} {
		if bucket.Get(key) == nil {
			continue
		}
		if err := bucket.Put(key, epoch); err != nil {
			return err
		}
	}
	return bucket.ForEachBucket(func(name []byte) error { return stopClocks(bucket.Bucket(name), epoch) })
}
