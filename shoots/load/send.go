package load

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/images/archive"
)

// stream writes an archive of OCI to nodes, in which each node finds what it lacks.
// containerd finds content by its digest, whatever its file is called.
type stream struct {
	*tar.Writer
	fan   *fan
	files int
}

// put begins a file for some of the nodes.
func (s *stream) put(name string, size int64, wanted func(i int) bool) error {
	// The end of the file before is for those that got it.
	if err := s.Flush(); err != nil {
		return err
	}
	s.fan.choose(wanted)
	if name == "" {
		s.files++
		name = fmt.Sprintf("content/%d", s.files)
	}
	return s.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size})
}

func (s *stream) document(name string, content []byte, wanted func(i int) bool) error {
	if err := s.put(name, int64(len(content)), wanted); err != nil {
		return err
	}
	_, err := s.Write(content)
	return err
}

// send reads the source and writes it to the receivers: content as it comes, and
// what names it when all of it is known to be right.
func (t *transfer) send(receivers []*node) error {
	s := &stream{Writer: tar.NewWriter(t.fan), fan: t.fan}
	went := map[string][]bool{}
	found, err := t.source.Copy(t.platform, func(b archive.Blob) (io.Writer, error) {
		to := t.wanting(receivers, b)
		if !slices.Contains(to, true) {
			return nil, nil
		}
		went[b.Entry] = to
		return s, s.put("", b.Size, func(i int) bool { return to[i] })
	})
	if err != nil {
		return err
	}
	if err := t.learn(found); err != nil {
		return err
	}
	for j, n := range receivers {
		n.count(t.images, func(l archive.Layer) bool { return went[l.Entry] != nil && went[l.Entry][j] })
	}
	if err := t.conclude(s, receivers); err != nil {
		return err
	}
	t.fan.end()
	return nil
}

// wanting tells which receivers lack a file.
func (t *transfer) wanting(receivers []*node, b archive.Blob) []bool {
	to := make([]bool, len(receivers))
	known := false
	for i, image := range t.images {
		for _, l := range image.Layers {
			if l.Entry != "" || l.DiffID == b.Digest {
				known = true
			}
			if l.Entry != b.Entry && (b.Digest == v1.Hash{} || l.DiffID != b.Digest && l.Digest != b.Digest) {
				continue
			}
			for j, n := range receivers {
				to[j] = to[j] || slices.Contains(n.lacks(i, image), l)
			}
		}
	}
	if !known {
		for j := range to {
			to[j] = true
		}
	}
	return to
}

// learn takes the images as they were found when all was read.
func (t *transfer) learn(found []archive.Image) error {
	if t.images == nil {
		if err := name(found, t.name); err != nil {
			return err
		}
		t.images = found
		for _, n := range t.nodes {
			n.has, n.sent = make([]bool, len(found)), make([]share, len(found))
		}
		return nil
	}
	if len(found) != len(t.images) {
		return fault.New(fault.Invalid, "the archive was changed while it was read")
	}
	for i := range found {
		if was := t.images[i].Config; was != (v1.Hash{}) && was != found[i].Config {
			return fault.New(fault.Invalid, "the archive was changed while it was read")
		}
		found[i].Names = t.images[i].Names
	}
	t.images = found
	return nil
}

// count says what a node was sent; a layer of several images counts for the first.
func (n *node) count(images []archive.Image, went func(archive.Layer) bool) {
	counted := map[v1.Hash]bool{} // by what they hold
	for i, image := range images {
		n.sent[i] = share{}
		for _, l := range image.Layers {
			if n.has[i] || counted[l.DiffID] || !went(l) {
				continue
			}
			counted[l.DiffID] = true
			n.sent[i].layers++
			n.sent[i].bytes += l.Size
		}
	}
}

// conclude writes what describes and names the images that each node lacks.
func (t *transfer) conclude(s *stream, receivers []*node) error {
	for i, image := range t.images {
		if len(image.Documents) == 0 {
			return fault.New(fault.Internal, "the manifest of image %s is not known", image)
		}
		for _, d := range image.Documents {
			if err := s.document("", d.Content, func(j int) bool { return !receivers[j].has[i] }); err != nil {
				return err
			}
		}
	}
	for j, n := range receivers {
		content, err := index(t.images, n.has)
		if err != nil {
			return err
		}
		if err := s.document("index.json", content, func(i int) bool { return i == j }); err != nil {
			return err
		}
	}
	all := func(int) bool { return true }
	if err := s.document("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`), all); err != nil {
		return err
	}
	return s.Close()
}

// index lists the images that a node lacks, once for each name.
func index(images []archive.Image, has []bool) ([]byte, error) {
	list := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	for i, image := range images {
		if has[i] {
			continue
		}
		manifest := image.Documents[0]
		for _, name := range image.Names {
			_, tag, _ := strings.Cut(name[strings.LastIndex(name, "/")+1:], ":")
			list.Manifests = append(list.Manifests, v1.Descriptor{
				MediaType: types.MediaType(image.MediaType), Size: int64(len(manifest.Content)), Digest: manifest.Digest,
				// containerd's name for an image, and the specification's for a tag.
				Annotations: map[string]string{"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag},
			})
		}
	}
	return json.Marshal(list)
}
