package images

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/loam-cloud/loam/images/internal/cache"
	"github.com/loam-cloud/loam/images/internal/debian"
	"github.com/loam-cloud/loam/images/internal/layer"
	"github.com/loam-cloud/loam/images/node"
)

// keep saves a layer in the cache, or finds it there.
func (b *builder) keep(key cache.Key, fill func(*layer.Layer) error) (layer.File, error) {
	folder, err := b.cache.Fill(kindLayers, key, func(dir string) error {
		files := layer.New()
		if err := fill(files); err != nil {
			return err
		}
		saved, err := layer.Save(files, filepath.Join(dir, "layer.tar"))
		if err != nil {
			return err
		}
		encoded, err := json.Marshal(saved)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, "layer.json"), encoded, 0o644)
	})
	if err != nil {
		return layer.File{}, err
	}
	encoded, err := os.ReadFile(filepath.Join(folder, "layer.json"))
	if err != nil {
		return layer.File{}, fmt.Errorf("reading a kept layer: %w", err)
	}
	var saved layer.File
	if err := json.Unmarshal(encoded, &saved); err != nil {
		return layer.File{}, fmt.Errorf("reading a kept layer: %w", err)
	}
	saved.Path = filepath.Join(folder, "layer.tar")
	return saved, nil
}

// assemble makes everything that is missing and returns the layers of the node
// image: Debian, what the versions bring, Loam's own files. The last is small and
// changes most.
func (b *builder) assemble(ctx context.Context) ([]layer.File, error) {
	kubernetesModule, err := node.Kubernetes(b.KubernetesVersion)
	if err != nil {
		return nil, err
	}
	rootFolder, err := b.root(ctx, "root folder", node.Packages())
	if err != nil {
		return nil, err
	}
	root := filepath.Join(rootFolder, "root")
	base, err := b.keep(cache.NewHash("base layer "+layer.Format).Add("root", []byte(filepath.Base(rootFolder))).Key(), func(files *layer.Layer) error {
		return b.step("packing the root folder", func() error { return files.Tree("", root, debian.Leftovers) })
	})
	if err != nil {
		return nil, err
	}
	kubernetes, err := b.binaries(ctx, kubernetesModule)
	if err != nil {
		return nil, err
	}
	asked, err := kubeadmList(ctx, kubernetes, b.KubernetesVersion)
	if err != nil {
		return nil, err
	}
	components, err := b.kubernetesComponents(ctx, kubernetes, root, asked)
	if err != nil {
		return nil, err
	}
	extra, err := b.addons(ctx, root)
	if err != nil {
		return nil, err
	}
	components = append(components, extra.flannel, extra.localPath, extra.busybox)
	versioned, err := b.versionedLayer(ctx, kubernetes, components)
	if err != nil {
		return nil, err
	}
	own, err := b.ownLayer(asked, extra)
	if err != nil {
		return nil, err
	}
	return []layer.File{base, versioned, own}, nil
}

// versionedLayer holds all binaries and the preloaded images.
func (b *builder) versionedLayer(ctx context.Context, kubernetes string, components []component) (layer.File, error) {
	hash := cache.NewHash("versioned layer 5 " + layer.Format)
	tools := []string{kubernetes}
	for _, choose := range []func() (node.Module, error){node.Containerd, node.Runc, node.CNIPlugins} {
		module, err := choose()
		if err != nil {
			return layer.File{}, err
		}
		folder, err := b.binaries(ctx, module)
		if err != nil {
			return layer.File{}, err
		}
		tools = append(tools, folder)
	}
	for _, folder := range tools {
		hash.Add("tools", []byte(filepath.Base(folder)))
	}
	for _, image := range components {
		digest, err := image.digest()
		if err != nil {
			return layer.File{}, err
		}
		hash.Add(image.name, digest)
	}
	return b.keep(hash.Key(), func(files *layer.Layer) error {
		containerd, runc, plugins := tools[1], tools[2], tools[3]
		for _, group := range []struct {
			folder, into string
			names        []string
		}{
			{kubernetes, "usr/local/bin", []string{"kubelet", "kubeadm", "kubectl"}},
			{containerd, "usr/local/bin", []string{"containerd", "containerd-shim-runc-v2", "ctr"}},
			{runc, "usr/local/sbin", []string{"runc"}},
			{plugins, "opt/cni/bin", nil},
		} {
			if err := addBinaries(files, group.folder, group.into, group.names); err != nil {
				return err
			}
		}
		return b.step("unpacking preloaded images", func() error { return b.unpack(ctx, files, containerd, components) })
	})
}

