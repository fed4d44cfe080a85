package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"github.com/spf13/cobra"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/app"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden"
	validationshoots "github.com/loam-cloud/loam/garden/validation/shoots"
	"github.com/loam-cloud/loam/shoots/insight"
)

const (
	// lookLimit bounds the look at a cluster that may be in trouble.
	lookLimit = 2 * time.Minute
	// gardenLimit bounds the question to a garden that may be, too.
	gardenLimit = 10 * time.Second
)

func newClusterInspect(o *options, p *project) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "inspect NAME",
		Short: "Show what a cluster is made of, as one page",
		Long: `Show what a cluster is made of: of each node its container, image, state, addresses,
bounds, processes, certificates with their expiry, disks with their size, and where
its files are; then how ports of this host lead to node ports and services.

It works on a cluster that is stopped or half made, and without a garden: what
could not be seen is listed at the end, with the reason. No key is shown.`,
		Example: `  loam cluster inspect demo
  loam cluster inspect demo -o json`,
		Args:              exactlyOne("the name of a cluster"),
		ValidArgsFunction: o.completeMachines(p),
		RunE: func(cmd *cobra.Command, args []string) error {
			view, err := o.look(cmd.Context(), p, args[0], format)
			if err != nil {
				return err
			}
			return printData(cmd.OutOrStdout(), format, view.Page, view.Page.Print)
		},
	}
	outputFlag(cmd, &format)
	return cmd
}

func newClusterNodes(o *options, p *project) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "nodes NAME",
		Short: "List the nodes of a cluster with their containers",
		Example: `  loam cluster nodes demo
  loam cluster nodes demo -o wide`,
		Args:              exactlyOne("the name of a cluster"),
		ValidArgsFunction: o.completeMachines(p),
		RunE: func(cmd *cobra.Command, args []string) error {
			view, err := o.look(cmd.Context(), p, args[0], format)
			if err != nil {
				return err
			}
			nodes := view.Page.Nodes
			return printData(cmd.OutOrStdout(), format, nodes, func(w io.Writer) error { return printNodes(w, nodes, format == "wide") })
		},
	}
	outputFlag(cmd, &format)
	return cmd
}

func printNodes(w io.Writer, nodes []insight.Node, wide bool) error {
	t := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	header := "NAME\tROLE\tSTATE\tREADY\tVERSION\tADDRESSES"
	if wide {
		header += "\tPOOL\tCONTAINER\tIMAGE"
	}
	fmt.Fprintln(t, header)
	for _, n := range nodes {
		ready, version := "unknown", "unknown"
		if k := n.Kubernetes; k != nil {
			ready, version = map[bool]string{true: "yes", false: "no"}[k.Ready], k.Version
		}
		line := strings.Join([]string{n.Name, cmp.Or(n.Role, "unknown"), n.State, ready, version, strings.Join(n.Addresses, ",")}, "\t")
		if wide {
			line += "\t" + strings.Join([]string{cmp.Or(n.Pool, "-"), n.Container, n.Image}, "\t")
		}
		fmt.Fprintln(t, line)
	}
	return t.Flush()
}

// look finds a cluster and looks at it, for a command that prints in a format.
func (o *options) look(ctx context.Context, p *project, name, format string) (*insight.View, error) {
	if err := checkFormat(format); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	s, err := o.sight(ctx, p, name)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return s.Looker().Look(ctx, s.known)
}

// sight is a cluster that a command looks at, and the installation that has its
// machines.
type sight struct {
	*app.Insight
	known insight.Known
	// hibernated says that the cluster is to sleep.
	hibernated bool
}

// sight finds a cluster: through the garden where one runs, else by its machines
// alone. Whoever asked closes it. Fault: Missing.
func (o *options) sight(ctx context.Context, p *project, name string) (*sight, error) {
	dir, err := o.data()
	if err != nil {
		return nil, err
	}
	known := insight.Known{ID: validationshoots.TechnicalID(p.name, name), Name: name, Project: p.name}
	instance := app.Config{DataDir: dir}.Instance()
	shoot, unknown := o.shootIfAny(ctx, p, dir, name)
	if shoot != nil {
		known.ID = cmp.Or(shoot.Status.TechnicalID, known.ID)
		known.State, known.KubernetesVersion = state(shoot), "v"+shoot.Spec.Kubernetes.Version
		if seed := ptr.Deref(shoot.Spec.SeedName, app.SeedName); seed != app.SeedName {
			instance = app.AgentInstance(seed)
		}
	}
	i, err := app.OpenInsight(instance)
	if err != nil {
		return nil, err
	}
	ids, err := i.Clusters(ctx)
	switch {
	case err != nil:
	case !slices.Contains(ids, known.ID):
		err = absent(p, name, dir, shoot, unknown)
	case errors.Is(unknown, fault.Missing):
		known.State = "the garden does not know it: its machines are left"
	case unknown != nil:
		// A garden in trouble is a reason to look, and no reason not to.
		known.State = "not known: the garden does not answer: " + firstLine(unknown.Error())
	}
	if err != nil {
		i.Close()
		return nil, err
	}
	return &sight{i, known, shoot != nil && hibernated(shoot)}, nil
}

// absent says why a cluster that is asked for has no machine here.
func absent(p *project, name, dir string, shoot *gardencorev1beta1.Shoot, unknown error) error {
	switch {
	case unknown != nil:
		return unknown
	case shoot == nil:
		return fault.New(fault.Missing, "%s has no machine on this host, and no garden runs on %q that may know of it: start it with \"loam up --detach\"", p.describe(name), dir)
	case ptr.Deref(shoot.Spec.SeedName, app.SeedName) != app.SeedName:
		return fault.New(fault.Missing, "%s is on seed %q, which has no machine of it on this host: run the command on the host of that seed's agent", p.describe(name), *shoot.Spec.SeedName)
	}
	return fault.New(fault.Missing, "%s has no machine yet: %s", p.describe(name), lastOperation(shoot))
}

// shootIfAny asks the garden for a cluster; nil where no garden runs. Fault:
// Missing when the garden does not know it.
func (o *options) shootIfAny(ctx context.Context, p *project, dir, name string) (*gardencorev1beta1.Shoot, error) {
	if _, running, err := garden.ReadLock(dir); err != nil || !running {
		return nil, err
	}
	c, err := o.connect()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, gardenLimit)
	defer cancel()
	shoot, err := getShoot(ctx, c, p, name)
	if err != nil {
		return nil, err
	}
	return shoot, nil
}

// completeMachines completes names of clusters: those that the garden knows, and
// those that have machines where none runs.
func (o *options) completeMachines(p *project) cobra.CompletionFunc {
	fromGarden := o.completeClusters(p)
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if names, directive := fromGarden(cmd, args, typed); directive != cobra.ShellCompDirectiveError {
			return names, directive
		}
		dir, err := o.data()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		i, err := app.OpenInsight(app.Config{DataDir: dir}.Instance())
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		defer i.Close()
		ids, err := i.Clusters(cmd.Context())
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var names []string
		for _, id := range ids {
			if name, found := strings.CutPrefix(id, validationshoots.TechnicalID(p.name, "")); found {
				names = append(names, name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
