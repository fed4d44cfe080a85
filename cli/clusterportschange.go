package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/nodeconfig/provider"
	"github.com/loam-cloud/loam/shoots/ports"
)

// portChange are the flags of loam cluster ports add and remove.
type portChange struct {
	dryRun  bool
	timeout time.Duration
	format  string
	// apply makes the new list of the old one and the ones that are named.
	apply func(have, named []v1alpha1.PortMapping) ([]v1alpha1.PortMapping, error)
}

const portSyntax = `A port is written [ADDRESS:]HOST:NODE[/PROTOCOL]: HOST is the port of this host, empty
for a free one, NODE the port of any node (a node port of a service, or one that
pods have on their node), PROTOCOL tcp or udp. Both may be ranges of the same size.
Without an ADDRESS it is opened on 127.0.0.1.`

func newClusterPortsAdd(o *options, p *project) *cobra.Command {
	return o.newPortChange(p, &portChange{apply: addMappings}, &cobra.Command{
		Use:   "add NAME PORT...",
		Short: "Lead further ports of this host to a cluster that runs",
		Long: `Lead further ports of this host to nodes of a cluster, which goes on running. The
garden listens on them.

` + portSyntax,
		Example: `  loam cluster ports add demo 8080:30080
  loam cluster ports add demo 5353:30053/udp :30081 --dry-run
  loam cluster ports add demo 0.0.0.0:9000-9010:30000-30010`,
	})
}

func newClusterPortsRemove(o *options, p *project) *cobra.Command {
	return o.newPortChange(p, &portChange{apply: removeMappings}, &cobra.Command{
		Use:     "remove NAME PORT...",
		Aliases: []string{"rm"},
		Short:   "Close ports of this host that were added",
		Long: `Close ports of this host that lead to nodes of a cluster, which goes on running.
Ports that "add" opened are named as they were there. Those that a node's container
was made with (extraPortMappings) stay as long as the container.

` + portSyntax,
		Example: `  loam cluster ports remove demo 8080:30080
  loam cluster ports remove demo :30081 --dry-run`,
	})
}

func (o *options) newPortChange(p *project, c *portChange, cmd *cobra.Command) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) < 2 {
			return fault.New(fault.Invalid, "%s takes the name of a cluster and ports: %s", cmd.CommandPath(), cmd.UseLine())
		}
		return nil
	}
	cmd.ValidArgsFunction = o.completePorts(p)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkFormat(c.format); err != nil {
			return err
		}
		named, err := parseMappings(args[1:])
		if err != nil {
			return err
		}
		api, err := o.connect()
		if err != nil {
			return err
		}
		return c.run(cmd, api, p, args[0], named)
	}
	cmd.Flags().BoolVar(&c.dryRun, "dry-run", false, "show what would change, and change nothing")
	cmd.Flags().DurationVar(&c.timeout, "timeout", 30*time.Second, "how long to wait until the garden has done it")
	outputFlag(cmd, &c.format)
	return cmd
}

// completePorts completes clusters, then the ports that were added.
func (o *options) completePorts(p *project) cobra.CompletionFunc {
	clusters := o.completeClusters(p)
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return clusters(cmd, args, typed)
		}
		c, err := o.connect()
		if err != nil || cmd.Name() != "remove" {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		shoot, err := getShoot(cmd.Context(), c, p, args[0])
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var all []string
		for _, m := range mappingsOf(shoot) {
			all = append(all, mappingText(m))
		}
		return all, cobra.ShellCompDirectiveNoFileComp
	}
}

// portPlan is what a change of ports does.
type portPlan struct {
	Cluster string   `json:"cluster"`
	Added   []string `json:"added"`
	Removed []string `json:"removed"`
}

