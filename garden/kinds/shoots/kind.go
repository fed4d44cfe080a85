// Package shoots describes the kind Shoot: what its tables show, what is filled in
// and by which rules it is accepted, when it is to be acted on, and its
// subresources.
//
// The table of kinds is its caller. What a Shoot names it looks up and hands to
// the pure rules; it must not know what they are, nor who acts on a Shoot.
package shoots

import (
	"github.com/gardener/gardener/pkg/apis/core"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/garden/access/kubeconfig"
	"github.com/loam-cloud/loam/garden/kinds/internal/cells"
	"github.com/loam-cloud/loam/garden/kinds/internal/lookup"
	"github.com/loam-cloud/loam/garden/strategy"
	"github.com/loam-cloud/loam/garden/validation/shoots/schedules"
)

// rules are the rules of Shoots, which look at other objects and at time.
type rules struct {
	objects lookup.Objects
	clock   clock.PassiveClock
}

// Kind describes Shoots. Its rules read other objects from objects, and what they
// compare with is as of clock.
func Kind(objects lookup.Objects, clock clock.PassiveClock) strategy.Kind {
	rules := rules{objects, clock}
	return strategy.Define[core.Shoot, core.ShootList](strategy.Definition[core.Shoot]{
		Resource: "shoots", Singular: "shoot",
		Columns:          columns(),
		Fields:           selectable,
		Index:            []string{core.ShootSeedName},
		PrepareForCreate: rules.prepareForCreate,
		PrepareForUpdate: rules.prepareForUpdate,
		NewGeneration:    rules.newGeneration,
		ValidateName:     validName,
		Validate:         rules.validate,
		Warnings:         rules.warnings,
		ValidateDelete:   rules.validateDelete,
		Subresources:     rules.subresources(),
	})
}

// subresources are the way to a seed and the ways into the cluster.
func (r rules) subresources() map[string]func(*registry.Store) rest.Storage {
	subresources := kubeconfig.Subresources(kubeconfig.Config{Stores: r.objects.Stores, Kubernetes: r.objects.Kubernetes, Authorizer: r.objects.Authorizer, Clock: r.clock})
	subresources["binding"] = newBinding
	return subresources
}

func columns() []strategy.Column[core.Shoot] {
	condition := func(name core.ConditionType) func(*core.Shoot) any {
		return func(s *core.Shoot) any { return cells.Condition(s.Status.Conditions, name) }
	}
	return []strategy.Column[core.Shoot]{
		{Name: "CloudProfile", Description: "Cloud profile of the cluster.", Cell: func(s *core.Shoot) any { return profileReference(s).Name }},
		{Name: "Provider", Description: "Type of infrastructure.", Cell: func(s *core.Shoot) any { return s.Spec.Provider.Type }},
		{Name: "Region", Description: "Region of the cluster.", Cell: func(s *core.Shoot) any { return s.Spec.Region }},
		{Name: "K8S Version", Description: "Kubernetes version of the control plane.", Cell: func(s *core.Shoot) any { return s.Spec.Kubernetes.Version }},
		{Name: "Hibernation", Description: "Whether the cluster sleeps.", Cell: hibernation},
		{Name: "Last Operation", Description: "What was last done to the cluster.", Cell: func(s *core.Shoot) any { return cells.LastOperation(s.Status.LastOperation) }},
		{Name: "Status", Description: "Health of the cluster.", Cell: func(s *core.Shoot) any { return s.Labels[v1beta1constants.ShootStatus] }},
		{Name: "Purpose", Description: "What the cluster is for.", Wide: true, Cell: func(s *core.Shoot) any { return string(ptr.Deref(s.Spec.Purpose, "")) }},
		{Name: "Seed", Description: "Seed that looks after the cluster.", Wide: true, Cell: func(s *core.Shoot) any { return ptr.Deref(s.Spec.SeedName, "") }},
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

// selectable are the fields by which Shoots are selected.
func selectable(shoot *core.Shoot) fields.Set {
	profile := profileReference(shoot)
	return fields.Set{
		core.ShootSeedName:            ptr.Deref(shoot.Spec.SeedName, ""),
		core.ShootStatusSeedName:      ptr.Deref(shoot.Status.SeedName, ""),
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
