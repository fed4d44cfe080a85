package images

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/moby/moby/client"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/images/internal/cache"
	"github.com/loam-cloud/loam/images/internal/debian"
	"github.com/loam-cloud/loam/images/internal/toolchain"
	"github.com/loam-cloud/loam/images/node"
)

// builder is one run of Build.
type builder struct {
	Options
	cache  *cache.Folder
	golang toolchain.Go
}

// Build makes the node image of a Kubernetes version, loads it into the container
// engine and returns it. What exists already is not made again; with nothing to
// do it takes about a second. Several builds at once wait for each other. It may
// be killed at any time.
//
// Faults: Invalid (version unknown, tag malformed, a tool is missing, no engine),
// Denied (not root, cache folder not writable), Transient (package mirror or
// engine do not answer).
func Build(ctx context.Context, options Options) (Image, error) {
	engine, err := client.New(client.FromEnv)
	if err != nil {
		return Image{}, fault.New(fault.Invalid, "reading the settings of the Docker client: %w", err)
	}
	defer func() { _ = engine.Close() }()
	return build(ctx, engine, options.withDefaults())
}

func build(ctx context.Context, engine Engine, options Options) (Image, error) {
	if _, err := node.Kubernetes(options.KubernetesVersion); err != nil {
		return Image{}, err
	}
	if _, err := name.NewTag(options.Tag); err != nil {
		return Image{}, fault.New(fault.Invalid, "tag: %q is not the name of an image, such as %s: %w",
			options.Tag, Tag(options.KubernetesVersion), err)
	}
	// Before half an hour of work whose result would go nowhere.
	if _, err := tagged(ctx, engine, options.Tag); err != nil {
		return Image{}, err
	}
	golang, err := toolchain.Find(ctx)
	if err != nil {
		return Image{}, err
	}
	key, err := recipe(options.KubernetesVersion, golang.Version)
	if err != nil {
		return Image{}, err
	}
	folder, err := cache.Open(options.CacheDir)
	if err != nil {
		return Image{}, err
	}
	b := &builder{Options: options, cache: folder, golang: golang}
	if kept, found, err := b.find(key); err != nil || found {
		return b.deliver(ctx, engine, kept, err)
	}
	if err := debian.Check(); err != nil {
		return Image{}, err
	}
	release, err := folder.Lock(ctx, func() { b.Progress("waiting for another build to end") })
	if err != nil {
		return Image{}, err
	}
	defer release()
	// The other build may have made this very image.
	kept, found, err := b.find(key)
	if err == nil && !found {
		kept, err = b.make(ctx, key)
	}
	return b.deliver(ctx, engine, kept, err)
}

// step does one piece of work and tells how long it takes while it lasts.
func (b *builder) step(what string, work func() error) error {
	began := time.Now()
	b.Progress(what)
	ticker := time.NewTicker(15 * time.Second)
	defer ticker.Stop()
	done := make(chan error, 1)
	go func() { done <- work() }()
	for {
		select {
		case <-ticker.C:
			b.Progress(fmt.Sprintf("%s ... %s", what, elapsed(began)))
		case err := <-done:
			if err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
			return nil
		}
	}
}

// binaries compiles a module, or finds it compiled, and returns the folder with
// its binaries.
func (b *builder) binaries(ctx context.Context, module node.Module) (string, error) {
	build := toolchain.Module{Packages: "tool", LDFlags: module.LDFlags, Tags: module.Tags}
	hash := cache.NewHash("binaries 1").
		Add("go", []byte(b.golang.Version)).Add("mod", module.Mod).Add("sum", module.Sum).
		Add("flags", []byte(strings.Join(build.Flags(), "\n"))).
		Add("environment", []byte(strings.Join(toolchain.Environment(module.Cgo), "\n"))).
		Add("rename", fmt.Append(nil, module.Rename))
	var source []byte
	if module.Name == node.Pause().Name {
		var err error
		if source, err = node.File("pause/main.go"); err != nil {
			return "", fmt.Errorf("reading the source of pause: %w", err)
		}
		build.Packages = "."
		hash.Add("main.go", source)
	}
	root := ""
	if module.Cgo {
		var err error
		if root, err = b.root(ctx, "build root", node.BuildPackages()); err != nil {
			return "", err
		}
		hash.Add("root", []byte(filepath.Base(root)))
	}
	return b.cache.Fill(kindBinaries, hash.Key(), func(dir string) error {
		work, err := b.cache.Temporary()
		if err != nil {
			return err
		}
		build.Folder = work
		for name, content := range map[string][]byte{"go.mod": module.Mod, "go.sum": module.Sum, "main.go": source} {
			if content == nil {
				continue
			}
			if err := os.WriteFile(filepath.Join(work, name), content, 0o644); err != nil {
				return fmt.Errorf("writing module %s: %w", module.Name, err)
			}
		}
		return b.step(fmt.Sprintf("compiling %s %s", module.Name, module.Version), func() error {
			if module.Cgo {
				err = b.golang.BuildC(ctx, build, filepath.Join(root, "root"), dir)
			} else {
				err = b.golang.Build(ctx, build, dir)
			}
			if err != nil {
				return err
			}
			for from, to := range module.Rename {
				if err := os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// root makes a Debian root folder, or finds it made. The folder is in "root" below
// the path returned.
func (b *builder) root(ctx context.Context, what string, packages []string) (string, error) {
	hash := cache.NewHash("debian 1").Add("suite", []byte(node.Suite)).Add("architecture", []byte(runtime.GOARCH)).
		Add("packages", []byte(strings.Join(packages, ",")))
	return b.cache.Fill(kindDebian, hash.Key(), func(dir string) error {
		return b.step("making a Debian "+what, func() error {
			root := filepath.Join(dir, "root")
			if err := os.Mkdir(root, 0o755); err != nil {
				return err
			}
			return debian.Bootstrap(ctx, root, node.Suite, packages)
		})
	})
}

// kubeadmList asks the kubeadm that was built which images it expects.
func kubeadmList(ctx context.Context, folder, version string) (kubeadmImages, error) {
	// Without a given version it would ask the internet for the newest.
	out, err := exec.CommandContext(ctx, filepath.Join(folder, "kubeadm"), "config", "images", "list",
		"--kubernetes-version", version).Output()
	if err != nil {
		return nil, fmt.Errorf("asking kubeadm for its images: %w", err)
	}
	return parseImageList(string(out))
}
