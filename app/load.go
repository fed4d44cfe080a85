package app

import (
	"context"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/moby/client"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/images/archive"
	"github.com/loam-cloud/loam/shoots/load"
)

// Loader puts images into nodes of the installation's clusters.
func (i *Insight) Loader(say func(format string, args ...any)) *load.Loader {
	return &load.Loader{Machines: i.driver, Say: say}
}

// EngineImages are the images of the container engine that a user has, which is the
// one that nodes run on. Whoever opened it closes it.
type EngineImages struct{ engine *client.Client }

// OpenEngineImages connects to the container engine when it is asked for something.
func OpenEngineImages() (*EngineImages, error) {
	engine, err := client.New(client.FromEnv)
	if err != nil {
		return nil, fault.New(fault.Invalid, "docker host: %w", err)
	}
	return &EngineImages{engine}, nil
}

// Close ends connections.
func (e *EngineImages) Close() { _ = e.engine.Close() } // nobody waits for them

// Source reads images by their names. Faults: those of archive.FromEngine.
func (e *EngineImages) Source(ctx context.Context, names []string, platform v1.Platform) (*archive.Source, error) {
	return archive.FromEngine(ctx, e.engine, names, platform)
}

// Tags are the names of all images. Faults: Transient.
func (e *EngineImages) Tags(ctx context.Context) ([]string, error) {
	all, err := e.engine.ImageList(ctx, client.ImageListOptions{})
	if err != nil {
		return nil, fault.New(fault.Transient, "listing images: %w", err)
	}
	var tags []string
	for _, i := range all.Items {
		tags = append(tags, i.RepoTags...)
	}
	slices.Sort(tags)
	return slices.DeleteFunc(tags, func(tag string) bool { return tag == "<none>:<none>" }), nil
}
