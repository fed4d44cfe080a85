package preload_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/loam-cloud/loam/images/internal/preload"
)

// database makes one as containerd does: buckets in buckets, times among values,
// written by the given number of transactions.
func database(t *testing.T, now time.Time, transactions int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "meta.db")
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	stamp, err := now.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"a", "b", "c", "d", "e", "f"}
	for from := 0; from < len(names); from += len(names) / transactions {
		err := db.Update(func(tx *bolt.Tx) error {
			for _, name := range names[from : from+len(names)/transactions] {
				root, err := tx.CreateBucketIfNotExists([]byte("v1"))
				if err != nil {
					return err
				}
				image, err := root.CreateBucketIfNotExists([]byte(name))
				if err != nil {
					return err
				}
				for key, value := range map[string][]byte{"createdat": stamp, "updatedat": stamp, "target": []byte("kept " + name + strings.Repeat(".", 3000))} {
					if err := image.Put([]byte(key), value); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSettle(t *testing.T) {
	first := database(t, time.Now(), 1)
	second := database(t, time.Now().Add(time.Hour), 3)
	var contents [][]byte
	for _, path := range []string{first, second} {
		if err := preload.Settle(path); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		contents = append(contents, content)
	}
	if !bytes.Equal(contents[0], contents[1]) {
		t.Error("the same entries made at two times give two databases")
	}
	if !bytes.Contains(contents[0], []byte("kept f")) {
		t.Error("values were lost")
	}
}

func TestSettleForeignFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meta.db")
	if err := os.WriteFile(path, bytes.Repeat([]byte("no database "), 10000), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := preload.Settle(path); err == nil {
		t.Error("a file that is no database was accepted")
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the file is gone: %v", err)
	}
}
