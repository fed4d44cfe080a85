package cli

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/loam-cloud/loam/fault"
)

// poolFlags are what a pool of machines has.
type poolFlags struct {
	nodes                   int32
	machine                 string
	labels, taints, kubelet []string
}

func newClusterPool(o *options, p *project) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "pool",
		Aliases: []string{"pools"},
		Short:   "List, add, change and remove pools of nodes of a cluster that runs",
		Long: `A pool is a number of nodes that are alike: their machine type, labels, taints and
settings of the kubelet. The one that holds the control plane keeps its machines.`,
		Example: `  loam cluster pool list demo
  loam cluster pool add demo batch --nodes 2 --label work=batch --taint work=batch:NoSchedule
  loam cluster pool change demo batch --nodes 3 --label work- --kubelet maxPods=20
  loam cluster pool remove demo batch`,
	}
	group(cmd)
	cmd.AddCommand(newPoolList(o, p), newPoolAdd(o, p), newPoolChange(o, p), newPoolRemove(o, p))
	return cmd
}

func newPoolList(o *options, p *project) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:     "list CLUSTER",
		Aliases: []string{"ls"},
		Short:   "List the pools of a cluster",
		Example: `  loam cluster pool list demo
  loam cluster pool list demo -o json`,
		Args:              exactlyOne("the name of a cluster"),
		ValidArgsFunction: o.completeClusters(p),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(format); err != nil {
				return err
			}
			api, err := o.connect()
			if err != nil {
				return err
			}
			shoot, err := getShoot(cmd.Context(), api, p, args[0])
			if err != nil {
				return err
			}
			pools := append([]gardencorev1beta1.Worker{}, shoot.Spec.Provider.Workers...)
			return printData(cmd.OutOrStdout(), format, pools, func(w io.Writer) error { return printPools(w, pools, format == "wide") })
		},
	}
	outputFlag(cmd, &format)
	return cmd
}

func newPoolAdd(o *options, p *project) *cobra.Command {
	return o.newPoolEdit(p, &cobra.Command{
		Use:   "add CLUSTER POOL",
		Short: "Add a pool of nodes to a cluster that runs",
		Example: `  loam cluster pool add demo batch --nodes 2 --label work=batch --taint work=batch:NoSchedule
  loam cluster pool add demo batch --dry-run`,
	}, func(f *poolFlags, given func(string) bool, shoot *gardencorev1beta1.Shoot, name string) error {
		workers := &shoot.Spec.Provider.Workers
		if poolAt(*workers, name) >= 0 {
			return fault.New(fault.Invalid, "pool %q exists already: change it with \"loam cluster pool change %s %s\"", name, shoot.Name, name)
		}
		pool := gardencorev1beta1.Worker{Name: name, Minimum: 1, Maximum: 1, Machine: gardencorev1beta1.Machine{Type: f.machine}}
		if f.machine == "" {
			pool.Machine.Type = "local"
			if len(*workers) > 0 {
				pool.Machine.Type = (*workers)[0].Machine.Type
			}
		}
		*workers = append(*workers, pool)
		return f.apply(&(*workers)[len(*workers)-1], given)
	}, true)
}

func newPoolChange(o *options, p *project) *cobra.Command {
	return o.newPoolEdit(p, &cobra.Command{
		Use:   "change CLUSTER POOL",
		Short: "Change the number of nodes of a pool, their labels, taints and settings",
		Long: `Change a pool of a cluster that runs. Nodes that go are drained; of those that stay
labels, taints and kubelets change where they stand. A label, taint or setting with a -
behind its name is taken back.

Settings of the kubelet that a pool has of its own stand instead of the cluster's
(loam cluster change), not on top of them.`,
		Example: `  loam cluster pool change demo batch --nodes 3
  loam cluster pool change demo batch --label work- --taint work:NoSchedule-
  loam cluster pool change demo batch --kubelet maxPods=20 --dry-run`,
	}, func(f *poolFlags, given func(string) bool, shoot *gardencorev1beta1.Shoot, name string) error {
		pool, err := findPool(shoot, name)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc([]string{"nodes", "label", "taint", "kubelet"}, given) {
			return fault.New(fault.Invalid, "nothing is to change: give --nodes, --label, --taint or --kubelet")
		}
		return f.apply(pool, given)
	}, true)
}

