package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"github.com/loam-cloud/loam/app"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/images"
)

func newImage(_ *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "image",
		Short: "Build and list node images",
		Example: `  loam image build
  loam image build --kubernetes-version v1.35.4
  loam image list`,
	}
	group(cmd)
	cmd.AddCommand(newImageBuild(), newImageList(), newImageSelf())
	return cmd
}

func newImageBuild() *cobra.Command {
	var options images.Options
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Build a node image from Debian packages and Go modules",
		Long: `Build the image that nodes boot from, out of Debian packages and Go modules
alone, and load it into the container engine. The first build of a version takes
minutes; what was built once is kept in the cache folder and used again.

Versions: ` + strings.Join(images.Supported(), ", "),
		Example: `  loam image build
  loam image build --kubernetes-version v1.35.4 --tag registry.example/node:v1.35.4`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options.Progress = func(step string) { fmt.Fprintln(cmd.ErrOrStderr(), step) }
			image, err := images.Build(cmd.Context(), options)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), image.Tag, image.ID)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&options.KubernetesVersion, "kubernetes-version", images.Default, "Kubernetes version")
	f.StringVar(&options.Tag, "tag", "", "name of the image (default loam/node:<version>)")
	f.StringVar(&options.CacheDir, "cache-dir", "", "folder of built parts (default "+images.DefaultCacheDir()+")")
	// The flag exists: it was made in a line above.
	_ = cmd.RegisterFlagCompletionFunc("kubernetes-version", cobra.FixedCompletions(images.Supported(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func newImageSelf() *cobra.Command {
	var output, tag string
	cmd := &cobra.Command{
		Use:   "self",
		Short: "Write a container image of loam itself",
		Long: `Write an archive with a container image that holds this very binary and nothing
else. The manifests in deploy/ use it.`,
		Example: `  loam image self -o loam.tar && docker load -i loam.tar
  loam image self --tag registry.example/loam:v1 -o - | docker load`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("finding loam's own binary: %w", err)
			}
			if output == "-" {
				return images.WriteSelf(cmd.OutOrStdout(), self, tag)
			}
			file, err := renameio.NewPendingFile(output, renameio.WithPermissions(0o644))
			if err != nil {
				return fault.New(fault.Invalid, "file %q cannot be written: %w", output, err)
			}
			defer func() { _ = file.Cleanup() }() // nothing is left to do when it was replaced
			if err := images.WriteSelf(file, self, tag); err != nil {
				return err
			}
			if err := file.CloseAtomicallyReplace(); err != nil {
				return fmt.Errorf("writing %q: %w", output, err)
			}
			_, err = fmt.Fprintln(cmd.ErrOrStderr(), "Wrote", tag, "to", output)
			return err
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", `file of the archive, "-" for standard output`)
	cmd.Flags().StringVar(&tag, "tag", images.SelfTag(app.Version), "name of the image")
	// The flag exists: it was made above.
	_ = cmd.MarkFlagRequired("output")
	return cmd
}

func newImageList() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the node images of this host",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(format); err != nil {
				return err
			}
			all, err := app.NodeImages(cmd.Context(), "")
			if err != nil {
				return err
			}
			return printData(cmd.OutOrStdout(), format, all, func(w io.Writer) error {
				t := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
				fmt.Fprintln(t, "IMAGE\tKUBERNETES\tID")
				for _, i := range all {
					fmt.Fprintf(t, "%s\t%s\t%s\n", i.Tag, i.KubernetesVersion, i.ID)
				}
				return t.Flush()
			})
		},
	}
	outputFlag(cmd, &format)
	return cmd
}
