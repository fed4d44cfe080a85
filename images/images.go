// Package images builds the images that nodes boot from, out of Debian packages
// and Go modules, and keeps track of those that the container engine has. The
// commands and the wiring in app call it.
//
// It must not know clusters or machines: what goes into a node is in package
// node, what is done with one is decided by its callers.
package images

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/loam-cloud/loam/images/node"
)

// Default is the Kubernetes version that is built when none is asked for.
const Default = "v1.36.3"

// Labels of a node image.
const (
	// LabelNode is "1" on every node image.
	LabelNode = "dev.loam.node"
	// LabelKubernetesVersion holds a version such as v1.36.3.
	LabelKubernetesVersion = "dev.loam.kubernetes-version"
	// LabelVolumes lists, with commas between, the folders that a container has
	// to have on volumes that are not filled from the image. Every other folder
	// may stay in the container's own layer.
	LabelVolumes = "dev.loam.volumes"
)

// volumes are the folders that need a file system of their own: containerd and
// what pods keep cannot lie on an overlay.
var volumes = strings.Join([]string{
	"/var/lib/containerd", "/var/lib/kubelet", "/var/lib/etcd", "/var/local-path-provisioner",
}, ",")

// Image is a node image that the container engine has.
type Image struct {
	// Tag is the reference by which it is run, such as loam/node:v1.36.3.
	Tag string
	// ID is the digest of its configuration, "sha256:...".
	ID string
	// KubernetesVersion is that of the binaries in it, such as v1.36.3.
	KubernetesVersion string
}

// Options say what to build.
type Options struct {
	// KubernetesVersion is one of Supported, with or without v; Default when empty.
	KubernetesVersion string
	// Tag is the name of the image; loam/node:<KubernetesVersion> when empty.
	Tag string
	// CacheDir is where binaries and layers are kept; DefaultCacheDir when empty.
	CacheDir string
	// Progress is told what is being done, one line at a time, and may be nil.
	// It is called from one goroutine at a time.
	Progress func(step string)
}

// withDefaults fills what was left empty.
func (o Options) withDefaults() Options {
	if o.KubernetesVersion == "" {
		o.KubernetesVersion = Default
	}
	o.KubernetesVersion = "v" + strings.TrimPrefix(o.KubernetesVersion, "v")
	if o.Tag == "" {
		o.Tag = Tag(o.KubernetesVersion)
	}
	if o.CacheDir == "" {
		o.CacheDir = DefaultCacheDir()
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	return o
}

// Tag is the name of the node image of a Kubernetes version when no other is
// asked for.
func Tag(kubernetesVersion string) string { return "loam/node:" + kubernetesVersion }

// Supported lists the Kubernetes versions that can be built, newest last.
func Supported() []string { return node.KubernetesVersions() }

// Advice says how to get the node image of a version, or of which versions there
// can be one.
func Advice(kubernetesVersion string) string {
	if slices.Contains(Supported(), kubernetesVersion) {
		return fmt.Sprintf("build its node image with \"loam image build --kubernetes-version %s\"", kubernetesVersion)
	}
	return "node images can be built for " + strings.Join(Supported(), ", ")
}

// DefaultCacheDir is $LOAM_CACHE_DIR, else the folder loam in the user's cache
// folder ($XDG_CACHE_HOME, ~/.cache).
func DefaultCacheDir() string {
	if dir := os.Getenv("LOAM_CACHE_DIR"); dir != "" {
		return dir
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		// No home: a system service run by root.
		return "/var/cache/loam"
	}
	return filepath.Join(dir, "loam")
}

// elapsed prints a duration for a progress line.
func elapsed(since time.Time) string { return time.Since(since).Round(time.Second).String() }