func newPoolRemove(o *options, p *project) *cobra.Command {
	return o.newPoolEdit(p, &cobra.Command{
		Use:     "remove CLUSTER POOL",
		Aliases: []string{"rm"},
		Short:   "Drain the nodes of a pool and remove it",
		Long: `Remove a pool of a cluster that runs. Its nodes are drained by eviction, so that
disruption budgets hold, for at most five minutes; their machines and disks go.`,
		Example: `  loam cluster pool remove demo batch
  loam cluster pool remove demo batch --dry-run`,
	}, func(_ *poolFlags, _ func(string) bool, shoot *gardencorev1beta1.Shoot, name string) error {
		if _, err := findPool(shoot, name); err != nil {
			return err
		}
		workers := &shoot.Spec.Provider.Workers
		*workers = slices.DeleteFunc(*workers, func(w gardencorev1beta1.Worker) bool { return w.Name == name })
		return nil
	}, false)
}

// newPoolEdit completes a command that changes the pools of a Shoot.
func (o *options) newPoolEdit(p *project, cmd *cobra.Command, change func(f *poolFlags, given func(string) bool, shoot *gardencorev1beta1.Shoot, name string) error, described bool) *cobra.Command {
	e, f := &edit{}, &poolFlags{}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) != 2 {
			return fault.New(fault.Invalid, "%s takes the name of a cluster and that of a pool: %s", cmd.CommandPath(), cmd.UseLine())
		}
		return nil
	}
	cmd.ValidArgsFunction = o.completePools(p)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return e.start(cmd, o, p, args[0], func(shoot *gardencorev1beta1.Shoot) error {
			return change(f, cmd.Flags().Changed, shoot, args[1])
		})
	}
	if described {
		flags := cmd.Flags()
		flags.Int32Var(&f.nodes, "nodes", 1, "number of nodes")
		flags.StringArrayVar(&f.labels, "label", nil, "label of the nodes: KEY=VALUE, or KEY- (repeatable)")
		flags.StringArrayVar(&f.taints, "taint", nil, "taint of the nodes: KEY[=VALUE]:EFFECT, or KEY:EFFECT- (repeatable)")
		flags.StringArrayVar(&f.kubelet, "kubelet", nil, "setting of the pool's kubelets: NAME=VALUE, or NAME- (repeatable)")
	}
	if cmd.Name() == "add" {
		cmd.Flags().StringVar(&f.machine, "machine-type", "", "machine type (default that of the first pool)")
	}
	e.flags(cmd)
	return cmd
}

// completePools completes clusters, then their pools.
func (o *options) completePools(p *project) cobra.CompletionFunc {
	clusters := o.completeClusters(p)
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return clusters(cmd, args, typed)
		}
		if len(args) > 1 || cmd.Name() == "add" {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		api, err := o.connect()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		shoot, err := getShoot(cmd.Context(), api, p, args[0])
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return poolNames(shoot), cobra.ShellCompDirectiveNoFileComp
	}
}

func poolNames(shoot *gardencorev1beta1.Shoot) []string {
	var names []string
	for _, w := range shoot.Spec.Provider.Workers {
		names = append(names, w.Name)
	}
	return names
}

func poolAt(workers []gardencorev1beta1.Worker, name string) int {
	return slices.IndexFunc(workers, func(w gardencorev1beta1.Worker) bool { return w.Name == name })
}

// findPool finds a pool, or says which ones there are.
func findPool(shoot *gardencorev1beta1.Shoot, name string) (*gardencorev1beta1.Worker, error) {
	if at := poolAt(shoot.Spec.Provider.Workers, name); at >= 0 {
		return &shoot.Spec.Provider.Workers[at], nil
	}
	there := "it has none but the one machine of its control plane"
	if names := poolNames(shoot); len(names) > 0 {
		there = "it has " + strings.Join(names, ", ")
	}
	return nil, fault.New(fault.Missing, "cluster %q has no pool %q; %s", shoot.Name, name, there)
}

