// Package cli is loam's command line: cobra commands that start and stop the
// garden, build node images, and grow clusters through the garden's API. Only
// cmd/loam uses it.
//
// It must not hold logic of its own beyond reading input and showing output;
// what a command does stands in the packages below.
package cli

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/loam-cloud/loam/app"
	"github.com/loam-cloud/loam/fault"
)

// New returns the command loam.
func New() *cobra.Command {
	o := &options{}
	root := &cobra.Command{
		Use:   "loam",
		Short: "Turn hosts that you own into a Kubernetes cloud",
		Long: `Loam turns hosts that you own into a Kubernetes cloud, with one binary.

  loam up                  start the garden: the API of projects, clusters and seeds
  loam cluster create demo grow a Kubernetes cluster on this host
  loam image build         build a node image from Debian packages and Go modules
  loam registry serve      run the image cache`,
		Version:       app.Version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&o.dataDir, "data-dir", "", "folder of the garden's data (default $LOAM_DATA_DIR, else $XDG_DATA_HOME/loam)")
	root.AddCommand(newUp(o), newDown(o), newStatus(o), newSeed(o), newCluster(o), newNode(), newImage(o), newGarden(o), newAPIServer(), newControllerManager(), newAgent(), newDebug(), newRegistry(o))
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fault.Wrap(fault.Invalid, err) })
	return root
}

// options are the flags that all commands share.
type options struct {
	dataDir string
}

// data returns the absolute path of the garden's data folder.
func (o *options) data() (string, error) {
	dir := o.dataDir
	if dir == "" {
		dir = os.Getenv("LOAM_DATA_DIR")
	}
	if dir == "" {
		base := os.Getenv("XDG_DATA_HOME")
		if base == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return "", fault.New(fault.Invalid, "no home folder is known: choose a data folder with --data-dir: %w", err)
			}
			base = filepath.Join(home, ".local", "share")
		}
		dir = filepath.Join(base, "loam")
	}
	return filepath.Abs(dir)
}

// group makes a command that only holds others refuse a name that is none of
// them; cobra alone would show help and succeed.
func group(cmd *cobra.Command) {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		return fault.Wrap(fault.Invalid, cobra.NoArgs(cmd, args))
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
}

// exactlyOne makes a missing or surplus argument an error that says what is
// meant, rather than cobra's count.
func exactlyOne(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			return nil
		}
		return fault.New(fault.Invalid, "%s takes %s: %s", cmd.CommandPath(), what, cmd.UseLine())
	}
}

// ExitCode is the process's exit code for an error: 0 for none, 1 otherwise.
func ExitCode(err error) int {
	var code interface{ ExitCode() int }
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code) && code.ExitCode() > 0:
		return code.ExitCode()
	default:
		return 1
	}
}
