package cli

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/gardener/gardener/pkg/apis/config"
	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	schedulerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/scheduler/v1alpha1"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/tools/clientcmd"
	componentbaseconfigv1alpha1 "k8s.io/component-base/config/v1alpha1"

	"github.com/loam-cloud/loam/app"
	"github.com/loam-cloud/loam/fault"
)

func newControllerManager() *cobra.Command {
	var file, strategy string
	cmd := &cobra.Command{
		Use:   "controller-manager",
		Short: "Run the fleet's controllers beside an API server elsewhere",
		Long: `Run the controllers that keep projects, seeds and clusters, against a garden,
"loam apiserver", or a Gardener landscape. Of several processes one leads.

The configuration file is Gardener's own ControllerManagerConfiguration
(controllermanager.config.gardener.cloud/v1alpha1).`,
		Example: `  loam controller-manager --config config.yaml
  KUBECONFIG=admin.conf loam controller-manager --config config.yaml --scheduling-strategy MinimalDistance`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := readControllerManagerConfig(file)
			if err != nil {
				return err
			}
			if !slices.Contains(schedulerconfigv1alpha1.Strategies, schedulerconfigv1alpha1.CandidateDeterminationStrategy(strategy)) {
				return fault.Wrap(fault.Invalid, field.NotSupported(field.NewPath("scheduling-strategy"), strategy, schedulerconfigv1alpha1.Strategies))
			}
			connection := c.GardenClientConnection
			rest, err := clusterConfig(cmp.Or(os.Getenv(clientcmd.RecommendedConfigPathEnvVar), connection.Kubeconfig))
			if err != nil {
				return err
			}
			rest.QPS, rest.Burst = connection.QPS, int(connection.Burst)
			return app.ControllerManager(cmd.Context(), rest, app.FleetConfig{
				ControllerManager: c,
				Scheduling:        schedulerconfigv1alpha1.ShootSchedulerConfiguration{Strategy: schedulerconfigv1alpha1.CandidateDeterminationStrategy(strategy)},
			}, cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&file, "config", "", "configuration file; without one the defaults are used")
	f.StringVar(&strategy, "scheduling-strategy", string(schedulerconfigv1alpha1.Default), "how a seed is chosen: SameRegion or MinimalDistance")
	return cmd
}

// readControllerManagerConfig reads and defaults a configuration; an empty path
// is an empty one. It names every problem.
func readControllerManagerConfig(path string) (*controllermanagerconfigv1alpha1.ControllerManagerConfiguration, error) {
	c := &controllermanagerconfigv1alpha1.ControllerManagerConfiguration{}
	if path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fault.New(fault.Invalid, "reading the configuration: %w", err)
		}
		if c, err = parseControllerManagerConfig(text); err != nil {
			return nil, fault.New(fault.Invalid, "configuration file %s: %w", path, err)
		}
		return c, nil
	}
	controllermanagerconfigv1alpha1.SetObjectDefaults_ControllerManagerConfiguration(c)
	return c, nil
}

func parseControllerManagerConfig(text []byte) (*controllermanagerconfigv1alpha1.ControllerManagerConfiguration, error) {
	c := &controllermanagerconfigv1alpha1.ControllerManagerConfiguration{}
	problems, err := decodeStrict(text, c)
	if err != nil {
		return nil, err
	}
	if want := controllermanagerconfigv1alpha1.SchemeGroupVersion.String(); c.APIVersion != want {
		problems = append(problems, field.NotSupported(field.NewPath("apiVersion"), c.APIVersion, []string{want}))
	}
	if want := "ControllerManagerConfiguration"; c.Kind != want {
		problems = append(problems, field.NotSupported(field.NewPath("kind"), c.Kind, []string{want}))
	}
	controllermanagerconfigv1alpha1.SetObjectDefaults_ControllerManagerConfiguration(c)
	for _, problem := range validateControllerManagerConfig(c) {
		problems = append(problems, problem)
	}
	return c, errors.Join(problems...)
}

