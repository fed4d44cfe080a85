// Package archivetest makes small container images and writes them in the formats
// that there are. Tests of the packages that read and load images call it.
//
// It must not know how they are read.
package archivetest

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// File is a file of an archive.
type File struct {
	Name    string
	Content []byte
	// Link makes it a link in the place of a file.
	Link string
	// Mode is 0644 when zero.
	Mode int64
}

// Image is an image that was made.
type Image struct {
	Names  []string
	Config []byte
	// Layers are tar streams.
	Layers [][]byte
	// Zip compresses the layers of OCI formats.
	Zip bool
}

// Hash is the digest of a document or a layer.
func Hash(content []byte) v1.Hash {
	sum := sha256.Sum256(content)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}

// New makes an image for linux of an architecture. Each text becomes the one file
// of a layer.
func New(t testing.TB, architecture string, names []string, texts ...string) Image {
	t.Helper()
	var layers [][]byte
	for i, text := range texts {
		layers = append(layers, Tar(t, []File{{Name: fmt.Sprintf("file%d", i), Content: []byte(text)}}))
	}
	return FromLayers(t, architecture, names, v1.Config{}, layers...)
}

// FromLayers makes an image of layers.
func FromLayers(t testing.TB, architecture string, names []string, run v1.Config, layers ...[]byte) Image {
	t.Helper()
	config := v1.ConfigFile{Architecture: architecture, OS: "linux", Config: run, RootFS: v1.RootFS{Type: "layers"}}
	for _, l := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, Hash(l))
	}
	return Image{Names: names, Config: encode(t, config), Layers: layers}
}

func encode(t testing.TB, document any) []byte {
	t.Helper()
	content, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// Legacy are the files as docker save wrote them before version 25: folders of
// layers whose names tell nothing, the same layer once and links to it.
func Legacy(t testing.TB, images ...Image) []File {
	t.Helper()
	var files []File
	var manifest []map[string]any
	first := map[v1.Hash]string{}
	for n, i := range images {
		var names []string
		for k, l := range i.Layers {
			folder := fmt.Sprintf("%064x", 1000*n+k)
			name := folder + "/layer.tar"
			names = append(names, name)
			files = append(files, File{Name: folder + "/VERSION", Content: []byte("1.0")}, File{Name: folder + "/json", Content: []byte(`{"id":"x"}`)})
			if at, twice := first[Hash(l)]; twice {
				files = append(files, File{Name: name, Link: "../" + at})
				continue
			}
			first[Hash(l)] = name
			files = append(files, File{Name: name, Content: l})
		}
		config := Hash(i.Config).Hex + ".json"
		files = append(files, File{Name: config, Content: i.Config})
		manifest = append(manifest, map[string]any{"Config": config, "RepoTags": i.Names, "Layers": names})
	}
	return append(files, File{Name: "manifest.json", Content: encode(t, manifest)}, File{Name: "repositories", Content: []byte("{}")})
}

// Blobs are the files as docker save writes them since version 25: a layout of OCI
// with the manifest of docker save.
func Blobs(t testing.TB, images ...Image) []File {
	t.Helper()
	files := Layout(t, images...)
	var manifest []map[string]any
	for _, i := range images {
		var layers []string
		for _, l := range i.Layers {
			layers = append(layers, "blobs/sha256/"+Hash(l).Hex)
		}
		manifest = append(manifest, map[string]any{"Config": "blobs/sha256/" + Hash(i.Config).Hex, "RepoTags": i.Names, "Layers": layers})
	}
	return append(files, File{Name: "manifest.json", Content: encode(t, manifest)})
}

// Layout are the files of an OCI layout.
func Layout(t testing.TB, images ...Image) []File {
	t.Helper()
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	var files []File
	for _, i := range images {
		more, d := Manifest(t, i)
		files = append(files, more...)
		if len(i.Names) == 0 {
			index.Manifests = append(index.Manifests, d)
		}
		for _, name := range i.Names {
			d.Annotations = map[string]string{"io.containerd.image.name": name}
			index.Manifests = append(index.Manifests, d)
		}
	}
	return append(files, Entry(t, index)...)
}

// Entry are the two files that a layout begins with.
func Entry(t testing.TB, index v1.IndexManifest) []File {
	t.Helper()
	return []File{{Name: "index.json", Content: encode(t, index)}, {Name: "oci-layout", Content: []byte(`{"imageLayoutVersion":"1.0.0"}`)}}
}

// Manifest are the blobs of an image, and what describes its manifest.
func Manifest(t testing.TB, i Image) ([]File, v1.Descriptor) {
	t.Helper()
	manifest := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: v1.Descriptor{MediaType: types.OCIConfigJSON, Size: int64(len(i.Config)), Digest: Hash(i.Config)}}
	files := []File{Blob(i.Config)}
	for _, l := range i.Layers {
		kind := types.OCIUncompressedLayer
		if i.Zip {
			l, kind = Zip(t, l), types.OCILayer
		}
		files = append(files, Blob(l))
		manifest.Layers = append(manifest.Layers, v1.Descriptor{MediaType: kind, Size: int64(len(l)), Digest: Hash(l)})
	}
	content := encode(t, manifest)
	return append(files, Blob(content)), v1.Descriptor{MediaType: types.OCIManifestSchema1, Size: int64(len(content)), Digest: Hash(content)}
}

// Index is a blob that lists others, and what describes it.
func Index(t testing.TB, children ...v1.Descriptor) (File, v1.Descriptor) {
	t.Helper()
	content := encode(t, v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: children})
	return Blob(content), v1.Descriptor{MediaType: types.OCIImageIndex, Size: int64(len(content)), Digest: Hash(content)}
}

// Blob is a file of a layout.
func Blob(content []byte) File {
	return File{Name: "blobs/sha256/" + Hash(content).Hex, Content: content}
}

// Zip compresses.
func Zip(t testing.TB, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Tar packs files.
func Tar(t testing.TB, files []File) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: f.Name, Mode: cmp.Or(f.Mode, 0o644), Size: int64(len(f.Content))}
		if f.Link != "" {
			header = &tar.Header{Typeflag: tar.TypeSymlink, Name: f.Name, Linkname: f.Link}
		}
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, bytes.NewReader(f.Content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Write makes a file of an archive and returns its path.
func Write(t testing.TB, archive []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "archive.tar")
	if err := os.WriteFile(name, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Folder makes a folder of files and returns its path.
func Folder(t testing.TB, files []File) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range files {
		name := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, f.Content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
