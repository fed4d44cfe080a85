package store

import (
	"encoding/json"
	"fmt"
	"mime"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/loam-cloud/loam/fault"
)

// MaxManifest is the largest manifest that is stored, in bytes: what the
// distribution specification wants registries to take at least.
const MaxManifest = 4 << 20

// Media types of Docker's manifests, as its image manifest version 2, schema 2
// names them.
const (
	DockerManifest     = "application/vnd.docker.distribution.manifest.v2+json"
	DockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// ManifestError says why content is not stored as a manifest.
type ManifestError struct {
	Reason string
	// Unknown are blobs and manifests that it refers to and the repository lacks.
	Unknown []digest.Digest
}

func (e *ManifestError) Error() string {
	if len(e.Unknown) == 0 {
		return "manifest: " + e.Reason
	}
	names := make([]string, len(e.Unknown))
	for i, d := range e.Unknown {
		names[i] = d.String()
	}
	return "manifest: " + e.Reason + ": " + strings.Join(names, ", ")
}

func refuse(format string, args ...any) error {
	return fault.Wrap(fault.Invalid, &ManifestError{Reason: fmt.Sprintf(format, args...)})
}

// anyManifest has the fields of image manifests and of indexes, of OCI and of
// Docker.
type anyManifest struct {
	SchemaVersion int                   `json:"schemaVersion"`
	MediaType     string                `json:"mediaType"`
	ArtifactType  string                `json:"artifactType"`
	Config        *ocispec.Descriptor   `json:"config"`
	Layers        []ocispec.Descriptor  `json:"layers"`
	Manifests     *[]ocispec.Descriptor `json:"manifests"`
	Subject       *ocispec.Descriptor   `json:"subject"`
	Annotations   map[string]string     `json:"annotations"`
}

// parseManifest reads what the index has to know of a manifest, and refuses what
// is none. Media types that are not known are stored without references, unless
// they have fields of the known ones.
func parseManifest(mediaType string, content []byte) (manifestRecord, error) {
	if len(content) > MaxManifest {
		return manifestRecord{}, refuse("it has %d bytes, must have %d at most", len(content), MaxManifest)
	}
	var m anyManifest
	if err := json.Unmarshal(content, &m); err != nil {
		return manifestRecord{}, refuse("it is not JSON of a manifest: %v", err)
	}
	if mediaType != "" {
		parsed, _, err := mime.ParseMediaType(mediaType)
		if err != nil {
			return manifestRecord{}, refuse("its media type %q cannot be read: %v", mediaType, err)
		}
		mediaType = parsed
	}
	switch {
	case mediaType == "" && m.MediaType == "":
		return manifestRecord{}, refuse("neither Content-Type nor its field mediaType says what it is")
	case mediaType == "":
		mediaType = m.MediaType
	case m.MediaType != "" && m.MediaType != mediaType:
		return manifestRecord{}, refuse("its mediaType %q is not the Content-Type %q that it was sent as", m.MediaType, mediaType)
	}
	if m.SchemaVersion != 2 {
		return manifestRecord{}, refuse("its schemaVersion is %d, must be 2", m.SchemaVersion)
	}
	if m.Config != nil && m.Manifests != nil {
		return manifestRecord{}, refuse("it has both config and manifests, and cannot be an image and an index")
	}
	record := manifestRecord{MediaType: mediaType, Size: int64(len(content)), ArtifactType: m.ArtifactType, Annotations: m.Annotations}
	return record, fillReferences(&record, m)
}

func fillReferences(record *manifestRecord, m anyManifest) error {
	switch record.MediaType {
	case ocispec.MediaTypeImageManifest, DockerManifest:
		if m.Config == nil {
			return refuse("it has no config")
		}
	case ocispec.MediaTypeImageIndex, DockerManifestList:
		if m.Manifests == nil {
			return refuse("it has no manifests")
		}
	}
	if m.Config != nil {
		if err := reference(record, &record.Blobs, "config", *m.Config); err != nil {
			return err
		}
		// Image specification, manifest.md, artifactType: what an image manifest does
		// not say is its config's media type.
		if record.ArtifactType == "" {
			record.ArtifactType = m.Config.MediaType
		}
	}
	for i, layer := range m.Layers {
		// A layer with addresses of its own may be left out of registries.
		if len(layer.URLs) > 0 {
			continue
		}
		if err := reference(record, &record.Blobs, fmt.Sprintf("layers[%d]", i), layer); err != nil {
			return err
		}
	}
	if m.Manifests != nil {
		for i, child := range *m.Manifests {
			if err := reference(record, &record.Manifests, fmt.Sprintf("manifests[%d]", i), child); err != nil {
				return err
			}
		}
	}
	if m.Subject != nil {
		if err := CheckDigest(m.Subject.Digest); err != nil {
			return refuse("subject: %v", err)
		}
		record.Subject = m.Subject.Digest
	}
	return nil
}

func reference(record *manifestRecord, to *[]digest.Digest, field string, d ocispec.Descriptor) error {
	if err := CheckDigest(d.Digest); err != nil {
		return refuse("%s: %v", field, err)
	}
	if d.Size < 0 {
		return refuse("%s: size %d must not be negative", field, d.Size)
	}
	*to = append(*to, d.Digest)
	record.Bytes += d.Size
	return nil
}
