package kinds

import (
	"github.com/gardener/gardener/pkg/apis/core"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/utils/clock"

	"github.com/loam-cloud/loam/garden/access/kubeconfig"
	"github.com/loam-cloud/loam/garden/strategy"
	"github.com/loam-cloud/loam/garden/validation/shoots/schedules"
)

// shootRules are the rules of Shoots, which look at other objects and at time.
type shootRules struct {
	references references
	clock      clock.PassiveClock
}

func shootKind(rules shootRules) strategy.Kind {
	return strategy.Define[core.Shoot, core.ShootList](strategy.Definition[core.Shoot]{
		Resource: "shoots", Singular: "shoot",
		Columns:          shootColumns(),
		Fields:           shootFields,
		Index:            []string{core.ShootSeedName},
		PrepareForCreate: rules.prepareForCreate,
		PrepareForUpdate: rules.prepareForUpdate,
		NewGeneration:    rules.newGeneration,
		ValidateName:     shootName,
		Validate:         rules.validate,
		Warnings:         rules.warnings,
		ValidateDelete:   rules.validateDelete,
		Subresources:     shootSubresources(rules.references.Surroundings),
	})
}

// shootSubresources are the way to a seed and the ways into the cluster.
func shootSubresources(s Surroundings) map[string]func(*registry.Store) rest.Storage {
	subresources := kubeconfig.Subresources(kubeconfig.Config{Stores: s.Stores, Kubernetes: s.Kubernetes, Authorizer: s.Authorizer, Clock: s.Clock})
	subresources["binding"] = newShootBinding
	return subresources
}

func shootColumns() []strategy.Column[core.Shoot] {
	condition := func(name core.ConditionType) func(*core.Shoot) any {
		return func(s *core.Shoot) any { return conditionStatus(s.Status.Conditions, name) }
	}
	return []strategy.Column[core.Shoot]{
		{Name: "CloudProfile", Description: "Cloud profile of the cluster.", Cell: func(s *core.Shoot) any { return profileReference(s).Name }},
		{Name: "Provider", Description: "Type of infrastructure.", Cell: func(s *core.Shoot) any { return s.Spec.Provider.Type }},
		{Name: "Region", Description: "Region of the cluster.", Cell: func(s *core.Shoot) any { return s.Spec.Region }},
		{Name: "K8S Version", Description: "Kubernetes version of the control plane.", Cell: func(s *core.Shoot) any { return s.Spec.Kubernetes.Version }},
		{Name: "Hibernation", Description: "Whether the cluster sleeps.", Cell: hibernation},
		{Name: "Last Operation", Description: "What was last done to the cluster.", Cell: func(s *core.Shoot) any { return lastOperation(s.Status.LastOperation) }},
		{Name: "Status", Description: "Health of the cluster.", Cell: func(s *core.Shoot) any { return s.Labels[v1beta1constants.ShootStatus] }},
		{Name: "Purpose", Description: "What the cluster is for.", Wide: true, Cell: func(s *core.Shoot) any { return string(deref(s.Spec.Purpose)) }},
		{Name: "Seed", Description: "Seed that looks after the cluster.", Wide: true, Cell: func(s *core.Shoot) any { return deref(s.Spec.SeedName) }},
		{Name: "APIServer", Description: "Whether the API answers.", Wide: true, Cell: condition(core.ShootAPIServerAvailable)},
		{Name: "Control", Description: "Whether the control plane is healthy.", Wide: true, Cell: condition(core.ShootControlPlaneHealthy)},
		{Name: "Nodes", Description: "Whether every node is ready.", Wide: true, Cell: condition(core.ShootEveryNodeReady)},
		{Name: "System", Description: "Whether system components are healthy.", Wide: true, Cell: condition(core.ShootSystemComponentsHealthy)},
	}
}

// hibernation compares what is wanted with what is.
func hibernation(shoot *core.Shoot) any {
	wanted := schedules.Hibernates(shoot)
	switch {
	case wanted && shoot.Status.IsHibernated:
		return "Hibernated"
	case wanted:
		return "Hibernating"
	case shoot.Status.IsHibernated:
		return "Waking Up"
	default:
		return "Awake"
	}
}

func shootFields(shoot *core.Shoot) fields.Set {
	profile := profileReference(shoot)
	return fields.Set{
		core.ShootSeedName:            deref(shoot.Spec.SeedName),
		core.ShootStatusSeedName:      deref(shoot.Status.SeedName),
		core.ShootCloudProfileName:    profile.Name,
		core.ShootCloudProfileRefName: profile.Name,
		core.ShootCloudProfileRefKind: profile.Kind,
	}
}

// profileReference is the cloud profile that a Shoot names, in the present
// field or the former one.
func profileReference(shoot *core.Shoot) core.CloudProfileReference {
	if shoot.Spec.CloudProfile != nil {
		return *shoot.Spec.CloudProfile
	}
	if shoot.Spec.CloudProfileName != nil {
		return core.CloudProfileReference{Kind: v1beta1constants.CloudProfileReferenceKindCloudProfile, Name: *shoot.Spec.CloudProfileName}
	}
	return core.CloudProfileReference{}
}
