package cli

import (
	"github.com/spf13/cobra"

	"github.com/loam-cloud/loam/app"
)

func newAgent() *cobra.Command {
	var c app.AgentConfig
	var kubeconfig string
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Serve a garden elsewhere with this host's machines",
		Long: `Run the agent of one seed: it grows clusters of a garden elsewhere on this host.
It needs a container engine and node images, as "loam up" does. The seed is
registered when the garden does not have it yet.`,
		Example: `  loam agent --seed rack1 --kubeconfig rack1.kubeconfig
  loam agent --seed rack1 --region eu-west-1 --kubeconfig rack1.kubeconfig --health-address :8081`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.Validate(); err != nil {
				return err
			}
			rest, err := clusterConfig(kubeconfig)
			if err != nil {
				return err
			}
			return app.Agent(cmd.Context(), rest, c, cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.SeedName, "seed", "", "seed that this host is")
	f.StringVar(&c.Region, "region", "", "region of the seed when it is registered (default local)")
	f.StringVar(&c.DockerHost, "docker-host", "", "address of the container engine (default $DOCKER_HOST, else the engine's own)")
	f.StringVar(&c.HealthAddress, "health-address", "", "address:port of /healthz and /readyz (default none)")
	f.StringVar(&c.MetricsAddress, "metrics-address", "", "address:port of /metrics (default none)")
	clusterKubeconfigFlag(f, &kubeconfig, "the garden")
	return cmd
}
