package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/controllers/shoot/forecast"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/shoots/plan"
)

// settingFlags are those that change what programs of a cluster are started with.
type settingFlags struct {
	kubelet, gates, runtime []string
}

func newClusterChange(o *options, p *project) *cobra.Command {
	e, s := &edit{}, &settingFlags{}
	cmd := &cobra.Command{
		Use:   "change NAME",
		Short: "Change settings of a cluster that runs",
		Long: `Change settings of the kubelets, feature gates and versions of the API of a cluster
that runs. Shows what will be done, then does it: the control plane first, then one
worker after the other. Machines and pods stay, programs are started again; without
a second control plane the API server is away for some seconds.

A setting with which a program does not start ends the change at the first node, with
what the program says. Put the old value back, and it runs again.

Settings of kubelets are those of spec.kubernetes.kubelet of a Shoot, with dots
between: maxPods=50, evictionHard.memoryAvailable=200Mi. A name with a - behind it takes
the setting back.`,
		Example: `  loam cluster change demo --kubelet maxPods=50 --dry-run
  loam cluster change demo --kubelet maxPods=50 --kubelet podPidsLimit=4096
  loam cluster change demo --feature-gate KubeletPodResourcesGet=true --runtime-config api/alpha=true
  loam cluster change demo --kubelet maxPods- --feature-gate kubelet:KubeletPodResourcesGet-`,
		Args:              exactlyOne("the name of a cluster"),
		ValidArgsFunction: o.completeClusters(p),
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.start(cmd, o, p, args[0], func(shoot *gardencorev1beta1.Shoot) error { return s.apply(&shoot.Spec.Kubernetes) })
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&s.kubelet, "kubelet", nil, "setting of all kubelets: NAME=VALUE, or NAME- (repeatable)")
	f.StringArrayVar(&s.gates, "feature-gate", nil, "[PROGRAM:]GATE=true|false, or [PROGRAM:]GATE-; without PROGRAM of all programs: "+strings.Join(gatePrograms, ", ")+" (repeatable)")
	f.StringArrayVar(&s.runtime, "runtime-config", nil, "version of the API to switch: api/alpha=true, or api/alpha- (repeatable)")
	cmd.MarkFlagsOneRequired("kubelet", "feature-gate", "runtime-config")
	e.flags(cmd)
	return cmd
}

// edit is a change of a Shoot that is shown before it is made.
type edit struct {
	format       string
	dryRun, wait bool
	timeout      time.Duration
}

func (e *edit) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&e.dryRun, "dry-run", false, "show what would be done, and do nothing")
	f.BoolVar(&e.wait, "wait", true, "return once it is done")
	f.DurationVar(&e.timeout, "timeout", 30*time.Minute, "how long to wait")
	outputFlag(cmd, &e.format)
}

func (e *edit) start(cmd *cobra.Command, o *options, p *project, name string, change func(*gardencorev1beta1.Shoot) error) error {
	if err := checkFormat(e.format); err != nil {
		return err
	}
	api, err := o.connect()
	if err != nil {
		return err
	}
	return e.run(cmd, api, p, name, change)
}

func (e *edit) run(cmd *cobra.Command, api client.WithWatch, p *project, name string, change func(*gardencorev1beta1.Shoot) error) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), e.timeout)
	defer cancel()
	shoot, err := getShoot(ctx, api, p, name)
	if err != nil {
		return err
	}
	tried := shoot.DeepCopy()
	if err := change(tried); err != nil {
		return err
	}
	// The other's change in between would be of something else than was shown.
	patch := client.MergeFromWithOptions(shoot, client.MergeFromWithOptimisticLock{})
	if err := api.Patch(ctx, tried, patch, client.DryRunAll); err != nil {
		return fault.New(fault.Invalid, "changing %s: %w", p.describe(name), err)
	}
	shown, err := e.plan(ctx, api, shoot, tried)
	if err != nil {
		return err
	}
	if err := printData(cmd.OutOrStdout(), e.format, shown, shown.print); err != nil || e.dryRun {
		return err
	}
	before, err := eventNames(ctx, api, shoot)
	if err != nil {
		return err
	}
	for _, e := range shoot.Status.LastErrors {
		before[e.Description] = true // they are what this change may mend
	}
	changed := shoot
	if !equality.Semantic.DeepEqual(shoot.Spec, tried.Spec) {
		if changed, err = writeChange(ctx, api, p, shoot, change); err != nil {
			return err
		}
	}
	say := printer(cmd.ErrOrStderr())
	if !e.wait {
		say("%s is being changed; follow it with \"loam cluster get %s\"", p.describe(name), name)
		return nil
	}
	return follow(ctx, api, changed, before, cmd.ErrOrStderr())
}