func (p portPlan) print(w io.Writer) error {
	if len(p.Added)+len(p.Removed) == 0 {
		_, err := fmt.Fprintf(w, "Cluster %q: nothing changes\n", p.Cluster)
		return err
	}
	for _, m := range p.Removed {
		fmt.Fprintf(w, "- %s\n", m)
	}
	for _, m := range p.Added {
		fmt.Fprintf(w, "+ %s\n", m)
	}
	return nil
}

func (c *portChange) run(cmd *cobra.Command, api client.WithWatch, p *project, name string, named []v1alpha1.PortMapping) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), c.timeout)
	defer cancel()
	shoot, plan, err := c.change(ctx, api, p, name, named)
	if err != nil {
		return err
	}
	if err := printData(cmd.OutOrStdout(), c.format, plan, plan.print); err != nil || c.dryRun {
		return err
	}
	if sleeps(shoot) {
		printer(cmd.ErrOrStderr())("%s sleeps: its ports open when it wakes", p.describe(name))
		return nil
	}
	return c.await(ctx, cmd, api, p, shoot, named)
}

// change writes the new list, or only asks whether it could be.
func (c *portChange) change(ctx context.Context, api client.WithWatch, p *project, name string, named []v1alpha1.PortMapping) (*gardencorev1beta1.Shoot, portPlan, error) {
	for {
		shoot, err := getShoot(ctx, api, p, name)
		if err != nil {
			return nil, portPlan{}, err
		}
		have := mappingsOf(shoot)
		want, err := c.apply(have, named)
		if err != nil {
			return nil, portPlan{}, c.published(ctx, api, p, name, named, err)
		}
		plan := portPlan{Cluster: name, Added: missing(want, have), Removed: missing(have, want)}
		if len(plan.Added)+len(plan.Removed) == 0 {
			return shoot, plan, nil
		}
		changed := shoot.DeepCopy()
		if err := setMappings(changed, want); err != nil {
			return nil, plan, err
		}
		options := []client.PatchOption{}
		if c.dryRun {
			options = append(options, client.DryRunAll)
		}
		// Controllers write into a Shoot at any moment.
		err = api.Patch(ctx, changed, client.MergeFromWithOptions(shoot, client.MergeFromWithOptimisticLock{}), options...)
		if apierrors.IsConflict(err) {
			continue
		}
		if err != nil {
			return nil, plan, fault.New(fault.Invalid, "changing the ports of %s: %w", p.describe(name), err)
		}
		return changed, plan, nil
	}
}

// published says of a port that is not among those that were added whose it is.
func (c *portChange) published(ctx context.Context, api client.Client, p *project, name string, named []v1alpha1.PortMapping, cause error) error {
	lines, err := recordedPorts(ctx, api, p, name)
	if err != nil {
		return cause
	}
	for _, l := range lines {
		for _, m := range named {
			if l.Kind == ports.KindPublished && int32(l.Address.Port()) == m.HostPort && m.HostPort != 0 {
				return fault.New(fault.Invalid, "port %d is of node %s: its container was made with it, and it stays as long as the container", m.HostPort, strings.Join(l.Nodes, ","))
			}
		}
	}
	return cause
}

