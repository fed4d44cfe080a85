package app

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"github.com/go-logr/logr"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/loam-cloud/loam/controllers/cloudprofile/nodeimages"
	"github.com/loam-cloud/loam/controllers/event"
	"github.com/loam-cloud/loam/controllers/memory"
	"github.com/loam-cloud/loam/controllers/seed/heartbeat"
	"github.com/loam-cloud/loam/controllers/shoot/care"
	"github.com/loam-cloud/loam/controllers/shoot/lifecycle"
	"github.com/loam-cloud/loam/garden"
	"github.com/loam-cloud/loam/garden/scheme"
	"github.com/loam-cloud/loam/machines/container"
)

// Up runs the garden, its controllers and this host's agent until the context
// ends, then stops them. Lines for a person to read go to out.
//
// Faults: Invalid for what the user has to change before it can start.
func Up(ctx context.Context, c Config, out io.Writer) error {
	logger := newLogger(out)
	driver, err := container.New(container.Config{Instance: c.Instance(), Host: c.DockerHost})
	if err != nil {
		return err
	}
	defer func() { _ = driver.Close() }() // ends connections that nobody waits for
	a := &agent{seed: SeedName, driver: driver, identity: identity(), engine: c.DockerHost, ports: c.Ports}
	images := c.registryConfiguration()
	a.cache = &nodeCache{ctx: ctx, dataDir: c.DataDir, folder: images.DataDir, log: logger.WithName("image-cache"), open: map[netip.Addr]bool{}}
	if err := a.cache.reopen(); err != nil {
		return err
	}
	versions, err := a.versions(ctx)
	if err != nil {
		// The garden is of use without an engine; its seed says what is missing.
		logger.Info("No node images are known", "problem", err.Error())
	}
	g, err := garden.Start(ctx, garden.Config{
		DataDir:            c.DataDir,
		Listen:             c.Listen,
		Etcd:               c.Etcd,
		Backups:            c.Backups,
		Audit:              c.Audit,
		StoreQuotaBytes:    c.StoreQuotaBytes,
		Version:            Version,
		KubernetesVersions: versions,
		Logger:             logger.WithName("garden"),
		PostStart: func(ctx context.Context, cfg *rest.Config) error {
			return a.start(ctx, cfg, c.ClockOffset, logger)
		},
	})
	if err != nil {
		return err
	}
	forget, err := showGarden(g)
	if err != nil {
		return stop(g, err)
	}
	defer forget()
	if !c.NoRegistry {
		serving, end := context.WithCancel(ctx)
		wait := runRegistryBeside(serving, images, logger.WithName("image-cache"))
		defer wait()
		defer end()
	}
	logger.Info("The garden is ready", "address", g.Address(), "kubeconfig", g.KubeconfigPath(), "pid", os.Getpid())
	if err := applyAll(ctx, g.RESTConfig(), c.Manifests, logger); err != nil {
		return stop(g, err)
	}
	if c.Ready != nil {
		c.Ready()
	}
	select {
	case <-ctx.Done():
		logger.Info("Stopping")
	case <-g.Done():
	}
	return stop(g, nil)
}

func stop(g *garden.Garden, cause error) error {
	if err := g.Stop(context.Background()); err != nil {
		return fmt.Errorf("stopping the garden: %w", err)
	}
	return cause
}

func identity() gardencorev1beta1.Gardener {
	host, err := os.Hostname()
	if err != nil {
		host = SeedName
	}
	return gardencorev1beta1.Gardener{ID: host, Name: "loam-agent", Version: Version}
}

// managerOptions are those of every process's controllers.
func managerOptions(logger logr.Logger) manager.Options {
	return manager.Options{
		Scheme: scheme.Client(),
		Logger: logger,
		// The garden serves health and metrics of the whole process.
		Metrics:                server.Options{BindAddress: "0"},
		HealthProbeBindAddress: "0",
		// Who set which field is half of a small object, and nobody here asks.
		Cache: cache.Options{
			DefaultTransform: cache.TransformStripManagedFields(),
			ByObject:         map[client.Object]cache.ByObject{&eventsv1.Event{}: {Transform: event.Trim}},
		},
		Client:    client.Options{Cache: &client.CacheOptions{DisableFor: memory.Uncached()}},
		NewClient: memory.NewClient,
		// Names are unique within a process; tests start several gardens in one.
		Controller: config.Controller{SkipNameValidation: ptr.To(true), ReconciliationTimeout: reconcileLimit},
	}
}

// reconcileLimit is how long one look at an object may take, in controllers that
// do not say otherwise.
const reconcileLimit = 3 * time.Minute

// start runs all controllers against a garden that is ready. They end with the
// context.
func (a *agent) start(ctx context.Context, cfg *rest.Config, clockOffset time.Duration, logger logr.Logger) error {
	mgr, err := manager.New(memory.Compact(cfg), managerOptions(logger))
	if err != nil {
		return fmt.Errorf("making the controllers' manager: %w", err)
	}
	fleet := defaultFleet()
	fleet.ClockOffset = clockOffset
	if err := addFleet(ctx, mgr, fleet); err != nil {
		return err
	}
	for _, add := range append(a.controllers(), a.offers()...) {
		if err := add.AddToManager(mgr); err != nil {
			return fmt.Errorf("adding a controller: %w", err)
		}
	}
	forget, err := showMetrics(mgr.GetClient())
	if err != nil {
		return err
	}
	go func() {
		defer forget()
		if err := mgr.Start(ctx); err != nil {
			logger.Error(err, "The controllers have ended")
		}
	}()
	return nil
}

// controllers lists every controller of a seed's agent.
func (a *agent) controllers() []adder {
	return []adder{
		&lifecycle.Reconciler{
			Config:   lifecycle.Config{SeedName: a.seed, Identity: a.identity},
			Machines: a.driver,
			Image:    a.image,
			Room:     a.room, Restarted: a.driver.AwaitRestart, Cache: a.imageCache(),
		},
		&care.Reconciler{Config: care.Config{SeedName: a.seed}, Machines: a.driver},
		a.ports.controller(a.seed, a.driver),
		&heartbeat.Reconciler{Config: heartbeat.Config{SeedName: a.seed, Identity: a.identity}, Ready: a.driver.Ping},
	}
}

// offers keep the cloud profile of a garden that has one host only.
func (a *agent) offers() []adder {
	return []adder{&nodeimages.Reconciler{Versions: a.versions}}
}
