package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/loam-cloud/loam/images/internal/cache"
	"github.com/loam-cloud/loam/images/internal/layer"
)

// Kinds of entries in the cache, which are its folders.
const (
	kindImages   = "images"
	kindLayers   = "layers"
	kindBinaries = "binaries"
	kindDebian   = "debian"
)

// recordFile is the one file of an entry of kindImages.
const recordFile = "image.json"

// record is what the cache keeps of a finished image: enough to write its archive
// again when the engine has lost it.
type record struct {
	ID                string
	KubernetesVersion string
	Config            v1.Config
	// Layers have paths relative to the cache folder.
	Layers []layer.File
	// Uses lists the cache's entries that the image was made of.
	Uses []string
}

// recipe is the key of an image: this program, which holds the recipe and all
// files, the Go version and the Kubernetes version. Not in it is the state of
// the Debian mirror: packages are those of the day on which the root folder was
// made.
func recipe(kubernetesVersion, goVersion string) (cache.Key, error) {
	program, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding this program: %w", err)
	}
	file, err := os.Open(program)
	if err != nil {
		return "", fmt.Errorf("reading this program: %w", err)
	}
	defer func() { _ = file.Close() }()
	digest := sha256.New()
	if _, err := io.Copy(digest, file); err != nil {
		return "", fmt.Errorf("reading this program: %w", err)
	}
	return cache.NewHash("node image").
		Add("program", []byte(hex.EncodeToString(digest.Sum(nil)))).
		Add("go", []byte(goVersion)).
		Add("kubernetes", []byte(kubernetesVersion)).Key(), nil
}

// find reads the record of an image. One whose layers are not all there any more
// counts as missing.
func (b *builder) find(key cache.Key) (record, bool, error) {
	folder, found := b.cache.Find(kindImages, key)
	if !found {
		return record{}, false, nil
	}
	kept, err := readRecord(folder)
	if err != nil {
		return record{}, false, err
	}
	for i, file := range kept.Layers {
		kept.Layers[i].Path = filepath.Join(b.cache.Path(), file.Path)
		info, err := os.Stat(kept.Layers[i].Path)
		if err != nil || info.Size() != file.Size {
			return record{}, false, nil //nolint:nilerr // a layer that is gone is built again
		}
	}
	return kept, true, nil
}

func readRecord(folder string) (record, error) {
	encoded, err := os.ReadFile(filepath.Join(folder, recordFile))
	if err != nil {
		return record{}, fmt.Errorf("reading what is kept of an image: %w", err)
	}
	var kept record
	if err := json.Unmarshal(encoded, &kept); err != nil {
		return record{}, fmt.Errorf("reading what is kept of an image in %q: %w", folder, err)
	}
	return kept, nil
}

// make makes the image, records it, and removes from the cache what earlier
// images of the same Kubernetes version were made of.
func (b *builder) make(ctx context.Context, key cache.Key) (record, error) {
	layers, err := b.assemble(ctx)
	if err != nil {
		return record{}, err
	}
	kept := record{KubernetesVersion: b.KubernetesVersion, Config: b.nodeConfig(), Uses: b.cache.Used()}
	if kept.ID, err = (layer.Image{Name: b.Tag, Config: kept.Config, Layers: layers}).ID(runtime.GOARCH); err != nil {
		return record{}, err
	}
	for _, file := range layers {
		if file.Path, err = filepath.Rel(b.cache.Path(), file.Path); err != nil {
			return record{}, fmt.Errorf("recording the image: %w", err)
		}
		kept.Layers = append(kept.Layers, file)
	}
	encoded, err := json.Marshal(kept)
	if err != nil {
		return record{}, fmt.Errorf("recording the image: %w", err)
	}
	// A record that is there has lost its layers.
	if err := b.cache.Remove(kindImages, key); err != nil {
		return record{}, err
	}
	_, err = b.cache.Fill(kindImages, key, func(dir string) error {
		return os.WriteFile(filepath.Join(dir, recordFile), encoded, 0o644)
	})
	if err != nil {
		return record{}, err
	}
	if err := b.prune(key); err != nil {
		return record{}, err
	}
	kept.Layers = layers
	return kept, nil
}

// prune keeps the entries that the given image and images of other Kubernetes
// versions use.
func (b *builder) prune(newest cache.Key) error {
	folder := filepath.Join(b.cache.Path(), kindImages)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return fmt.Errorf("listing kept images: %w", err)
	}
	keep := map[string]bool{}
	for _, entry := range entries {
		kept, err := readRecord(filepath.Join(folder, entry.Name()))
		if errors.Is(err, fs.ErrNotExist) || err == nil && kept.KubernetesVersion == b.KubernetesVersion && entry.Name() != string(newest) {
			continue
		}
		if err != nil {
			return err
		}
		keep[filepath.Join(kindImages, entry.Name())] = true
		for _, use := range kept.Uses {
			keep[use] = true
		}
	}
	return b.cache.Prune([]string{kindImages, kindLayers, kindBinaries, kindDebian}, keep)
}

// deliver sees to it that the engine has the image under its tag. err is that of
// finding or making it.
func (b *builder) deliver(ctx context.Context, engine Engine, kept record, err error) (Image, error) {
	if err != nil {
		return Image{}, err
	}
	image := Image{Tag: b.Tag, ID: kept.ID, KubernetesVersion: b.KubernetesVersion}
	previous, err := tagged(ctx, engine, image.Tag)
	if err != nil {
		return Image{}, err
	}
	has, err := present(ctx, engine, image)
	if err != nil {
		return Image{}, err
	}
	if !has {
		err = b.step("loading "+image.Tag+" into Docker", func() error {
			return load(ctx, engine, func(w io.Writer) error {
				return layer.WriteArchive(w, layer.Image{Name: image.Tag, Config: kept.Config, Layers: kept.Layers}, runtime.GOARCH)
			})
		})
		if err != nil {
			return Image{}, err
		}
	}
	if previous != "" && previous != image.ID {
		discard(ctx, engine, previous)
	}
	return image, nil
}
