package app

import (
	"context"
	"fmt"
	"io"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/loam-cloud/loam/controllers/memory"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/bootstrap"
	"github.com/loam-cloud/loam/garden/footprint"
	"github.com/loam-cloud/loam/garden/scheme"
	"github.com/loam-cloud/loam/machines/container"
)

// AgentConfig says how this host serves a garden elsewhere.
type AgentConfig struct {
	// SeedName is the seed that this host is. It is registered when missing.
	SeedName string
	// Region is that of a seed that is registered; empty means bootstrap.Name.
	Region string
	// DockerHost is the Docker Engine API; empty means DOCKER_HOST, else the
	// daemon's default socket.
	DockerHost string
	// HealthAddress and MetricsAddress are where health and metrics are served;
	// empty or "0" serves none.
	HealthAddress, MetricsAddress string
	// Ports says how ports of this host lead to services.
	Ports PortsConfig
}

// Validate reports every problem as one Invalid fault.
func (c AgentConfig) Validate() error {
	var problems field.ErrorList
	if c.SeedName == "" {
		problems = append(problems, field.Required(field.NewPath("seed"), "names the seed that this host is"))
	}
	for _, problem := range validation.NameIsDNSLabel(c.SeedName, false) {
		if c.SeedName != "" {
			problems = append(problems, field.Invalid(field.NewPath("seed"), c.SeedName, problem))
		}
	}
	problems = append(problems, c.Ports.validate(field.NewPath("ports"))...)
	if err := problems.ToAggregate(); err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	return nil
}

// Agent serves one seed of a garden elsewhere with this host's machines, until
// the context ends. It reads and writes only what that seed needs.
func Agent(ctx context.Context, cfg *rest.Config, c AgentConfig, out io.Writer) error {
	logger := newLogger(out)
	driver, err := container.New(container.Config{Instance: AgentInstance(c.SeedName), Host: c.DockerHost})
	if err != nil {
		return err
	}
	defer func() { _ = driver.Close() }() // ends connections that nobody waits for
	a := &agent{seed: c.SeedName, driver: driver, identity: identity(), engine: c.DockerHost, ports: c.Ports}
	if err := awaitGroups(ctx, cfg, logger); err != nil {
		return err
	}
	if err := register(ctx, cfg, c); err != nil {
		return err
	}
	go footprint.Keep(ctx.Done())
	options := managerOptions(logger)
	options.HealthProbeBindAddress = orNowhere(c.HealthAddress)
	options.Metrics = server.Options{BindAddress: orNowhere(c.MetricsAddress)}
	// An agent may list what belongs to its seed and nothing else.
	options.Cache.ByObject = map[client.Object]cache.ByObject{
		&gardencorev1beta1.Shoot{}: {Field: fields.OneTermEqualSelector("spec.seedName", c.SeedName)},
		&gardencorev1beta1.Seed{}:  {Field: fields.OneTermEqualSelector("metadata.name", c.SeedName)},
	}
	mgr, err := manager.New(memory.Compact(cfg), options)
	if err != nil {
		return fmt.Errorf("making the agent's manager: %w", err)
	}
	if err := addChecks(mgr); err != nil {
		return err
	}
	for _, add := range a.controllers() {
		if err := add.AddToManager(mgr); err != nil {
			return fmt.Errorf("adding a controller: %w", err)
		}
	}
	logger.Info("Serving a seed", "seed", c.SeedName, "garden", cfg.Host)
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("running the agent: %w", err)
	}
	return nil
}

func orNowhere(address string) string {
	if address == "" {
		return "0"
	}
	return address
}

// register makes the seed where it is missing. One that is there stays as it is.
func register(ctx context.Context, cfg *rest.Config, c AgentConfig) error {
	garden, err := client.New(cfg, client.Options{Scheme: scheme.Client()})
	if err != nil {
		return fmt.Errorf("connecting to the garden: %w", err)
	}
	region := c.Region
	if region == "" {
		region = bootstrap.Name
	}
	if err := garden.Create(ctx, bootstrap.LocalSeed(c.SeedName, region)); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("registering seed %q: %w", c.SeedName, err)
	}
	return nil
}
