package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/moby/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/loam-cloud/loam/fault"
)

// Engine is what is asked of a container engine: *client.Client has it.
type Engine interface {
	ImageInspect(ctx context.Context, image string, options ...client.ImageInspectOption) (client.ImageInspectResult, error)
	ImageHistory(ctx context.Context, image string, options ...client.ImageHistoryOption) (client.ImageHistoryResult, error)
	ImageSave(ctx context.Context, images []string, options ...client.ImageSaveOption) (client.ImageSaveResult, error)
}

// FromEngine reads images out of a container engine, by the names that they are to
// have in the nodes. Faults: Invalid with every image that is not there, has no tag
// or is for another platform; Transient when the engine does not answer.
func FromEngine(ctx context.Context, engine Engine, names []string, platform v1.Platform) (*Source, error) {
	s := &Source{}
	var problems []error
	for _, name := range names {
		image, err := ask(ctx, engine, name, platform)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		same := slices.IndexFunc(s.known, func(i Image) bool { return slices.Equal(i.Digests, image.Digests) })
		if same < 0 {
			s.known = append(s.known, image)
		} else {
			s.known[same].Names = append(s.known[same].Names, image.Names...)
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fault.Wrap(fault.KindOf(problems[0]), err)
	}
	s.walk = func(visit func(file) error) error {
		saved, err := save(ctx, engine, names, platform)
		if err != nil {
			return fault.New(fault.Transient, "reading images out of the container engine: %w", err)
		}
		defer func() { _ = saved.Close() }() // only read
		if err := walkTar(saved, visit); err != nil {
			return fmt.Errorf("reading images out of the container engine: %w", err)
		}
		return nil
	}
	return s, nil
}

// save asks for the nodes' platform alone where the engine can be asked so.
func save(ctx context.Context, engine Engine, names []string, platform v1.Platform) (client.ImageSaveResult, error) {
	saved, err := engine.ImageSave(ctx, names, client.ImageSaveWithPlatforms(ocispec.Platform{OS: platform.OS, Architecture: platform.Architecture}))
	if err == nil || ctx.Err() != nil {
		return saved, err
	}
	return engine.ImageSave(ctx, names)
}

// ask finds out what the engine knows of an image.
func ask(ctx context.Context, engine Engine, name string, platform v1.Platform) (Image, error) {
	full, err := Normalize(name)
	if err != nil {
		return Image{}, err
	}
	// An engine that keeps images for several platforms tells of each when it is
	// asked, and an older one refuses the question.
	found, err := engine.ImageInspect(ctx, name, client.ImageInspectWithManifests(true))
	if err != nil && !errdefs.IsNotFound(err) {
		found, err = engine.ImageInspect(ctx, name)
	}
	switch {
	case errdefs.IsNotFound(err):
		return Image{}, fault.New(fault.Invalid, "image %q is not in the container engine: build it, or fetch it with \"docker pull %s\"", name, name)
	case err != nil:
		return Image{}, fault.New(fault.Transient, "looking for image %q in the container engine: %w", name, err)
	case !called(found.RepoTags, full) && strings.HasPrefix(strings.TrimPrefix(found.ID, "sha256:"), strings.TrimPrefix(name, "sha256:")):
		return Image{}, fault.New(fault.Invalid, "image %q is named by its ID, and pods find one by a name: give one of %q, or make one with \"docker tag\"", name, found.RepoTags)
	}
	image := Image{Names: []string{full}}
	image.Digests = add(image.Digests, parse(found.ID))
	if found.Descriptor != nil {
		image.Digests = add(image.Digests, parse(found.Descriptor.Digest.String()))
	}
	if len(found.Manifests) == 0 {
		if err := runsOn(platform, v1.Platform{OS: found.Os, Architecture: found.Architecture}); err != nil {
			return Image{}, fmt.Errorf("image %q: %w", name, err)
		}
	}
	for _, m := range found.Manifests {
		if p := m.ImageData; m.Available && p != nil && p.Platform.OS == platform.OS && p.Platform.Architecture == platform.Architecture {
			image.Digests = add(image.Digests, parse(m.ID))
		}
	}
	for _, id := range found.RootFS.Layers {
		layer := Layer{DiffID: parse(id)}
		if layer.DiffID == (v1.Hash{}) {
			return Image{}, fault.New(fault.Transient, "the container engine says that image %q has the layer %q, which is no digest", name, id)
		}
		image.Layers = append(image.Layers, layer)
	}
	measure(ctx, engine, name, image.Layers)
	return image, nil
}

// measure finds out how large layers are: each is a step of the image's history that
// is not empty. What is no such history leaves them unknown.
func measure(ctx context.Context, engine Engine, name string, layers []Layer) {
	history, err := engine.ImageHistory(ctx, name)
	if err != nil {
		return // only told to a person
	}
	var sizes []int64
	for _, step := range slices.Backward(history.Items) { // the newest is first
		if step.Size > 0 {
			sizes = append(sizes, step.Size)
		}
	}
	if len(sizes) == len(layers) {
		for i := range layers {
			layers[i].Size = sizes[i]
		}
	}
}

// called tells whether one of the tags is the name. Podman has names of its own
// host for those without one.
func called(tags []string, full string) bool {
	return slices.ContainsFunc(tags, func(tag string) bool {
		return strings.HasSuffix("/"+tag, "/"+strings.TrimPrefix(strings.TrimPrefix(full, "docker.io/"), "library/"))
	})
}

// parse reads a digest; zero for what is none.
func parse(text string) v1.Hash {
	if !strings.Contains(text, ":") {
		text = "sha256:" + text // as Podman writes it
	}
	h, err := v1.NewHash(text)
	if err != nil {
		return v1.Hash{}
	}
	return h
}

// asked gives the images of an engine's archive the names that were asked for.
func asked(found, known []Image) ([]Image, error) {
	var named []Image
	for _, want := range known {
		at := slices.IndexFunc(found, func(i Image) bool {
			return slices.ContainsFunc(i.Digests, func(d v1.Hash) bool { return slices.Contains(want.Digests, d) }) ||
				slices.ContainsFunc(i.Names, func(name string) bool { return slices.Contains(want.Names, name) })
		})
		if at < 0 {
			return nil, fault.New(fault.Transient, "the container engine left image %s out: was it removed meanwhile?", want)
		}
		image := found[at]
		image.Names, image.Digests = want.Names, add(slices.Clone(image.Digests), want.Digests...)
		named = append(named, image)
	}
	return named, nil
}
