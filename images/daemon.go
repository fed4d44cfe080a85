package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/images/node"
)

// Engine is what is asked of a container engine: *client.Client has it.
type Engine interface {
	ImageInspect(ctx context.Context, image string, options ...client.ImageInspectOption) (client.ImageInspectResult, error)
	ImageList(ctx context.Context, options client.ImageListOptions) (client.ImageListResult, error)
	ImageLoad(ctx context.Context, archive io.Reader, options ...client.ImageLoadOption) (client.ImageLoadResult, error)
	ImageTag(ctx context.Context, options client.ImageTagOptions) (client.ImageTagResult, error)
	ImageRemove(ctx context.Context, image string, options client.ImageRemoveOptions) (client.ImageRemoveResult, error)
}

// List returns the node images that the engine has, one per tag, sorted by
// Kubernetes version, oldest first, then by tag. Faults: Transient when the
// engine does not answer.
func List(ctx context.Context, engine Engine) ([]Image, error) {
	result, err := engine.ImageList(ctx, client.ImageListOptions{Filters: make(client.Filters).Add("label", LabelNode+"=1")})
	if err != nil {
		return nil, fault.New(fault.Transient, "listing node images: %w", err)
	}
	var found []Image
	for _, summary := range result.Items {
		for _, tag := range summary.RepoTags {
			found = append(found, Image{Tag: tag, ID: summary.ID, KubernetesVersion: summary.Labels[LabelKubernetesVersion]})
		}
	}
	sort.Slice(found, func(i, j int) bool {
		if a, b := found[i].KubernetesVersion, found[j].KubernetesVersion; a != b {
			return node.Less(a, b)
		}
		return found[i].Tag < found[j].Tag
	})
	return found, nil
}

// tagged returns the ID of the image that the tag names now, empty when it names
// none. Faults: Invalid when the engine does not answer.
func tagged(ctx context.Context, engine Engine, tag string) (string, error) {
	existing, err := engine.ImageInspect(ctx, tag)
	switch {
	case err == nil:
		return existing.ID, nil
	case errdefs.IsNotFound(err):
		return "", nil
	default:
		return "", fault.New(fault.Invalid, "a node image is loaded into Docker, which does not answer: %w; "+
			"install it (apt-get install docker.io) and start it (systemctl start docker, or dockerd where there is no systemd)", err)
	}
}

// present makes the tag name the image when the engine has it, and tells whether
// it has.
func present(ctx context.Context, engine Engine, image Image) (bool, error) {
	if current, err := tagged(ctx, engine, image.Tag); err != nil || current == image.ID {
		return err == nil, err
	}
	if _, err := engine.ImageInspect(ctx, image.ID); err != nil {
		if errdefs.IsNotFound(err) {
			return false, nil
		}
		return false, fault.New(fault.Transient, "looking for image %s: %w", image.ID, err)
	}
	if _, err := engine.ImageTag(ctx, client.ImageTagOptions{Source: image.ID, Target: image.Tag}); err != nil {
		return false, fmt.Errorf("tagging image %s as %q: %w", image.ID, image.Tag, err)
	}
	return true, nil
}

// discard removes a node image that has lost its last tag to a newer one, unless
// a container still runs from it.
func discard(ctx context.Context, engine Engine, id string) {
	old, err := engine.ImageInspect(ctx, id)
	if err != nil || len(old.RepoTags) > 0 || old.Config == nil || old.Config.Labels[LabelNode] != "1" {
		return
	}
	// Without force: the engine refuses while a container needs it, and what
	// stays is taken away by the user's next prune.
	_, _ = engine.ImageRemove(ctx, id, client.ImageRemoveOptions{PruneChildren: true})
}

// load sends an archive, which write writes, to the engine.
func load(ctx context.Context, engine Engine, write func(io.Writer) error) error {
	reader, writer := io.Pipe()
	go func() { _ = writer.CloseWithError(write(writer)) }()
	result, err := engine.ImageLoad(ctx, reader)
	// Ends the writer when the engine did not read to the end.
	defer func() { _ = reader.Close() }()
	if err != nil {
		return fault.New(fault.Transient, "loading the image: %w", err)
	}
	defer func() { _ = result.Close() }()
	return loadOutcome(result)
}

// loadOutcome reads the engine's messages to their end: it says there, and not in
// its status, that loading went wrong.
func loadOutcome(messages io.Reader) error {
	decoder := json.NewDecoder(messages)
	for {
		var message struct {
			Error       string `json:"error"`
			ErrorDetail struct {
				Message string `json:"message"`
			} `json:"errorDetail"`
		}
		err := decoder.Decode(&message)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fault.New(fault.Transient, "reading what the engine says of the image: %w", err)
		case message.ErrorDetail.Message != "":
			return fault.New(fault.Transient, "loading the image: %s", message.ErrorDetail.Message)
		case message.Error != "":
			return fault.New(fault.Transient, "loading the image: %s", message.Error)
		}
	}
}
