package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/app"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden"
	"github.com/loam-cloud/loam/garden/scheme"
	"github.com/loam-cloud/loam/registry/admin"
	"github.com/loam-cloud/loam/registry/daemon"
)

// gardenStatus is what loam status tells.
type gardenStatus struct {
	Version    string          `json:"version"`
	DataDir    string          `json:"dataDir"`
	Running    bool            `json:"running"`
	PID        int             `json:"pid,omitempty"`
	Address    string          `json:"address,omitempty"`
	Ready      bool            `json:"ready"`
	Problem    string          `json:"problem,omitempty"`
	Kubeconfig string          `json:"kubeconfig,omitempty"`
	Clusters   map[string]int  `json:"clusters,omitempty"`
	Seeds      []seedCondition `json:"seeds,omitempty"`
	// ImageCache is the one that lies in the data folder, if it runs.
	ImageCache *admin.Status `json:"imageCache,omitempty"`
}

type seedCondition struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	Status  string `json:"status"`
	Message string `json:"message"`
}

// notRunning is exit code 3, as of LSB's init scripts for a program that does
// not run.
type notRunning struct{ dir string }

func (n notRunning) Error() string {
	return fmt.Sprintf("no garden runs on %q: start one with \"loam up --detach\"", n.dir)
}
func (notRunning) ExitCode() int { return 3 }

func newStatus(o *options) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say whether the garden runs and how it is",
		Long:  "Say whether the garden runs and how it is. Ends with 0 when it is ready, 3 when none runs, 1 otherwise.",
		Example: `  loam status
  loam status -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(format); err != nil {
				return err
			}
			dir, err := o.data()
			if err != nil {
				return err
			}
			s, err := inspect(cmd.Context(), dir)
			if err != nil {
				return err
			}
			if err := printData(cmd.OutOrStdout(), format, s, s.print); err != nil {
				return err
			}
			switch {
			case !s.Running:
				return notRunning{dir}
			case !s.Ready:
				return fault.New(fault.Transient, "the garden is not ready: %s", s.Problem)
			}
			return nil
		},
	}
	outputFlag(cmd, &format)
	return cmd
}

func inspect(ctx context.Context, dir string) (gardenStatus, error) {
	s := gardenStatus{Version: app.Version, DataDir: dir}
	var err error
	if s.PID, s.Running, err = garden.ReadLock(dir); err != nil || !s.Running {
		return s, err
	}
	if err := ready(ctx, dir); err != nil {
		s.Problem = err.Error()
		return s, nil //nolint:nilerr // the problem is part of what is told
	}
	config, err := restConfig(dir)
	if err != nil {
		return s, err
	}
	s.Ready, s.Address, s.Kubeconfig = true, config.Host, kubeconfigPath(dir)
	c, err := client.New(config, client.Options{Scheme: scheme.Client()})
	if err != nil {
		return s, err
	}
	if s.ImageCache, err = inspectImageCache(ctx, dir); err != nil {
		return s, err
	}
	var shoots gardencorev1beta1.ShootList
	var seeds gardencorev1beta1.SeedList
	if err := c.List(ctx, &shoots); err != nil {
		return s, err
	}
	if err := c.List(ctx, &seeds); err != nil {
		return s, err
	}
	s.Clusters = map[string]int{}
	for i := range shoots.Items {
		s.Clusters[state(&shoots.Items[i])]++
	}
	for _, seed := range seeds.Items {
		for _, condition := range seed.Status.Conditions {
			s.Seeds = append(s.Seeds, seedCondition{seed.Name, string(condition.Type), string(condition.Status), condition.Message})
		}
	}
	return s, nil
}

// inspectImageCache asks the image cache that runs in the data folder; nil when
// none does.
func inspectImageCache(ctx context.Context, dir string) (*admin.Status, error) {
	c, err := readRegistryConfig("", filepath.Join(dir, "registry"))
	if err != nil {
		return nil, nil //nolint:nilerr // it cannot run in such a folder
	}
	client, err := daemon.Running(ctx, c)
	if errors.Is(err, fault.Missing) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	status, err := client.Status(ctx)
	return &status, errors.Join(err, client.Close())
}

func (s gardenStatus) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintf(t, "version:\t%s\ndata:\t%s\n", s.Version, s.DataDir)
	if s.Running {
		fmt.Fprintf(t, "process:\t%d\naddress:\t%s\nready:\t%v\nkubeconfig:\t%s\n", s.PID, s.Address, s.Ready, s.Kubeconfig)
		for _, state := range slices.Sorted(maps.Keys(s.Clusters)) {
			fmt.Fprintf(t, "clusters:\t%d %s\n", s.Clusters[state], state)
		}
		if c := s.ImageCache; c != nil {
			fmt.Fprintf(t, "image cache:\t%d blobs, %s%s\n", c.Blobs, humanize.IBytes(uint64(max(0, c.Bytes))), pushedTo(*c))
		}
		for _, c := range s.Seeds {
			fmt.Fprintf(t, "seed %s:\t%s %s: %s\n", c.Name, c.Type, c.Status, c.Message)
		}
	}
	return t.Flush()
}

func newDown(o *options) *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Stop the garden; clusters keep running",
		Long: `Stop the garden that runs on the data folder. Its clusters keep running, and
its data stays: "loam up" continues. A garden that does not run is a success.`,
		Example: `  loam down`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := o.data()
			if err != nil {
				return err
			}
			return down(cmd.Context(), dir, timeout, printer(cmd.ErrOrStderr()))
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 15*time.Second, "how long to wait for the end")
	return cmd
}

func down(ctx context.Context, dir string, timeout time.Duration, say sayer) error {
	pid, running, err := garden.ReadLock(dir)
	if err != nil {
		return err
	}
	if !running {
		say("No garden runs on %s", dir)
		return nil
	}
	if pid == 0 {
		return fault.New(fault.Waiting, "the garden on %q is just starting: try again", dir)
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		return fmt.Errorf("finding process %d: %w", pid, err)
	}
	if err := process.Signal(syscall.SIGTERM); err != nil {
		return fault.New(fault.Denied, "stopping process %d: %w", pid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		if _, running, err := garden.ReadLock(dir); err != nil || !running {
			say("The garden has stopped")
			return err
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Transient, "process %d has not ended after %s", pid, timeout)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
