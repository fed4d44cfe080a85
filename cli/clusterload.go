package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"github.com/loam-cloud/loam/app"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/images/archive"
	loading "github.com/loam-cloud/loam/shoots/load"
)

func newClusterLoad(o *options, p *project) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "load",
		Short: "Load container images into the nodes of a cluster",
		Long: `Load container images into the nodes of a cluster, so that pods run them with no
registry: from the container engine, from archives, or from layouts of OCI.

All nodes are loaded at once, and the source is read once. Nodes that have an image
are left alone, and layers that a node has are not sent again. Pods find an image by
the name that it has here, with imagePullPolicy Never or IfNotPresent.`,
		Example: `  loam cluster load docker-image demo app:dev
  loam cluster load image-archive demo app.tar
  loam cluster load oci-layout demo ./layout --as app:dev`,
	}
	group(cmd)
	cmd.AddCommand(newLoadEngine(o, p), newLoadArchive(o, p), newLoadLayout(o, p))
	return cmd
}

// loadOptions are the flags of loam cluster load.
type loadOptions struct {
	cluster string
	nodes   []string
	as      string
	dryRun  bool
	timeout time.Duration
	format  string
}

// command completes a command that loads: what it takes is the last thing that its
// arguments name.
func (l *loadOptions) command(o *options, p *project, cmd *cobra.Command, what string, complete cobra.CompletionFunc,
	run func(cmd *cobra.Command, s *sight, sources []string) ([]loading.Outcome, error),
) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if _, sources := l.split(args); len(sources) == 0 {
			return fault.New(fault.Invalid, "%s takes the name of a cluster and %s: %s", cmd.CommandPath(), what, cmd.UseLine())
		}
		return nil
	}
	clusters := o.completeMachines(p)
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if l.cluster == "" && len(args) == 0 {
			return clusters(cmd, args, typed)
		}
		return complete(cmd, args, typed)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkFormat(l.format); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), l.timeout)
		defer cancel()
		cmd.SetContext(ctx)
		cluster, sources := l.split(args)
		s, err := o.sight(ctx, p, cluster)
		if err != nil {
			return err
		}
		defer s.Close()
		outcomes, err := run(cmd, s, sources)
		if len(outcomes) == 0 {
			return err
		}
		return errors.Join(err, printData(cmd.OutOrStdout(), l.format, outcomes, func(w io.Writer) error {
			return printOutcomes(w, outcomes, l.format == "wide")
		}))
	}
	f := cmd.Flags()
	f.StringVar(&l.cluster, "name", "", "name of the cluster, as users of kind give it: all arguments are "+what+" then")
	f.StringSliceVar(&l.nodes, "nodes", nil, "names of the nodes to load into (default all)")
	f.BoolVar(&l.dryRun, "dry-run", false, "show what would go to which node, and send nothing")
	f.DurationVar(&l.timeout, "timeout", 30*time.Minute, "how long it may take")
	outputFlag(cmd, &l.format)
	// The flag exists: it was made above.
	_ = cmd.RegisterFlagCompletionFunc("name", func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return clusters(cmd, nil, typed)
	})
	return cmd
}

// split parts the name of the cluster from what is to be loaded.
func (l *loadOptions) split(args []string) (string, []string) {
	if l.cluster != "" || len(args) == 0 {
		return l.cluster, args
	}
	return args[0], args[1:]
}

func newLoadEngine(o *options, p *project) *cobra.Command {
	l := &loadOptions{}
	return l.command(o, p, &cobra.Command{
		Use:     "docker-image NAME IMAGE...",
		Aliases: []string{"image"},
		Short:   "Load images of the container engine into nodes",
		Long: `Load images of the container engine (Docker, or Podman by its address in
DOCKER_HOST) into the nodes of a cluster. They are streamed: no file is written.`,
		Example: `  loam cluster load docker-image demo app:dev
  loam cluster load docker-image demo app:dev web:dev --nodes demo-worker-0,demo-worker-1
  loam cluster load docker-image demo app:dev --dry-run
  loam cluster load docker-image app:dev --name demo`,
	}, "images", completeTags, func(cmd *cobra.Command, s *sight, names []string) ([]loading.Outcome, error) {
		engine, err := app.OpenEngineImages()
		if err != nil {
			return nil, err
		}
		defer engine.Close()
		return l.load(cmd, s, strings.Join(names, ", "), func(ctx context.Context, platform v1.Platform) (*archive.Source, error) {
			return engine.Source(ctx, names, platform)
		})
	})
}

