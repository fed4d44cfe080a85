package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/fault"
)

// upgradeOptions are the flags of loam cluster upgrade.
type upgradeOptions struct {
	version, format string
	dryRun, wait    bool
	timeout         time.Duration
}

func newClusterUpgrade(o *options, p *project) *cobra.Command {
	u := &upgradeOptions{}
	cmd := &cobra.Command{
		Use:   "upgrade NAME --kubernetes-version VERSION",
		Short: "Take a running cluster to a newer Kubernetes version",
		Long: `Take a cluster to a newer patch or to the next minor version of Kubernetes, in
place: the control plane first, then one worker after the other. Shows what will
be done, then does it.

A worker is emptied before, by eviction, so that disruption budgets hold, for at
most five minutes; its pods move to other nodes. A cluster without workers has
nowhere to move them to: they stop for as long as their node does. Disks are kept.

Ended in the middle, an upgrade goes on by itself; the command may be run again to
follow it.`,
		Example: `  loam cluster upgrade demo --kubernetes-version 1.36.3
  loam cluster upgrade demo --kubernetes-version 1.36.3 --dry-run
  loam cluster upgrade demo --kubernetes-version 1.36.3 --dry-run -o json`,
		Args:              exactlyOne("the name of a cluster"),
		ValidArgsFunction: o.completeClusters(p),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(u.format); err != nil {
				return err
			}
			api, err := o.connect()
			if err != nil {
				return err
			}
			return u.run(cmd, api, p, args[0])
		},
	}
	f := cmd.Flags()
	f.StringVar(&u.version, "kubernetes-version", "", "Kubernetes version to go to")
	f.BoolVar(&u.dryRun, "dry-run", false, "show what would be done, and do nothing")
	f.BoolVar(&u.wait, "wait", true, "return once the cluster has the version")
	f.DurationVar(&u.timeout, "timeout", 30*time.Minute, "how long to wait")
	outputFlag(cmd, &u.format)
	// The flag exists: it was made above.
	_ = cmd.MarkFlagRequired("kubernetes-version")
	return cmd
}

func (u *upgradeOptions) run(cmd *cobra.Command, api client.WithWatch, p *project, name string) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), u.timeout)
	defer cancel()
	shoot, err := getShoot(ctx, api, p, name)
	if err != nil {
		return err
	}
	wanted := strings.TrimPrefix(u.version, "v")
	changed := shoot.DeepCopy()
	raise(&changed.Spec, wanted)
	// The other's change in between would be of something else than was shown.
	patch := client.MergeFromWithOptions(shoot, client.MergeFromWithOptimisticLock{})
	tried := changed.DeepCopy()
	if err := api.Patch(ctx, tried, patch, client.DryRunAll); err != nil {
		return fault.New(fault.Invalid, "upgrading %s: %w%s", p.describe(name), err, versionAdvice(ctx, api, wanted, err))
	}
	var machines v1alpha1.MachineList
	if err := api.List(ctx, &machines, client.InNamespace(shoot.Namespace), client.MatchingFields{"spec.shootName": name}); err != nil {
		return fmt.Errorf("listing machines: %w", err)
	}
	plan := planUpgrade(shoot, tried.Spec.Kubernetes.Version, machines.Items)
	if err := printData(cmd.OutOrStdout(), u.format, plan, plan.print); err != nil {
		return err
	}
	if u.dryRun {
		return nil
	}
	before, err := eventNames(ctx, api, shoot)
	if err != nil {
		return err
	}
	if shoot.Spec.Kubernetes.Version != tried.Spec.Kubernetes.Version {
		raised := func(s *gardencorev1beta1.Shoot) error {
			raise(&s.Spec, wanted)
			return nil
		}
		if changed, err = writeChange(ctx, api, p, shoot, raised); err != nil {
			return err
		}
	}
	say := printer(cmd.ErrOrStderr())
	if !u.wait {
		say("%s is being upgraded; follow it with \"loam cluster get %s\"", p.describe(name), name)
		return nil
	}
	return follow(ctx, api, changed, before, cmd.ErrOrStderr())
}

// raise asks for a version, for pools that name one too.
func raise(spec *gardencorev1beta1.ShootSpec, version string) {
	spec.Kubernetes.Version = version
	for i := range spec.Provider.Workers {
		if k := spec.Provider.Workers[i].Kubernetes; k != nil && k.Version != nil {
			k.Version = &version
		}
	}
}

// upgradePlan is what an upgrade does, in its order.
type upgradePlan struct {
	Cluster string        `json:"cluster"`
	From    string        `json:"from"`
	To      string        `json:"to"`
	Steps   []upgradeStep `json:"steps"`
}

// upgradeStep is what happens to one node.
type upgradeStep struct {
	Node string               `json:"node"`
	Pool string               `json:"pool"`
	Role v1alpha1.MachineRole `json:"role"`
	From string               `json:"from"`
	To   string               `json:"to"`
	// Drained says that pods are moved to other nodes before.
	Drained bool `json:"drained"`
}

// planUpgrade lists the nodes that have not the version yet, in the order in which
// the flow takes them: the load balancer, the control plane, then pool by pool as
// the Shoot lists them.
func planUpgrade(shoot *gardencorev1beta1.Shoot, version string, machines []v1alpha1.Machine) upgradePlan {
	plan := upgradePlan{Cluster: shoot.Name, From: shoot.Spec.Kubernetes.Version, To: version, Steps: []upgradeStep{}}
	pools := map[string]int{}
	for i, w := range shoot.Spec.Provider.Workers {
		pools[w.Name] = i + 1
	}
	machines = slices.Clone(machines)
	nodes := 0
	for _, m := range machines {
		if m.Spec.Role != v1alpha1.RoleBalancer {
			nodes++
		}
	}
	slices.SortFunc(machines, func(a, b v1alpha1.Machine) int {
		rank := func(m v1alpha1.Machine) int {
			switch m.Spec.Role {
			case v1alpha1.RoleBalancer:
				return -1
			case v1alpha1.RoleControlPlane:
				return 0
			}
			return pools[m.Spec.Pool]
		}
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(len(a.Name), len(b.Name)), cmp.Compare(a.Name, b.Name))
	})
	for _, m := range machines {
		// Machines say it since the last operation of an agent that knows it.
		have := cmp.Or(strings.TrimPrefix(m.Spec.KubernetesVersion, "v"), shoot.Spec.Kubernetes.Version)
		if have == version {
			continue
		}
		plan.Steps = append(plan.Steps, upgradeStep{
			Node: cmp.Or(m.Status.NodeName, m.Name), Pool: m.Spec.Pool, Role: m.Spec.Role, From: have, To: version,
			Drained: nodes > 1 && m.Status.State == "Running" && m.Spec.Role != v1alpha1.RoleBalancer,
		})
	}
	return plan
}

func (p upgradePlan) print(w io.Writer) error {
	if len(p.Steps) == 0 {
		_, err := fmt.Fprintf(w, "Cluster %q: all nodes have Kubernetes %s\n", p.Cluster, p.To)
		return err
	}
	fmt.Fprintf(w, "Cluster %q goes from Kubernetes %s to %s, one node after the other:\n", p.Cluster, p.From, p.To)
	t := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	fmt.Fprintln(t, "NODE\tPOOL\tFROM\tTO\tPODS")
	for _, s := range p.Steps {
		pods := "stop meanwhile"
		switch {
		case s.Drained:
			pods = "move to other nodes"
		case s.Role == v1alpha1.RoleBalancer:
			pods = "has none"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", s.Node, s.Pool, s.From, s.To, pods)
	}
	return t.Flush()
}
