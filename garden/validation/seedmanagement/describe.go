package seedmanagement

import (
	gardenletconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/gardenlet/v1alpha1"
	"github.com/gardener/gardener/pkg/apis/core"
	"github.com/gardener/gardener/pkg/apis/seedmanagement"
)

// DescribeSeed fills in what is left out of the seed that a gardenlet's
// configuration describes and its cluster knows: provider, region, and networks.
func DescribeSeed(gardenlet *seedmanagement.GardenletConfig, shoot *core.Shoot) {
	config, ok := gardenlet.Config.(*gardenletconfigv1alpha1.GardenletConfiguration)
	if !ok || config.SeedConfig == nil {
		return
	}
	// The object shares it with what it was decoded from.
	config = config.DeepCopy()
	spec := &config.SeedConfig.Spec
	fill(&spec.Provider.Type, &shoot.Spec.Provider.Type)
	fill(&spec.Provider.Region, &shoot.Spec.Region)
	if networking := shoot.Spec.Networking; networking != nil {
		fill(&spec.Networks.Pods, networking.Pods)
		fill(&spec.Networks.Services, networking.Services)
		if spec.Networks.Nodes == nil && networking.Nodes != nil {
			nodes := *networking.Nodes
			spec.Networks.Nodes = &nodes
		}
	}
	gardenlet.Config = config
}

func fill(target, source *string) {
	if *target == "" && source != nil {
		*target = *source
	}
}
