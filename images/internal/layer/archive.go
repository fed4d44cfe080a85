package layer

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// File is a layer on disk: an uncompressed tar stream.
type File struct {
	Path string
	// DiffID is the digest of the stream.
	DiffID v1.Hash
	Size   int64
}

// Save writes a layer to a file.
func Save(l *Layer, path string) (File, error) {
	out, err := os.Create(path)
	if err != nil {
		return File{}, fmt.Errorf("saving a layer: %w", err)
	}
	digest := sha256.New()
	err = l.Write(io.MultiWriter(out, digest))
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return File{}, fmt.Errorf("saving layer %q: %w", path, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return File{}, fmt.Errorf("saving layer %q: %w", path, err)
	}
	return File{Path: path, DiffID: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(digest.Sum(nil))}, Size: info.Size()}, nil
}

// Image is an image to be put into an archive.
type Image struct {
	// Name is the full reference.
	Name   string
	Config v1.Config
	// Layers are the lowest first.
	Layers []File
}

// configFile completes the configuration with what follows from the layers.
func (i Image) configFile(architecture string) ([]byte, error) {
	file := v1.ConfigFile{
		Architecture: architecture, OS: "linux", Created: v1.Time{Time: epoch}, Config: i.Config,
		RootFS: v1.RootFS{Type: "layers"},
	}
	for _, layer := range i.Layers {
		file.RootFS.DiffIDs = append(file.RootFS.DiffIDs, layer.DiffID)
		file.History = append(file.History, v1.History{Created: v1.Time{Time: epoch}})
	}
	return json.Marshal(file)
}

// ID returns the image's ID: the digest of its configuration.
func (i Image) ID(architecture string) (string, error) {
	config, err := i.configFile(architecture)
	if err != nil {
		return "", fmt.Errorf("encoding the configuration of image %q: %w", i.Name, err)
	}
	digest := sha256.Sum256(config)
	return "sha256:" + hex.EncodeToString(digest[:]), nil
}

// manifestEntry is one element of an archive's manifest.json.
type manifestEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// WriteArchive writes an archive as `docker load` and `ctr images import` read
// it, layers uncompressed.
func WriteArchive(w io.Writer, image Image, architecture string) error {
	config, err := image.configFile(architecture)
	if err != nil {
		return fmt.Errorf("encoding the configuration of image %q: %w", image.Name, err)
	}
	digest := sha256.Sum256(config)
	id := hex.EncodeToString(digest[:])
	entry := manifestEntry{Config: id + ".json", RepoTags: []string{image.Name}}
	out := tar.NewWriter(w)
	written := map[string]bool{}
	for _, layer := range image.Layers {
		name := layer.DiffID.Hex + ".tar"
		entry.Layers = append(entry.Layers, name)
		if written[name] {
			continue
		}
		written[name] = true
		if err := copyIn(out, name, layer); err != nil {
			return fmt.Errorf("writing image %q: %w", image.Name, err)
		}
	}
	manifest, err := json.Marshal([]manifestEntry{entry})
	if err != nil {
		return fmt.Errorf("encoding the manifest of image %q: %w", image.Name, err)
	}
	for _, file := range []struct {
		name    string
		content []byte
	}{{entry.Config, config}, {"manifest.json", manifest}} {
		header := tar.Header{Name: file.name, Mode: 0o644, Size: int64(len(file.content)), ModTime: epoch}
		if err := out.WriteHeader(&header); err != nil {
			return fmt.Errorf("writing image %q: %w", image.Name, err)
		}
		if _, err := io.Copy(out, bytes.NewReader(file.content)); err != nil {
			return fmt.Errorf("writing image %q: %w", image.Name, err)
		}
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("writing image %q: %w", image.Name, err)
	}
	return nil
}

func copyIn(out *tar.Writer, name string, layer File) error {
	source, err := os.Open(layer.Path)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }()
	if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: layer.Size, ModTime: epoch}); err != nil {
		return err
	}
	_, err = io.Copy(out, source)
	return err
}
