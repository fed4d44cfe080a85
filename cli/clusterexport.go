package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/shoots/export"
)

func newClusterExport(o *options, p *project) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Export logs of a cluster, or access to it",
		Example: `  loam cluster export logs demo
  loam cluster export kubeconfig demo`,
	}
	group(cmd)
	kubeconfig := newClusterKubeconfig(o, p)
	kubeconfig.Example = `  loam cluster export kubeconfig demo
  loam cluster export kubeconfig demo --kubeconfig demo.kubeconfig`
	cmd.AddCommand(newClusterExportLogs(o, p), kubeconfig)
	return cmd
}

// exportOptions are the flags of loam cluster export logs.
type exportOptions struct {
	archive bool
	timeout time.Duration
}

func newClusterExportLogs(o *options, p *project) *cobra.Command {
	e := &exportOptions{}
	cmd := &cobra.Command{
		Use:   "logs NAME [DIR]",
		Short: "Write what helps to understand a cluster into a folder, without secrets",
		Long: `Write into a folder, which must be empty or not there: of each node its journals,
logs of pods, of its container and of kubeadm, manifests, versions, processes; of the
cluster its objects (but for Secrets) and events; and the pages of inspect and doctor.
missing.txt says what could not be had, as when the API server does not answer.

Keys, tokens and passwords are taken out: those that are known, as the cluster's keys
and the values of its Secrets, and all that looks like one. Read through it before
you give it away all the same. Only you may read the files.`,
		Example: `  loam cluster export logs demo
  loam cluster export logs demo /tmp/demo-logs
  loam cluster export logs demo --archive`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 || len(args) == 2 {
				return nil
			}
			return fault.New(fault.Invalid, "%s takes the name of a cluster, and a folder: %s", cmd.CommandPath(), cmd.UseLine())
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return nil, cobra.ShellCompDirectiveFilterDirs
			}
			return o.completeMachines(p)(cmd, args, typed)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.run(cmd, o, p, args)
		},
	}
	cmd.Flags().BoolVar(&e.archive, "archive", false, "write one file DIR.tar.gz in the place of a folder")
	cmd.Flags().DurationVar(&e.timeout, "timeout", 10*time.Minute, "how long it may take")
	return cmd
}

func (e *exportOptions) run(cmd *cobra.Command, o *options, p *project, args []string) (err error) {
	ctx, cancel := context.WithTimeout(cmd.Context(), e.timeout)
	defer cancel()
	target := export.Folder(args[0], time.Now())
	if len(args) == 2 {
		target = filepath.Clean(args[1])
	}
	s, err := o.sight(ctx, p, args[0])
	if err != nil {
		return err
	}
	defer s.Close()
	host, err := o.hostFacts(ctx)
	if err != nil {
		return err
	}
	say := printer(cmd.ErrOrStderr())
	if !e.archive {
		if err := s.ExportLogs(ctx, s.known, s.hibernated, host, target, say); err != nil {
			return err
		}
		say("Wrote %s", target)
		return nil
	}
	file := target + ".tar.gz"
	if _, err := os.Lstat(file); err == nil {
		return fault.New(fault.Invalid, "file %q exists already: name another one", file)
	}
	// Beside the archive, as there is room where the user wants it.
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fault.New(fault.Invalid, "folder of %q: %w", file, err)
	}
	folder, err := os.MkdirTemp(filepath.Dir(file), ".loam-logs-")
	if err != nil {
		return fault.New(fault.Invalid, "folder of %q: %w", file, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	if err := s.ExportLogs(ctx, s.known, s.hibernated, host, folder, say); err != nil {
		return err
	}
	if err := export.Archive(folder, filepath.Base(target), file); err != nil {
		return err
	}
	say("Wrote %s", file)
	return nil
}