// addBinaries adds the named files of a folder, all of them when names is nil.
func addBinaries(files *layer.Layer, folder, into string, names []string) error {
	if names == nil {
		entries, err := os.ReadDir(folder)
		if err != nil {
			return fmt.Errorf("listing binaries: %w", err)
		}
		for _, entry := range entries {
			names = append(names, entry.Name())
		}
	}
	for _, name := range names {
		if err := files.File(into+"/"+name, 0o755, filepath.Join(folder, name)); err != nil {
			return err
		}
	}
	return nil
}

// ownLayer holds Loam's files, with the names of images put in.
func (b *builder) ownLayer(asked kubeadmImages, extra addons) (layer.File, error) {
	names := strings.NewReplacer(
		"@PAUSE_IMAGE@", asked["pause"].String(), "@FLANNEL_IMAGE@", extra.flannel.name,
		"@LOCALPATH_IMAGE@", extra.localPath.name, "@BUSYBOX_IMAGE@", extra.busybox.name,
	)
	tree, err := node.Root()
	if err != nil {
		return layer.File{}, err
	}
	files := layer.New()
	err = files.FS("", tree, func(_ string, content []byte) []byte { return []byte(names.Replace(string(content))) })
	if err != nil {
		return layer.File{}, err
	}
	files.Bytes("kind/version", 0o644, []byte(b.KubernetesVersion+"\n"))
	for _, unit := range node.MaskedUnits() {
		files.Symlink("etc/systemd/system/"+unit, "/dev/null")
	}
	files.Symlink("etc/systemd/system/default.target", "/usr/lib/systemd/system/multi-user.target")
	for _, unit := range node.EnabledUnits() {
		files.Symlink("etc/systemd/system/multi-user.target.wants/"+unit, "../"+unit)
	}
	for _, folder := range append(strings.Split(volumes, ","), node.Folders()...) {
		files.Folder(folder, 0o755)
	}
	files.Folder("tmp", 0o1777)
	// Filled in by the entrypoint and by the container engine.
	for _, empty := range []string{"etc/machine-id", "etc/hostname", "etc/resolv.conf"} {
		files.Bytes(empty, 0o644, nil)
	}
	// It is small: its content is its key.
	digest, err := files.Digest()
	if err != nil {
		return layer.File{}, err
	}
	return b.keep(cache.NewHash("own layer").Add("digest", []byte(digest)).Key(), func(target *layer.Layer) error {
		*target = *files
		return nil
	})
}

// nodeConfig is how a container is started from the image.
func (b *builder) nodeConfig() v1.Config {
	return v1.Config{
		Entrypoint: []string{"/usr/local/bin/entrypoint", "/sbin/init"},
		Env:        []string{"container=docker", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		Labels: map[string]string{
			LabelNode: "1", LabelKubernetesVersion: b.KubernetesVersion, LabelVolumes: volumes,
		},
		// What asks systemd to halt.
		StopSignal: "SIGRTMIN+3",
		WorkingDir: "/",
	}
}

// digest identifies the content of a component image.
func (c component) digest() ([]byte, error) {
	var out bytes.Buffer
	config, err := json.Marshal(c.config)
	if err != nil {
		return nil, fmt.Errorf("encoding the configuration of image %q: %w", c.name, err)
	}
	out.Write(config)
	sum, err := c.layer.Digest()
	if err != nil {
		return nil, fmt.Errorf("hashing image %q: %w", c.name, err)
	}
	out.WriteString(sum)
	return out.Bytes(), nil
}
