// Package tools builds the programs of others that tests and benchmarks run beside
// loam, from their Go modules, each once. What a pinned version holds never changes,
// so what was built stays in $LOAM_CACHE_DIR.
//
// It must not know what the programs are for.
package tools

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/gofrs/flock"

	"github.com/loam-cloud/loam/images"
)

// program is a main package of a Go module: module plus folder.
type program struct{ name, module, version, folder string }

// Kind and the functions below return where the program lies. The first test that
// ever asks for it builds it: that takes minutes, and the network where Go's own
// cache lacks the module. The test is skipped in short mode.
func Kind(t testing.TB) string {
	return build(t, program{"kind", "sigs.k8s.io/kind", "v0.33.0", ""})
}

// Registry is distribution's, which is docker's registry:3.
func Registry(t testing.TB) string {
	return build(t, program{"registry", "github.com/distribution/distribution/v3", "v3.0.0", "/cmd/registry"})
}

// Oras pushes and pulls what is no image.
func Oras(t testing.TB) string {
	return build(t, program{"oras", "oras.land/oras", "v1.2.3", "/cmd/oras"})
}

// containerd is the version of both programs of it.
const containerd = "v2.2.1"

// Containerd is the daemon, without the shims that containers need.
func Containerd(t testing.TB) string {
	return build(t, program{"containerd", "github.com/containerd/containerd/v2", containerd, "/cmd/containerd"})
}

// Ctr is containerd's client.
func Ctr(t testing.TB) string {
	return build(t, program{"ctr", "github.com/containerd/containerd/v2", containerd, "/cmd/ctr"})
}

// flags make a program small, and the same wherever it is built. It is built from a
// module that wants nothing else: `go install` asks the proxy for the list of a
// module's versions, which not all have.
var flags = [...]string{"build", "-p", "1", "-mod=mod", "-trimpath", "-buildvcs=false", "-ldflags=-s -w"}

// Nginx is the host's, or Debian's, unpacked and not installed: nothing of it starts
// by itself. A benchmark is skipped where neither can be had.
func Nginx(t testing.TB) string {
	t.Helper()
	if path, err := exec.LookPath("nginx"); err == nil {
		return path
	}
	folder := filepath.Join(images.DefaultCacheDir(), "tools", "nginx")
	file := filepath.Join(folder, "usr/sbin/nginx")
	if _, err := os.Stat(file); err == nil {
		return file
	}
	dir := t.TempDir()
	cmd := exec.Command("sh", "-c", `apt-get download -qq nginx && dpkg-deb -x nginx_*.deb "$0"`, folder)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("no nginx: %v\n%s", err, out)
	}
	return file
}

// FreeAddress is one of loopback that nobody listens on just now, for a program that
// cannot say which it chose.
func FreeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func build(t testing.TB, p program) string {
	t.Helper()
	if testing.Short() {
		t.Skipf("needs %s, which short mode does not build", p.name)
	}
	key := sha256.Sum256(fmt.Append(nil, p, runtime.Version(), runtime.GOOS, runtime.GOARCH, flags))
	root := filepath.Join(images.DefaultCacheDir(), "tools")
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, p.name+"-"+p.version+"-"+hex.EncodeToString(key[:8]))
	// Packages' tests run at the same time: one builds, the others wait for it.
	lock := flock.New(file + ".lock")
	if err := lock.Lock(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Unlock() }() // it ends with the process
	if _, err := os.Stat(file); err == nil {
		return file
	}
	t.Logf("building %s %s", p.name, p.version)
	dir := t.TempDir()
	text := fmt.Sprintf("module program\n\ngo 1.26\n\nrequire %s %s\n", p.module, p.version)
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	next := file + ".new"
	cmd := exec.Command("nice", append(append([]string{"-n", "10", "go"}, flags[:]...), "-o", next, p.module+p.folder)...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOFLAGS=", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", p.name, err, out)
	}
	if err := os.Rename(next, file); err != nil {
		t.Fatal(err)
	}
	return file
}
