package images

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/images/internal/layer"
)

// Container is a container image that was unpacked on a node: its folder as one
// layer, with the configuration that it had. Whoever made it closes it.
type Container struct {
	image layer.Image
}

// NewContainer reads an image under the name that it is to have: its configuration,
// a document of the OCI image specification, and a tar stream of its root folder,
// which is kept in a temporary file. Faults: Invalid (the configuration is none).
func NewContainer(name string, config []byte, root io.Reader) (*Container, error) {
	var parsed v1.ConfigFile
	if err := json.Unmarshal(config, &parsed); err != nil {
		return nil, fault.New(fault.Invalid, "reading the configuration of image %q: %w", name, err)
	}
	file, err := os.CreateTemp("", "loam-layer-")
	if err != nil {
		return nil, fmt.Errorf("keeping image %q: %w", name, err)
	}
	made := &Container{image: layer.Image{Name: name, Config: parsed.Config}}
	digest := sha256.New()
	size, err := io.Copy(io.MultiWriter(file, digest), root)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	made.image.Layers = []layer.File{{
		Path: file.Name(), Size: size, DiffID: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(digest.Sum(nil))},
	}}
	if err != nil {
		made.Close()
		return nil, fmt.Errorf("keeping image %q: %w", name, err)
	}
	return made, nil
}

// WriteArchive writes what `ctr images import` reads. It may be called several
// times at once.
func (c *Container) WriteArchive(w io.Writer) error {
	return layer.WriteArchive(w, c.image, runtime.GOARCH)
}

// Close removes what was kept.
func (c *Container) Close() {
	// A file in the system's folder of temporary ones; nobody can do more about it.
	_ = os.Remove(c.image.Layers[0].Path)
}
