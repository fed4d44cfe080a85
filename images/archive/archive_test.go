package archive_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/images/archive"
	"github.com/loam-cloud/loam/images/archive/archivetest"
)

var amd64 = v1.Platform{OS: "linux", Architecture: "amd64"}

const full = "docker.io/library/app:dev"

// collector keeps what is handed on.
type collector map[string]*bytes.Buffer

func (c collector) to(b archive.Blob) (io.Writer, error) {
	c[b.Entry] = &bytes.Buffer{}
	return c[b.Entry], nil
}

// holds checks that an image that was read is the one that was made, content
// included.
func holds(t *testing.T, got archive.Image, want archivetest.Image, got2 collector) {
	t.Helper()
	if got.Config != archivetest.Hash(want.Config) || len(got.Layers) != len(want.Layers) {
		t.Fatalf("got %+v", got)
	}
	if len(got.Documents) < 2 || !bytes.Equal(got.Documents[1].Content, want.Config) {
		t.Errorf("documents are %+v", got.Documents)
	}
	for _, d := range got.Documents {
		if archivetest.Hash(d.Content) != d.Digest {
			t.Errorf("document %s has the digest %s", d.Content, archivetest.Hash(d.Content))
		}
	}
	for i, l := range got.Layers {
		content := want.Layers[i]
		if want.Zip {
			content = archivetest.Zip(t, content)
		}
		if l.DiffID != archivetest.Hash(want.Layers[i]) || l.Digest != archivetest.Hash(content) || l.Size != int64(len(content)) {
			t.Errorf("layer %d is %+v", i, l)
		}
		if read := got2[l.Entry]; read == nil || !bytes.Equal(read.Bytes(), content) {
			t.Errorf("layer %d has another content", i)
		}
	}
}

func TestForms(t *testing.T) {
	one := archivetest.New(t, "amd64", []string{"app:dev"}, "below", "above")
	other := archivetest.New(t, "amd64", []string{"docker.io/library/web:dev"}, "below", "web")
	zipped := one
	zipped.Zip, zipped.Names = true, []string{full}
	big := archivetest.New(t, "amd64", []string{"app:dev"}, strings.Repeat("0123456789", 100_000))
	file := func(files []archivetest.File) func() (*archive.Source, error) {
		return func() (*archive.Source, error) {
			return archive.OpenFile(archivetest.Write(t, archivetest.Tar(t, files)))
		}
	}
	stream := func(content []byte) func() (*archive.Source, error) {
		return func() (*archive.Source, error) { return archive.Stream(bytes.NewReader(content)), nil }
	}
	for name, tc := range map[string]struct {
		open func() (*archive.Source, error)
		want []archivetest.Image
		// before tells that the images are known before they are read.
		before bool
	}{
		"docker save":                     {file(archivetest.Legacy(t, one)), []archivetest.Image{one}, true},
		"docker save, a stream":           {stream(archivetest.Tar(t, archivetest.Legacy(t, one))), []archivetest.Image{one}, false},
		"docker save of two, with a link": {file(archivetest.Legacy(t, one, other)), []archivetest.Image{one, other}, true},
		"two with a link, a stream":       {stream(archivetest.Tar(t, archivetest.Legacy(t, one, other))), []archivetest.Image{one, other}, false},
		"docker save since 25":            {file(archivetest.Blobs(t, one, other)), []archivetest.Image{one, other}, true},
		"docker save since 25, a stream":  {stream(archivetest.Tar(t, archivetest.Blobs(t, one, other))), []archivetest.Image{one, other}, false},
		"archive of a layout":             {file(archivetest.Layout(t, zipped)), []archivetest.Image{zipped}, true},
		"layout": {func() (*archive.Source, error) {
			return archive.OpenLayout(archivetest.Folder(t, archivetest.Layout(t, zipped, other)))
		}, []archivetest.Image{zipped, other}, true},
		"gzip":           {stream(archivetest.Zip(t, archivetest.Tar(t, archivetest.Legacy(t, one)))), []archivetest.Image{one}, false},
		"a large stream": {stream(archivetest.Tar(t, archivetest.Legacy(t, big))), []archivetest.Image{big}, false},
		"a compressed file": {func() (*archive.Source, error) {
			return archive.OpenFile(archivetest.Write(t, archivetest.Zip(t, archivetest.Tar(t, archivetest.Legacy(t, one)))))
		}, []archivetest.Image{one}, false},
	} {
		t.Run(name, func(t *testing.T) {
			source, err := tc.open()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = source.Close() })
			before, err := source.Inspect(amd64)
			if err != nil || tc.before != (len(before) == len(tc.want)) {
				t.Fatalf("before it was read: %v, %v", before, err)
			}
			got := collector{}
			images, err := source.Copy(amd64, got.to)
			if err != nil || len(images) != len(tc.want) {
				t.Fatalf("got %v, %v", images, err)
			}
			for i, want := range tc.want {
				holds(t, images[i], want, got)
				if name, err := archive.Normalize(want.Names[0]); err != nil || !slices.Equal(images[i].Names, []string{name}) {
					t.Errorf("it is called %v", images[i].Names)
				}
				if tc.before && (before[i].Config != images[i].Config || !slices.Equal(before[i].Chains(), images[i].Chains())) {
					t.Errorf("it was announced as %v", before[i])
				}
			}
		})
	}
}

