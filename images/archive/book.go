package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/loam-cloud/loam/fault"
)

const (
	// documentLimit is how large a document may be; containerd's own limit is 20 MiB
	// and manifests have a few KiB.
	documentLimit = 8 << 20
	// keptLimit bounds all documents of an archive, fileLimit the number of its files.
	keptLimit = 64 << 20
	fileLimit = 100_000
	// chunk is how much is handed on at once.
	chunk = 256 << 10
	// linkLimit is how many links may lead to each other.
	linkLimit = 8
)

// book is what is remembered of the files that were seen.
type book struct {
	files     map[string]seen
	documents map[string][]byte
	links     map[string]string
	kept      int
}

type seen struct {
	size int64
	// digest is what was read, or what the name promises of what was not.
	digest v1.Hash
	packed compression
}

func newBook() *book {
	return &book{files: map[string]seen{}, documents: map[string][]byte{}, links: map[string]string{}}
}

// key makes names equal that mean the same file.
func key(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

// promised is the digest that the name of a file of an OCI layout holds.
func promised(name string) v1.Hash {
	hex, found := strings.CutPrefix(name, "blobs/sha256/")
	if !found {
		return v1.Hash{}
	}
	h, err := v1.NewHash("sha256:" + hex)
	if err != nil {
		return v1.Hash{}
	}
	return h
}

// note remembers a file. Documents are kept, others handed to the writer that to
// returns; without to they are not read.
func (b *book) note(f file, to func(Blob) (io.Writer, error)) error {
	name := key(f.name)
	if len(b.files)+len(b.links) >= fileLimit {
		return fault.New(fault.Invalid, "it is no archive of images: it has more than %d files", fileLimit)
	}
	if f.link != "" {
		b.links[name] = key(f.link)
		return nil
	}
	head := make([]byte, min(4, f.size))
	if _, err := io.ReadFull(f.content, head); err != nil {
		return short(name, 0, f.size, err)
	}
	f.content = io.MultiReader(bytes.NewReader(head), f.content)
	s := seen{size: f.size, digest: promised(name), packed: compressed(head)}
	if isDocument(head, f.size) {
		content, err := exactly(name, f.content, f.size)
		if err != nil {
			return err
		}
		if b.kept += len(content); b.kept > keptLimit {
			return fault.New(fault.Invalid, "it is no archive of images: its documents have more than %d bytes", keptLimit)
		}
		b.documents[name] = content
		return b.enter(name, s, hash(content))
	}
	if to == nil {
		b.files[name] = s
		return nil
	}
	return b.hand(name, s, f, to)
}

// isDocument tells JSON from a layer: no format of layers begins like it but a tar
// whose first name does, which is kept and handed on later all the same.
func isDocument(head []byte, size int64) bool {
	return len(head) > 0 && (head[0] == '{' || head[0] == '[') && size <= documentLimit
}

// hand hands a file on and checks its digest.
func (b *book) hand(name string, s seen, f file, to func(Blob) (io.Writer, error)) error {
	w, err := to(Blob{Entry: name, Digest: s.digest, Size: f.size})
	if err != nil {
		return err
	}
	if w == nil && s.digest != (v1.Hash{}) {
		b.files[name] = s
		return nil
	}
	digest := sha256.New()
	both := io.Writer(digest)
	if w != nil {
		both = io.MultiWriter(digest, w)
	}
	from := &source{Reader: f.content}
	n, err := io.CopyBuffer(struct{ io.Writer }{both}, from, make([]byte, chunk))
	switch {
	case from.err != nil:
		return short(name, n, f.size, from.err)
	case err != nil:
		return err
	case n != f.size:
		return short(name, n, f.size, io.ErrUnexpectedEOF)
	}
	return b.enter(name, s, v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(digest.Sum(nil))})
}

// source remembers an error of reading, which is not one of writing.
type source struct {
	io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

func (b *book) enter(name string, s seen, digest v1.Hash) error {
	if s.digest != (v1.Hash{}) && s.digest != digest {
		return fault.New(fault.Invalid, "%q has another content than its name says: its digest is %s", name, digest)
	}
	s.digest = digest
	b.files[name] = s
	return nil
}

// find follows links to a file.
func (b *book) find(name string) (string, seen, bool) {
	name = key(name)
	for range linkLimit {
		target, link := b.links[name]
		if !link {
			break
		}
		name = target
	}
	s, found := b.files[name]
	return name, s, found
}

// document reads a file that describes something.
func (b *book) document(name string, into any) (Document, error) {
	at, s, found := b.find(name)
	if !found {
		return Document{}, fault.New(fault.Invalid, "it has no file %q", name)
	}
	content, kept := b.documents[at]
	if !kept {
		return Document{}, fault.New(fault.Invalid, "%q should be JSON of at most %d bytes", name, documentLimit)
	}
	if err := json.Unmarshal(content, into); err != nil {
		return Document{}, fault.New(fault.Invalid, "reading %q: %w", name, err)
	}
	return Document{Digest: s.digest, Content: content}, nil
}
