package cli

import (
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/loam-cloud/loam/app"
)

// imageCacheFlags are those of loam up about the image cache beside the garden.
type imageCacheFlags struct {
	run  bool
	file string
}

func (i *imageCacheFlags) add(f *pflag.FlagSet) {
	f.BoolVar(&i.run, "registry", true, "run the image cache beside the garden")
	f.StringVar(&i.file, "registry-config", "", "configuration file of the image cache, as loam registry serve takes it")
}

// imageCacheConfiguration is how the image cache runs beside a garden.
type imageCacheConfiguration struct {
	// Enabled says whether it does; true.
	Enabled *bool `json:"enabled,omitempty"`
	// ConfigFile is its own configuration, a RegistryConfiguration.
	ConfigFile string `json:"configFile,omitempty"`
}

// read takes what a configuration file says and the flags do not.
func (i *imageCacheFlags) read(file imageCacheConfiguration, flags *pflag.FlagSet) {
	if file.Enabled != nil && !flags.Changed("registry") {
		i.run = *file.Enabled
	}
	if !flags.Changed("registry-config") {
		i.file = file.ConfigFile
	}
}

// apply makes a configuration that knows its data folder say what the flags do.
// With a file of its own the cache is where that says, whoever runs it.
func (i *imageCacheFlags) apply(c *app.Config) error {
	c.NoRegistry = !i.run
	if i.file == "" {
		return nil
	}
	var err error
	c.Registry, err = readRegistryConfig(i.file, filepath.Join(c.DataDir, "registry"))
	return err
}

// flags are the command line that says the same.
func (i *imageCacheFlags) flags() []string {
	var flags []string
	if !i.run {
		flags = append(flags, "--registry=false")
	}
	if i.file != "" {
		flags = append(flags, "--registry-config", i.file)
	}
	return flags
}
