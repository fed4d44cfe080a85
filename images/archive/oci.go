package archive

import (
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/loam-cloud/loam/fault"
)

// indexLimit is how deep an index may hold others.
const indexLimit = 4

// ociImages finds the images of an OCI layout. What is no image (attestations,
// artifacts) is passed over.
func (b *book) ociImages(platform v1.Platform) ([]Image, error) {
	var layout struct{ ImageLayoutVersion string }
	if _, err := b.document(layoutFile, &layout); err != nil {
		return nil, err
	}
	if !strings.HasPrefix(layout.ImageLayoutVersion, "1.") {
		return nil, fault.New(fault.Invalid, "%s is of version %q, and 1.0.0 is known", layoutFile, layout.ImageLayoutVersion)
	}
	var index v1.IndexManifest
	if _, err := b.document(indexFile, &index); err != nil {
		return nil, err
	}
	var found []Image
	for _, d := range index.Manifests {
		if attached(d) {
			continue
		}
		name, err := ociName(d)
		if err != nil {
			return nil, err
		}
		image, isImage, err := b.ociImage(d, platform, 0)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", orDigest(name, d), err)
		}
		if !isImage {
			continue
		}
		same := slices.IndexFunc(found, func(i Image) bool { return i.Documents[0].Digest == image.Documents[0].Digest })
		if same < 0 {
			same, found = len(found), append(found, image)
		}
		found[same].Digests = add(found[same].Digests, image.Digests...)
		if name != "" {
			found[same].Names = append(found[same].Names, name)
		}
	}
	return found, nil
}

func orDigest(name string, d v1.Descriptor) string {
	if name == "" {
		return d.Digest.String()
	}
	return name
}

// attached tells what goes along with an image and is none.
func attached(d v1.Descriptor) bool {
	return d.Annotations[annotationKind] != "" || d.Platform != nil && d.Platform.OS == "unknown"
}

// ociName is the name of an image of a layout; empty when it has a tag alone.
func ociName(d v1.Descriptor) (string, error) {
	name := d.Annotations[annotationName]
	if ref := d.Annotations[annotationRef]; name == "" && strings.ContainsAny(ref, "/:") {
		name = ref
	}
	if name == "" {
		return "", nil
	}
	return Normalize(name)
}

// ociImage reads an image by its descriptor: a manifest, or the one for the
// platform out of an index. It tells whether it is an image at all.
func (b *book) ociImage(d v1.Descriptor, platform v1.Platform, depth int) (Image, bool, error) {
	if depth == indexLimit {
		return Image{}, false, fault.New(fault.Invalid, "its indexes hold each other too deep")
	}
	if !d.MediaType.IsIndex() {
		return b.ociManifest(d, platform)
	}
	var index v1.IndexManifest
	if _, err := b.blobDocument(d, &index); err != nil {
		return Image{}, false, err
	}
	var others []string
	for _, child := range index.Manifests {
		if attached(child) {
			continue
		}
		if p := child.Platform; p != nil && runsOn(platform, *p) != nil {
			others = append(others, p.OS+"/"+p.Architecture)
			continue
		}
		image, isImage, err := b.ociImage(child, platform, depth+1)
		image.Digests = add(image.Digests, d.Digest)
		return image, isImage, err
	}
	return Image{}, false, fault.New(fault.Invalid, "it is for %s, and the nodes are %s/%s", strings.Join(others, ", "), platform.OS, platform.Architecture)
}

func (b *book) ociManifest(d v1.Descriptor, platform v1.Platform) (Image, bool, error) {
	var manifest v1.Manifest
	document, err := b.blobDocument(d, &manifest)
	if err != nil {
		return Image{}, false, err
	}
	if !manifest.Config.MediaType.IsConfig() {
		return Image{}, false, nil
	}
	var config v1.ConfigFile
	described, err := b.blobDocument(manifest.Config, &config)
	if err != nil {
		return Image{}, false, err
	}
	if err := runsOn(platform, v1.Platform{OS: config.OS, Architecture: config.Architecture}); err != nil {
		return Image{}, false, err
	}
	if len(config.RootFS.DiffIDs) != len(manifest.Layers) {
		return Image{}, false, fault.New(fault.Invalid, "its configuration knows %d layers, and its manifest %d", len(config.RootFS.DiffIDs), len(manifest.Layers))
	}
	image := Image{
		Config: manifest.Config.Digest, Digests: add(nil, manifest.Config.Digest, d.Digest),
		Documents: []Document{document, described}, MediaType: string(d.MediaType),
	}
	if d.MediaType == "" {
		image.MediaType = string(types.OCIManifestSchema1)
	}
	for n, l := range manifest.Layers {
		entry, err := b.blob(l)
		if err != nil {
			return Image{}, false, err
		}
		image.Layers = append(image.Layers, Layer{Entry: entry, DiffID: config.RootFS.DiffIDs[n], Digest: l.Digest, Size: l.Size})
	}
	image.Documents = b.withLayers(image.Documents, image.Layers)
	return image, true, nil
}

// blob finds the file that a descriptor means, of the size that it says.
func (b *book) blob(d v1.Descriptor) (string, error) {
	entry, s, found := b.find("blobs/" + d.Digest.Algorithm + "/" + d.Digest.Hex)
	if !found {
		return "", fault.New(fault.Invalid, "its content %s is missing", d.Digest)
	}
	if s.size != d.Size {
		return "", fault.New(fault.Invalid, "its content %s has %d bytes, and should have %d", d.Digest, s.size, d.Size)
	}
	return entry, nil
}

func (b *book) blobDocument(d v1.Descriptor, into any) (Document, error) {
	entry, err := b.blob(d)
	if err != nil {
		return Document{}, err
	}
	return b.document(entry, into)
}
