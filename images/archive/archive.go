// Package archive reads container images that somebody else wrote: archives of
// docker save, OCI layouts and their archives, and what a container engine gives
// out. The loading of images into nodes calls it.
//
// Content is read once and handed on as it comes; only the small documents that
// describe images are kept. Names of files in an archive are keys and never paths
// of this host. It must not know nodes, nor what becomes of an image.
package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"slices"
	"strings"

	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/loam-cloud/loam/fault"
)

// Image is one image for one platform.
type Image struct {
	// Names are full references with a tag, such as docker.io/library/app:dev.
	Names []string
	// Config is the digest of the image's configuration, which its content follows
	// from; zero when the engine has not told it.
	Config v1.Hash
	// Digests are all by which the image may be known: of its configuration, its
	// manifest, and the index that this is in.
	Digests []v1.Hash
	// Layers are the lowest first.
	Layers []Layer
	// Documents are the manifest and the configuration, in this order, and layers
	// that look like documents; nil as long as the digest of a layer is not known.
	Documents []Document
	// MediaType is that of the manifest.
	MediaType string
}

// Layer is a layer of an image.
type Layer struct {
	// Entry is the file that holds it, as it is called in the archive; empty when
	// that is not known.
	Entry string
	// DiffID is the digest of the layer when it is not compressed.
	DiffID v1.Hash
	// Digest is that of the layer as it is; zero as long as it is not known.
	Digest v1.Hash
	Size   int64
}

// Document is a small file that describes an image.
type Document struct {
	Digest  v1.Hash
	Content []byte
}

// Size is that of all layers as they are in the archive.
func (i Image) Size() int64 {
	var size int64
	for _, l := range i.Layers {
		size += l.Size
	}
	return size
}

// String names an image to a person.
func (i Image) String() string {
	if len(i.Names) > 0 {
		return strings.Join(i.Names, ", ")
	}
	return i.Config.String()
}

// Chains are the names under which containerd has the layers unpacked, each on top
// of those below it: the chain IDs of the OCI image specification.
func (i Image) Chains() []string {
	var chains []string
	for n, l := range i.Layers {
		chain := l.DiffID.String()
		if n > 0 {
			chain = hash([]byte(chains[n-1] + " " + chain)).String()
		}
		chains = append(chains, chain)
	}
	return chains
}

// Normalize makes a full reference of the name that a user gives an image. Faults:
// Invalid (no name, or one without a tag of its own).
func Normalize(name string) (string, error) {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return "", fault.New(fault.Invalid, "%q is no name of an image: %w", name, err)
	}
	if _, digested := named.(reference.Digested); digested {
		return "", fault.New(fault.Invalid, "%q names an image by its digest, and pods find one that was loaded by a tag only: give its tag", name)
	}
	return reference.TagNameOnly(named).String(), nil
}

// Rename gives images the names that a user wants for them, in the place of those
// that the archive has. Faults: Invalid (several images, one name).
func Rename(images []Image, name string) error {
	full, err := Normalize(name)
	if err != nil {
		return err
	}
	if len(images) != 1 {
		return fault.New(fault.Invalid, "there are %d images, and only one can be called %q", len(images), name)
	}
	images[0].Names = []string{full}
	return nil
}

// Named reports images without a name, which no pod could use. Fault: Invalid.
func Named(images []Image) error {
	for _, i := range images {
		if len(i.Names) == 0 {
			return fault.New(fault.Invalid, "image %s has no name in there: give it one", i.Config)
		}
	}
	return nil
}

func hash(content []byte) v1.Hash {
	sum := sha256.Sum256(content)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}

// add lists a digest once.
func add(list []v1.Hash, digests ...v1.Hash) []v1.Hash {
	for _, d := range digests {
		if d != (v1.Hash{}) && !slices.Contains(list, d) {
			list = append(list, d)
		}
	}
	return list
}

// exactly reads as many bytes as a file should have.
func exactly(name string, from io.Reader, size int64) ([]byte, error) {
	content := make([]byte, size)
	if n, err := io.ReadFull(from, content); err != nil {
		return nil, short(name, int64(n), size, err)
	}
	return content, nil
}

func short(name string, got, size int64, err error) error {
	return fault.New(fault.Invalid, "it ends early: %d of %d bytes of %q are there: %w", got, size, name, err)
}
