package store_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/store"
)

// crashFolder is set for a child of this test, which works on the folder until it
// is killed.
const crashFolder = "LOAM_TEST_CRASH_FOLDER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashFolder); dir != "" {
		fmt.Fprintln(os.Stderr, work(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// work pushes images and tells on its output of each that was answered; it
// collects what others leave, too. It ends only with an error.
func work(dir string) error {
	s, err := store.Open(dir, store.Options{LockTimeout: time.Minute})
	if err != nil {
		return err
	}
	for i := os.Getpid() * 1000; ; i++ {
		layer := strings.Repeat(fmt.Sprintf("layer %d ", i), 5000)
		for _, content := range []string{"{}", layer} {
			p, err := s.StartUpload(private)
			if err != nil {
				return err
			}
			if _, err := io.WriteString(p, content); err != nil {
				return err
			}
			if err := p.Commit(private, digest.FromString(content)); err != nil {
				return err
			}
		}
		m, err := manifestText(layer)
		if err != nil {
			return err
		}
		tag := fmt.Sprintf("t%d", i)
		if _, err := s.PutManifest(private, store.Put{Content: m, Tag: tag}); err != nil {
			return err
		}
		fmt.Println(tag, digest.FromString(layer))
		if i%3 == 0 {
			if _, err := s.SweepRepository(private, store.Sweep{Before: time.Now(), Untagged: true}); err != nil {
				return err
			}
			if err := s.EachFile(func(d digest.Digest) error {
				_, _, err := s.RemoveUnowned(d, time.Now(), false)
				return err
			}); err != nil {
				return err
			}
		}
	}
}

func manifestText(layer string) ([]byte, error) {
	return json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": descriptor("application/vnd.oci.image.config.v1+json", "{}"),
		"layers": []any{descriptor("application/vnd.oci.image.layer.v1.tar", layer)},
	})
}

// A process that pushes is killed again and again: what it was answered is there,
// and nothing that is there is wrong.
func TestKilledAtAnyMoment(t *testing.T) {
	dir := t.TempDir()
	answered := map[string]digest.Digest{}
	for round := range 12 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), crashFolder+"="+dir)
		var problems strings.Builder
		cmd.Stderr = &problems
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// After some answers, or none: not in step with anything that it does.
		lines := bufio.NewScanner(out)
		for range round % 4 {
			if !lines.Scan() {
				break
			}
			note(answered, lines.Text())
		}
		time.Sleep(time.Duration(17*round) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		// What it had said by then was answered, too.
		for lines.Scan() {
			note(answered, lines.Text())
		}
		cmd.Wait()
		if problems.Len() > 0 {
			t.Fatalf("round %d: %s", round, problems.String())
		}
		checkAll(t, dir, answered)
	}
	if len(answered) == 0 {
		t.Error("the process was never answered")
	}
	t.Logf("%d pushes were answered", len(answered))
}

// note remembers an answer, TAG LAYER; the kill may have cut the last one.
func note(answered map[string]digest.Digest, line string) {
	tag, layer, _ := strings.Cut(line, " ")
	if d := digest.Digest(layer); d.Validate() == nil {
		answered[tag] = d
	}
}

// checkAll opens a store, reads everything that it knows, and looks for what was
// answered.
func checkAll(t *testing.T, dir string, answered map[string]digest.Digest) {
	t.Helper()
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.EachBlob("", func(b store.BlobInfo) error {
		n, err := s.Verify(b.Digest, func(r io.Reader) io.Reader { return r })
		owners, ownersErr := s.Owners(b.Digest)
		if errors.Is(err, fault.Missing) && len(owners) == 0 && ownersErr == nil {
			// Killed while it was removed.
			return nil
		}
		if err == nil && n != b.Size {
			err = fmt.Errorf("%s has %d bytes, its record %d", b.Digest, n, b.Size)
		}
		return errors.Join(err, ownersErr)
	}); err != nil {
		t.Error(err)
	}
	if err := s.EachFile(func(d digest.Digest) error {
		_, err := s.Verify(d, func(r io.Reader) io.Reader { return r })
		return err
	}); err != nil {
		t.Error(err)
	}
	for name, layer := range answered {
		tag, err := s.Tag(private, name)
		if err == nil {
			_, err = s.Manifest(private, tag.Digest)
		}
		if err == nil {
			_, err = s.StatBlob(private, layer)
		}
		if err != nil {
			t.Errorf("a push that was answered is lost: %v", err)
		}
	}
}

// On a full disk, pushes fail as Exhausted, what is there stays right, and goes
// on when there is room again.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=24m"); err != nil {
		t.Skipf("a small disk cannot be made here: %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	folder := filepath.Join(dir, "store")
	s, err := store.Open(folder, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	first := upload(t, s, private, "first")
	answered := map[string]digest.Digest{}
	m, err := manifestText("first")
	if err != nil {
		t.Fatal(err)
	}
	upload(t, s, private, "{}")
	if _, err := s.PutManifest(private, store.Put{Content: m, Tag: "first"}); err != nil {
		t.Fatal(err)
	}
	answered["first"] = first
	chunk := strings.Repeat("x", 1<<20)
	for i := 0; err == nil; i++ {
		if i > 100 {
			t.Fatal("the disk is never full")
		}
		var p *store.Partial
		if p, err = s.StartUpload(private); err != nil {
			break
		}
		content := fmt.Sprint(i) + chunk
		if _, err = io.WriteString(p, content); err != nil {
			err = errors.Join(err, p.Close())
			break
		}
		err = p.Commit(private, digest.FromString(content))
	}
	wantKind(t, err, fault.Exhausted)
	read(t, s, private, first)
	if err := s.Close(); err != nil && fault.KindOf(err) != fault.Exhausted {
		t.Error(err)
	}
	checkAll(t, folder, answered)
	s, err = store.Open(folder, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, _, err := s.ExpirePartials(time.Now().Add(time.Hour), false); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SweepRepository(private, store.Sweep{Before: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if err := s.EachFile(func(d digest.Digest) error {
		_, _, err := s.RemoveUnowned(d, time.Now().Add(time.Hour), false)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	upload(t, s, private, chunk)
	read(t, s, private, first)
}

// TestWritingGoesOnAfterAFullDisk: what did not fit was hashed all the same, and must
// not be part of the digest.
func TestWritingGoesOnAfterAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("a small disk cannot be made here: %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	s, err := store.Open(filepath.Join(dir, "store"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := s.StartUpload(private)
	if err != nil {
		t.Fatal(err)
	}
	content := []byte(strings.Repeat("0123456789abcdef", 3<<20/16))
	for err == nil && p.Size() < int64(len(content)) {
		// Neither a divisor of the disk's pages nor too little to be hashed aside.
		_, err = p.Write(content[p.Size():min(p.Size()+100_000, int64(len(content)))])
	}
	n := p.Size()
	if fault.KindOf(err) != fault.Exhausted || n == 0 {
		t.Fatalf("%d of %d bytes were written, then %v", n, len(content), err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Write(content[n:]); err != nil {
		t.Fatal(err)
	}
	if err := p.Commit(private, digest.FromBytes(content)); err != nil {
		t.Error(err)
	}
}
