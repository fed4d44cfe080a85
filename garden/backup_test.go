package garden_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
	kubev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden"
	"github.com/loam-cloud/loam/garden/backup"
	"github.com/loam-cloud/loam/garden/operations"
)

// pair is two objects, of which the first is always written first: a state in
// which the second is ahead, or more than one behind, never existed.
type pair struct{ first, second *kubev1.ConfigMap }

func newPair(t *testing.T, c client.Client, name string) pair {
	t.Helper()
	p := pair{}
	for i, object := range []**kubev1.ConfigMap{&p.first, &p.second} {
		*object = &kubev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("%s-%d", name, i)}, Data: map[string]string{"n": "0"}}
		if err := c.Create(t.Context(), *object); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func (p pair) count(ctx context.Context, c client.Client) {
	for n := 1; ctx.Err() == nil; n++ {
		for _, object := range []*kubev1.ConfigMap{p.first, p.second} {
			object.Data["n"] = strconv.Itoa(n)
			if c.Update(ctx, object) != nil {
				return // the context has ended
			}
		}
	}
}

func (p pair) read(t *testing.T, c client.Client) (first, second int) {
	t.Helper()
	for object, into := range map[*kubev1.ConfigMap]*int{p.first: &first, p.second: &second} {
		if err := c.Get(context.Background(), client.ObjectKeyFromObject(object), object); err != nil {
			t.Fatal(err)
		}
		var err error
		if *into, err = strconv.Atoi(object.Data["n"]); err != nil {
			t.Fatal(err)
		}
	}
	return first, second
}

// TestBackupUnderLoad takes a backup while eight writers write, and wants a state
// back that existed, secrets included.
func TestBackupUnderLoad(t *testing.T) {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	g := start(t, t.TempDir())
	c := clientOf(t, g)
	secret := &kubev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "kept"}, Data: map[string][]byte{"a": []byte(clearText)}}
	if err := c.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	pairs := make([]pair, 8)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for i := range pairs {
		pairs[i] = newPair(t, c, fmt.Sprint("pair-", i))
		running.Go(func() { pairs[i].count(ctx, c) })
	}
	time.Sleep(300 * time.Millisecond)
	var file bytes.Buffer
	// As a user does, over HTTPS.
	err = operations.Backup(t.Context(), childConfig(t, filepath.Dir(g.KubeconfigPath())), &file, []string{key.Recipient().String()}, "")
	time.Sleep(100 * time.Millisecond)
	cancel()
	running.Wait()
	if err != nil {
		t.Fatal(err)
	}
	after, _ := pairs[0].read(t, c)
	stop(t, g)
	if bytes.Contains(file.Bytes(), []byte(clearText)) {
		t.Error("the backup can be read by anybody")
	}

	dir := filepath.Join(t.TempDir(), "restored")
	manifest, err := garden.Restore(t.Context(), bytes.NewReader(file.Bytes()), dir, key)
	if err != nil {
		t.Fatal(err)
	}
	g = start(t, dir)
	defer stop(t, g)
	c = clientOf(t, g)
	for i, p := range pairs {
		first, second := p.read(t, c)
		if second > first || first > second+1 {
			t.Errorf("pair %d: %d and %d: that state never existed", i, first, second)
		}
		if i == 0 && (first == 0 || first > after) {
			t.Errorf("pair 0 was counted to %d, want more than 0 and at most %d", first, after)
		}
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(secret), secret); err != nil || string(secret.Data["a"]) != clearText {
		t.Errorf("the secret: %v, %q", err, secret.Data)
	}
	if secret.ResourceVersion == "" || manifest.Revision == 0 || manifest.Created.IsZero() {
		t.Errorf("got %+v", manifest)
	}
	// Clients that saw later revisions must not take new objects for old ones.
	if err := c.Create(t.Context(), &kubev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "new"}}); err != nil {
		t.Fatal(err)
	}
	fresh := &kubev1.ConfigMap{}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "new"}, fresh); err != nil {
		t.Fatal(err)
	}
	if version, err := strconv.ParseInt(fresh.ResourceVersion, 10, 64); err != nil || version < manifest.Revision+1_000_000_000 {
		t.Errorf("the new object has version %s, the backup had %d", fresh.ResourceVersion, manifest.Revision)
	}
}

// TestRestoreRefuses wants nothing done to a folder that is in use, and nothing
// left of a backup that is not whole.
func TestRestoreRefuses(t *testing.T) {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	parent := t.TempDir()
	used := filepath.Join(parent, "used")
	if err := os.MkdirAll(filepath.Join(used, "etcd"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := garden.Restore(t.Context(), bytes.NewReader(nil), used, key); !errors.Is(err, fault.Invalid) {
		t.Errorf("a folder in use: %v", err)
	}
	if _, err := garden.Restore(t.Context(), bytes.NewReader([]byte("no backup")), filepath.Join(parent, "new"), key); !errors.Is(err, fault.Invalid) {
		t.Errorf("no backup: %v", err)
	}
	if entries, err := os.ReadDir(parent); err != nil || len(entries) != 1 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

// TestBackupsByThemselves wants a garden to back itself up at its start and to
// keep only so many.
func TestBackupsByThemselves(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "backups")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	old := map[string]bool{}
	for day := range 3 {
		name := filepath.Join(folder, backup.Name(time.Now().AddDate(0, 0, -2-day)))
		old[name] = true
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config := gardenConfig(t, dir)
	config.Backups = backup.Schedule{Keep: 2}
	g, err := garden.Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	newest := ""
	for deadline := time.Now().Add(startTimeout); newest == ""; time.Sleep(20 * time.Millisecond) {
		found, err := filepath.Glob(filepath.Join(folder, "garden-*.loam-backup"))
		if err != nil {
			t.Fatal(err)
		}
		if i := slices.IndexFunc(found, func(name string) bool { return !old[name] }); i >= 0 {
			newest = found[i]
		} else if time.Now().After(deadline) {
			t.Fatal("no backup was written")
		}
	}
	stop(t, g)
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 2 {
		t.Errorf("kept: %v, %v", entries, err)
	}
	identities, err := backup.ReadIdentities(filepath.Join(dir, "backup.key"))
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(newest)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if _, err := garden.Restore(t.Context(), file, filepath.Join(t.TempDir(), "restored"), identities...); err != nil {
		t.Error(err)
	}
}