// TestPlatforms takes the nodes' platform out of an index, and passes over what is
// no image.
func TestPlatforms(t *testing.T) {
	mine, others := archivetest.New(t, "amd64", nil, "mine"), archivetest.New(t, "arm64", nil, "others")
	files, a := archivetest.Manifest(t, others)
	more, b := archivetest.Manifest(t, mine)
	a.Platform, b.Platform = &v1.Platform{OS: "linux", Architecture: "arm64"}, &amd64
	attestation := b
	attestation.Platform, attestation.Annotations = &v1.Platform{OS: "unknown", Architecture: "unknown"}, map[string]string{"vnd.docker.reference.type": "attestation-manifest"}
	index, d := archivetest.Index(t, attestation, a, b)
	d.Annotations = map[string]string{"org.opencontainers.image.ref.name": "app:dev"}
	files = append(append(files, more...), index)
	layout := append(files, archivetest.Entry(t, v1.IndexManifest{SchemaVersion: 2, Manifests: []v1.Descriptor{d, attestation}})...)
	source, err := archive.OpenLayout(archivetest.Folder(t, layout))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = source.Close() }()
	images, err := source.Inspect(amd64)
	if err != nil || len(images) != 1 || images[0].Config != archivetest.Hash(mine.Config) || !slices.Equal(images[0].Names, []string{full}) ||
		!slices.Contains(images[0].Digests, d.Digest) {
		t.Fatalf("got %+v, %v", images, err)
	}
	if _, err := source.Inspect(v1.Platform{OS: "linux", Architecture: "riscv64"}); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "linux/arm64, linux/amd64, and the nodes are linux/riscv64") {
		t.Errorf("got %v", err)
	}
}

