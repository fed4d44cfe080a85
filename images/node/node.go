// Package node holds what goes into a node image: the Go modules of its
// binaries, the Debian packages of its root folder, and the files that Loam adds
// (units, the container's entrypoint, manifests). Package images reads it to
// build.
//
// It is data with the few functions that select from it. It must not know how
// anything is built, cached or loaded.
package node

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"

	"github.com/loam-cloud/loam/fault"
)

// A nested go.mod would cut its folder out of the embedded files, so the module
// files lie here as module.mod and module.sum.
//
//go:embed modules root images pause/main.go
var files embed.FS

// Root is what is laid over the Debian root folder. Paths are those in the node.
func Root() (fs.FS, error) { return fs.Sub(files, "root") }

// File returns one embedded file by its path in this folder.
func File(name string) ([]byte, error) { return files.ReadFile(name) }

// Module is one Go module whose `tool` directives name the binaries to build.
type Module struct {
	// Name and Version are the folder's: "etcd", "v3.6.8".
	Name, Version string
	// Mod and Sum are the contents of go.mod and go.sum.
	Mod, Sum []byte
	// LDFlags are linker flags beyond those that every module gets.
	LDFlags string
	// Tags are build tags.
	Tags string
	// Cgo tells that a C compiler takes part, and with it Debian's libraries.
	Cgo bool
	// Rename maps names that `go build` gives to the names in the node.
	Rename map[string]string
}

// KubernetesVersions lists the versions that module files exist for, newest last.
func KubernetesVersions() []string { return versions("kubernetes") }

func versions(module string) []string {
	entries, err := files.ReadDir(path.Join("modules", module))
	if err != nil {
		return nil
	}
	names := make([]string, 0, len(entries))
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	sort.Slice(names, func(i, j int) bool { return Less(names[i], names[j]) })
	return names
}

// Less orders versions of the form v1.2.3 by their numbers.
func Less(a, b string) bool {
	var x, y [3]int
	// Both come from folder names in this package; what does not parse sorts first.
	_, _ = fmt.Sscanf(a, "v%d.%d.%d", &x[0], &x[1], &x[2])
	_, _ = fmt.Sscanf(b, "v%d.%d.%d", &y[0], &y[1], &y[2])
	for i := range x {
		if x[i] != y[i] {
			return x[i] < y[i]
		}
	}
	return a < b
}

// Kubernetes returns the module of the Kubernetes binaries. Faults: Invalid when
// there is none for this version.
func Kubernetes(version string) (Module, error) {
	if !slices.Contains(KubernetesVersions(), version) {
		return Module{}, fault.New(fault.Invalid, "kubernetesVersion: %q has no module files; versions that can be built: %s",
			version, strings.Join(KubernetesVersions(), ", "))
	}
	module, err := load("kubernetes", version)
	if err != nil {
		return Module{}, err
	}
	major, rest, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	const stamp = " -X k8s.io/component-base/version."
	module.LDFlags = strings.TrimSpace(stamp + "gitVersion=" + version + stamp + "gitMajor=" + major +
		stamp + "gitMinor=" + minor + stamp + "gitTreeState=clean")
	return module, nil
}

// Etcd returns etcd's module. Faults: Internal when there is none for the version.
func Etcd(version string) (Module, error) {
	module, err := load("etcd", version)
	module.Rename = map[string]string{"server": "etcd"}
	return module, err
}

// CoreDNS returns CoreDNS' module. Faults: Internal when there is none for the
// version.
func CoreDNS(version string) (Module, error) { return load("coredns", version) }

// Containerd returns the module of containerd, its shim and ctr.
func Containerd() (Module, error) {
	module, err := newest("containerd")
	module.LDFlags = "-X github.com/containerd/containerd/v2/version.Version=" + module.Version
	return module, err
}

// Runc returns runc's module, built with seccomp: without it every pod that asks
// for the runtime's default profile fails.
func Runc() (Module, error) {
	module, err := newest("runc")
	module.Tags, module.Cgo = "seccomp", true
	module.LDFlags = "-X main.version=" + strings.TrimPrefix(module.Version, "v")
	return module, err
}

// CNIPlugins returns the module of the CNI plugins.
func CNIPlugins() (Module, error) { return newest("cni-plugins") }

// Flannel returns flannel's module. One of its backends is written in C; it is
// not used here, but cannot be left out either.
func Flannel() (Module, error) {
	module, err := newest("flannel")
	module.Cgo = true
	module.LDFlags = "-X github.com/flannel-io/flannel/pkg/version.Version=" + module.Version
	return module, err
}

// LocalPathProvisioner returns the module of the storage provisioner.
func LocalPathProvisioner() (Module, error) {
	module, err := newest("local-path-provisioner")
	module.LDFlags = "-X main.VERSION=" + module.Version
	return module, err
}

// Pause returns the module of the pause program, whose only source is File
// "pause/main.go".
func Pause() Module {
	return Module{Name: "pause", Version: "v1.0.0", Mod: []byte("module loam.dev/node/pause\n\ngo 1.26.0\n")}
}

func newest(name string) (Module, error) {
	all := versions(name)
	if len(all) == 0 {
		return Module{}, fault.New(fault.Internal, "no module files for %s are embedded", name)
	}
	return load(name, all[len(all)-1])
}

func load(name, version string) (Module, error) {
	folder := path.Join("modules", name, version)
	mod, err := files.ReadFile(path.Join(folder, "module.mod"))
	if err != nil {
		return Module{}, fault.New(fault.Internal, "no module files for %s %s are embedded, only for: %s",
			name, version, strings.Join(versions(name), ", "))
	}
	sum, err := files.ReadFile(path.Join(folder, "module.sum"))
	if err != nil {
		return Module{}, fault.New(fault.Internal, "reading module.sum of %s %s: %w", name, version, err)
	}
	return Module{Name: name, Version: version, Mod: mod, Sum: sum}, nil
}
