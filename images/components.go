package images

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/loam-cloud/loam/images/internal/debian"
	"github.com/loam-cloud/loam/images/internal/layer"
	"github.com/loam-cloud/loam/images/internal/preload"
	"github.com/loam-cloud/loam/images/node"
)

// Names of the images that are no business of kubeadm's. They are built here, so
// they bear no registry's name.
const (
	flannelRepository   = "loam.dev/node/flannel"
	localPathRepository = "loam.dev/node/local-path-provisioner"
	busyboxRepository   = "loam.dev/node/busybox"
	busyboxVersion      = "v1"
)

// component is an image that is preloaded in a node.
type component struct {
	name   string
	layer  *layer.Layer
	config v1.Config
}

// programs is where component images have their programs.
const programs = "usr/local/bin"

// newComponent makes an image with what all of them want: a place for temporary
// files and names of users.
func newComponent(name string) component {
	files := layer.New()
	files.Folder("tmp", 0o1777)
	files.Bytes("etc/passwd", 0o644, []byte("root:x:0:0:root:/:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n"))
	files.Bytes("etc/group", 0o644, []byte("root:x:0:\nnobody:x:65534:\n"))
	return component{name: name, layer: files, config: v1.Config{
		Env: []string{"PATH=/usr/local/bin:/usr/sbin:/usr/bin"}, WorkingDir: "/",
	}}
}

// program makes an image that runs one program.
func program(name, binary, installed string) (component, error) {
	made := newComponent(name)
	made.config.Entrypoint = []string{"/" + installed}
	return made, made.layer.File(installed, 0o755, binary)
}

// addPackages puts in the programs of Debian packages with the libraries that
// they need, in a tree of folders like Debian's.
func (c component) addPackages(root string, packages []string) error {
	contents, err := debian.Programs(root, packages)
	if err != nil {
		return fmt.Errorf("making image %q: %w", c.name, err)
	}
	for path, file := range contents.Files {
		if err := c.layer.File(path, 0o755, file); err != nil {
			return err
		}
	}
	for path, target := range contents.Links {
		c.layer.Symlink(path, target)
	}
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		c.layer.Symlink(name, "usr/"+name)
	}
	return nil
}

// addShell puts busybox in, under the names of its programs.
func (c component) addShell(root string) error {
	for _, applet := range []string{
		"cat", "chmod", "chown", "cp", "cut", "date", "df", "du", "env", "find", "grep", "head", "httpd", "id", "ln", "ls", "mkdir",
		"mv", "nc", "nslookup", "ping", "ps", "rm", "rmdir", "sed", "sh", "sleep", "stat", "sync", "tail", "tar", "test", "touch",
		"tr", "wc", "wget",
	} {
		c.layer.Symlink("usr/bin/"+applet, "busybox")
	}
	return c.addPackages(root, node.ShellPackages())
}

// addPacketFilter puts in what programs the kernel's packet filter.
func (c component) addPacketFilter(root string) error {
	wrapper, err := node.File("images/packet-filter/iptables")
	if err != nil {
		return fmt.Errorf("making image %q: %w", c.name, err)
	}
	if err := c.addPackages(root, node.PacketFilterPackages()); err != nil {
		return err
	}
	for _, tool := range []string{"iptables", "ip6tables"} {
		for _, variant := range []string{"", "-save", "-restore"} {
			c.layer.Bytes("usr/sbin/"+tool+variant, 0o755, wrapper)
		}
	}
	c.layer.Folder("run", 0o755)
	return c.addShell(root)
}

