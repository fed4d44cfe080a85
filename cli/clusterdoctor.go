package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/loam-cloud/loam/app"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden"
	"github.com/loam-cloud/loam/shoots/doctor"
)

// unwell ends the doctor's command, by the worst of what was found.
type unwell struct{ doctor.Report }

func (u unwell) Error() string {
	return fmt.Sprintf("the worst that was found is a %s", u.Worst)
}

func newClusterDoctor(o *options, p *project) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "doctor [NAME]",
		Short: "Find what is wrong with this host or a cluster, and the command that mends it",
		Long: `Look at this host: container engine, cgroups, capabilities, inotify limits, disks,
memory, clock, kernel, iptables, ports, node images. With the name of a cluster look
at that too: machines, nodes, pods in trouble, certificates, whether the API server
answers this host and the nodes.

Each finding says what is wrong, why that matters and what to do. Nothing is changed.
Ends with 0 when all is well, 2 when there are warnings, 3 when there are problems,
and 1 when it could not look.`,
		Example: `  loam cluster doctor
  loam cluster doctor demo
  loam cluster doctor -o json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fault.New(fault.Invalid, "%s takes the name of one cluster, or none: %s", cmd.CommandPath(), cmd.UseLine())
			}
			return nil
		},
		ValidArgsFunction: o.completeMachines(p),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(format); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), lookLimit)
			defer cancel()
			report, err := o.examine(ctx, p, strings.Join(args, ""))
			if err != nil {
				return err
			}
			if err := printData(cmd.OutOrStdout(), format, report, report.Print); err != nil {
				return err
			}
			if report.ExitCode() != 0 {
				return unwell{report}
			}
			return nil
		},
	}
	outputFlag(cmd, &format)
	return cmd
}

// examine examines this host, and a cluster unless its name is empty. That the
// cluster cannot be looked at is an error only when the host gives no reason.
func (o *options) examine(ctx context.Context, p *project, name string) (doctor.Report, error) {
	facts, err := o.hostFacts(ctx)
	if err != nil {
		return doctor.Report{}, err
	}
	host := doctor.ForHost(facts)
	if name == "" {
		return doctor.NewReport(host), nil
	}
	s, err := o.sight(ctx, p, name)
	if err != nil {
		if report := doctor.NewReport(host); errors.Is(err, fault.Transient) && report.Worst == doctor.Problem {
			return doctor.NewReport(host, []doctor.Finding{{Severity: doctor.Problem, Check: "cluster " + name, What: err.Error(),
				Why: "nothing can be said of it", Fix: "mend what is wrong with this host first"}}), nil
		}
		return doctor.Report{}, err
	}
	defer s.Close()
	cluster, err := s.ClusterFacts(ctx, s.known, s.hibernated)
	if err != nil {
		return doctor.Report{}, err
	}
	return doctor.NewReport(host, doctor.ForCluster(cluster)), nil
}

func (o *options) hostFacts(ctx context.Context) (doctor.Host, error) {
	dir, err := o.data()
	if err != nil {
		return doctor.Host{}, err
	}
	_, running, err := garden.ReadLock(dir)
	if err != nil {
		return doctor.Host{}, err
	}
	address := ""
	if running {
		config, err := restConfig(dir)
		if err != nil {
			return doctor.Host{}, err
		}
		address = strings.TrimPrefix(config.Host, "https://")
	}
	i, err := app.OpenInsight(app.Config{DataDir: dir}.Instance())
	if err != nil {
		return doctor.Host{}, err
	}
	defer i.Close()
	return i.HostFacts(ctx, dir, address), nil
}
