// Package docker gives tests a container daemon and a machine image of a
// megabyte. Tests of the container driver and end-to-end tests call it.
//
// It must not know Loam's packages.
package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"
)

// startTime is what a daemon may take until it answers.
const startTime = 90 * time.Second

// Require returns a client of a running daemon. Where none runs, root starts
// dockerd and leaves it running: other packages' tests use it at the same time,
// and the next run begins sooner. The test is skipped in short mode only.
func Require(t testing.TB) *client.Client {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a container daemon, which short mode leaves out")
	}
	c, err := client.New(client.FromEnv)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if answers(c) {
		return c
	}
	unlock := lock(t)
	defer unlock()
	if !answers(c) {
		start(t, c)
	}
	return c
}

func answers(c *client.Client) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err := c.Ping(ctx, client.PingOptions{})
	return err == nil
}

// lock keeps test processes from starting two daemons.
func lock(t testing.TB) func() {
	t.Helper()
	file, err := os.OpenFile(filepath.Join(os.TempDir(), "loam-test-docker.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return func() { _ = file.Close() }
}

func start(t testing.TB, c *client.Client) {
	t.Helper()
	if c.DaemonHost() != client.DefaultDockerHost {
		t.Fatalf("no container daemon answers at %s", c.DaemonHost())
	}
	path, err := exec.LookPath("dockerd")
	if err != nil || os.Geteuid() != 0 {
		t.Fatal("no container daemon runs, and only root can start one: `apt-get install docker.io`, then `systemctl start docker`")
	}
	name := filepath.Join(os.TempDir(), "loam-test-dockerd.log")
	log, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }() // the daemon has its own copy
	daemon := exec.Command(path)
	daemon.Stdout, daemon.Stderr = log, log
	// A session of its own: it outlives this process and its signals.
	daemon.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- daemon.Wait() }()
	for deadline := time.Now().Add(startTime); !answers(c); {
		select {
		case err := <-exited:
			t.Fatalf("dockerd ended (%v): see %s", err, name)
		case <-time.After(200 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("dockerd does not answer after %v: see %s", startTime, name)
		}
	}
}

// Image makes an image of busybox and returns its name. The first process
// serves /srv on port 80 and ends at once when asked to halt, unless the variable
// STUBBORN is set. /var/seed holds "seed". The image carries the labels, and is made once for all runs.
func Image(t testing.TB, c *client.Client, labels map[string]string) string {
	t.Helper()
	root := rootFolder(t)
	changes := []string{`ENTRYPOINT ["/init"]`, "ENV PATH=/bin:/usr/local/bin"}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		changes = append(changes, "LABEL "+key+"="+labels[key])
	}
	hash := sha256.Sum256(append(root, strings.Join(changes, "\n")...))
	name := "loam-test/busybox:" + hex.EncodeToString(hash[:6])
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := c.ImageInspect(ctx, name); err == nil {
		return name
	}
	result, err := c.ImageImport(ctx, client.ImageImportSource{Source: bytes.NewReader(root), SourceName: "-"}, name,
		client.ImageImportOptions{Changes: changes})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = result.Close() }() // only read
	if _, err := io.Copy(io.Discard, result); err != nil {
		t.Fatal(err)
	}
	return name
}

// initScript is the first process. 37 is SIGRTMIN+3, the signal to halt.
const initScript = `#!/bin/sh
if [ -n "$STUBBORN" ]; then trap '' 37 15; else trap 'exit 0' 37 15; fi
httpd -p 80 -h /srv
while :; do
  sleep 3600 &
  wait $!
done
`

func rootFolder(t testing.TB) []byte {
	t.Helper()
	path := Busybox(t)
	binary, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	applets, err := exec.Command(path, "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	add := func(header tar.Header, content string) {
		header.Size = int64(len(content))
		if err := w.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	for _, folder := range []string{"bin", "dev", "etc", "proc", "run", "srv", "sys", "usr", "usr/lib", "usr/local", "usr/local/bin", "var", "var/lib", "var/lib/kubelet"} {
		add(tar.Header{Typeflag: tar.TypeDir, Name: folder, Mode: 0o755}, "")
	}
	add(tar.Header{Typeflag: tar.TypeDir, Name: "tmp", Mode: 0o1777}, "")
	add(tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755}, string(binary))
	for applet := range strings.FieldsSeq(string(applets)) {
		if applet != "busybox" {
			add(tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + applet, Linkname: "busybox"}, "")
		}
	}
	add(tar.Header{Typeflag: tar.TypeSymlink, Name: "lib", Linkname: "usr/lib"}, "")
	add(tar.Header{Typeflag: tar.TypeReg, Name: "init", Mode: 0o755}, initScript)
	add(tar.Header{Typeflag: tar.TypeReg, Name: "srv/index.html", Mode: 0o644}, "loam")
	add(tar.Header{Typeflag: tar.TypeReg, Name: "var/seed", Mode: 0o644}, "seed")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}

// Busybox returns the path of one that needs no libraries.
func Busybox(t testing.TB) string {
	t.Helper()
	for _, path := range []string{"/bin/busybox", "/usr/bin/busybox"} {
		file, err := elf.Open(path)
		if err != nil {
			continue
		}
		libraries, err := file.ImportedLibraries()
		_ = file.Close()
		if err == nil && len(libraries) == 0 {
			return path
		}
	}
	t.Fatal("the test image is made of a static busybox: `apt-get install busybox-static`")
	return ""
}