// await waits until the garden has done it, and shows what became of the ports
// that were named.
func (c *portChange) await(ctx context.Context, cmd *cobra.Command, api client.Client, p *project, shoot *gardencorev1beta1.Shoot, named []v1alpha1.PortMapping) error {
	wanted := map[string]bool{}
	for _, m := range expand(mappingsOf(shoot)) {
		wanted[m.ID] = true
	}
	show := map[string]bool{}
	for _, m := range expand(named) {
		show[m.ID] = wanted[m.ID]
	}
	for {
		lines, err := recordedPorts(ctx, api, p, shoot.Name)
		have := map[string]bool{}
		var shown []ports.Line
		for _, l := range lines {
			if l.Kind == ports.KindMapping {
				have[l.ID] = true
				if show[l.ID] {
					shown = append(shown, l)
				}
			}
		}
		if err == nil && sameKeys(wanted, have) {
			if len(shown) == 0 || c.format != "" && c.format != "wide" {
				return nil
			}
			return printPorts(cmd.OutOrStdout(), shown, c.format == "wide")
		}
		select {
		case <-ctx.Done():
			printer(cmd.ErrOrStderr())("The garden has not done it yet; look with \"loam cluster ports %s\"", shoot.Name)
			return nil
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func sameKeys(a, b map[string]bool) bool {
	for key := range a {
		if !b[key] {
			return false
		}
	}
	return len(a) == len(b)
}

func sleeps(shoot *gardencorev1beta1.Shoot) bool {
	return shoot.Status.IsHibernated || hibernated(shoot)
}

// expand takes mappings apart into single ports.
func expand(all []v1alpha1.PortMapping) []ports.Mapping {
	single, _ := provider.Ports(all, field.NewPath("ports")) // the garden refuses others
	return ports.MappingsOf(single)
}

// mappingsOf are the ports that a Shoot asks for.
func mappingsOf(shoot *gardencorev1beta1.Shoot) []v1alpha1.PortMapping {
	// The garden refuses what cannot be read.
	config, _ := provider.ControlPlane(shoot.Spec.Provider.ControlPlaneConfig, field.NewPath("controlPlaneConfig"))
	return config.PortMappings
}

// setMappings leaves the rest of the configuration as it is written.
func setMappings(shoot *gardencorev1beta1.Shoot, all []v1alpha1.PortMapping) error {
	config := map[string]any{"apiVersion": v1alpha1.SchemeGroupVersion.String(), "kind": provider.KindControlPlaneConfig}
	if have := shoot.Spec.Provider.ControlPlaneConfig; have != nil {
		if err := json.Unmarshal(have.Raw, &config); err != nil {
			return fmt.Errorf("reading the control plane's configuration: %w", err)
		}
	}
	config["portMappings"] = all
	if len(all) == 0 {
		delete(config, "portMappings")
	}
	text, err := json.Marshal(config)
	if err != nil {
		return err
	}
	shoot.Spec.Provider.ControlPlaneConfig = &runtime.RawExtension{Raw: text}
	return nil
}

// addMappings adds those that are not there. A free port is another one each time.
func addMappings(have, named []v1alpha1.PortMapping) ([]v1alpha1.PortMapping, error) {
	want := slices.Clone(have)
	for _, m := range named {
		free := m.HostPort == 0 && m.HostPortRange == ""
		if free || !slices.ContainsFunc(want, func(o v1alpha1.PortMapping) bool { return mappingText(o) == mappingText(m) }) {
			want = append(want, m)
		}
	}
	return want, nil
}

// removeMappings takes out one for each that is named.
func removeMappings(have, named []v1alpha1.PortMapping) ([]v1alpha1.PortMapping, error) {
	want := slices.Clone(have)
	var unknown []string
	for _, m := range named {
		at := slices.IndexFunc(want, func(o v1alpha1.PortMapping) bool { return mappingText(o) == mappingText(m) })
		if at < 0 {
			unknown = append(unknown, mappingText(m))
			continue
		}
		want = slices.Delete(want, at, at+1)
	}
	if len(unknown) == 0 {
		return want, nil
	}
	there := "there is none"
	if len(have) > 0 {
		var all []string
		for _, m := range have {
			all = append(all, mappingText(m))
		}
		there = "there are: " + strings.Join(all, ", ")
	}
	return nil, fault.New(fault.Missing, "no port %s was added; %s", strings.Join(unknown, ", "), there)
}

// missing are those of a that b has not.
func missing(a, b []v1alpha1.PortMapping) []string {
	left := map[string]int{}
	for _, m := range b {
		left[mappingText(m)]++
	}
	found := []string{}
	for _, m := range a {
		text := mappingText(m)
		if left[text]--; left[text] < 0 {
			found = append(found, text)
		}
	}
	return found
}
