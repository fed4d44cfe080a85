package cache_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/images/internal/cache"
)

func open(t *testing.T, root string) *cache.Folder {
	t.Helper()
	folder, err := cache.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

func TestFillOnce(t *testing.T) {
	folder, calls := open(t, t.TempDir()), 0
	fill := func(dir string) error {
		calls++
		return os.WriteFile(filepath.Join(dir, "a"), []byte("a"), 0o600)
	}
	for range 2 {
		path, err := folder.Fill("kind", "key", fill)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(path, "a")); err != nil {
			t.Error(err)
		}
	}
	if calls != 1 {
		t.Errorf("filled %d times", calls)
	}
	if used := folder.Used(); len(used) != 1 || used[0] != "kind/key" {
		t.Errorf("used: %v", used)
	}
}

func TestFailedFillLeavesNothing(t *testing.T) {
	root := t.TempDir()
	folder := open(t, root)
	_, err := folder.Fill("kind", "key", func(dir string) error {
		return errors.Join(os.WriteFile(filepath.Join(dir, "half"), nil, 0o600), errors.New("disk full"))
	})
	if err == nil {
		t.Fatal("no error")
	}
	if _, found := folder.Find("kind", "key"); found {
		t.Error("the entry is there")
	}
	if left, _ := os.ReadDir(filepath.Join(root, "tmp")); len(left) != 0 {
		t.Errorf("left in tmp: %v", left)
	}
}

func TestLock(t *testing.T) {
	root := t.TempDir()
	first, second := open(t, root), open(t, root)
	release, err := first.Lock(t.Context(), func() { t.Error("there is nothing to wait for") })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	waited := false
	if _, err := second.Lock(ctx, func() { waited = true }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("locked twice: %v", err)
	}
	if !waited {
		t.Error("nobody was told of the waiting")
	}
	// What a killed holder would leave.
	if _, err := first.Temporary(); err != nil {
		t.Fatal(err)
	}
	release()
	release, err = second.Lock(t.Context(), func() {})
	if err != nil {
		t.Fatal(err)
	}
	release()
	if left, _ := os.ReadDir(filepath.Join(root, "tmp")); len(left) != 0 {
		t.Errorf("left in tmp: %v", left)
	}
}

func TestPrune(t *testing.T) {
	folder := open(t, t.TempDir())
	for _, key := range []cache.Key{"kept", "old"} {
		if _, err := folder.Fill("kind", key, func(string) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if err := folder.Prune([]string{"kind", "never used"}, map[string]bool{"kind/kept": true}); err != nil {
		t.Fatal(err)
	}
	if _, found := folder.Find("kind", "kept"); !found {
		t.Error("what was to be kept is gone")
	}
	if _, found := folder.Find("kind", "old"); found {
		t.Error("what was to go is there")
	}
	if err := folder.Remove("kind", "never there"); err != nil {
		t.Errorf("removing nothing: %v", err)
	}
}

func TestOpenUnwritable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := cache.Open(filepath.Join(file, "below")); fault.KindOf(err) != fault.Denied {
		t.Errorf("got %v, want denied", err)
	}
}

func TestKeys(t *testing.T) {
	base := func() *cache.Hash { return cache.NewHash("recipe").Add("a", []byte("bc")) }
	for what, other := range map[string]*cache.Hash{
		"other recipe":        cache.NewHash("recipe 2").Add("a", []byte("bc")),
		"other content":       cache.NewHash("recipe").Add("a", []byte("bd")),
		"other name":          cache.NewHash("recipe").Add("b", []byte("bc")),
		"border moved":        cache.NewHash("recipe").Add("ab", []byte("c")),
		"one input as two":    cache.NewHash("recipe").Add("a", []byte("b")).Add("", []byte("c")),
		"another input after": base().Add("d", nil),
	} {
		if other.Key() == base().Key() {
			t.Errorf("%s: same key", what)
		}
	}
	if first, second := base().Key(), base().Key(); first != second {
		t.Error("same input, other key")
	}
}