func (e *edit) plan(ctx context.Context, api client.Client, shoot, tried *gardencorev1beta1.Shoot) (changePlan, error) {
	var machines v1alpha1.MachineList
	if err := api.List(ctx, &machines, client.InNamespace(shoot.Namespace), client.MatchingFields{"spec.shootName": shoot.Name}); err != nil {
		return changePlan{}, fmt.Errorf("listing machines: %w", err)
	}
	steps, err := forecast.Steps(shoot, tried, machines.Items)
	if err != nil {
		return changePlan{}, err
	}
	return changePlan{Cluster: shoot.Name, Asleep: sleeps(tried), Steps: append([]plan.Step{}, steps...), wide: e.format == "wide"}, nil
}

// writeChange makes the change that the plan was shown for. Controllers write into a
// Shoot at any moment; only a change of what its user asks for is another plan.
func writeChange(ctx context.Context, api client.Client, p *project, planned *gardencorev1beta1.Shoot, change func(*gardencorev1beta1.Shoot) error) (*gardencorev1beta1.Shoot, error) {
	for latest := planned; ; {
		changed := latest.DeepCopy()
		if err := change(changed); err != nil {
			return nil, err
		}
		err := api.Patch(ctx, changed, client.MergeFromWithOptions(latest, client.MergeFromWithOptimisticLock{}))
		if !apierrors.IsConflict(err) {
			if err != nil {
				return nil, fmt.Errorf("changing %s: %w", p.describe(planned.Name), err)
			}
			return changed, nil
		}
		if latest, err = getShoot(ctx, api, p, planned.Name); err != nil {
			return nil, err
		}
		if latest.Generation != planned.Generation {
			return nil, fault.New(fault.Transient, "%s was changed meanwhile: look at the plan again with --dry-run, and run the command again", p.describe(planned.Name))
		}
	}
}

// changePlan is what a change does, in its order.
type changePlan struct {
	Cluster string `json:"cluster"`
	// Asleep says that it is done once the cluster wakes.
	Asleep bool        `json:"asleep"`
	Steps  []plan.Step `json:"steps"`
	wide   bool
}

func (p changePlan) print(w io.Writer) error {
	if len(p.Steps) == 0 {
		_, err := fmt.Fprintf(w, "Cluster %q: nothing changes\n", p.Cluster)
		return err
	}
	when := ""
	if p.Asleep {
		when = " when it wakes"
	}
	fmt.Fprintf(w, "Cluster %q changes%s, in this order:\n", p.Cluster, when)
	t := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	header := "NODE\tPOOL\tACTION\tCHANGE\tPODS"
	if p.wide {
		header += "\tBATCH"
	}
	fmt.Fprintln(t, header)
	for _, s := range p.Steps {
		for i, change := range changeTexts(s) {
			row := fmt.Sprintf("%s\t%s\t%s\t%s\t%s", s.Node, s.Pool, strings.ToLower(string(s.Action)), change, podsText(s))
			if i > 0 {
				row = "\t\t\t" + change + "\t"
			}
			if p.wide && i == 0 {
				row += fmt.Sprintf("\t%d", s.Batch)
			}
			fmt.Fprintln(t, row)
		}
	}
	return t.Flush()
}

// changeTexts says in lines what changes of a node.
func changeTexts(s plan.Step) []string {
	var lines []string
	switch s.Action {
	case plan.Upgrade:
		return []string{strings.TrimPrefix(s.From, "v") + " → " + strings.TrimPrefix(s.To, "v")}
	case plan.Mark:
		for _, c := range s.Changes {
			if c.From != "" {
				lines = append(lines, "- "+c.From)
			}
			if c.To != "" {
				lines = append(lines, "+ "+c.To)
			}
		}
	case plan.Configure:
		for _, c := range s.Changes {
			lines = append(lines, fmt.Sprintf("%s: %s → %s", c.Name, orDefault(c.From), orDefault(c.To)))
		}
	}
	if len(lines) == 0 {
		lines = []string{""}
	}
	return lines
}

func orDefault(value string) string {
	if value == "" {
		return "(default)"
	}
	return firstLine(strings.TrimSpace(value))
}

func podsText(s plan.Step) string {
	switch {
	case s.Drained:
		return "move to other nodes"
	case s.Action == plan.Upgrade && s.Role != v1alpha1.RoleBalancer, s.Action == plan.Remove:
		return "stop"
	case s.Action == plan.Create || s.Role == v1alpha1.RoleBalancer:
		return "none yet"
	}
	return "stay"
}
