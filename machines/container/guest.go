package container

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
)

const (
	// runMark is the variable by which the processes of one Run are found.
	runMark = "LOAM_RUN"
	// killTime is what ending a cancelled command may take.
	killTime = 10 * time.Second
	// exitAttempts and exitDelay bound the wait for an exit code after output ended.
	exitAttempts = 100
	exitDelay    = 20 * time.Millisecond
)

// killMarked ends every process that inherited the mark given as $1. The second
// pass finds what was started during the first.
const killMarked = `exec 2>/dev/null
for pass in 1 2; do
  for p in /proc/[0-9]*; do
    tr '\0' '\n' <"$p/environ" | grep -qx "` + runMark + `=$1" && kill -9 "${p#/proc/}"
  done
done
true`

// PutFiles implements machines.Guest.
func (d *Driver) PutFiles(ctx context.Context, cluster, name string, files []machines.File) error {
	if err := d.putFiles(ctx, cluster, name, files); err != nil {
		return fmt.Errorf("placing files in machine %q of cluster %q: %w", name, cluster, err)
	}
	return nil
}

func (d *Driver) putFiles(ctx context.Context, cluster, name string, files []machines.File) error {
	if err := machines.ValidateFiles(files); err != nil {
		return err
	}
	r, err := d.one(ctx, cluster, name)
	if err != nil {
		return err
	}
	volatile, lasting := partition(files)
	if len(volatile) > 0 && r.machine.State != machines.StateRunning {
		return fault.New(fault.Invalid, "file %q would be lost when the machine starts", volatile[0].Path)
	}
	if err := d.place(ctx, r.machine.ID, lasting); err != nil {
		return err
	}
	if len(volatile) == 0 {
		return nil
	}
	// The daemon's own copy does not reach into memory file systems.
	archive, err := pack(volatile)
	if err != nil {
		return err
	}
	var problem bytes.Buffer
	err = d.run(ctx, cluster, name, machines.Command{
		Args: []string{"tar", "-x", "-f", "-", "-C", "/"}, Stdin: archive, Stderr: &problem,
	})
	if err != nil {
		return fault.New(fault.Transient, "%w: %s", err, strings.TrimSpace(problem.String()))
	}
	return nil
}

// place puts files on the disk of a container, running or not.
func (d *Driver) place(ctx context.Context, id string, files []machines.File) error {
	if len(files) == 0 {
		return nil
	}
	archive, err := pack(files)
	if err != nil {
		return err
	}
	_, err = d.client.CopyToContainer(ctx, id, client.CopyToContainerOptions{DestinationPath: "/", Content: archive})
	return d.classify(err)
}

// partition tells files in memory file systems from those on disk.
func partition(files []machines.File) (volatile, lasting []machines.File) {
	for _, file := range files {
		if machines.Volatile(file.Path) {
			volatile = append(volatile, file)
		} else {
			lasting = append(lasting, file)
		}
	}
	return volatile, lasting
}