func completeTags(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	engine, err := app.OpenEngineImages()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	defer engine.Close()
	tags, err := engine.Tags(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return tags, cobra.ShellCompDirectiveNoFileComp
}

func newLoadArchive(o *options, p *project) *cobra.Command {
	l := &loadOptions{}
	cmd := l.command(o, p, &cobra.Command{
		Use:     "image-archive NAME FILE...",
		Aliases: []string{"archive"},
		Short:   "Load archives of images into nodes",
		Long: `Load archives into the nodes of a cluster: of "docker save", or of a layout of OCI,
plain or compressed by gzip or zstd; - is standard input. Of a plain file it is known
what it holds before it is read, so that only what a node lacks is sent. A file that
is compressed, or standard input, is sent whole.`,
		Example: `  loam cluster load image-archive demo app.tar
  loam cluster load image-archive demo app.tar web.tar.gz --nodes demo-worker-0
  docker save app:dev | loam cluster load image-archive demo -
  loam cluster load image-archive app.tar --name demo`,
	}, "archives", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveDefault
	}, func(cmd *cobra.Command, s *sight, files []string) ([]loading.Outcome, error) {
		return l.each(cmd, s, files, func(file string) (*archive.Source, error) {
			if file == "-" {
				return archive.Stream(cmd.InOrStdin()), nil
			}
			return archive.OpenFile(file)
		})
	})
	l.nameFlag(cmd)
	return cmd
}

func newLoadLayout(o *options, p *project) *cobra.Command {
	l := &loadOptions{}
	cmd := l.command(o, p, &cobra.Command{
		Use:   "oci-layout NAME DIR...",
		Short: "Load images of OCI layouts into nodes",
		Long: `Load the images of a folder that is an OCI image layout, as skopeo, crane, buildah,
ko and "docker buildx build -o type=oci,tar=false" write it, into the nodes of a
cluster. Of an image for several platforms the one of the nodes is loaded.`,
		Example: `  loam cluster load oci-layout demo ./layout
  loam cluster load oci-layout demo ./layout --as app:dev`,
	}, "folders", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}, func(cmd *cobra.Command, s *sight, folders []string) ([]loading.Outcome, error) {
		return l.each(cmd, s, folders, archive.OpenLayout)
	})
	l.nameFlag(cmd)
	return cmd
}

func (l *loadOptions) nameFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&l.as, "as", "", "name of the image in the nodes, for one that has none, or in the place of its own")
}

// each loads one source after the other, up to the first that does not go well.
func (l *loadOptions) each(cmd *cobra.Command, s *sight, names []string, open func(string) (*archive.Source, error)) ([]loading.Outcome, error) {
	if l.as != "" && len(names) != 1 {
		return nil, fault.New(fault.Invalid, "--as: names one image, and there are %d sources", len(names))
	}
	var all []loading.Outcome
	for _, name := range names {
		outcomes, err := l.load(cmd, s, name, func(context.Context, v1.Platform) (*archive.Source, error) { return open(name) })
		all = append(all, outcomes...)
		if err != nil {
			return all, fmt.Errorf("loading %q: %w", name, err)
		}
	}
	return all, nil
}

func (l *loadOptions) load(cmd *cobra.Command, s *sight, what string, open func(context.Context, v1.Platform) (*archive.Source, error)) ([]loading.Outcome, error) {
	say := printer(cmd.ErrOrStderr())
	if !l.dryRun {
		say("Loading %s into cluster %q", what, s.known.Name)
	}
	return s.Loader(say).Load(cmd.Context(), loading.Request{Cluster: s.known.ID, Nodes: l.nodes, Open: open, Name: l.as, DryRun: l.dryRun})
}

func printOutcomes(w io.Writer, outcomes []loading.Outcome, wide bool) error {
	t := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	header := "IMAGE\tNODE\tSTATE\tLAYERS\tSENT"
	if wide {
		header += "\tID\tPROBLEM"
	}
	fmt.Fprintln(t, header)
	for _, o := range outcomes {
		line := fmt.Sprintf("%s\t%s\t%s\t%d of %d\t%s", o.Image, o.Node, o.State, o.Layers, o.LayersTotal, loading.Size(o.Bytes))
		if wide {
			line += fmt.Sprintf("\t%s\t%s", o.ID, firstLine(o.Problem))
		}
		fmt.Fprintln(t, line)
	}
	return t.Flush()
}