func validateControllerManagerConfig(c *controllermanagerconfigv1alpha1.ControllerManagerConfiguration) field.ErrorList {
	var problems field.ErrorList
	if levels := []string{config.LogLevelDebug, config.LogLevelInfo, config.LogLevelError}; !slices.Contains(levels, c.LogLevel) {
		problems = append(problems, field.NotSupported(field.NewPath("logLevel"), c.LogLevel, levels))
	}
	if formats := []string{config.LogFormatJSON, config.LogFormatText}; !slices.Contains(formats, c.LogFormat) {
		problems = append(problems, field.NotSupported(field.NewPath("logFormat"), c.LogFormat, formats))
	}
	connection := field.NewPath("gardenClientConnection")
	if c.GardenClientConnection.QPS < 0 {
		problems = append(problems, field.Invalid(connection.Child("qps"), c.GardenClientConnection.QPS, "must be 0 or more"))
	}
	if c.GardenClientConnection.Burst < 0 {
		problems = append(problems, field.Invalid(connection.Child("burst"), c.GardenClientConnection.Burst, "must be 0 or more"))
	}
	for name, server := range map[string]*controllermanagerconfigv1alpha1.Server{"healthProbes": c.Server.HealthProbes, "metrics": c.Server.Metrics} {
		if server != nil && (server.Port < -1 || server.Port > 65535) {
			problems = append(problems, field.Invalid(field.NewPath("server", name, "port"), server.Port, "must be a port, or -1 for none"))
		}
	}
	problems = append(problems, validateLeaderElection(c.LeaderElection)...)
	return append(problems, validateWorkers(c)...)
}

func validateLeaderElection(c *componentbaseconfigv1alpha1.LeaderElectionConfiguration) field.ErrorList {
	if c == nil || c.LeaderElect == nil || !*c.LeaderElect {
		return nil
	}
	var problems field.ErrorList
	path := field.NewPath("leaderElection")
	if c.ResourceLock != "leases" {
		problems = append(problems, field.NotSupported(path.Child("resourceLock"), c.ResourceLock, []string{"leases"}))
	}
	if c.LeaseDuration.Duration <= c.RenewDeadline.Duration {
		problems = append(problems, field.Invalid(path.Child("leaseDuration"), c.LeaseDuration.Duration.String(), fmt.Sprintf("must be longer than renewDeadline (%s)", c.RenewDeadline.Duration)))
	}
	// client-go adds a fifth of it at random.
	if c.RenewDeadline.Duration <= c.RetryPeriod.Duration*6/5 {
		problems = append(problems, field.Invalid(path.Child("renewDeadline"), c.RenewDeadline.Duration.String(), fmt.Sprintf("must be longer than 1.2 times retryPeriod (%s)", c.RetryPeriod.Duration)))
	}
	if c.RetryPeriod.Duration <= 0 {
		problems = append(problems, field.Invalid(path.Child("retryPeriod"), c.RetryPeriod.Duration.String(), "must be more than 0s"))
	}
	return problems
}

// validateWorkers looks at the number of workers of every controller's section.
func validateWorkers(c *controllermanagerconfigv1alpha1.ControllerManagerConfiguration) field.ErrorList {
	var problems field.ErrorList
	sections := reflect.ValueOf(c.Controllers)
	for i := range sections.NumField() {
		section := reflect.Indirect(sections.Field(i))
		if section.Kind() != reflect.Struct {
			continue
		}
		workers := section.FieldByName("ConcurrentSyncs")
		if !workers.IsValid() {
			continue
		}
		workers = reflect.Indirect(workers)
		if workers.IsValid() && workers.CanInt() && workers.Int() < 0 {
			name, _, _ := strings.Cut(sections.Type().Field(i).Tag.Get("json"), ",")
			problems = append(problems, field.Invalid(field.NewPath("controllers", name, "concurrentSyncs"), workers.Int(), "must be 0 or more"))
		}
	}
	return problems
}
