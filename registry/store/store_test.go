package store_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/store"
)

var (
	private = store.Repository{Name: "team/app"}
	cached  = store.Repository{Upstream: "docker.io", Name: "library/nginx"}
	start   = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
)

func open(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(dir, store.Options{Clock: clocktesting.NewFakePassiveClock(start)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func upload(t *testing.T, s *store.Store, r store.Repository, content string) digest.Digest {
	t.Helper()
	p, err := s.StartUpload(r)
	if err != nil {
		t.Fatal(err)
	}
	d := digest.FromString(content)
	if _, err := io.WriteString(p, content); err != nil {
		t.Fatal(err)
	}
	if err := p.Commit(r, d); err != nil {
		t.Fatal(err)
	}
	return d
}

func read(t *testing.T, s *store.Store, r store.Repository, d digest.Digest) string {
	t.Helper()
	b, err := s.OpenBlob(r, d)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	content, err := io.ReadAll(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func descriptor(mediaType, content string) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromString(content), Size: int64(len(content))}
}

// image is a manifest of a config and layers with this content.
func image(t *testing.T, config string, layers ...string) ocispec.Manifest {
	t.Helper()
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: descriptor(ocispec.MediaTypeImageConfig, config)}
	for _, l := range layers {
		m.Layers = append(m.Layers, descriptor(ocispec.MediaTypeImageLayer, l))
	}
	return m
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func push(t *testing.T, s *store.Store, r store.Repository, tag string, manifest any) digest.Digest {
	t.Helper()
	m, err := s.PutManifest(r, store.Put{Content: encode(t, manifest), Tag: tag})
	if err != nil {
		t.Fatal(err)
	}
	return m.Digest
}

func wantKind(t *testing.T, err error, kind fault.Kind) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind {
		t.Errorf("got %v (%s), want %s", err, fault.KindOf(err), kind)
	}
}

func TestUploadAppearsWhenItIsRight(t *testing.T) {
	s := open(t, t.TempDir())
	p, err := s.StartUpload(private)
	if err != nil {
		t.Fatal(err)
	}
	d := digest.FromString("hello")
	if _, err := io.WriteString(p, "hel"); err != nil {
		t.Fatal(err)
	}
	_, err = s.OpenBlob(private, d)
	wantKind(t, err, fault.Missing)
	if _, err := io.WriteString(p, "lo"); err != nil {
		t.Fatal(err)
	}
	if err := p.Commit(private, d); err != nil {
		t.Fatal(err)
	}
	if got := read(t, s, private, d); got != "hello" {
		t.Errorf("got %q", got)
	}
	_, err = s.OpenBlob(store.Repository{Name: "other"}, d)
	wantKind(t, err, fault.Missing)
	if totals, err := s.Totals(); err != nil || totals != (store.Totals{Blobs: 1, Bytes: 5}) {
		t.Errorf("totals are %v, %v", totals, err)
	}
	if _, err := s.Upload(private, p.ID); !errors.Is(err, fault.Missing) {
		t.Errorf("a finished upload is still there: %v", err)
	}
}

func TestWrongContentIsNeverPublished(t *testing.T) {
	s := open(t, t.TempDir())
	d := digest.FromString("right")
	p, err := s.Download(d)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(p, "wrong"); err != nil {
		t.Fatal(err)
	}
	err = p.Commit(cached, d)
	wantKind(t, err, fault.Invalid)
	if !errors.Is(err, store.ErrDigest) {
		t.Errorf("got %v", err)
	}
	_, err = s.OpenBlob(cached, d)
	wantKind(t, err, fault.Missing)
	again, err := s.Download(d)
	if err != nil || again.Size() != 0 {
		t.Errorf("wrong bytes are resumed: %d, %v", again.Size(), err)
	}
	again.Close()
}

func TestDownloadsResumeAfterRestart(t *testing.T) {
	dir := t.TempDir()
	d := digest.FromString("first and second")
	s := open(t, dir)
	p, err := s.Download(d)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Download(d); !errors.Is(err, store.ErrBusy) || fault.KindOf(err) != fault.Waiting {
		t.Errorf("a download is written by two: %v", err)
	}
	if _, err := io.WriteString(p, "first"); err != nil {
		t.Fatal(err)
	}
	reader, err := p.Reader()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	// Not closed: a process that is killed closes nothing.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	if p, err = s.Download(d); err != nil || p.Size() != 5 {
		t.Fatalf("%d bytes are there, %v", p.Size(), err)
	}
	if _, err := io.WriteString(p, " and second"); err != nil {
		t.Fatal(err)
	}
	if err := p.Commit(cached, d); err != nil {
		t.Fatal(err)
	}
	if all, err := io.ReadAll(reader); err != nil || string(all) != "first and second" {
		t.Errorf("who read along got %q, %v", all, err)
	}
}

func TestUploadsResumeAfterRestart(t *testing.T) {
	for name, stop := range map[string]func(dir string, p *store.Partial){
		"closed": func(_ string, p *store.Partial) { p.Close() },
		"killed": func(string, *store.Partial) {},
		"killed after it was closed once": func(dir string, p *store.Partial) {
			p.Close()
			f, err := os.OpenFile(filepath.Join(dir, "partial", "uploads", p.ID), os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteString("+"); err != nil {
				t.Fatal(err)
			}
			f.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			p, err := s.StartUpload(private)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(p, "first"); err != nil {
				t.Fatal(err)
			}
			stop(dir, p)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, dir)
			_, err = s.Upload(cached, p.ID)
			wantKind(t, err, fault.Missing)
			p, err = s.Upload(private, p.ID)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(p, "second"); err != nil {
				t.Fatal(err)
			}
			content := make([]byte, p.Size())
			if _, err := p.ReadAt(content, 0); err != nil {
				t.Fatal(err)
			}
			if err := p.Commit(private, digest.SHA512.FromBytes(content)); err != nil {
				t.Fatal(err)
			}
			if got := read(t, s, private, digest.SHA512.FromBytes(content)); !strings.HasPrefix(got, "first") || !strings.HasSuffix(got, "second") {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestLostAndCutBlobsAreMissingAndCanBePutAgain(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"lost": os.Remove,
		"cut":  func(path string) error { return os.Truncate(path, 2) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			d := upload(t, s, private, "content")
			if err := damage(filepath.Join(dir, "blobs", "sha256", d.Encoded()[:2], d.Encoded())); err != nil {
				t.Fatal(err)
			}
			if name == "lost" {
				wantKind(t, s.Link(cached, d), fault.Missing)
			}
			_, err := s.OpenBlob(private, d)
			wantKind(t, err, fault.Missing)
			if has, err := s.HasBlob(d); err != nil || has {
				t.Errorf("it is still known: %v, %v", has, err)
			}
			wantKind(t, s.Link(cached, d), fault.Missing)
			upload(t, s, private, "content")
			if got := read(t, s, private, d); got != "content" {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	_, err := store.Open(dir, store.Options{LockTimeout: time.Millisecond})
	wantKind(t, err, fault.Waiting)
	if !errors.Is(err, store.ErrLocked) {
		t.Errorf("got %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}

func TestManifestsTagsAndReferrers(t *testing.T) {
	s := open(t, t.TempDir())
	m := image(t, "config", "layer")
	_, err := s.PutManifest(private, store.Put{Content: encode(t, m), Tag: "v1"})
	var refused *store.ManifestError
	if !errors.As(err, &refused) || len(refused.Unknown) != 2 {
		t.Fatalf("a manifest without its blobs: %v", err)
	}
	if totals, err := s.Totals(); err != nil || totals.Blobs != 0 {
		t.Errorf("a refused manifest was stored: %v %v", totals, err)
	}
	upload(t, s, private, "config")
	upload(t, s, private, "layer")
	d := push(t, s, private, "v1", m)
	got, err := s.Manifest(private, d)
	if err != nil || !bytes.Equal(got.Content, encode(t, m)) || got.MediaType != ocispec.MediaTypeImageManifest {
		t.Errorf("got %+v, %v", got, err)
	}
	if tag, err := s.Tag(private, "v1"); err != nil || tag.Digest != d || !tag.Updated.Equal(start) {
		t.Errorf("got %+v, %v", tag, err)
	}
	signature := image(t, "config")
	subject := descriptor(ocispec.MediaTypeImageManifest, string(encode(t, m)))
	signature.Subject, signature.ArtifactType = &subject, "application/signature"
	sd := push(t, s, private, "", signature)
	for artifactType, want := range map[string]int{"": 1, "application/signature": 1, "application/sbom": 0} {
		if all, err := s.Referrers(private, d, artifactType); err != nil || len(all) != want || want == 1 && all[0].Digest != sd {
			t.Errorf("referrers of type %q: %v, %v", artifactType, all, err)
		}
	}
	// A file that has gone bad is mended by another push.
	path := filepath.Join(s.Dir(), "blobs", "sha256", d.Encoded()[:2], d.Encoded())
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), len(encode(t, m))), 0o600); err != nil {
		t.Fatal(err)
	}
	push(t, s, private, "v1", m)
	if got, err := s.Manifest(private, d); err != nil || !bytes.Equal(got.Content, encode(t, m)) {
		t.Errorf("got %s, %v", got.Content, err)
	}
	if err := s.DeleteManifest(private, d); err != nil {
		t.Fatal(err)
	}
	_, err = s.Tag(private, "v1")
	wantKind(t, err, fault.Missing)
	_, err = s.Manifest(private, d)
	wantKind(t, err, fault.Missing)
	wantKind(t, s.DeleteManifest(private, d), fault.Missing)
	if err := s.DeleteManifest(private, sd); err != nil {
		t.Fatal(err)
	}
	if all, err := s.Referrers(private, d, ""); err != nil || len(all) != 0 {
		t.Errorf("the referrer is still listed: %v, %v", all, err)
	}
}
