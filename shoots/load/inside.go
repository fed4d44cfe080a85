package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/images/archive"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/nodeconfig"
)

// surveyScript prints what a node is and has, in parts with a line between. The
// snapshotter is that of the kubelet's runtime: images unpacked for another one
// could not be run.
const surveyScript = nodeconfig.AwaitContainerd + `
uname -m
snapshotter=$(sed -n "s/^ *snapshotter *= *[\"']\([a-z0-9-]*\)[\"'].*/\1/p" /etc/containerd/config.toml | head -n 1)
echo "${snapshotter:-overlayfs}"
echo ` + part + `
ctr -n k8s.io images ls
echo ` + part + `
ctr -n k8s.io snapshots --snapshotter "${snapshotter:-overlayfs}" ls
`

const part = "--loam--"

// architectures are Go's names of those that uname has.
func architecture(machine string) string {
	switch machine {
	case "x86_64":
		return "amd64"
	case "aarch64":
		return "arm64"
	case "armv7l", "armv6l":
		return "arm"
	case "i386", "i686":
		return "386"
	}
	return machine
}

func (l *Loader) look(ctx context.Context, n *node) error {
	out, err := l.script(ctx, n, surveyScript)
	if err != nil {
		return err
	}
	return n.read(string(out))
}

// read reads what surveyScript printed.
func (n *node) read(text string) error {
	parts := strings.Split(text, part+"\n")
	head := strings.Fields(parts[0])
	if len(parts) != 3 || len(head) != 2 {
		return fault.New(fault.Transient, "it answers %.200q", text)
	}
	n.platform = v1.Platform{OS: "linux", Architecture: architecture(head[0])}
	n.snapshotter = head[1]
	n.targets, n.chains = map[string]string{}, map[string]bool{}
	for line := range strings.Lines(parts[1]) {
		// REF TYPE DIGEST SIZE PLATFORMS LABELS
		if f := strings.Fields(line); len(f) >= 3 && strings.HasPrefix(f[2], "sha256:") {
			n.targets[f[0]] = f[2]
		}
	}
	for line := range strings.Lines(parts[2]) {
		// KEY PARENT KIND; the lowest layer has no parent.
		if f := strings.Fields(line); len(f) >= 2 && f[len(f)-1] == "Committed" {
			n.chains[f[0]] = true
		}
	}
	return nil
}

// has tells whether all names of an image mean it in a node, and whether it is
// unpacked there for the node's platform.
func (l *Loader) has(ctx context.Context, n *node, image archive.Image) (bool, error) {
	chains := image.Chains()
	if len(chains) > 0 && !n.chains[chains[len(chains)-1]] {
		return false, nil
	}
	for _, name := range image.Names {
		same, err := l.means(ctx, n, n.targets[name], image, 0)
		if err != nil || !same {
			return false, err
		}
	}
	return len(image.Names) > 0, nil
}

// contentScript prints a document of the content store; nothing when it is not
// there.
const contentScript = `ctr -n k8s.io content get "$1" 2>/dev/null || true`

// means tells whether a digest in a node is of an image: of the image itself, its
// manifest, or an index that has it. An index may hold an index.
func (l *Loader) means(ctx context.Context, n *node, digest string, image archive.Image, depth int) (bool, error) {
	if digest == "" || depth > 2 {
		return false, nil
	}
	if slices.ContainsFunc(image.Digests, func(h v1.Hash) bool { return h.String() == digest }) {
		return true, nil
	}
	content, err := l.script(ctx, n, contentScript, digest)
	if err != nil {
		return false, err
	}
	var document struct {
		Config    v1.Descriptor
		Manifests []v1.Descriptor
	}
	if json.Unmarshal(content, &document) != nil {
		return false, nil //nolint:nilerr // whatever it is, it is not this image
	}
	if slices.Contains(image.Digests, document.Config.Digest) {
		return true, nil
	}
	for _, m := range document.Manifests {
		if m.Platform != nil && (m.Platform.OS != n.platform.OS || m.Platform.Architecture != n.platform.Architecture) {
			continue
		}
		if same, err := l.means(ctx, n, m.Digest.String(), image, depth+1); err != nil || same {
			return same, err
		}
	}
	return false, nil
}

// importScript reads what is sent and unpacks it. Layers are not kept packed as
// well, as the node's own are not.
const importScript = `ctr -n k8s.io images import --local --discard-unpacked-layers --snapshotter "$1" - >/dev/null`

func (l *Loader) receive(ctx context.Context, n *node, from io.Reader) error {
	return l.run(ctx, n, machines.Command{Args: shell(importScript, n.snapshotter), Stdin: from})
}

// awaitScript waits until the kubelet's runtime has taken notice of images, of
// which it then has names that are their IDs.
const awaitScript = `
for id; do
  i=0
  until ctr -n k8s.io images ls -q "name==$id" | grep -q .; do
    i=$((i+1)); test $i -lt 300 || { echo "the kubelet's runtime does not see $id" >&2; exit 1; }
    sleep 0.1
  done
done
`

func (l *Loader) await(ctx context.Context, n *node, images []archive.Image) error {
	var ids []string
	for i, image := range images {
		if !n.has[i] {
			ids = append(ids, image.Config.String())
		}
	}
	_, err := l.script(ctx, n, awaitScript, ids...)
	return err
}

func shell(text string, args ...string) []string {
	return append([]string{"/bin/sh", "-ceu", text, "loam"}, args...)
}

func (l *Loader) script(ctx context.Context, n *node, text string, args ...string) ([]byte, error) {
	var out bytes.Buffer
	err := l.run(ctx, n, machines.Command{Args: shell(text, args...), Stdout: &out})
	return out.Bytes(), err
}

func (l *Loader) run(ctx context.Context, n *node, c machines.Command) error {
	var problem bytes.Buffer
	c.Stderr = &problem
	err := l.Machines.Run(ctx, n.Cluster, n.Name, c)
	if exit := (*machines.ExitError)(nil); errors.As(err, &exit) {
		lines := slices.DeleteFunc(strings.Split(problem.String(), "\n"), func(line string) bool {
			return line == "" || strings.Contains(line, "level=warning")
		})
		return fault.New(fault.Transient, "%w: %s", err, strings.Join(lines, "; "))
	}
	return err
}
