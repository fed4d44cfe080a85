package app

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	schedulerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/scheduler/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/loam-cloud/loam/controllers/bastion"
	"github.com/loam-cloud/loam/controllers/certificatesigningrequest"
	"github.com/loam-cloud/loam/controllers/cloudprofile"
	"github.com/loam-cloud/loam/controllers/controllerdeployment/controllerdeployment"
	deploymentreference "github.com/loam-cloud/loam/controllers/controllerdeployment/reference"
	"github.com/loam-cloud/loam/controllers/controllerregistration"
	"github.com/loam-cloud/loam/controllers/credentialsbinding"
	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/event"
	"github.com/loam-cloud/loam/controllers/exposureclass"
	"github.com/loam-cloud/loam/controllers/gardenletlifecycle"
	"github.com/loam-cloud/loam/controllers/index"
	"github.com/loam-cloud/loam/controllers/managedseedset"
	"github.com/loam-cloud/loam/controllers/namespacedcloudprofile"
	"github.com/loam-cloud/loam/controllers/project/activity"
	"github.com/loam-cloud/loam/controllers/project/project"
	"github.com/loam-cloud/loam/controllers/project/resourcequota"
	"github.com/loam-cloud/loam/controllers/project/stale"
	"github.com/loam-cloud/loam/controllers/quota"
	"github.com/loam-cloud/loam/controllers/secretbinding"
	"github.com/loam-cloud/loam/controllers/seed/backupbucketscheck"
	"github.com/loam-cloud/loam/controllers/seed/extensionscheck"
	seedreference "github.com/loam-cloud/loam/controllers/seed/reference"
	"github.com/loam-cloud/loam/controllers/seed/secrets"
	"github.com/loam-cloud/loam/controllers/shoot/conditions"
	"github.com/loam-cloud/loam/controllers/shoot/hibernation"
	"github.com/loam-cloud/loam/controllers/shoot/maintenance"
	"github.com/loam-cloud/loam/controllers/shoot/migration"
	shootquota "github.com/loam-cloud/loam/controllers/shoot/quota"
	shootreference "github.com/loam-cloud/loam/controllers/shoot/reference"
	"github.com/loam-cloud/loam/controllers/shoot/retry"
	"github.com/loam-cloud/loam/controllers/shoot/scheduling"
	"github.com/loam-cloud/loam/controllers/shoot/statuslabel"
	"github.com/loam-cloud/loam/controllers/shootstate"
	"github.com/loam-cloud/loam/fault"
)

// adder is a controller that has not been added yet.
type adder interface{ AddToManager(manager.Manager) error }

// fleetController is one of the fleet's: it says what it reads and writes.
type fleetController interface {
	adder
	Declare() declaration.Declaration
}

// functions are a controller whose package has functions in the place of a type.
type functions struct {
	add     func(manager.Manager) error
	declare func() declaration.Declaration
}

// AddToManager implements adder.
func (f functions) AddToManager(mgr manager.Manager) error { return f.add(mgr) }

// Declare implements fleetController.
func (f functions) Declare() declaration.Declaration { return f.declare() }

// withContext is a controller that needs a context to be added: for indexes,
// which take no time.
func withContext(c interface {
	AddToManager(context.Context, manager.Manager) error
	Declare() declaration.Declaration
}) fleetController {
	return functions{func(mgr manager.Manager) error { return c.AddToManager(context.Background(), mgr) }, c.Declare}
}

