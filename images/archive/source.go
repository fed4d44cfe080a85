package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/loam-cloud/loam/fault"
)

// Source is where images come from. Whoever opened it closes it.
type Source struct {
	// walk visits each file once.
	walk func(visit func(file) error) error
	// twice says that files may be visited without reading their content, and
	// again after that.
	twice bool
	// known are the images as the engine told of them before anything is read.
	known []Image
	close func() error
}

// file is one of an archive or a folder.
type file struct {
	name string
	// link is the name that a link has for another file.
	link    string
	size    int64
	content io.Reader
}

// Close ends reading.
func (s *Source) Close() error {
	if s.close == nil {
		return nil
	}
	return s.close()
}

// OpenFile opens an archive: plain, or compressed by gzip or zstd. Faults: Invalid.
func OpenFile(name string) (*Source, error) {
	opened, err := os.Open(name)
	if err != nil {
		return nil, fault.New(fault.Invalid, "archive: %w", err)
	}
	info, err := opened.Stat()
	if err == nil && info.IsDir() {
		err = fault.New(fault.Invalid, "archive: %q is a folder: a layout of OCI is loaded with oci-layout", name)
	}
	var head [4]byte
	if err == nil && info.Mode().IsRegular() {
		// A shorter file is no archive, which reading it tells.
		if _, err = opened.ReadAt(head[:], 0); errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if err != nil {
		_ = opened.Close() // nothing was written
		return nil, fault.Wrap(fault.Invalid, err)
	}
	if !info.Mode().IsRegular() || compressed(head[:]) != plain {
		s := Stream(opened)
		s.close = opened.Close
		return s, nil
	}
	return &Source{twice: true, close: opened.Close, walk: func(visit func(file) error) error {
		if _, err := opened.Seek(0, io.SeekStart); err != nil {
			return err
		}
		return walkTar(opened, visit)
	}}, nil
}

// Stream reads an archive that comes only once.
func Stream(from io.Reader) *Source {
	return &Source{walk: func(visit func(file) error) error {
		buffered := bufio.NewReader(from)
		head, _ := buffered.Peek(4) // what is shorter is told by reading it
		switch compressed(head) {
		case gzipped:
			unpacked, err := gzip.NewReader(buffered)
			if err != nil {
				return fault.New(fault.Invalid, "reading gzip: %w", err)
			}
			return walkTar(unpacked, visit)
		case zstandard:
			unpacked, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(1<<30))
			if err != nil {
				return fault.New(fault.Invalid, "reading zstd: %w", err)
			}
			defer unpacked.Close()
			return walkTar(unpacked, visit)
		}
		return walkTar(buffered, visit)
	}}
}

func walkTar(from io.Reader, visit func(file) error) error {
	archive := tar.NewReader(from)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return unreadable(err)
		}
		f := file{name: header.Name, size: header.Size, content: archive}
		switch header.Typeflag {
		case tar.TypeReg:
		case tar.TypeSymlink:
			f.link = path.Join(path.Dir(header.Name), header.Linkname)
		case tar.TypeLink:
			f.link = header.Linkname
		default:
			continue
		}
		if err := visit(f); err != nil {
			return err
		}
	}
}

// unreadable says what is wrong with an archive, unless its reader has said it.
func unreadable(err error) error {
	switch {
	case fault.KindOf(err) != fault.Internal:
		return err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fault.New(fault.Invalid, "it ends early: %w", err)
	}
	return fault.New(fault.Invalid, "it is no archive of images: %w", err)
}

// OpenLayout opens a folder that is an OCI image layout. Faults: Invalid.
func OpenLayout(dir string) (*Source, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fault.New(fault.Invalid, "layout: %w", err)
	}
	if _, err := root.Stat(layoutFile); err != nil {
		_ = root.Close() // only looked at
		return nil, fault.New(fault.Invalid, "layout: folder %q is none of OCI: it has no file %s", dir, layoutFile)
	}
	return &Source{twice: true, close: root.Close, walk: func(visit func(file) error) error {
		names := []string{layoutFile, indexFile}
		blobs, err := fs.Glob(root.FS(), "blobs/*/*")
		if err != nil {
			return fmt.Errorf("listing blobs: %w", err)
		}
		for _, name := range append(names, blobs...) {
			if err := visitFile(root, name, visit); err != nil {
				return err
			}
		}
		return nil
	}}, nil
}

func visitFile(root *os.Root, name string, visit func(file) error) error {
	opened, err := root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // what it is missed for tells
	}
	if err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	defer func() { _ = opened.Close() }() // only read
	info, err := opened.Stat()
	if err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	return visit(file{name: name, size: info.Size(), content: opened})
}

// compression is how a file or a layer is packed.
type compression int

const (
	plain compression = iota
	gzipped
	zstandard
)

// compressed tells by the first bytes, which gzip (RFC 1952, section 2.3.1) and
// zstd (RFC 8878, section 3.1.1) give.
func compressed(head []byte) compression {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return gzipped
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return zstandard
	}
	return plain
}

// Inspect tells which images there are, without reading their content. It is nil
// for what can be read only once and says nothing before. Faults: Invalid (no
// archive of images, not for the platform, incomplete).
func (s *Source) Inspect(platform v1.Platform) ([]Image, error) {
	if s.known != nil || !s.twice {
		return s.known, nil
	}
	b := newBook()
	if err := s.walk(func(f file) error { return b.note(f, nil) }); err != nil {
		return nil, err
	}
	return b.images(platform)
}

// Blob is a file that may be a layer.
type Blob struct {
	// Entry is what it is called.
	Entry string
	// Digest is what it should have by its name; zero when that tells nothing.
	Digest v1.Hash
	Size   int64
}

// Copy reads everything once, and hands each file that may be a layer to the writer
// that to returns for it; nil passes it over. Digests of what is handed on are
// checked, each at the end of its file, so what was written counts only when
// Copy has returned. Faults: those of Inspect, Invalid (a wrong digest), and
// errors of to and its writers.
func (s *Source) Copy(platform v1.Platform, to func(Blob) (io.Writer, error)) ([]Image, error) {
	b := newBook()
	if err := s.walk(func(f file) error { return b.note(f, to) }); err != nil {
		return nil, err
	}
	images, err := b.images(platform)
	if err != nil || s.known == nil {
		return images, err
	}
	return asked(images, s.known)
}
