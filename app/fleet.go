package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	schedulerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/scheduler/v1alpha1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	"sigs.k8s.io/controller-runtime/pkg/manager"

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
	return controllerregistration.AddToManager(mgr, *c.ControllerManager)
}

// Declarations are what the fleet's controllers read and write, by name.
func Declarations() []declaration.Declaration {
	all := controllerregistration.Declarations()
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
	// DisableNginxIngress lets maintenance switch the addon nginxIngress off.
	DisableNginxIngress bool
	// ClockOffset sets the clock of those controllers forward that go by hours and
	// days; only tests do.
	ClockOffset time.Duration
	// IgnoredFeatureGates were configured and belong to other components.
	IgnoredFeatureGates []string
}

// defaultFleet is the configuration of a garden that was given none.
func defaultFleet() FleetConfig {
	c := &controllermanagerconfigv1alpha1.ControllerManagerConfiguration{}
	controllermanagerconfigv1alpha1.SetObjectDefaults_ControllerManagerConfiguration(c)
	return FleetConfig{ControllerManager: c}
}

// fleetControllers lists every controller that keeps the fleet, whichever
// process runs them, but for those of extensions, which come together.
func fleetControllers(c FleetConfig) []fleetController {
	own, calendar := c.ControllerManager.Controllers, calendar(c.ClockOffset)
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
		&activity.Reconciler{Config: *own.Project, Clock: calendar},
		&project.Reconciler{Config: *own.Project},
		withContext(&resourcequota.Reconciler{Config: *own.Project}),
		&stale.Reconciler{Config: *own.Project, Clock: calendar},
		&quota.Reconciler{Config: *own.Quota},
		&secretbinding.Reconciler{Config: *own.SecretBinding},
		&backupbucketscheck.Reconciler{Config: *own.SeedBackupBucketsCheck},
		&extensionscheck.Reconciler{Config: *own.SeedExtensionsCheck},
		functions{func(mgr manager.Manager) error {
			return seedreference.AddToManager(mgr, v1beta1constants.GardenNamespace, *own.SeedReference)
		}, seedreference.Declare},
		&secrets.Reconciler{},
		&conditions.Reconciler{Config: *own.ShootConditions},
		&hibernation.Reconciler{Config: own.ShootHibernation, Clock: calendar},
		&maintenance.Reconciler{Config: own.ShootMaintenance, Clock: calendar, DisableNginxIngress: c.DisableNginxIngress},
		&migration.Reconciler{Config: *own.ShootMigration},
		&shootquota.Reconciler{Config: *own.ShootQuota, Clock: calendar},
		functions{func(mgr manager.Manager) error {
			return shootreference.AddToManager(mgr, *own.ShootReference)
		}, shootreference.Declare},
		&retry.Reconciler{Config: *own.ShootRetry},
		&statuslabel.Reconciler{Config: *own.ShootStatusLabel},
		&shootstate.Reconciler{Config: *own.ShootState},
	}
	if own.Event != nil {
		all = append(all, &event.Reconciler{Config: *own.Event})
	}
	return all
}
