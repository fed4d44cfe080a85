package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/loam-cloud/loam/app"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/config"
)

func newRegistry(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "registry",
		Short: "Run and look after the image cache",
		Long: `The image cache holds what clusters pull, and what you push. It fetches from
any number of upstreams, gives out nothing whose digest is not right, and goes on
serving what it has when they are down.`,
	}
	group(cmd)
	cmd.AddCommand(newRegistryServe(o))
	cmd.AddCommand(o.careCommands()...)
	return cmd
}

func newRegistryServe(o *options) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the image cache until it is interrupted",
		Long: `Run the image cache. Without a configuration file it caches docker.io, ghcr.io,
quay.io, registry.k8s.io and reg.kyverno.io on 127.0.0.1:5000 to :5040, takes
pushes on 127.0.0.1:5050, and keeps all in <data-dir>/registry.`,
		Example: `  loam registry serve
  loam registry serve --config registry.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.registryConfig(file)
			if err != nil {
				return err
			}
			return app.Registry(cmd.Context(), c, cmd.ErrOrStderr(), func() {
				fmt.Fprintln(cmd.OutOrStdout(), "The image cache is ready.")
			})
		},
	}
	registryConfigFlag(cmd, &file)
	return cmd
}

func registryConfigFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "config", "", "configuration file of the image cache")
}

// registryConfig reads the configuration of the image cache, with its defaults;
// an empty path is none.
func (o *options) registryConfig(path string) (config.Configuration, error) {
	data, err := o.data()
	// A service has no home, and needs none where the file says where the cache lies.
	if err != nil && path == "" {
		return config.Configuration{}, err
	}
	return readRegistryConfig(path, filepath.Join(data, "registry"))
}

// readRegistryConfig does so where the folder is known that it has by default.
func readRegistryConfig(path, dataDir string) (config.Configuration, error) {
	c := config.Configuration{}
	var text []byte
	if path == "" {
		c.APIVersion, c.Kind = config.APIVersion, config.Kind
	} else {
		var err error
		if text, err = os.ReadFile(path); err != nil {
			return c, fault.New(fault.Invalid, "reading the configuration of the image cache: %w", err)
		}
	}
	if err := parseRegistryConfig(text, dataDir, &c); err != nil {
		return c, fault.New(fault.Invalid, "configuration file %s: %w", path, err)
	}
	return c, nil
}

// parseRegistryConfig reads a configuration strictly and names every problem.
func parseRegistryConfig(text []byte, dataDir string, c *config.Configuration) error {
	var problems []error
	if len(text) > 0 {
		var err error
		if problems, err = decodeStrict(text, c); err != nil {
			return err
		}
	}
	c.Default(dataDir)
	for _, problem := range c.Validate() {
		problems = append(problems, problem)
	}
	return errors.Join(problems...)
}