// kubernetesComponents makes the images that kubeadm asks for.
func (b *builder) kubernetesComponents(ctx context.Context, kubernetes, root string, asked kubeadmImages) ([]component, error) {
	etcdModule, err := node.Etcd(moduleVersion(asked["etcd"]))
	if err != nil {
		return nil, fmt.Errorf("choosing etcd for %s: %w", asked["etcd"], err)
	}
	dnsModule, err := node.CoreDNS(moduleVersion(asked["coredns"]))
	if err != nil {
		return nil, fmt.Errorf("choosing CoreDNS for %s: %w", asked["coredns"], err)
	}
	sources := []struct {
		key, binary, installed string
		module                 node.Module
	}{
		{key: "kube-apiserver", binary: "kube-apiserver", installed: programs + "/kube-apiserver"},
		{key: "kube-controller-manager", binary: "kube-controller-manager", installed: programs + "/kube-controller-manager"},
		{key: "kube-scheduler", binary: "kube-scheduler", installed: programs + "/kube-scheduler"},
		{key: "kube-proxy", binary: "kube-proxy", installed: programs + "/kube-proxy"},
		{key: "etcd", binary: "etcd", installed: programs + "/etcd", module: etcdModule},
		// kubeadm gives arguments only, and the first path that CoreDNS' own
		// image uses.
		{key: "coredns", binary: "coredns", installed: "coredns", module: dnsModule},
		{key: "pause", binary: "pause", installed: "pause", module: node.Pause()},
	}
	var made []component
	for _, source := range sources {
		folder := kubernetes
		if source.module.Name != "" {
			if folder, err = b.binaries(ctx, source.module); err != nil {
				return nil, err
			}
		}
		image, err := program(asked[source.key].String(), filepath.Join(folder, source.binary), source.installed)
		if err != nil {
			return nil, err
		}
		if source.key == "kube-proxy" {
			if err := image.addPacketFilter(root); err != nil {
				return nil, err
			}
		}
		made = append(made, image)
	}
	return made, nil
}

// addons are the images behind the default network and the default storage class.
type addons struct {
	flannel, localPath, busybox component
}

func (b *builder) addons(ctx context.Context, root string) (addons, error) {
	var made addons
	module, err := node.Flannel()
	if err != nil {
		return addons{}, err
	}
	folder, err := b.binaries(ctx, module)
	if err != nil {
		return addons{}, err
	}
	if made.flannel, err = program(flannelRepository+":"+module.Version, filepath.Join(folder, "flannel"), programs+"/flannel"); err != nil {
		return addons{}, err
	}
	start, err := node.File("images/flannel/start-flannel")
	if err != nil {
		return addons{}, err
	}
	made.flannel.layer.Bytes(programs+"/start-flannel", 0o755, start)
	if err := made.flannel.addPacketFilter(root); err != nil {
		return addons{}, err
	}

	if module, err = node.LocalPathProvisioner(); err != nil {
		return addons{}, err
	}
	if folder, err = b.binaries(ctx, module); err != nil {
		return addons{}, err
	}
	if made.localPath, err = program(localPathRepository+":"+module.Version,
		filepath.Join(folder, "local-path-provisioner"), programs+"/local-path-provisioner"); err != nil {
		return addons{}, err
	}

	made.busybox = newComponent(busyboxRepository + ":" + busyboxVersion)
	made.busybox.config.Cmd = []string{"sh"}
	return made, made.busybox.addShell(root)
}

// unpack preloads images into a layer, below the folder that the node's first
// boot takes them from.
func (b *builder) unpack(ctx context.Context, into *layer.Layer, containerd string, components []component) error {
	work, err := b.cache.Temporary()
	if err != nil {
		return err
	}
	var archives []preload.Archive
	for i, image := range components {
		file, err := layer.Save(image.layer, filepath.Join(work, fmt.Sprintf("layer-%d.tar", i)))
		if err != nil {
			return fmt.Errorf("making image %q: %w", image.name, err)
		}
		archive := filepath.Join(work, fmt.Sprintf("image-%d.tar", i))
		out, err := os.Create(archive)
		if err != nil {
			return fmt.Errorf("making image %q: %w", image.name, err)
		}
		err = layer.WriteArchive(out, layer.Image{Name: image.name, Config: image.config, Layers: []layer.File{file}}, runtime.GOARCH)
		if closeErr := out.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return err
		}
		if err := os.Remove(file.Path); err != nil {
			return err
		}
		archives = append(archives, preload.Archive{Name: image.name, Path: archive})
	}
	unpacked := filepath.Join(work, "containerd")
	if err := os.Mkdir(unpacked, 0o711); err != nil {
		return err
	}
	if err := preload.Unpack(ctx, containerd, work, unpacked, archives); err != nil {
		return err
	}
	kept := map[string]bool{
		".": true, "io.containerd.content.v1.content": true, "io.containerd.metadata.v1.bolt": true, "io.containerd.snapshotter.v1.overlayfs": true,
	}
	return into.Tree("opt/loam/containerd", unpacked, func(name string) bool {
		first := name
		for dir := filepath.Dir(name); dir != "."; dir = filepath.Dir(dir) {
			first = dir
		}
		return !kept[first] || fs.ValidPath(name) && filepath.Base(name) == "ingest"
	})
}