// pack makes a tar archive. Folders are left out: those that exist keep their
// mode, those that do not are made by whoever unpacks.
func pack(files []machines.File) (*bytes.Buffer, error) {
	archive := &bytes.Buffer{}
	w := tar.NewWriter(archive)
	for _, file := range files {
		mode := file.Mode
		if mode == 0 {
			mode = 0o644
		}
		header := &tar.Header{
			Typeflag: tar.TypeReg, Name: strings.TrimPrefix(file.Path, "/"),
			Mode: int64(mode), Size: int64(len(file.Content)), ModTime: time.Now(),
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("packing %q: %w", file.Path, err)
		}
		if _, err := w.Write(file.Content); err != nil {
			return nil, fmt.Errorf("packing %q: %w", file.Path, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("packing files: %w", err)
	}
	return archive, nil
}

// Run implements machines.Guest. When the context ends, the command and all
// that it started are killed, as far as the machine has a shell. A read from
// Stdin that is going on when the command ends is not waited for.
func (d *Driver) Run(ctx context.Context, cluster, name string, command machines.Command) error {
	if len(command.Args) == 0 {
		return fault.New(fault.Invalid, "running a command in machine %q of cluster %q: no program is named", name, cluster)
	}
	if err := d.run(ctx, cluster, name, command); err != nil {
		return fmt.Errorf("running %s in machine %q of cluster %q: %w", command.Args[0], name, cluster, err)
	}
	return nil
}

func (d *Driver) run(ctx context.Context, cluster, name string, command machines.Command) error {
	r, err := d.one(ctx, cluster, name)
	if err != nil {
		return err
	}
	if r.machine.State != machines.StateRunning {
		return fault.New(fault.Waiting, "the machine is not running")
	}
	mark := rand.Text()
	created, err := d.client.ExecCreate(ctx, r.machine.ID, client.ExecCreateOptions{
		Cmd: command.Args, Env: []string{runMark + "=" + mark},
		AttachStdin: command.Stdin != nil, AttachStdout: true, AttachStderr: true,
	})
	if errdefs.IsConflict(err) {
		return fault.New(fault.Waiting, "the machine is not running: %w", err)
	}
	if err != nil {
		return d.classify(err)
	}
	if err := d.attach(ctx, created.ID, command); err != nil {
		if ctx.Err() != nil {
			d.kill(ctx, r.machine.ID, mark)
			return fault.Wrap(fault.Transient, context.Cause(ctx))
		}
		return err
	}
	return d.exitCode(ctx, created.ID, command.Args[0])
}

// attach starts the command and copies its streams until output ends.
func (d *Driver) attach(ctx context.Context, id string, command machines.Command) error {
	attached, err := d.client.ExecAttach(ctx, id, client.ExecAttachOptions{})
	if err != nil {
		return d.classify(err)
	}
	defer attached.Close()
	// Closing the connection is what ends a read that waits for output.
	defer context.AfterFunc(ctx, attached.Close)()
	if command.Stdin != nil {
		go func() {
			// The command may end before it has read everything.
			_, _ = io.Copy(attached.Conn, command.Stdin)
			_ = attached.CloseWrite()
		}()
	}
	if err := demultiplex(attached.Reader, writer(command.Stdout), writer(command.Stderr)); err != nil {
		return fault.New(fault.Transient, "reading its output: %w", err)
	}
	return ctx.Err()
}

// demultiplex parts the streams of a command. A daemon that could not start it
// says so in plain text instead, which goes to the error stream.
func demultiplex(from *bufio.Reader, stdout, stderr io.Writer) error {
	head, err := from.Peek(1)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return err
	}
	if stdcopy.StdType(head[0]) > stdcopy.Systemerr {
		_, err := io.Copy(stderr, from)
		return err
	}
	_, err = stdcopy.StdCopy(stdout, stderr, from)
	return err
}

func writer(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

func (d *Driver) exitCode(ctx context.Context, id, program string) error {
	for range exitAttempts {
		result, err := d.client.ExecInspect(ctx, id, client.ExecInspectOptions{})
		if err != nil {
			return d.classify(err)
		}
		switch {
		case result.Running:
		case result.ExitCode != 0:
			return &machines.ExitError{Program: program, Code: result.ExitCode}
		default:
			return nil
		}
		if err := pause(ctx, exitDelay); err != nil {
			return d.classify(err)
		}
	}
	return fault.New(fault.Transient, "it closed its output and goes on running")
}

// kill ends what a cancelled command left running. There is nobody to tell when
// it fails: the caller has gone already.
func (d *Driver) kill(ctx context.Context, id, mark string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTime)
	defer cancel()
	created, err := d.client.ExecCreate(ctx, id, client.ExecCreateOptions{
		Cmd: []string{"sh", "-c", killMarked, "sh", mark}, AttachStdout: true,
	})
	if err != nil {
		return
	}
	_ = d.attach(ctx, created.ID, machines.Command{})
}
