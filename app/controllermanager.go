package app

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"runtime"
	"strconv"
	"sync"
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	componentbaseconfigv1alpha1 "k8s.io/component-base/config/v1alpha1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/loam-cloud/loam/controllers/memory"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/footprint"
)

// oldestServer is the first Kubernetes version whose API the controllers work on
// (specs of Gardener's controller manager at v1.150).
const oldestServer = "1.32.0"

// fleetStop is how long controllers may take to end.
const fleetStop = 5 * time.Second

// ControllerManager runs the fleet's controllers against any API server that
// has the garden's groups, until the context ends. Of several processes with
// leader election one works; it ends with an error when it loses the lead.
func ControllerManager(ctx context.Context, cfg *rest.Config, c FleetConfig, out io.Writer) error {
	logger := fleetLogger(out, c.ControllerManager.LogFormat, c.ControllerManager.LogLevel)
	if len(c.IgnoredFeatureGates) > 0 {
		logger.Info("Feature gates of other components have no effect here", "featureGates", c.IgnoredFeatureGates)
	}
	if err := awaitGroups(ctx, cfg, logger); err != nil {
		return err
	}
	go footprint.Keep(ctx.Done())
	options := fleetOptions(c.ControllerManager, logger)
	mgr, err := manager.New(memory.Compact(cfg), options)
	if err != nil {
		return fmt.Errorf("making the controllers' manager: %w", err)
	}
	if err := addChecks(mgr); err != nil {
		return err
	}
	if err := mgr.Add(manager.RunnableFunc(func(context.Context) error {
		logger.Info("Leading", "lease", options.LeaderElectionNamespace+"/"+options.LeaderElectionID)
		return checkServer(cfg)
	})); err != nil {
		return fmt.Errorf("adding the start check: %w", err)
	}
	if err := addFleet(ctx, mgr, c); err != nil {
		return err
	}
	forget, err := countStates(mgr.GetClient())
	if err != nil {
		return err
	}
	defer forget()
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("running the controllers: %w", err)
	}
	return nil
}

// fleetOptions are those of a process that runs only the fleet's controllers.
func fleetOptions(c *controllermanagerconfigv1alpha1.ControllerManagerConfiguration, logger logr.Logger) manager.Options {
	options := managerOptions(logger)
	options.HealthProbeBindAddress, options.Metrics = serverAddresses(c.Server)
	options.Metrics.ExtraHandlers = profiling(c.Debugging)
	options.GracefulShutdownTimeout = ptr.To(fleetStop)
	options.Controller.SkipNameValidation = nil
	if timeout := c.Controllers.CacheSyncTimeout; timeout != nil {
		options.Controller.CacheSyncTimeout = timeout.Duration
	}
	if election := c.LeaderElection; election != nil && ptr.Deref(election.LeaderElect, false) {
		options.LeaderElection = true
		options.LeaderElectionReleaseOnCancel = true
		options.LeaderElectionResourceLock = election.ResourceLock
		options.LeaderElectionID, options.LeaderElectionNamespace = election.ResourceName, election.ResourceNamespace
		options.LeaseDuration, options.RenewDeadline, options.RetryPeriod = &election.LeaseDuration.Duration, &election.RenewDeadline.Duration, &election.RetryPeriod.Duration
	}
	return options
}

// profiling is served beside the metrics where it is asked for.
func profiling(c *componentbaseconfigv1alpha1.DebuggingConfiguration) map[string]http.Handler {
	if c == nil || !ptr.Deref(c.EnableProfiling, false) {
		return nil
	}
	if ptr.Deref(c.EnableContentionProfiling, false) {
		runtime.SetBlockProfileRate(1)
	}
	return map[string]http.Handler{
		"/debug/pprof/":        http.HandlerFunc(pprof.Index),
		"/debug/pprof/profile": http.HandlerFunc(pprof.Profile),
		"/debug/pprof/symbol":  http.HandlerFunc(pprof.Symbol),
		"/debug/pprof/trace":   http.HandlerFunc(pprof.Trace),
	}
}

// awaitGroups waits until the garden's API is served: beside a new Kubernetes
// its server may start later than its users.
func awaitGroups(ctx context.Context, cfg *rest.Config, logger logr.Logger) error {
	client, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return fmt.Errorf("making a client for the garden: %w", err)
	}
	said := false
	return wait.PollUntilContextCancel(ctx, 2*time.Second, true, func(context.Context) (bool, error) {
		_, err := client.ServerResourcesForGroupVersion(gardencorev1beta1.SchemeGroupVersion.String())
		if err != nil && !said {
			logger.Info("Waiting for the garden's API", "group", gardencorev1beta1.GroupName, "problem", err.Error())
			said = true
		}
		return err == nil, nil
	})
}

// checkServer refuses a server that is too old for the controllers.
func checkServer(cfg *rest.Config) error {
	client, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return fmt.Errorf("making a client for the garden: %w", err)
	}
	info, err := client.ServerVersion()
	if err != nil {
		return fmt.Errorf("asking for the server's version: %w", err)
	}
	have, err := version.ParseGeneric(info.GitVersion)
	if err != nil {
		return fault.New(fault.Invalid, "the server's version %q cannot be read: %w", info.GitVersion, err)
	}
	if have.LessThan(version.MustParseGeneric(oldestServer)) {
		return fault.New(fault.Invalid, "the server has Kubernetes %s, the controllers need %s or newer", have, oldestServer)
	}
	return nil
}

func serverAddresses(c controllermanagerconfigv1alpha1.ServerConfiguration) (health string, metrics server.Options) {
	join := func(s *controllermanagerconfigv1alpha1.Server) string {
		if s == nil || s.Port < 0 {
			return "0"
		}
		return net.JoinHostPort(s.BindAddress, strconv.Itoa(s.Port))
	}
	return join(c.HealthProbes), server.Options{BindAddress: join(c.Metrics)}
}

// addChecks answers /healthz and /readyz. What is read may be incomplete for a
// while, and only readiness says so; for longer than a restart would take, it
// will not become complete any more.
func addChecks(mgr manager.Manager) error {
	synced := func(r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		if !mgr.GetCache().WaitForCacheSync(ctx) {
			return fault.New(fault.Waiting, "what the controllers read is not complete yet")
		}
		return nil
	}
	for _, add := range []error{
		mgr.AddHealthzCheck("ping", healthz.Ping),
		mgr.AddHealthzCheck("informer-sync", tolerant(synced, reconcileLimit, clock.RealClock{})),
		mgr.AddReadyzCheck("informer-sync", synced),
	} {
		if add != nil {
			return fmt.Errorf("adding a health check: %w", add)
		}
	}
	return nil
}

// tolerant is a check that fails once the inner one has failed for longer than a
// time, without success in between.
func tolerant(inner healthz.Checker, limit time.Duration, now clock.PassiveClock) healthz.Checker {
	var lock sync.Mutex
	good := now.Now()
	return func(r *http.Request) error {
		err := inner(r)
		lock.Lock()
		defer lock.Unlock()
		if err == nil {
			good = now.Now()
		}
		if now.Since(good) <= limit {
			return nil
		}
		return err
	}
}