// TestRefuses gives one clear answer for what is no image, when it is looked at or,
// where that cannot know, when it is read.
func TestRefuses(t *testing.T) {
	one := archivetest.New(t, "amd64", []string{"app:dev"}, strings.Repeat("below", 1000), "above")
	legacy, layout := archivetest.Tar(t, archivetest.Legacy(t, one)), archivetest.Layout(t, one)
	changed := func(change func([]archivetest.File) []archivetest.File) []byte {
		return archivetest.Tar(t, change(slices.Clone(layout)))
	}
	missing := one
	missing.Config = bytes.Replace(one.Config, []byte(`"diff_ids":[`), []byte(`"diff_ids":["`+archivetest.Hash(nil).String()+`",`), 1)
	lying := one
	lying.Layers = [][]byte{one.Layers[0], one.Layers[0]}
	for name, tc := range map[string]struct {
		archive []byte
		inspect string
		// read is what reading it says; that of inspect when empty.
		read string
	}{
		"nothing":        {nil, "neither a file manifest.json nor oci-layout", ""},
		"text":           {[]byte(strings.Repeat("no archive ", 200)), "it is no archive of images", ""},
		"zeros":          {make([]byte, 4096), "neither a file manifest.json nor oci-layout", ""},
		"another tar":    {one.Layers[0], "neither a file manifest.json nor oci-layout", ""},
		"cut in a layer": {legacy[:4000], "it ends early", ""},
		"cut between":    {legacy[:1024], "ends early", ""},
		"another platform": {archivetest.Tar(t, archivetest.Legacy(t, archivetest.New(t, "arm64", []string{"app:dev"}, "x"))),
			"image app:dev: it is for linux/arm64, and the nodes are linux/amd64", ""},
		"another platform, a layout": {archivetest.Tar(t, archivetest.Layout(t, archivetest.New(t, "s390x", []string{"app:dev"}, "x"))),
			"image docker.io/library/app:dev: it is for linux/s390x, and the nodes are linux/amd64", ""},
		"a layer too few": {archivetest.Tar(t, archivetest.Legacy(t, missing)), "its configuration knows 3 layers, and it has 2", ""},
		"a wrong digest": {changed(func(files []archivetest.File) []archivetest.File {
			files[1].Content = append([]byte("X"), files[1].Content[1:]...)
			return files
		}), "", "has another content than its name says"},
		"a wrong layer of docker save": {archivetest.Tar(t, archivetest.Legacy(t, archivetest.Image{Names: one.Names, Config: one.Config, Layers: lying.Layers})),
			"", "and its configuration says"},
		"a wrong document": {changed(func(files []archivetest.File) []archivetest.File {
			files[0].Content = append([]byte(`{"x":1,`), files[0].Content[1:]...)
			return files
		}), "has another content than its name says", ""},
		"a blob that is missing": {changed(func(files []archivetest.File) []archivetest.File { return files[:len(files)-0][2:] }), "is missing", ""},
		"no index": {changed(func(files []archivetest.File) []archivetest.File {
			return slices.Delete(files, len(files)-2, len(files)-1)
		}), `it has no file "index.json"`, ""},
		"an index that is none": {changed(func(files []archivetest.File) []archivetest.File {
			files[len(files)-2].Content = []byte(`["`)
			return files
		}), `reading "index.json"`, ""},
		"an empty index": {archivetest.Tar(t, archivetest.Entry(t, v1.IndexManifest{SchemaVersion: 2})), "there is no image in it", ""},
		"another version": {changed(func(files []archivetest.File) []archivetest.File {
			files[len(files)-1].Content = []byte(`{"imageLayoutVersion":"2"}`)
			return files
		}), `of version "2"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			source, err := archive.OpenFile(archivetest.Write(t, tc.archive))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = source.Close() }()
			_, err = source.Inspect(amd64)
			check(t, "inspecting", err, tc.inspect)
			want := tc.read
			if want == "" {
				want = tc.inspect
			}
			_, err = source.Copy(amd64, collector{}.to)
			check(t, "copying", err, want)
			_, err = archive.Stream(bytes.NewReader(tc.archive)).Copy(amd64, collector{}.to)
			check(t, "copying a stream", err, want)
		})
	}
}

func check(t *testing.T, what string, err error, want string) {
	t.Helper()
	if want == "" {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return
	}
	if err == nil || !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: got %v, want %q", what, err, want)
	}
}

func TestOpenRefuses(t *testing.T) {
	empty := t.TempDir()
	for name, tc := range map[string]struct {
		open func() (*archive.Source, error)
		want string
	}{
		"no file":    {func() (*archive.Source, error) { return archive.OpenFile(empty + "/none") }, "no such file"},
		"a folder":   {func() (*archive.Source, error) { return archive.OpenFile(empty) }, "is a folder"},
		"no folder":  {func() (*archive.Source, error) { return archive.OpenLayout(empty + "/none") }, "no such file"},
		"no layout":  {func() (*archive.Source, error) { return archive.OpenLayout(empty) }, "has no file oci-layout"},
		"not folder": {func() (*archive.Source, error) { return archive.OpenLayout(archivetest.Write(t, nil)) }, "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tc.open()
			check(t, "opening", err, tc.want)
		})
	}
}

// TestLinksStayInside reads a layout whose blob is a link to a file elsewhere: it is
// not followed.
func TestLinksStayInside(t *testing.T) {
	files := archivetest.Layout(t, archivetest.New(t, "amd64", []string{full}, "secret"))
	dir := archivetest.Folder(t, files[:1])
	for _, f := range files[2:] {
		if err := os.WriteFile(dir+"/"+f.Name, f.Content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(archivetest.Write(t, files[1].Content), dir+"/"+files[1].Name); err != nil {
		t.Fatal(err)
	}
	source, err := archive.OpenLayout(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = source.Close() }()
	if _, err := source.Inspect(amd64); err == nil || !strings.Contains(err.Error(), "escapes") {
		t.Errorf("got %v", err)
	}
}

// TestLayerThatLooksLikeADocument is a tar whose first name begins like JSON.
func TestLayerThatLooksLikeADocument(t *testing.T) {
	odd := archivetest.FromLayers(t, "amd64", []string{full}, v1.Config{}, archivetest.Tar(t, []archivetest.File{{Name: "{odd}", Content: []byte("x")}}))
	for _, files := range [][]archivetest.File{archivetest.Legacy(t, odd), archivetest.Layout(t, odd)} {
		images, err := archive.Stream(bytes.NewReader(archivetest.Tar(t, files))).Copy(amd64, collector{}.to)
		if err != nil || len(images) != 1 || len(images[0].Documents) != 3 || !bytes.Equal(images[0].Documents[2].Content, odd.Layers[0]) {
			t.Errorf("got %v, %v", images, err)
		}
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"app":                                   "docker.io/library/app:latest",
		"app:dev":                               full,
		"docker.io/library/app:dev":             full,
		"index.docker.io/app:dev":               full,
		"me/app":                                "docker.io/me/app:latest",
		"localhost/app:dev":                     "localhost/app:dev",
		"registry.example:5000/a/b:v1":          "registry.example:5000/a/b:v1",
		"App":                                   "",
		"":                                      "",
		"app:":                                  "",
		"app@" + strings.Repeat("0", 3):         "",
		"app@sha256:" + strings.Repeat("0", 64): "",
		strings.Repeat("0", 64):                 "",
	} {
		got, err := archive.Normalize(name)
		if got != want || (want == "") != errors.Is(err, fault.Invalid) {
			t.Errorf("%q is %q, %v, want %q", name, got, err, want)
		}
	}
	unnamed := []archive.Image{{}}
	if err := archive.Named(unnamed); !errors.Is(err, fault.Invalid) {
		t.Errorf("got %v", err)
	}
	if err := archive.Rename(unnamed, "app:dev"); err != nil || archive.Named(unnamed) != nil || unnamed[0].String() != full {
		t.Errorf("got %v, %v", unnamed, err)
	}
	if err := archive.Rename(make([]archive.Image, 2), "app:dev"); !errors.Is(err, fault.Invalid) {
		t.Errorf("got %v", err)
	}
}

// FuzzStream reads whatever there is: it is refused, or an image whose documents
// have the digests that they are known by.
func FuzzStream(f *testing.F) {
	one := archivetest.New(f, "amd64", []string{"app:dev"}, "below", "above")
	f.Add(archivetest.Tar(f, archivetest.Legacy(f, one, one)))
	f.Add(archivetest.Tar(f, archivetest.Blobs(f, one)))
	f.Add(archivetest.Zip(f, archivetest.Tar(f, archivetest.Layout(f, one))))
	f.Add(archivetest.Tar(f, []archivetest.File{{Name: "../../etc/passwd", Content: []byte("x")}, {Name: "a", Link: "b"}, {Name: "b", Link: "a"}, {Name: "manifest.json", Content: []byte(`[{"Config":"a"}]`)}}))
	f.Fuzz(func(t *testing.T, content []byte) {
		images, err := archive.Stream(bytes.NewReader(content)).Copy(amd64, func(archive.Blob) (io.Writer, error) { return io.Discard, nil })
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Fatalf("%v is not told as a fault of the archive", err)
			}
			return
		}
		for _, i := range images {
			if len(i.Documents) < 2 {
				t.Fatalf("%v has no documents", i)
			}
			for _, d := range i.Documents {
				if archivetest.Hash(d.Content) != d.Digest {
					t.Fatalf("a document of %v has another digest", i)
				}
			}
		}
	})
}
