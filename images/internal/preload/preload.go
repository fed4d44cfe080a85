// Package preload unpacks images into a containerd folder that becomes part of a
// node image, so that a node finds them at its first boot and writes nothing.
// Package images calls it.
//
// It must not know which images they are.
package preload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Archive is an image archive to be imported.
type Archive struct {
	// Name is the image's full reference, which is in the archive too.
	Name string
	Path string
}

// namespace is where the kubelet's images are.
const namespace = "k8s.io"

// configuration runs containerd without all that a node's one does beside
// storing: no CRI, which would look at this host's networks.
const configuration = `version = 3
root = %q
state = %q
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[grpc]
address = "` + socket + `"
[ttrpc]
address = "` + socket + `.ttrpc"
`

// socket is in the folder in which containerd and ctr run, whatever it is called: a
// socket's path may have no more than about a hundred bytes.
const socket = "/proc/self/cwd/" + socketName

const socketName = "containerd.sock"

// Unpack imports archives with the containerd and ctr in the folder binaries,
// and leaves what containerd keeps on disk in dir, which has to be empty. The
// folder work is for sockets and the like.
//
// The same archives in the same order leave the same bytes.
func Unpack(ctx context.Context, binaries, work, dir string, archives []Archive) error {
	if err := unpack(ctx, binaries, work, dir, archives); err != nil {
		return err
	}
	return errors.Join(
		settle(filepath.Join(dir, "io.containerd.metadata.v1.bolt", "meta.db")),
		settle(filepath.Join(dir, "io.containerd.snapshotter.v1.overlayfs", "metadata.db")),
	)
}

func unpack(ctx context.Context, binaries, work, dir string, archives []Archive) (err error) {
	config := fmt.Sprintf(configuration, dir, filepath.Join(work, "state"))
	if err := os.WriteFile(filepath.Join(work, "config.toml"), []byte(config), 0o600); err != nil {
		return fmt.Errorf("configuring containerd: %w", err)
	}
	stop, err := serve(ctx, filepath.Join(binaries, "containerd"), work)
	if err != nil {
		return err
	}
	// The databases are complete only once containerd has ended.
	defer func() { err = errors.Join(err, stop()) }()
	ctr := func(args ...string) error {
		command := exec.CommandContext(ctx, filepath.Join(binaries, "ctr"), append([]string{"--address", socket, "--namespace", namespace}, args...)...)
		command.Dir = work
		if out, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("running ctr %s: %w: %s", strings.Join(args[:2], " "), err, bytes.TrimSpace(out))
		}
		return nil
	}
	for _, archive := range archives {
		// What is unpacked is not needed packed as well.
		if err := ctr("images", "import", "--local", "--discard-unpacked-layers", "--snapshotter", "overlayfs", archive.Path); err != nil {
			return fmt.Errorf("unpacking image %q: %w", archive.Name, err)
		}
		// The kubelet removes unused images when its disk runs full. These come
		// from nowhere else.
		if err := ctr("images", "label", archive.Name, "io.cri-containerd.pinned=pinned"); err != nil {
			return fmt.Errorf("pinning image %q: %w", archive.Name, err)
		}
	}
	// Removes what importing has left, and waits for it.
	return ctr("content", "prune", "references")
}

// serve starts containerd in the folder that holds its configuration, and waits for
// its socket.
func serve(ctx context.Context, program, work string) (stop func() error, err error) {
	var output bytes.Buffer
	command := exec.CommandContext(ctx, program, "--config", "config.toml")
	command.Dir = work
	command.Stdout, command.Stderr = &output, &output
	// Mounts made while unpacking are in a namespace of their own.
	command.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	ended := make(chan error, 1)
	started := make(chan error)
	go func() {
		// The death signal follows the thread that started the command.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		started <- err
		if err == nil {
			ended <- command.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting containerd: %w", err)
	}
	stop = func() error {
		_ = command.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-ended:
			if err != nil {
				return fmt.Errorf("ending containerd: %w: %s", err, lastLine(&output))
			}
			return nil
		case <-time.After(20 * time.Second):
			_ = command.Process.Kill()
			<-ended
			return errors.New("containerd did not end within 20 s")
		}
	}
	for {
		if _, err := os.Stat(filepath.Join(work, socketName)); err == nil {
			return stop, nil
		}
		select {
		case err := <-ended:
			return nil, fmt.Errorf("containerd ended while starting: %w: %s", err, lastLine(&output))
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), stop())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func lastLine(output *bytes.Buffer) string {
	lines := strings.Split(strings.TrimSpace(output.String()), "\n")
	return lines[len(lines)-1]
}
