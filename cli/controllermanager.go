package cli

import (
	"cmp"
	"errors"
	"os"
	"slices"
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	schedulerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/scheduler/v1alpha1"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	componentbaseconfigv1alpha1 "k8s.io/component-base/config/v1alpha1"

	"github.com/loam-cloud/loam/app"
	"github.com/loam-cloud/loam/cli/managerconfig"
	"github.com/loam-cloud/loam/fault"
)

func newControllerManager() *cobra.Command {
	var file, strategy string
	var offset time.Duration
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
			if err := checkClockOffset(offset); err != nil {
				return err
			}
			config, err := managerConnection(c.GardenClientConnection)
			if err != nil {
				return err
			}
			gates, _ := managerconfig.ReadGates(c.FeatureGates) // judged when the file was read
			return app.ControllerManager(cmd.Context(), config, app.FleetConfig{
				ControllerManager:   c,
				Scheduling:          schedulerconfigv1alpha1.ShootSchedulerConfiguration{Strategy: schedulerconfigv1alpha1.CandidateDeterminationStrategy(strategy)},
				DisableNginxIngress: gates.DisableNginxIngress,
				IgnoredFeatureGates: gates.Ignored,
				ClockOffset:         offset,
			}, cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&file, "config", "", "configuration file; without one the defaults are used")
	clockOffsetFlag(f, &offset)
	f.StringVar(&strategy, "scheduling-strategy", string(schedulerconfigv1alpha1.Default), "how a seed is chosen: SameRegion or MinimalDistance")
	return cmd
}

// managerConnection reads the kubeconfig of the environment, else that of the
// configuration, else what a pod has.
func managerConnection(c componentbaseconfigv1alpha1.ClientConnectionConfiguration) (*rest.Config, error) {
	config, err := clusterConfig(cmp.Or(os.Getenv(clientcmd.RecommendedConfigPathEnvVar), c.Kubeconfig))
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = c.QPS, int(c.Burst)
	config.ContentType, config.AcceptContentTypes = c.ContentType, c.AcceptContentTypes
	return config, nil
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
	for _, problem := range managerconfig.Validate(c) {
		problems = append(problems, problem)
	}
	return c, errors.Join(problems...)
}
