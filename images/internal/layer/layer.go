// Package layer writes container image layers and image archives such that the
// same input gives the same bytes: sorted entries, fixed times, no names of
// local users. Package images calls it.
//
// It must not know what an image is for.
package layer

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"sort"
	"strings"
	"time"
)

// Format is part of the key of every layer that is kept. It is changed whenever
// this package would write other bytes for the same files.
const Format = "1"

// epoch is the time of every entry.
var epoch = time.Unix(0, 0).UTC()

// Layer is a set of files to be written as one tar stream. Paths are relative to
// the root of the image. What is added later replaces what was there.
type Layer struct{ entries map[string]entry }

type entry struct {
	header tar.Header
	open   func() (io.ReadCloser, error)
}

// New returns an empty layer.
func New() *Layer { return &Layer{entries: map[string]entry{}} }

func clean(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

func (l *Layer) put(header tar.Header, open func() (io.ReadCloser, error)) {
	header.Name = clean(header.Name)
	if header.Name == "" {
		return
	}
	header.ModTime, header.Format = epoch, tar.FormatPAX
	l.entries[header.Name] = entry{header: header, open: open}
}

// Folder adds a folder.
func (l *Layer) Folder(name string, mode int64) {
	l.put(tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode}, nil)
}

// Bytes adds a file.
func (l *Layer) Bytes(name string, mode int64, content []byte) {
	l.put(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content))},
		func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil })
}

// File adds a copy of a file of this host; links are followed.
func (l *Layer) File(name string, mode int64, source string) error {
	info, err := os.Stat(source)
	if err != nil {
		return fmt.Errorf("adding %q to a layer: %w", name, err)
	}
	l.put(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: info.Size()},
		func() (io.ReadCloser, error) { return os.Open(source) })
	return nil
}

// Symlink adds a symbolic link.
func (l *Layer) Symlink(name, target string) {
	l.put(tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, nil)
}

// Write writes the layer as an uncompressed tar stream. Folders that were not
// added themselves are there with mode 0755.
func (l *Layer) Write(w io.Writer) error {
	l.addParents()
	names := make([]string, 0, len(l.entries))
	for name := range l.entries {
		names = append(names, name)
	}
	sort.Strings(names)
	out := tar.NewWriter(w)
	for _, name := range names {
		if err := writeEntry(out, l.entries[name]); err != nil {
			return fmt.Errorf("writing %q to a layer: %w", name, err)
		}
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("ending a layer: %w", err)
	}
	return nil
}

func (l *Layer) addParents() {
	var missing []string
	for name := range l.entries {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if _, found := l.entries[dir]; !found {
				missing = append(missing, dir)
			}
		}
	}
	for _, dir := range missing {
		l.Folder(dir, 0o755)
	}
}

func writeEntry(out *tar.Writer, e entry) error {
	header := e.header
	if header.Typeflag == tar.TypeDir {
		header.Name += "/"
	}
	if err := out.WriteHeader(&header); err != nil {
		return err
	}
	if e.open == nil {
		return nil
	}
	source, err := e.open()
	if err != nil {
		return err
	}
	_, err = io.Copy(out, source)
	if closeErr := source.Close(); err == nil {
		err = closeErr
	}
	return err
}

// Digest returns the digest of the stream that Write writes.
func (l *Layer) Digest() (string, error) {
	digest := sha256.New()
	if err := l.Write(digest); err != nil {
		return "", err
	}
	return hex.EncodeToString(digest.Sum(nil)), nil
}
