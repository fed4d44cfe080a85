package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/loam-cloud/loam/app"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden"
)

func newUp(o *options) *cobra.Command {
	var c app.Config
	var detached bool
	var file string
	var backups backupFlags
	images := imageCacheFlags{run: true}
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start the garden, this host's agent and the image cache",
		Long: `Start the garden: the API that holds projects, clusters and seeds, its
controllers, and the agent that grows clusters on this host. The image cache that
nodes pull through runs beside it; an address of it that is taken is left out.

A second start on the same data continues where the first one ended. The
administrator's kubeconfig is written to <data-dir>/kubeconfig.`,
		Example: `  loam up
  loam up --detach
  loam up --listen 127.0.0.1:7443 -f shoots.yaml
  loam up --registry=false
  loam up --etcd-servers https://10.0.0.1:2379,https://10.0.0.2:2379 --etcd-cafile ca.crt --etcd-certfile tls.crt --etcd-keyfile tls.key
  kubectl --kubeconfig ~/.local/share/loam/kubeconfig get shoots -A`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := o.data()
			if err != nil {
				return err
			}
			if err := readConfig(file, &c, &images, cmd.Flags()); err != nil {
				return err
			}
			if c.DataDir == "" || cmd.Flags().Changed("data-dir") {
				c.DataDir = dir
			}
			if err := errors.Join(backups.apply(&c), images.apply(&c)); err != nil {
				return err
			}
			if err := errors.Join(c.Validate(), checkClockOffset(c.ClockOffset)); err != nil {
				return err
			}
			if detached {
				if err := detach(cmd.Context(), c.DataDir, upFlags(c, file, backups, images)); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "The garden is ready. Use it with:\n\n  export KUBECONFIG=%s\n  kubectl get shoots -A\n", kubeconfigPath(c.DataDir))
				return nil
			}
			c.Ready = tellReady()
			return app.Up(cmd.Context(), c, cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.Listen, "listen", "", "address and port of the API (default "+garden.DefaultListen+")")
	f.StringVar(&file, "config", "", "configuration file; flags win over it")
	f.StringArrayVarP(&c.Manifests, "filename", "f", nil, "manifest to apply once the garden is ready; may be given several times")
	etcdFlags(f, &c.Etcd)
	backups.add(f)
	images.add(f)
	f.StringVar(&c.Audit.Path, "audit-log-path", "", "file with a line per request to the API (default <data-dir>/audit.log)")
	f.StringVar(&c.Audit.PolicyFile, "audit-policy-file", "", "audit policy of Kubernetes (default the metadata of every request)")
	portsFlags(cmd, &c.Ports)
	clockOffsetFlag(f, &c.ClockOffset)
	f.BoolVar(&detached, "detach", false, "start in the background and return once the garden is ready")
	return cmd
}

func upFlags(c app.Config, file string, backups backupFlags, images imageCacheFlags) []string {
	flags := append(backups.flags(), images.flags()...)
	if file != "" {
		flags = append(flags, "--config", file)
	}
	if c.Listen != "" {
		flags = append(flags, "--listen", c.Listen)
	}
	if c.Etcd.Used() {
		flags = append(flags, "--etcd-servers", strings.Join(c.Etcd.Servers, ","), "--etcd-cafile", c.Etcd.CAFile,
			"--etcd-certfile", c.Etcd.CertFile, "--etcd-keyfile", c.Etcd.KeyFile, "--etcd-prefix", c.Etcd.Prefix)
	}
	if c.Audit.Path != "" {
		flags = append(flags, "--audit-log-path", c.Audit.Path)
	}
	if c.Audit.PolicyFile != "" {
		flags = append(flags, "--audit-policy-file", c.Audit.PolicyFile)
	}
	if c.Ports.Address != "" {
		flags = append(flags, "--ports-address", c.Ports.Address)
	}
	if c.Ports.Way != "" {
		flags = append(flags, "--ports-way", c.Ports.Way)
	}
	if c.ClockOffset != 0 {
		flags = append(flags, "--"+clockOffset, c.ClockOffset.String())
	}
	for _, m := range c.Manifests {
		flags = append(flags, "--filename", m)
	}
	return flags
}

// detachLimit bounds the wait for a garden that was started in the background.
const detachLimit = time.Minute

// detach starts "loam up" as a process of its own session and waits until the
// garden is ready, or until it has ended and said why.
func detach(ctx context.Context, dataDir string, flags []string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding loam's own binary: %w", err)
	}
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return fault.New(fault.Invalid, "data folder %q cannot be made: %w", dataDir, err)
	}
	path := filepath.Join(dataDir, "loam.log")
	logFile, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fault.New(fault.Invalid, "data folder %q cannot be written: %w", dataDir, err)
	}
	defer func() { _ = logFile.Close() }() // the process has its own copy
	began, err := logFile.Seek(0, 2)
	if err != nil {
		return fmt.Errorf("reading %q: %w", path, err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("starting the garden: %w", err)
	}
	defer func() { _ = read.Close() }() // only read
	child := exec.Command(self, append([]string{"up", "--data-dir", dataDir}, flags...)...)
	child.Stdout, child.Stderr = logFile, logFile
	child.ExtraFiles = []*os.File{write} // becomes readyDescriptor
	child.Env = append(os.Environ(), readyVariable+"=1")
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = child.Start()
	// Only the child's copy is left, so that its end ends the reading.
	if err := errors.Join(err, write.Close()); err != nil {
		return fmt.Errorf("starting the garden: %w", err)
	}
	ready := make(chan bool, 1)
	go func() {
		n, _ := read.Read(make([]byte, 1)) // an end without a word is the answer no
		ready <- n == 1
	}()
	ctx, cancel := context.WithTimeout(ctx, detachLimit)
	defer cancel()
	select {
	case yes := <-ready:
		if yes {
			return nil
		}
		// The process has closed all it had: it has ended, or is about to.
		_ = child.Wait() // what it said tells more than its exit code
		return fault.New(fault.Invalid, "the garden did not start: %s", lastError(path, began))
	case <-ctx.Done():
		return errors.Join(fault.New(fault.Transient, "the garden was not ready after %s; its log is %s", detachLimit, path), child.Process.Signal(syscall.SIGTERM))
	}
}

// The garden in the background says that it is ready by a byte in the first file
// that a process can be given beside the standard ones; the variable says that
// there is one.
const (
	readyVariable   = "LOAM_READY_PIPE"
	readyDescriptor = 3
)

// tellReady returns what tells the process that waits for this one; nil when
// none does.
func tellReady() func() {
	if os.Getenv(readyVariable) == "" {
		return nil
	}
	return func() {
		pipe := os.NewFile(readyDescriptor, "ready")
		// Nobody is left to tell when the reader has gone.
		_, _ = pipe.Write([]byte{1})
		_ = pipe.Close()
	}
}

// lastError finds what a garden that ended said last.
func lastError(path string, from int64) string {
	text, err := os.ReadFile(path)
	if err != nil || int64(len(text)) <= from {
		return "it left no word in " + path
	}
	if i := bytes.LastIndex(text, []byte("Error: ")); i >= int(from) {
		return strings.TrimSpace(string(text[i+len("Error: "):]))
	}
	return "see " + path
}
