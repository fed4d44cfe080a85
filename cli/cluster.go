package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/fault"
)

func newCluster(o *options) *cobra.Command {
	p := &project{}
	cmd := &cobra.Command{
		Use:     "cluster",
		Aliases: []string{"clusters"},
		Short:   "Grow, list and remove Kubernetes clusters",
		Example: `  loam cluster create demo --workers 2
  loam cluster list
  loam cluster kubeconfig demo
  loam cluster delete demo`,
	}
	group(cmd)
	cmd.PersistentFlags().StringVar(&p.name, "project", defaultProject, "project that the cluster belongs to")
	cmd.AddCommand(newClusterCreate(o, p), newClusterList(o, p), newClusterGet(o, p), newClusterUpgrade(o, p), newClusterChange(o, p), newClusterPool(o, p), newClusterStart(o, p), newClusterStop(o, p),
		newClusterDelete(o, p), newClusterKubeconfig(o, p), newClusterInspect(o, p), newClusterNodes(o, p), newClusterPorts(o, p), newClusterDoctor(o, p), newClusterExport(o, p), newClusterLoad(o, p))
	return cmd
}

func newClusterList(o *options, p *project) *cobra.Command {
	var format string
	var all bool
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List clusters",
		Example: `  loam cluster list
  loam cluster list --all-projects -o wide
  loam cluster list -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(format); err != nil {
				return err
			}
			c, err := o.connect()
			if err != nil {
				return err
			}
			var shoots gardencorev1beta1.ShootList
			var where []client.ListOption
			if !all {
				where = append(where, client.InNamespace(p.namespace()))
			}
			if err := c.List(cmd.Context(), &shoots, where...); err != nil {
				return fmt.Errorf("listing clusters: %w", err)
			}
			shoots.SetGroupVersionKind(gardencorev1beta1.SchemeGroupVersion.WithKind("ShootList"))
			for i := range shoots.Items {
				shoots.Items[i].SetGroupVersionKind(gardencorev1beta1.SchemeGroupVersion.WithKind("Shoot"))
			}
			return show(cmd.OutOrStdout(), format, &shoots, func(w io.Writer, wide bool) { printShoots(w, shoots.Items, wide) })
		},
	}
	outputFlag(cmd, &format)
	cmd.Flags().BoolVarP(&all, "all-projects", "A", false, "clusters of all projects")
	return cmd
}

func newClusterGet(o *options, p *project) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "get NAME",
		Short: "Show one cluster",
		Example: `  loam cluster get demo
  loam cluster get demo -o yaml`,
		Args:              exactlyOne("the name of a cluster"),
		ValidArgsFunction: o.completeClusters(p),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(format); err != nil {
				return err
			}
			c, err := o.connect()
			if err != nil {
				return err
			}
			shoot, err := getShoot(cmd.Context(), c, p, args[0])
			if err != nil {
				return err
			}
			shoot.SetGroupVersionKind(gardencorev1beta1.SchemeGroupVersion.WithKind("Shoot"))
			return show(cmd.OutOrStdout(), format, shoot, func(w io.Writer, wide bool) {
				printShoots(w, []gardencorev1beta1.Shoot{*shoot}, wide)
			})
		},
	}
	outputFlag(cmd, &format)
	return cmd
}

func newClusterDelete(o *options, p *project) *cobra.Command {
	var wait bool
	var timeout time.Duration
	var kubeconfig string
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Remove a cluster with everything in it",
		Long: `Remove a cluster: its machines with their disks, its keys, and its entry in
the kubeconfig. A cluster that is gone already is a success.`,
		Example:           `  loam cluster delete demo`,
		Args:              exactlyOne("the name of a cluster"),
		ValidArgsFunction: o.completeClusters(p),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := o.connect()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			say := printer(cmd.ErrOrStderr())
			if err := deleteShoot(ctx, c, p, args[0], wait, say); err != nil {
				return err
			}
			return forgetKubeconfig(kubeconfig, p.contextName(args[0]), say)
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", true, "return once the cluster is gone")
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long to wait")
	kubeconfigFlag(cmd, &kubeconfig)
	return cmd
}

// getShoot finds a cluster, or says which ones there are.
func getShoot(ctx context.Context, c client.Client, p *project, name string) (*gardencorev1beta1.Shoot, error) {
	shoot := &gardencorev1beta1.Shoot{}
	err := c.Get(ctx, client.ObjectKey{Namespace: p.namespace(), Name: name}, shoot)
	if !apierrors.IsNotFound(err) {
		return shoot, err
	}
	names := clusterNames(ctx, c, p)
	if len(names) == 0 {
		return nil, fault.New(fault.Missing, "%s does not exist, and no other either", p.describe(name))
	}
	return nil, fault.New(fault.Missing, "%s does not exist; there are: %s", p.describe(name), strings.Join(names, ", "))
}

func clusterNames(ctx context.Context, c client.Client, p *project) []string {
	var shoots gardencorev1beta1.ShootList
	if err := c.List(ctx, &shoots, client.InNamespace(p.namespace())); err != nil {
		return nil // only used to help with a name
	}
	var names []string
	for _, s := range shoots.Items {
		names = append(names, s.Name)
	}
	return names
}

func (o *options) completeClusters(p *project) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		c, err := o.connect()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return clusterNames(cmd.Context(), c, p), cobra.ShellCompDirectiveNoFileComp
	}
}

// deleteShoot confirms and starts a deletion, and waits for its end if asked to.
func deleteShoot(ctx context.Context, c client.WithWatch, p *project, name string, wait bool, say sayer) error {
	shoot := &gardencorev1beta1.Shoot{}
	shoot.Namespace, shoot.Name = p.namespace(), name
	confirm := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"`+v1beta1constants.ConfirmationDeletion+`":"true"}}}`))
	err := c.Patch(ctx, shoot, confirm)
	if apierrors.IsNotFound(err) {
		say("%s does not exist", p.describe(name))
		return nil
	}
	if err != nil {
		return fmt.Errorf("confirming the deletion of %s: %w", p.describe(name), err)
	}
	if err := client.IgnoreNotFound(c.Delete(ctx, shoot, client.Preconditions{UID: &shoot.UID})); err != nil {
		return fmt.Errorf("deleting %s: %w", p.describe(name), err)
	}
	if !wait {
		say("%s is being deleted", p.describe(name))
		return nil
	}
	return awaitEnd(ctx, c, p, shoot, say)
}

