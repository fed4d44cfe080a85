package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/app"
	"github.com/loam-cloud/loam/garden"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/shoots/ports"
)

// portsFlags are of the commands that listen for clusters.
func portsFlags(cmd *cobra.Command, c *app.PortsConfig) {
	f := cmd.Flags()
	f.StringVar(&c.Address, "ports-address", "", "address of this host that ports of services are opened on (default 127.0.0.1; 0.0.0.0 opens them to the network)")
	f.StringVar(&c.Way, "ports-way", "", "how ports reach nodes: "+strings.Join(app.PortWays(), ", ")+" (default auto: by their addresses, else through their machines)")
	// The flag exists: it was made in the line above.
	_ = cmd.RegisterFlagCompletionFunc("ports-way", cobra.FixedCompletions(app.PortWays(), cobra.ShellCompDirectiveNoFileComp))
}

func newClusterPorts(o *options, p *project) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "ports NAME",
		Short: "Show how ports of this host lead to the services of a cluster",
		Long: `Show for each port of each service where it is on this host, or why it is not
reachable. Services of type NodePort and LoadBalancer are, over TCP and UDP, as long
as the garden runs; whatever else has a port is named.

"add" and "remove" change which further ports lead to nodes, while the cluster runs.`,
		Example: `  loam cluster ports demo
  loam cluster ports demo -o wide
  loam cluster ports add demo 8080:30080
  loam cluster ports remove demo 8080:30080`,
		Args:              exactlyOne("the name of a cluster"),
		ValidArgsFunction: o.completeMachines(p),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(format); err != nil {
				return err
			}
			lines, err := o.portLines(cmd.Context(), p, args[0])
			if err != nil {
				return err
			}
			return printData(cmd.OutOrStdout(), format, lines, func(w io.Writer) error { return printPorts(w, lines, format == "wide") })
		},
	}
	outputFlag(cmd, &format)
	cmd.AddCommand(newClusterPortsAdd(o, p), newClusterPortsRemove(o, p))
	return cmd
}

// portLines are what the garden recorded of a cluster; without one, what its
// machines and its API server tell.
func (o *options) portLines(ctx context.Context, p *project, name string) ([]ports.Line, error) {
	dir, err := o.data()
	if err != nil {
		return nil, err
	}
	if _, running, err := garden.ReadLock(dir); err != nil {
		return nil, err
	} else if !running {
		return o.unattendedPorts(ctx, p, name)
	}
	c, err := o.connect()
	if err != nil {
		return nil, err
	}
	if _, err := getShoot(ctx, c, p, name); err != nil {
		return nil, err
	}
	return recordedPorts(ctx, c, p, name)
}

// recordedPorts are none before the cluster has begun to be followed.
func recordedPorts(ctx context.Context, c client.Client, p *project, name string) ([]ports.Line, error) {
	var record corev1.ConfigMap
	err := c.Get(ctx, client.ObjectKey{Namespace: p.namespace(), Name: ports.RecordName(name)}, &record)
	if apierrors.IsNotFound(err) {
		return []ports.Line{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the ports of %s: %w", p.describe(name), err)
	}
	return ports.Read(record.Data)
}

// unattendedPorts looks at a cluster without a garden.
func (o *options) unattendedPorts(ctx context.Context, p *project, name string) ([]ports.Line, error) {
	view, err := o.look(ctx, p, name, "")
	if err != nil {
		return nil, err
	}
	v := ports.View{Listen: ports.Loopback()}
	for i := range view.Objects.Services {
		v.Services = append(v.Services, &view.Objects.Services[i])
	}
	for i := range view.Objects.Nodes {
		v.Nodes = append(v.Nodes, &view.Objects.Nodes[i])
	}
	var all []machines.Machine
	for _, m := range view.Machines {
		all = append(all, m.Machine)
	}
	v.Published = ports.PublishedBy(all)
	return ports.Unattended(v, "no garden runs that would listen: start it with \"loam up --detach\""), nil
}

func printPorts(w io.Writer, lines []ports.Line, wide bool) error {
	if len(lines) == 0 {
		_, err := fmt.Fprintln(w, "Nothing is known of its ports yet: it is not made, or its garden has just begun to look")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	header := "SERVICE\tTYPE\tPORT\tADDRESS\tREACHABLE\tNOTE"
	if wide {
		header += "\tNODES"
	}
	fmt.Fprintln(t, header)
	for _, l := range lines {
		address := "-"
		if l.Address.IsValid() {
			address = l.Address.String()
		}
		reachable := map[bool]string{true: "yes", false: "no"}[l.Reachable]
		row := strings.Join([]string{l.Title(), portType(l), portText(l), address, reachable, cmp.Or(l.Note, "-")}, "\t")
		if wide {
			row += "\t" + cmp.Or(strings.Join(l.Nodes, ","), "-")
		}
		fmt.Fprintln(t, row)
	}
	return t.Flush()
}

func portType(l ports.Line) string {
	if l.Kind == ports.KindService {
		return string(l.Type)
	}
	return string(l.Kind)
}

// portText is a port as kubectl writes it: 80:30080/TCP.
func portText(l ports.Line) string {
	text := fmt.Sprint(cmp.Or(l.Port, l.NodePort))
	switch {
	case l.Port == 0 && l.NodePort == 0:
		return "-"
	case l.Port != 0 && l.NodePort != 0:
		text += fmt.Sprintf(":%d", l.NodePort)
	}
	return text + "/" + string(l.Protocol)
}