// addFleet adds the fleet's controllers, and the indexes by which they list.
func addFleet(ctx context.Context, mgr manager.Manager, c FleetConfig) error {
	if err := index.Register(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	for _, one := range fleetControllers(c) {
		if err := one.AddToManager(mgr); err != nil {
			return fmt.Errorf("adding controller %s: %w", one.Declare().Controller, err)
		}
	}
	return nil
}

// Declarations are what the fleet's controllers read and write, by name.
func Declarations() []declaration.Declaration {
	var all []declaration.Declaration
	fleet := defaultFleet()
	// The one that runs only where it is asked for.
	fleet.ControllerManager.Controllers.Event = &controllermanagerconfigv1alpha1.EventControllerConfiguration{}
	for _, one := range fleetControllers(fleet) {
		all = append(all, one.Declare())
	}
	slices.SortFunc(all, func(a, b declaration.Declaration) int { return strings.Compare(a.Controller, b.Controller) })
	return all
}

// FleetConfig configures the fleet's controllers.
type FleetConfig struct {
	// ControllerManager is Gardener's own configuration, defaulted.
	ControllerManager *controllermanagerconfigv1alpha1.ControllerManagerConfiguration
	// Scheduling is the Shoot section of the scheduler's configuration.
	Scheduling schedulerconfigv1alpha1.ShootSchedulerConfiguration
}

// defaultFleet is the configuration of a garden that was given none.
func defaultFleet() FleetConfig {
	c := &controllermanagerconfigv1alpha1.ControllerManagerConfiguration{}
	controllermanagerconfigv1alpha1.SetObjectDefaults_ControllerManagerConfiguration(c)
	return FleetConfig{ControllerManager: c}
}

// fleetControllers lists every controller that keeps the fleet, whichever
// process runs them.
func fleetControllers(c FleetConfig) []fleetController {
	own := c.ControllerManager.Controllers
	all := []fleetController{
		&scheduling.Reconciler{Config: c.Scheduling},
		&certificatesigningrequest.Reconciler{Config: *own.CertificateSigningRequest},
		&bastion.Reconciler{Config: *own.Bastion},
		&cloudprofile.Reconciler{Config: *own.CloudProfile},
		&controllerdeployment.Reconciler{Config: *own.ControllerDeployment},
		functions{func(mgr manager.Manager) error {
			return deploymentreference.AddToManager(mgr, v1beta1constants.GardenNamespace, *own.ControllerDeploymentReference)
		}, deploymentreference.Declare},
		&credentialsbinding.Reconciler{Config: *own.CredentialsBinding},
		&exposureclass.Reconciler{Config: *own.ExposureClass},
		&gardenletlifecycle.Reconciler{Config: *own.Seed},
		withContext(&managedseedset.Reconciler{Config: *own.ManagedSeedSet}),
		&namespacedcloudprofile.Reconciler{Config: *own.NamespacedCloudProfile},
		&activity.Reconciler{Config: *own.Project},
		&project.Reconciler{Config: *own.Project},
		withContext(&resourcequota.Reconciler{Config: *own.Project}),
		&stale.Reconciler{Config: *own.Project},
		&quota.Reconciler{Config: *own.Quota},
		&secretbinding.Reconciler{Config: *own.SecretBinding},
		&backupbucketscheck.Reconciler{Config: *own.SeedBackupBucketsCheck},
		&extensionscheck.Reconciler{Config: *own.SeedExtensionsCheck},
		functions{func(mgr manager.Manager) error {
			return seedreference.AddToManager(mgr, v1beta1constants.GardenNamespace, *own.SeedReference)
		}, seedreference.Declare},
		&secrets.Reconciler{},
		&conditions.Reconciler{Config: *own.ShootConditions},
		&hibernation.Reconciler{Config: own.ShootHibernation},
		&maintenance.Reconciler{Config: own.ShootMaintenance},
		&migration.Reconciler{Config: *own.ShootMigration},
		&shootquota.Reconciler{Config: *own.ShootQuota},
		functions{func(mgr manager.Manager) error {
			return shootreference.AddToManager(mgr, *own.ShootReference)
		}, shootreference.Declare},
		&retry.Reconciler{Config: *own.ShootRetry},
		&statuslabel.Reconciler{Config: *own.ShootStatusLabel},
		&shootstate.Reconciler{Config: *own.ShootState},
	}
	for _, one := range controllerregistration.Controllers(*c.ControllerManager) {
		all = append(all, one)
	}
	if own.Event != nil {
		all = append(all, &event.Reconciler{Config: *own.Event})
	}
	return all
}

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
	if err := awaitGroups(ctx, cfg, logger); err != nil {
		return err
	}
	options := managerOptions(logger)
	own := c.ControllerManager
	options.HealthProbeBindAddress, options.Metrics = serverAddresses(own.Server)
	options.GracefulShutdownTimeout = ptr.To(fleetStop)
	options.Controller = config.Controller{}
	if timeout := own.Controllers.CacheSyncTimeout; timeout != nil {
		options.Controller.CacheSyncTimeout = timeout.Duration
	}
	if election := own.LeaderElection; election != nil && ptr.Deref(election.LeaderElect, false) {
		options.LeaderElection = true
		options.LeaderElectionReleaseOnCancel = true
		options.LeaderElectionResourceLock = election.ResourceLock
		options.LeaderElectionID, options.LeaderElectionNamespace = election.ResourceName, election.ResourceNamespace
		options.LeaseDuration, options.RenewDeadline, options.RetryPeriod = &election.LeaseDuration.Duration, &election.RenewDeadline.Duration, &election.RetryPeriod.Duration
	}
	mgr, err := manager.New(cfg, options)
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

// addChecks answers /healthz and /readyz: the process is alive, and what it
// reads is up to date.
func addChecks(mgr manager.Manager) error {
	synced := func(r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		if !mgr.GetCache().WaitForCacheSync(ctx) {
			return fault.New(fault.Waiting, "what the controllers read is not complete yet")
		}
		return nil
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("adding a health check: %w", err)
	}
	if err := mgr.AddReadyzCheck("informer-sync", synced); err != nil {
		return fmt.Errorf("adding a health check: %w", err)
	}
	return nil
}