// awaitEnd waits until a Shoot is gone. A garden that does not answer for a
// moment is asked again.
func awaitEnd(ctx context.Context, c client.Client, p *project, shoot *gardencorev1beta1.Shoot, say sayer) error {
	began, doomed := time.Now(), shoot.UID
	seen := shoot
	for {
		now := &gardencorev1beta1.Shoot{}
		err := c.Get(ctx, client.ObjectKeyFromObject(shoot), now)
		if apierrors.IsNotFound(err) || err == nil && now.UID != doomed {
			say("%s is gone after %.1f s", p.describe(shoot.Name), time.Since(began).Seconds())
			return nil
		}
		if err == nil {
			seen = now
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Transient, "%s is still being deleted: %s", p.describe(shoot.Name), lastOperation(seen))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func lastOperation(s *gardencorev1beta1.Shoot) string {
	last := s.Status.LastOperation
	if last == nil {
		return "not started yet; does an agent run for its seed?"
	}
	return fmt.Sprintf("%s %s (%d%%): %s", last.Type, last.State, last.Progress, last.Description)
}

func printShoots(w io.Writer, shoots []gardencorev1beta1.Shoot, wide bool) {
	header := "NAME\tPROJECT\tVERSION\tNODES\tSTATE\tAGE"
	if wide {
		header += "\tSEED\tTECHNICAL ID\tDESCRIPTION"
	}
	fmt.Fprintln(w, header)
	for i := range shoots {
		s := &shoots[i]
		row := fmt.Sprintf("%s\t%s\t%s\t%d\t%s\t%s", s.Name, strings.TrimPrefix(s.Namespace, "garden-"), s.Spec.Kubernetes.Version, nodes(s), state(s), age(s.CreationTimestamp))
		if wide {
			row += fmt.Sprintf("\t%s\t%s\t%s", ptr.Deref(s.Spec.SeedName, ""), s.Status.TechnicalID, firstLine(lastOperation(s)))
		}
		fmt.Fprintln(w, row)
	}
}

// nodes counts the machines that a cluster asks for.
func nodes(s *gardencorev1beta1.Shoot) int {
	n, controlPlane := 0, false
	for _, w := range s.Spec.Provider.Workers {
		n += int(w.Minimum)
		controlPlane = controlPlane || w.ControlPlane != nil
	}
	if !controlPlane {
		n++
	}
	return n
}

// state sums a cluster up in a word or two.
func state(s *gardencorev1beta1.Shoot) string {
	last := s.Status.LastOperation
	switch {
	case s.DeletionTimestamp != nil && (last == nil || last.Type != gardencorev1beta1.LastOperationTypeDelete):
		return "Deleting"
	case last == nil:
		return "Pending"
	case last.State != gardencorev1beta1.LastOperationStateSucceeded:
		return fmt.Sprintf("%s %s (%d%%)", last.Type, last.State, last.Progress)
	case s.Status.IsHibernated:
		return "Hibernated"
	}
	for _, c := range s.Status.Conditions {
		if c.Status != gardencorev1beta1.ConditionTrue && c.Status != gardencorev1beta1.ConditionProgressing {
			return fmt.Sprintf("Unhealthy: %s is %s", c.Type, c.Status)
		}
	}
	return "Ready"
}

func age(t metav1.Time) string {
	if t.IsZero() {
		return "?"
	}
	return duration.HumanDuration(time.Since(t.Time))
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
