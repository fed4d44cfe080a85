package archive_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/images/archive"
	"github.com/loam-cloud/loam/images/archive/archivetest"
)

// engine knows images by name and saves one archive. An old one knows no options.
type engine struct {
	images map[string]image.InspectResponse
	saved  []byte
	old    bool
	asked  []string
}

func (e *engine) ImageInspect(_ context.Context, name string, options ...client.ImageInspectOption) (client.ImageInspectResult, error) {
	if e.old && len(options) > 0 {
		return client.ImageInspectResult{}, errors.New("too old")
	}
	found, has := e.images[name]
	if !has {
		return client.ImageInspectResult{}, fmt.Errorf("no such image: %w", errdefs.ErrNotFound)
	}
	return client.ImageInspectResult{InspectResponse: found}, nil
}

// ImageHistory tells of an empty step on top of one for each layer.
func (e *engine) ImageHistory(_ context.Context, name string, _ ...client.ImageHistoryOption) (client.ImageHistoryResult, error) {
	items := []image.HistoryResponseItem{{}}
	for i := range e.images[name].RootFS.Layers {
		items = append(items, image.HistoryResponseItem{Size: int64(100 - i)})
	}
	return client.ImageHistoryResult{Items: items}, nil
}

func (e *engine) ImageSave(_ context.Context, names []string, options ...client.ImageSaveOption) (client.ImageSaveResult, error) {
	if e.old && len(options) > 0 {
		return nil, errors.New("too old")
	}
	e.asked = names
	return io.NopCloser(bytes.NewReader(e.saved)), nil
}

func inspected(i archivetest.Image, tags ...string) image.InspectResponse {
	var layers []string
	for _, l := range i.Layers {
		layers = append(layers, archivetest.Hash(l).String())
	}
	return image.InspectResponse{
		ID: archivetest.Hash(i.Config).String(), RepoTags: tags, Os: "linux", Architecture: "amd64", RootFS: image.RootFS{Type: "layers", Layers: layers},
	}
}

func TestEngine(t *testing.T) {
	one := archivetest.New(t, "amd64", []string{"app:dev"}, "below", "above")
	podman := one
	podman.Names = []string{"localhost/app:dev"}
	_, manifest := archivetest.Manifest(t, one)
	kept := inspected(one, "app:dev")
	// An engine that keeps images as containerd does knows them by their manifest.
	kept.ID = manifest.Digest.String()
	kept.Manifests = []image.ManifestSummary{
		{ID: manifest.Digest.String(), Available: true, Kind: image.ManifestKindImage, ImageData: &image.ImageProperties{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}}},
		{ID: archivetest.Hash(nil).String(), Kind: image.ManifestKindAttestation},
	}
	for name, tc := range map[string]struct {
		engine *engine
		names  []string
	}{
		"docker":              {&engine{old: true, images: map[string]image.InspectResponse{"app:dev": inspected(one, "app:dev")}, saved: archivetest.Tar(t, archivetest.Legacy(t, one))}, []string{"app:dev"}},
		"docker since 25":     {&engine{images: map[string]image.InspectResponse{"app:dev": inspected(one, "app:dev")}, saved: archivetest.Tar(t, archivetest.Blobs(t, one))}, []string{"app:dev"}},
		"docker's new store":  {&engine{images: map[string]image.InspectResponse{"app:dev": kept}, saved: archivetest.Tar(t, archivetest.Layout(t, one))}, []string{"app:dev"}},
		"podman's local name": {&engine{old: true, images: map[string]image.InspectResponse{"app:dev": inspected(podman, "localhost/app:dev")}, saved: archivetest.Tar(t, archivetest.Legacy(t, podman))}, []string{"app:dev"}},
	} {
		t.Run(name, func(t *testing.T) {
			source, err := archive.FromEngine(t.Context(), tc.engine, tc.names, amd64)
			if err != nil {
				t.Fatal(err)
			}
			before, err := source.Inspect(amd64)
			if err != nil || len(before) != 1 || !slices.Equal(before[0].Names, []string{full}) || len(before[0].Layers) != 2 || before[0].Layers[0].Size != 99 {
				t.Fatalf("before it is read: %+v, %v", before, err)
			}
			got := collector{}
			after, err := source.Copy(amd64, got.to)
			if err != nil || len(after) != 1 {
				t.Fatalf("got %v, %v", after, err)
			}
			holds(t, after[0], one, got)
			if !slices.Equal(after[0].Names, []string{full}) || !slices.Contains(after[0].Digests, before[0].Digests[0]) || !slices.Equal(before[0].Chains(), after[0].Chains()) {
				t.Errorf("it was %+v, and is %+v", before[0], after[0])
			}
			if !slices.Equal(tc.engine.asked, tc.names) {
				t.Errorf("asked for %v", tc.engine.asked)
			}
		})
	}
}

// TestEngineTwoNames loads the same image by two names as one.
func TestEngineTwoNames(t *testing.T) {
	one := archivetest.New(t, "amd64", []string{"app:dev", "app:v1"}, "x")
	e := &engine{images: map[string]image.InspectResponse{"app:dev": inspected(one, one.Names...), "app:v1": inspected(one, one.Names...)}, saved: archivetest.Tar(t, archivetest.Legacy(t, one))}
	source, err := archive.FromEngine(t.Context(), e, []string{"app:dev", "app:v1"}, amd64)
	if err != nil {
		t.Fatal(err)
	}
	images, err := source.Copy(amd64, collector{}.to)
	if err != nil || len(images) != 1 || !slices.Equal(images[0].Names, []string{full, "docker.io/library/app:v1"}) {
		t.Errorf("got %v, %v", images, err)
	}
}

func TestEngineRefuses(t *testing.T) {
	one, arm := archivetest.New(t, "amd64", []string{"app:dev"}, "x"), inspected(archivetest.New(t, "arm64", nil, "y"), "arm:dev")
	arm.Architecture = "arm64"
	id := archivetest.Hash(one.Config).Hex[:12]
	e := &engine{old: true, images: map[string]image.InspectResponse{id: inspected(one, "app:dev"), "arm:dev": arm}}
	_, err := archive.FromEngine(t.Context(), e, []string{"none:dev", id, "arm:dev", "BAD"}, amd64)
	if !errors.Is(err, fault.Invalid) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{
		`image "none:dev" is not in the container engine`, `is named by its ID`, `["app:dev"]`,
		`image "arm:dev": it is for linux/arm64, and the nodes are linux/amd64`, `"BAD" is no name`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not said: %v", want, err)
		}
	}
}
