package cli

import (
	"context"
	"fmt"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/fault"
)

// powerOptions are the flags of loam cluster start and stop.
type powerOptions struct {
	on, dryRun, wait bool
	timeout          time.Duration
}

func newClusterStart(o *options, p *project) *cobra.Command {
	return (&powerOptions{on: true}).command(o, p, &cobra.Command{
		Use:   "start NAME",
		Short: "Start the machines of a cluster that are off",
		Long: `Wake a cluster that was stopped, or start those machines of a running one that
are off: after a restart of this host or of its container engine, or because
somebody stopped them. When the garden starts, it does the latter by itself.`,
		Example: `  loam cluster start demo
  loam cluster start demo --dry-run`,
	})
}

func newClusterStop(o *options, p *project) *cobra.Command {
	return (&powerOptions{}).command(o, p, &cobra.Command{
		Use:   "stop NAME",
		Short: "Stop the machines of a cluster, and keep their disks",
		Long: `Stop all machines of a cluster, workers first, and keep their disks: the cluster
hibernates, until "loam cluster start" wakes it.`,
		Example: `  loam cluster stop demo
  loam cluster stop demo --wait=false`,
	})
}

func (c *powerOptions) command(o *options, p *project, cmd *cobra.Command) *cobra.Command {
	cmd.Args = exactlyOne("the name of a cluster")
	cmd.ValidArgsFunction = o.completeClusters(p)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		api, err := o.connect()
		if err != nil {
			return err
		}
		return c.run(cmd, api, p, args[0])
	}
	f := cmd.Flags()
	f.BoolVar(&c.dryRun, "dry-run", false, "show what would be changed, and change nothing")
	f.BoolVar(&c.wait, "wait", true, "return once it is done")
	f.DurationVar(&c.timeout, "timeout", 10*time.Minute, "how long to wait")
	return cmd
}

func (c *powerOptions) run(cmd *cobra.Command, api client.WithWatch, p *project, name string) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), c.timeout)
	defer cancel()
	shoot, err := getShoot(ctx, api, p, name)
	if err != nil {
		return err
	}
	before, err := eventNames(ctx, api, shoot)
	if err != nil {
		return err
	}
	say := printer(cmd.ErrOrStderr())
	changed := shoot.DeepCopy()
	what := c.change(changed)
	if what == "" {
		say("%s is stopped already", p.describe(name))
		return nil
	}
	if c.dryRun {
		fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", p.describe(name), what)
		return nil
	}
	if err := api.Patch(ctx, changed, client.MergeFrom(shoot)); err != nil {
		return fault.New(fault.Invalid, "changing %s: %w", p.describe(name), err)
	}
	if !c.wait {
		say("%s is at it; follow it with \"loam cluster get %s\"", p.describe(name), name)
		return nil
	}
	return follow(ctx, api, changed, before, cmd.ErrOrStderr())
}

// hibernated tells whether a Shoot is asked to sleep.
func hibernated(shoot *gardencorev1beta1.Shoot) bool {
	h := shoot.Spec.Hibernation
	return h != nil && ptr.Deref(h.Enabled, false)
}

// change asks a Shoot to be on or off, and says how. Nothing is to be done for one
// that is off already; one that is on may have machines that are not.
func (c *powerOptions) change(shoot *gardencorev1beta1.Shoot) string {
	asleep := hibernated(shoot)
	switch {
	case asleep && !c.on:
		return ""
	case asleep == c.on:
		if shoot.Spec.Hibernation == nil {
			shoot.Spec.Hibernation = &gardencorev1beta1.Hibernation{}
		}
		shoot.Spec.Hibernation.Enabled = ptr.To(!c.on)
		return fmt.Sprintf("spec.hibernation.enabled: %t -> %t", asleep, !c.on)
	default:
		metav1.SetMetaDataAnnotation(&shoot.ObjectMeta, v1beta1constants.GardenerOperation, v1beta1constants.GardenerOperationReconcile)
		return "metadata.annotations." + v1beta1constants.GardenerOperation + ": " + v1beta1constants.GardenerOperationReconcile
	}
}
