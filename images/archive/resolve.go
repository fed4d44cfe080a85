package archive

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/loam-cloud/loam/fault"
)

// Files of the two formats, as the OCI image layout specification and the
// documentation of docker save call them.
const (
	layoutFile   = "oci-layout"
	indexFile    = "index.json"
	manifestFile = "manifest.json"
)

// Annotations of an index that name an image: containerd's and BuildKit's full
// name, and the OCI specification's, which may be a tag only.
const (
	annotationName = "io.containerd.image.name"
	annotationRef  = "org.opencontainers.image.ref.name"
	// annotationKind is what BuildKit marks attestations by.
	annotationKind = "vnd.docker.reference.type"
)

// images finds out which images the files are. An archive may be of both formats;
// that of OCI says more then.
func (b *book) images(platform v1.Platform) ([]Image, error) {
	named, err := b.dockerNames()
	if err != nil {
		return nil, err
	}
	var found []Image
	_, _, layout := b.find(layoutFile)
	_, _, docker := b.find(manifestFile)
	switch {
	case layout:
		found, err = b.ociImages(platform)
	case docker:
		found, err = b.dockerImages(platform)
	default:
		return nil, fault.New(fault.Invalid, "it is no archive of images, or ends early: it has neither a file %s nor %s", manifestFile, layoutFile)
	}
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fault.New(fault.Invalid, "there is no image in it")
	}
	for i := range found {
		if len(found[i].Names) == 0 {
			found[i].Names = named[found[i].Config]
		}
		slices.Sort(found[i].Names)
		found[i].Names = slices.Compact(found[i].Names)
	}
	return found, nil
}

// dockerManifest is one image in the manifest of docker save.
type dockerManifest struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// dockerNames are the names that the manifest of docker save has for images, by
// the digest of their configuration.
func (b *book) dockerNames() (map[v1.Hash][]string, error) {
	if _, _, found := b.find(manifestFile); !found {
		return nil, nil
	}
	var all []dockerManifest
	if _, err := b.document(manifestFile, &all); err != nil {
		return nil, err
	}
	named := map[v1.Hash][]string{}
	for _, m := range all {
		_, s, _ := b.find(m.Config) // one that is missing is told where it is needed
		for _, tag := range m.RepoTags {
			full, err := Normalize(tag)
			if err != nil {
				return nil, err
			}
			named[s.digest] = append(named[s.digest], full)
		}
	}
	return named, nil
}

func (b *book) dockerImages(platform v1.Platform) ([]Image, error) {
	var all []dockerManifest
	if _, err := b.document(manifestFile, &all); err != nil {
		return nil, err
	}
	var found []Image
	for _, m := range all {
		image, err := b.dockerImage(m, platform)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", strings.Join(m.RepoTags, ", "), err)
		}
		found = append(found, image)
	}
	return found, nil
}

func (b *book) dockerImage(m dockerManifest, platform v1.Platform) (Image, error) {
	var config v1.ConfigFile
	document, err := b.document(m.Config, &config)
	if err != nil {
		return Image{}, err
	}
	if err := runsOn(platform, v1.Platform{OS: config.OS, Architecture: config.Architecture}); err != nil {
		return Image{}, err
	}
	if len(config.RootFS.DiffIDs) != len(m.Layers) {
		return Image{}, fault.New(fault.Invalid, "its configuration knows %d layers, and it has %d", len(config.RootFS.DiffIDs), len(m.Layers))
	}
	image := Image{Config: document.Digest, Digests: []v1.Hash{document.Digest}, MediaType: string(types.OCIManifestSchema1)}
	manifest := v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Layers: []v1.Descriptor{},
		Config: v1.Descriptor{MediaType: types.OCIConfigJSON, Size: int64(len(document.Content)), Digest: document.Digest},
	}
	known := true
	for n, name := range m.Layers {
		layer, packed, err := b.layer(name, config.RootFS.DiffIDs[n])
		if err != nil {
			return Image{}, err
		}
		kind := map[compression]types.MediaType{plain: types.OCIUncompressedLayer, gzipped: types.OCILayer, zstandard: types.OCILayerZStd}[packed]
		manifest.Layers = append(manifest.Layers, v1.Descriptor{MediaType: kind, Size: layer.Size, Digest: layer.Digest})
		image.Layers = append(image.Layers, layer)
		known = known && layer.Digest != (v1.Hash{})
	}
	if !known {
		return image, nil
	}
	content, err := json.Marshal(manifest)
	if err != nil {
		return Image{}, fmt.Errorf("writing its manifest: %w", err)
	}
	image.Documents = b.withLayers([]Document{{Digest: hash(content), Content: content}, document}, image.Layers)
	image.Digests = add(image.Digests, hash(content))
	return image, nil
}

// layer finds a layer of docker save. One that is not compressed has the digest
// that the configuration says.
func (b *book) layer(name string, diffID v1.Hash) (Layer, compression, error) {
	entry, s, found := b.find(name)
	if !found {
		return Layer{}, plain, fault.New(fault.Invalid, "its layer %q is missing", name)
	}
	layer := Layer{Entry: entry, DiffID: diffID, Digest: s.digest, Size: s.size}
	if s.packed != plain {
		return layer, s.packed, nil
	}
	if layer.Digest == (v1.Hash{}) {
		layer.Digest = diffID
	}
	if layer.Digest != diffID {
		return Layer{}, plain, fault.New(fault.Invalid, "its layer %q has the digest %s, and its configuration says %s", name, layer.Digest, diffID)
	}
	return layer, plain, nil
}

// withLayers adds layers that were taken for documents.
func (b *book) withLayers(documents []Document, layers []Layer) []Document {
	for _, l := range layers {
		if content, kept := b.documents[l.Entry]; kept {
			documents = append(documents, Document{Digest: l.Digest, Content: content})
		}
	}
	return documents
}

// runsOn refuses an image for another platform. An image that does not say is
// taken as it is.
func runsOn(want, have v1.Platform) error {
	if (have.OS == "" || have.OS == want.OS) && (have.Architecture == "" || have.Architecture == want.Architecture) {
		return nil
	}
	return fault.New(fault.Invalid, "it is for %s/%s, and the nodes are %s/%s", have.OS, have.Architecture, want.OS, want.Architecture)
}
