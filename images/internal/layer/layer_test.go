package layer_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/loam-cloud/loam/images/internal/layer"
)

func write(t *testing.T, l *layer.Layer) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := l.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// read returns the headers of a layer in their order.
func read(t *testing.T, content []byte) []*tar.Header {
	t.Helper()
	var headers []*tar.Header
	reader := tar.NewReader(bytes.NewReader(content))
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return headers
		}
		if err != nil {
			t.Fatal(err)
		}
		headers = append(headers, header)
	}
}

func TestSameInputSameBytes(t *testing.T) {
	add := []func(*layer.Layer){
		func(l *layer.Layer) { l.Bytes("etc/a", 0o644, []byte("a")) },
		func(l *layer.Layer) { l.Symlink("bin", "usr/bin") },
		func(l *layer.Layer) { l.Folder("tmp", 0o1777) },
		func(l *layer.Layer) { l.Bytes("/usr/bin/b", 0o755, []byte("b")) },
	}
	forth, back := layer.New(), layer.New()
	for i := range add {
		add[i](forth)
		add[len(add)-1-i](back)
	}
	if !bytes.Equal(write(t, forth), write(t, back)) {
		t.Error("the order of adding changes the bytes")
	}
}

func TestEntries(t *testing.T) {
	l := layer.New()
	l.Bytes("usr/bin/b", 0o755, []byte("old"))
	l.Bytes("usr/bin/b", 0o700, []byte("new content"))
	l.Folder("tmp", 0o1777)
	l.Folder("/", 0o755)
	headers := read(t, write(t, l))
	var names []string
	for _, header := range headers {
		names = append(names, header.Name)
		if header.ModTime.Unix() != 0 || header.Uname != "" || header.Gname != "" {
			t.Errorf("%s: time %v, owner %q, group %q", header.Name, header.ModTime, header.Uname, header.Gname)
		}
	}
	if want := "tmp/ usr/ usr/bin/ usr/bin/b"; want != join(names) {
		t.Errorf("got %q, want %q", join(names), want)
	}
	if last := headers[len(headers)-1]; last.Mode != 0o700 || last.Size != int64(len("new content")) {
		t.Errorf("what was added last did not win: %v", last)
	}
	if headers[0].Mode != 0o1777 {
		t.Errorf("mode of tmp: %o", headers[0].Mode)
	}
}

func join(names []string) string {
	var out bytes.Buffer
	for i, name := range names {
		if i > 0 {
			out.WriteByte(' ')
		}
		out.WriteString(name)
	}
	return out.String()
}

func TestFSMarksScripts(t *testing.T) {
	l := layer.New()
	files := fstest.MapFS{"a/script": {Data: []byte("#!/bin/sh\n@X@")}, "a/text": {Data: []byte("@X@")}}
	err := l.FS("etc", files, func(_ string, content []byte) []byte {
		return bytes.ReplaceAll(content, []byte("@X@"), []byte("value"))
	})
	if err != nil {
		t.Fatal(err)
	}
	modes := map[string]int64{}
	for _, header := range read(t, write(t, l)) {
		modes[header.Name] = header.Mode
	}
	if modes["etc/a/script"] != 0o755 || modes["etc/a/text"] != 0o644 {
		t.Errorf("modes: %v", modes)
	}
	if !bytes.Contains(write(t, l), []byte("#!/bin/sh\nvalue")) {
		t.Error("the content was not edited")
	}
}

func TestTree(t *testing.T) {
	root := t.TempDir()
	for path, mode := range map[string]os.FileMode{"bin/su": 0o4755, "bin/plain": 0o644, "skipped/inside": 0o644} {
		full := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(path), 0o600); err != nil {
			t.Fatal(err)
		}
		bits := mode.Perm()
		if mode&0o4000 != 0 {
			bits |= os.ModeSetuid
		}
		if err := os.Chmod(full, bits); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Link(filepath.Join(root, "bin/plain"), filepath.Join(root, "bin/twin")),
		os.Symlink("/bin/plain", filepath.Join(root, "link"))); err != nil {
		t.Fatal(err)
	}
	l := layer.New()
	if err := l.Tree("opt", root, func(name string) bool { return name == "skipped" }); err != nil {
		t.Fatal(err)
	}
	found := map[string]*tar.Header{}
	for _, header := range read(t, write(t, l)) {
		found[header.Name] = header
	}
	if len(found) != 6 {
		t.Errorf("got %d entries: %v", len(found), found)
	}
	if h := found["opt/bin/su"]; h == nil || h.Mode != 0o4755 {
		t.Errorf("set-user-id file: %v", h)
	}
	if h := found["opt/bin/twin"]; h == nil || h.Typeflag != tar.TypeLink || h.Linkname != "opt/bin/plain" {
		t.Errorf("hard link: %v", h)
	}
	if h := found["opt/link"]; h == nil || h.Typeflag != tar.TypeSymlink || h.Linkname != "/bin/plain" {
		t.Errorf("symbolic link: %v", h)
	}
}

// TestArchive reads an archive with the library that reads what engines write.
func TestArchive(t *testing.T) {
	l := layer.New()
	l.Bytes("hello", 0o644, []byte("hello"))
	dir := t.TempDir()
	saved, err := layer.Save(l, filepath.Join(dir, "layer.tar"))
	if err != nil {
		t.Fatal(err)
	}
	image := layer.Image{
		Name: "example.com/a/b:1", Config: v1.Config{Labels: map[string]string{"k": "v"}}, Layers: []layer.File{saved, saved},
	}
	archive := filepath.Join(dir, "archive.tar")
	out, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(layer.WriteArchive(out, image, "amd64"), out.Close()); err != nil {
		t.Fatal(err)
	}
	got, err := tarball.ImageFromPath(archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	id, err := image.ID("amd64")
	if err != nil {
		t.Fatal(err)
	}
	config, err := got.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	name, err := got.ConfigName()
	if err != nil || name.String() != id {
		t.Errorf("ID: got %s, %v, want %s", name, err, id)
	}
	if config.Config.Labels["k"] != "v" || config.Architecture != "amd64" || len(config.RootFS.DiffIDs) != 2 {
		t.Errorf("configuration: %+v", config)
	}
	layers, err := got.Layers()
	if err != nil || len(layers) != 2 {
		t.Fatalf("layers: %v, %v", layers, err)
	}
	diff, err := layers[0].DiffID()
	if err != nil || diff != saved.DiffID {
		t.Errorf("layer: got %s, %v, want %s", diff, err, saved.DiffID)
	}
	digest, err := l.Digest()
	if err != nil || digest != saved.DiffID.Hex {
		t.Errorf("digest without saving: got %s, %v, want %s", digest, err, saved.DiffID.Hex)
	}
}
