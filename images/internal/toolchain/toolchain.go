// Package toolchain compiles Go modules into the binaries of a node with the Go
// that is installed on this host, and with Debian's C compiler where a module
// needs one. Package images calls it.
//
// It must not know which modules there are or what their binaries are for.
package toolchain

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/loam-cloud/loam/fault"
)

// Go is the Go installation of this host.
type Go struct {
	// Version is that of the compiler, such as go1.26.1.
	Version string
	root    string
	modules string
	builds  string
}

// Find asks the installed Go what it is. Faults: Invalid when there is none that
// is new enough.
func Find(ctx context.Context) (Go, error) {
	const advice = "install Go 1.26 or newer from https://go.dev/dl/ and put its bin folder into PATH"
	if _, err := exec.LookPath("go"); err != nil {
		return Go{}, fault.New(fault.Invalid, "building a node image compiles Kubernetes, and there is no go command: %s", advice)
	}
	command := exec.CommandContext(ctx, "go", "env", "-json", "GOVERSION", "GOROOT", "GOMODCACHE", "GOCACHE")
	// Outside of any module, so that only the installation itself answers.
	command.Dir = os.TempDir()
	out, err := command.Output()
	if err != nil {
		return Go{}, fault.New(fault.Invalid, "asking go for its version: %w: %s", err, advice)
	}
	var env struct{ GOVERSION, GOROOT, GOMODCACHE, GOCACHE string }
	if err := json.Unmarshal(out, &env); err != nil {
		return Go{}, fmt.Errorf("reading the output of go env: %w", err)
	}
	if !newEnough(env.GOVERSION) {
		return Go{}, fault.New(fault.Invalid, "building a node image needs Go 1.26, this is %s: %s", env.GOVERSION, advice)
	}
	return Go{Version: env.GOVERSION, root: env.GOROOT, modules: env.GOMODCACHE, builds: env.GOCACHE}, nil
}

// newEnough tells whether a version like go1.26.1 is at least 1.26. A version of
// another form is a development one.
func newEnough(version string) bool {
	var major, minor int
	if n, _ := fmt.Sscanf(version, "go%d.%d", &major, &minor); n != 2 {
		return true
	}
	return major > 1 || major == 1 && minor >= 26
}

// Module is a module to be compiled.
type Module struct {
	// Folder holds go.mod, go.sum and sources if it has some.
	Folder string
	// Packages are what to build; "tool" is all that go.mod names as tools.
	Packages string
	LDFlags  string
	Tags     string
}

// Flags are the arguments of `go build` for a module: what a cache key has to
// hold. Paths of this host never get into a binary.
func (m Module) Flags() []string {
	flags := []string{"build", "-trimpath", "-mod=readonly", "-buildvcs=false", "-ldflags", strings.TrimSpace("-s -w -buildid= " + m.LDFlags)}
	if m.Tags != "" {
		flags = append(flags, "-tags", m.Tags)
	}
	return flags
}

// Environment is what is set, over the caller's own environment, for every
// build: nothing that a user has set may change a binary.
func Environment(cgo bool) []string {
	enabled := "0"
	if cgo {
		enabled = "1"
	}
	return []string{
		"CGO_ENABLED=" + enabled, "GOOS=linux", "GOARCH=" + runtime.GOARCH, "GOAMD64=v1", "GOARM64=v8.0",
		"GOFLAGS=", "GOWORK=off", "GOEXPERIMENT=", "GOTOOLCHAIN=local",
		"CGO_CFLAGS=-O2 -g0", "CGO_LDFLAGS=",
	}
}

// Build compiles a module without C and puts its binaries into the folder out.
func (g Go) Build(ctx context.Context, module Module, out string) error {
	command := exec.CommandContext(ctx, "go", append(module.Flags(), "-o", out+"/", module.Packages)...)
	command.Dir = module.Folder
	command.Env = append(os.Environ(), Environment(false)...)
	return run("go build", command)
}

// BuildC compiles a module with C in it inside a Debian root folder that holds a
// compiler, so that the host needs none and the libraries are the node's.
func (g Go) BuildC(ctx context.Context, module Module, root, out string) error {
	// The root folder has neither network configuration nor certificates: what
	// is to be downloaded is downloaded before.
	download := exec.CommandContext(ctx, "go", "list", "-mod=readonly", "-deps", "-tags", module.Tags, module.Packages)
	download.Dir = module.Folder
	download.Env = append(os.Environ(), Environment(true)...)
	if err := run("go list", download); err != nil {
		return err
	}
	args := append(module.Flags(), "-o", out+"/", module.Packages)
	command := exec.CommandContext(ctx, "/bin/sh", append([]string{"-ec", enter, "enter", root, module.Folder,
		strings.Join([]string{g.root, g.modules, g.builds, module.Folder, out}, "\n"), filepath.Join(g.root, "bin", "go")}, args...)...)
	command.Env = append([]string{
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "GOROOT=" + g.root, "GOMODCACHE=" + g.modules, "GOCACHE=" + g.builds, "GOPROXY=off",
	}, Environment(true)...)
	command.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	return run("go build in the Debian root folder", command)
}

// enter shows folders of the host inside a root folder, under the same names, and
// runs a command there. The mounts are in a namespace of their own and go with it.
const enter = `root=$1; folder=$2; shown=$3; shift 3
mount -t tmpfs tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
echo "$shown" | while read -r path; do mkdir -p "$root$path"; mount --bind "$path" "$root$path"; done
exec chroot "$root" /bin/sh -ec 'cd "$1"; shift; exec "$@"' run "$folder" "$@"`

// run runs a command, known to users as what, that dies with this process. What it
// printed is in the error.
func run(what string, command *exec.Cmd) error {
	var output bytes.Buffer
	command.Stderr = &output
	if command.SysProcAttr == nil {
		command.SysProcAttr = &syscall.SysProcAttr{}
	}
	command.SysProcAttr.Pdeathsig = syscall.SIGKILL
	// The signal follows the thread that started the command.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := command.Run(); err != nil {
		return fmt.Errorf("running %s: %w\n%s", what, err, tail(output.String(), 30))
	}
	return nil
}

// tail returns the last lines of a text.
func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