// apply changes a pool as the flags say, and names every problem.
func (f *poolFlags) apply(pool *gardencorev1beta1.Worker, given func(string) bool) error {
	var problems []error
	if given("nodes") {
		if f.nodes < 0 {
			problems = append(problems, fault.New(fault.Invalid, "--nodes: %d must not be negative", f.nodes))
		}
		pool.Minimum, pool.Maximum = f.nodes, f.nodes
	}
	for _, text := range f.labels {
		problems = append(problems, setLabel(pool, text))
	}
	for _, text := range f.taints {
		problems = append(problems, setTaint(pool, text))
	}
	if len(f.kubelet) > 0 {
		if pool.Kubernetes == nil {
			pool.Kubernetes = &gardencorev1beta1.WorkerKubernetes{}
		}
		problems = append(problems, setKubelet(&pool.Kubernetes.Kubelet, f.kubelet))
	}
	return fault.Wrap(fault.Invalid, errors.Join(problems...))
}

func setLabel(pool *gardencorev1beta1.Worker, text string) error {
	a, err := parseAssignment("label", text)
	if err != nil {
		return err
	}
	if a.gone {
		if _, there := pool.Labels[a.name]; !there {
			return fault.New(fault.Invalid, "--label: pool %q has no label %q", pool.Name, a.name)
		}
		delete(pool.Labels, a.name)
		return nil
	}
	if pool.Labels == nil {
		pool.Labels = map[string]string{}
	}
	pool.Labels[a.name] = a.value
	return nil
}

func setTaint(pool *gardencorev1beta1.Worker, text string) error {
	body, gone := strings.CutSuffix(text, "-")
	pair, effect, _ := strings.Cut(body, ":")
	key, value, _ := strings.Cut(pair, "=")
	taint := corev1.Taint{Key: key, Value: value, Effect: corev1.TaintEffect(effect)}
	if key == "" || effect == "" {
		return fault.New(fault.Invalid, "--taint: %q must be KEY[=VALUE]:EFFECT, such as work=batch:NoSchedule, or KEY:EFFECT- to take it back", text)
	}
	at := slices.IndexFunc(pool.Taints, func(t corev1.Taint) bool { return t.MatchTaint(&taint) })
	switch {
	case gone && at < 0:
		return fault.New(fault.Invalid, "--taint: pool %q has no taint %s:%s", pool.Name, key, effect)
	case gone:
		pool.Taints = slices.Delete(pool.Taints, at, at+1)
	case at >= 0:
		pool.Taints[at] = taint
	default:
		pool.Taints = append(pool.Taints, taint)
	}
	return nil
}

func printPools(w io.Writer, pools []gardencorev1beta1.Worker, wide bool) error {
	header := "POOL\tROLE\tNODES\tMACHINE\tLABELS\tTAINTS"
	if wide {
		header += "\tMAX PODS\tIMAGE"
	}
	t := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	fmt.Fprintln(t, header)
	for _, pool := range pools {
		role := "worker"
		if pool.ControlPlane != nil {
			role = "control plane"
		}
		var labels, taints []string
		for _, key := range slices.Sorted(maps.Keys(pool.Labels)) {
			labels = append(labels, key+"="+pool.Labels[key])
		}
		for _, taint := range pool.Taints {
			taints = append(taints, taint.ToString())
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s", pool.Name, role, pool.Minimum, pool.Machine.Type, orNone(strings.Join(labels, ",")), orNone(strings.Join(taints, ",")))
		if wide {
			pods, image := "", ""
			if k := pool.Kubernetes; k != nil && k.Kubelet != nil && k.Kubelet.MaxPods != nil {
				pods = fmt.Sprint(*k.Kubelet.MaxPods)
			}
			if i := pool.Machine.Image; i != nil && i.Version != nil {
				image = i.Name + " " + *i.Version
			}
			fmt.Fprintf(t, "\t%s\t%s", orNone(pods), orNone(image))
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

func orNone(text string) string {
	if text == "" {
		return "<none>"
	}
	return text
}
