package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/loam-cloud/loam/app"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/access/agentcert"
)

func newAgent() *cobra.Command {
	var c app.AgentConfig
	var kubeconfig, bootstrap string
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Serve a garden elsewhere with this host's machines",
		Long: `Run the agent of one seed: it grows clusters of a garden elsewhere on this host.
It needs a container engine and node images, as "loam up" does. The seed is
registered when the garden does not have it yet.

With --bootstrap-kubeconfig ("loam seed token create") the agent asks the garden
for a certificate when it has none, writes the kubeconfig, and renews the
certificate before it ends.`,
		Example: `  loam agent --seed rack1 --bootstrap-kubeconfig rack1.bootstrap --kubeconfig rack1.kubeconfig
  loam agent --seed rack1 --kubeconfig rack1.kubeconfig
  loam agent --seed rack1 --region eu-west-1 --kubeconfig rack1.kubeconfig --health-address :8081`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.Validate(); err != nil {
				return err
			}
			if bootstrap != "" {
				return enrolled(cmd, c, kubeconfig, bootstrap)
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
	f.StringVar(&bootstrap, "bootstrap-kubeconfig", "", "kubeconfig with a token to ask for a certificate with; needs --kubeconfig, which is written")
	portsFlags(cmd, &c.Ports)
	clusterKubeconfigFlag(f, &kubeconfig, "the garden")
	return cmd
}

// enrolled runs the agent with a certificate that it keeps itself.
func enrolled(cmd *cobra.Command, c app.AgentConfig, kubeconfig, bootstrap string) error {
	if kubeconfig == "" {
		return fault.New(fault.Invalid, "--kubeconfig: names the file that is written with --bootstrap-kubeconfig")
	}
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	certificate, err := agentcert.Ensure(ctx, agentcert.Config{Seed: c.SeedName, Kubeconfig: kubeconfig, Bootstrap: bootstrap})
	if err != nil {
		return err
	}
	kept := make(chan error, 1)
	go func() { kept <- certificate.Keep(ctx) }()
	err = app.Agent(ctx, certificate.RESTConfig(), c, cmd.ErrOrStderr())
	cancel()
	return errors.Join(err, <-kept)
}
