// Package carry copies container images from one machine into others, so that
// pods of a new version can start on nodes that were made with an older one. The
// upgrade of a cluster calls it.
//
// Nodes hold the images of their system unpacked only, and no registry has them:
// an image is read as a folder and written as an archive. It must not know
// clusters, nor which images are wanted.
package carry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/images"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/nodeconfig"
)

// Images copies those of the preloaded images of one machine that others have not
// got, as far as they are wanted. All machines run. Run again it copies what is
// left.
//
// Faults: those of machines.Guest; Transient when a command in a machine fails.
func Images(ctx context.Context, guest machines.Guest, from machines.Machine, to []machines.Machine, wanted func(name string) bool) error {
	if len(to) == 0 {
		return nil
	}
	offered, err := list(ctx, guest, from)
	if err != nil {
		return err
	}
	lacking := map[string][]machines.Machine{}
	for _, m := range to {
		have, err := list(ctx, guest, m)
		if err != nil {
			return err
		}
		for _, name := range offered {
			if wanted(name) && !slices.Contains(have, name) {
				lacking[name] = append(lacking[name], m)
			}
		}
	}
	for _, name := range offered {
		if len(lacking[name]) == 0 {
			continue
		}
		if err := copyImage(ctx, guest, name, from, lacking[name]); err != nil {
			return fmt.Errorf("carrying image %q out of machine %q: %w", name, from.Name, err)
		}
	}
	return nil
}

// listScript prints the names of the images that came with the machine.
const listScript = nodeconfig.AwaitContainerd + `ctr -n k8s.io images ls -q 'labels."io.cri-containerd.pinned"==pinned'`

func list(ctx context.Context, guest machines.Guest, m machines.Machine) ([]string, error) {
	out, err := script(ctx, guest, m, listScript)
	if err != nil {
		return nil, fmt.Errorf("listing the images of machine %q: %w", m.Name, err)
	}
	names := strings.Fields(string(out))
	// The runtime lists each image under its digest too.
	return slices.DeleteFunc(names, func(name string) bool {
		return strings.HasPrefix(name, "sha256:") || strings.Contains(name, "@")
	}), nil
}

// contentScript prints a document of the content store.
const contentScript = `ctr -n k8s.io content get "$1"`

// digestScript prints the digest of an image's manifest.
const digestScript = `ctr -n k8s.io images ls "name==$1" | awk 'NR == 2 { print $3 }'`

// rootScript writes the root folder of an image as a tar stream. A view of its
// layer tells where the folder is; mounting it would not do, for layers that came
// with the machine are links. Nothing holds the view: it may be gone by itself.
//
//	$1 digest of the layer
const rootScript = `
view=loam-carry-$$
trap 'ctr -n k8s.io snapshots rm "$view" >/dev/null 2>&1 || true' EXIT
ctr -n k8s.io snapshots view "$view" "$1" >/dev/null
root=$(ctr -n k8s.io snapshots mounts /target "$view" | awk '$1 == "mount" { print $4 }')
tar -C "$root/" --numeric-owner --sort=name -cf - .
`

// importScript reads an archive, and keeps the kubelet from throwing away an image
// that comes from nowhere else.
const importScript = `
ctr -n k8s.io images import --local --discard-unpacked-layers --snapshotter overlayfs - >/dev/null
ctr -n k8s.io images label "$1" io.cri-containerd.pinned=pinned >/dev/null
`

func copyImage(ctx context.Context, guest machines.Guest, name string, from machines.Machine, to []machines.Machine) error {
	config, err := configuration(ctx, guest, name, from)
	if err != nil {
		return err
	}
	var layers struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(config, &layers); err != nil || len(layers.RootFS.DiffIDs) != 1 {
		return fault.New(fault.Internal, "it should be of one layer, and is of %d", len(layers.RootFS.DiffIDs))
	}
	image, err := unpacked(ctx, guest, name, config, layers.RootFS.DiffIDs[0], from)
	if err != nil {
		return err
	}
	defer image.Close()
	for _, m := range to {
		reader, writer := io.Pipe()
		go func() { _ = writer.CloseWithError(image.WriteArchive(writer)) }()
		err := run(ctx, guest, m, machines.Command{Args: shell(importScript, name), Stdin: reader})
		_ = reader.Close() // ends the writer when the machine did not read to the end
		if err != nil {
			return fmt.Errorf("into machine %q: %w", m.Name, err)
		}
	}
	return nil
}

// configuration reads the configuration of an image.
func configuration(ctx context.Context, guest machines.Guest, name string, m machines.Machine) ([]byte, error) {
	digest, err := script(ctx, guest, m, digestScript, name)
	if err != nil {
		return nil, err
	}
	content, err := script(ctx, guest, m, contentScript, strings.TrimSpace(string(digest)))
	if err != nil {
		return nil, err
	}
	var manifest struct{ Config struct{ Digest string } }
	if err := json.Unmarshal(content, &manifest); err != nil || manifest.Config.Digest == "" {
		return nil, fault.New(fault.Internal, "its manifest names no configuration: %.200s", content)
	}
	return script(ctx, guest, m, contentScript, manifest.Config.Digest)
}

// unpacked reads an image out of a machine.
func unpacked(ctx context.Context, guest machines.Guest, name string, config []byte, layer string, m machines.Machine) (*images.Container, error) {
	reader, writer := io.Pipe()
	var image *images.Container
	var both errgroup.Group
	both.Go(func() error {
		err := run(ctx, guest, m, machines.Command{Args: shell(rootScript, layer), Stdout: writer})
		_ = writer.CloseWithError(err) // nil ends the stream
		return err
	})
	both.Go(func() (err error) {
		image, err = images.NewContainer(name, config, reader)
		_ = reader.CloseWithError(err) // ends the command when there is nobody to read
		return err
	})
	if err := both.Wait(); err != nil {
		if image != nil {
			image.Close()
		}
		return nil, err
	}
	return image, nil
}

func shell(text string, args ...string) []string {
	return append([]string{"/bin/sh", "-ceu", text, "loam"}, args...)
}

func script(ctx context.Context, guest machines.Guest, m machines.Machine, text string, args ...string) ([]byte, error) {
	var out bytes.Buffer
	err := run(ctx, guest, m, machines.Command{Args: shell(text, args...), Stdout: &out})
	return out.Bytes(), err
}

func run(ctx context.Context, guest machines.Guest, m machines.Machine, c machines.Command) error {
	var problem bytes.Buffer
	c.Stderr = &problem
	err := guest.Run(ctx, m.Cluster, m.Name, c)
	if exit := (*machines.ExitError)(nil); errors.As(err, &exit) {
		lines := slices.DeleteFunc(strings.Split(problem.String(), "\n"), func(line string) bool {
			return line == "" || strings.Contains(line, "level=warning")
		})
		return fault.New(fault.Transient, "%w: %s", err, strings.Join(lines, "; "))
	}
	return err
}
