package kinds

import (
	"context"
	"strings"

	"github.com/gardener/gardener/pkg/apis/core"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	"github.com/gardener/gardener/pkg/apis/utils/timewindow"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/utils/clock"

	"github.com/loam-cloud/loam/garden/strategy"
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
		PrepareForCreate: prepareShootForCreate,
		PrepareForUpdate: prepareShootForUpdate,
		NewGeneration:    rules.newGeneration,
		ValidateName:     shootName,
		Validate:         rules.validate,
	})
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
	wanted := wantsHibernation(shoot)
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

func wantsHibernation(shoot *core.Shoot) bool {
	return shoot.Spec.Hibernation != nil && deref(shoot.Spec.Hibernation.Enabled)
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

func prepareShootForCreate(ctx context.Context, shoot *core.Shoot) {
	if user, ok := genericapirequest.UserFrom(ctx); ok {
		metav1.SetMetaDataAnnotation(&shoot.ObjectMeta, v1beta1constants.GardenCreatedBy, user.GetName())
	}
	canonicalizeShoot(shoot)
	if shoot.Spec.Maintenance != nil && shoot.Spec.Maintenance.TimeWindow == nil {
		window := timewindow.RandomMaintenanceTimeWindow()
		shoot.Spec.Maintenance.TimeWindow = &core.MaintenanceTimeWindow{Begin: window.Begin().Formatted(), End: window.End().Formatted()}
	}
}

func prepareShootForUpdate(_ context.Context, shoot, old *core.Shoot) {
	if creator, known := old.Annotations[v1beta1constants.GardenCreatedBy]; known {
		metav1.SetMetaDataAnnotation(&shoot.ObjectMeta, v1beta1constants.GardenCreatedBy, creator)
	}
	canonicalizeShoot(shoot)
	if shoot.Spec.Maintenance != nil && shoot.Spec.Maintenance.TimeWindow == nil && old.Spec.Maintenance != nil {
		shoot.Spec.Maintenance.TimeWindow = old.Spec.Maintenance.TimeWindow.DeepCopy()
	}
}

// canonicalizeShoot brings two spellings of one thing to one: the former field
// for the cloud profile, whose kind may be left out, and Kubernetes versions
// with a "v", as image names have them.
func canonicalizeShoot(shoot *core.Shoot) {
	if profile := profileReference(shoot); profile.Name != "" {
		if profile.Kind == "" {
			profile.Kind = v1beta1constants.CloudProfileReferenceKindCloudProfile
		}
		shoot.Spec.CloudProfile, shoot.Spec.CloudProfileName = &profile, nil
	}
	shoot.Spec.Kubernetes.Version = strings.TrimPrefix(shoot.Spec.Kubernetes.Version, "v")
	for i := range shoot.Spec.Provider.Workers {
		if kubernetes := shoot.Spec.Provider.Workers[i].Kubernetes; kubernetes != nil && kubernetes.Version != nil {
			version := strings.TrimPrefix(*kubernetes.Version, "v")
			kubernetes.Version = &version
		}
	}
}

// newGeneration decides whether a change of a Shoot is to be acted on now.
func (r shootRules) newGeneration(shoot, old *core.Shoot, changed bool) bool {
	asked := takeOperations(shoot, r.clock.Now())
	if asked || !changed {
		return asked
	}
	if !confinesRollout(shoot) {
		return true
	}
	// Waiting for the maintenance window makes no sense for these: sleeping and
	// waking is asked for when it is wanted, and a move to another seed is an
	// operator's.
	return wantsHibernation(shoot) != wantsHibernation(old) ||
		!apiequality.Semantic.DeepEqual(shoot.Spec.SeedName, old.Spec.SeedName)
}

func confinesRollout(shoot *core.Shoot) bool {
	return shoot.Spec.Maintenance != nil && deref(shoot.Spec.Maintenance.ConfineSpecUpdateRollout)
}
