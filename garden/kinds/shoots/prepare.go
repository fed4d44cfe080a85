package shoots

import (
	"context"

	"github.com/gardener/gardener/pkg/apis/core"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	"github.com/gardener/gardener/pkg/apis/utils/timewindow"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/warning"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/garden/defaulting"
	"github.com/loam-cloud/loam/garden/kinds/internal/confirmation"
	"github.com/loam-cloud/loam/garden/strategy"
	"github.com/loam-cloud/loam/garden/validation/shoots/operations"
	"github.com/loam-cloud/loam/garden/validation/shoots/schedules"
)

func (r rules) prepareForCreate(ctx context.Context, shoot *core.Shoot) {
	delete(shoot.Annotations, v1beta1constants.GardenCreatedBy)
	if user, ok := genericapirequest.UserFrom(ctx); ok {
		metav1.SetMetaDataAnnotation(&shoot.ObjectMeta, v1beta1constants.GardenCreatedBy, user.GetName())
	}
	recordConfirmation(ctx, shoot, nil)
	canonicalize(ctx, shoot)
	defaulting.Create(shoot, r.defaults(ctx, shoot))
	defaulting.SyncDNS(shoot, nil)
	if shoot.Spec.Maintenance != nil && shoot.Spec.Maintenance.TimeWindow == nil {
		window := timewindow.RandomMaintenanceTimeWindow()
		shoot.Spec.Maintenance.TimeWindow = &core.MaintenanceTimeWindow{Begin: window.Begin().Formatted(), End: window.End().Formatted()}
	}
	defaulting.Label(shoot)
	// A new Shoot is reconciled anyway.
	takeOperations(shoot, r.clock.Now())
}

func (r rules) prepareForUpdate(ctx context.Context, shoot, old *core.Shoot) {
	keepAnnotation(shoot, old, v1beta1constants.GardenCreatedBy)
	recordConfirmation(ctx, shoot, old)
	canonicalize(ctx, shoot)
	if shoot.Spec.Maintenance != nil && shoot.Spec.Maintenance.TimeWindow == nil && old.Spec.Maintenance != nil {
		shoot.Spec.Maintenance.TimeWindow = old.Spec.Maintenance.TimeWindow.DeepCopy()
	}
	var facts defaulting.Facts
	if shoot.DeletionTimestamp == nil {
		facts = r.defaults(ctx, shoot)
	}
	defaulting.Update(shoot, old, facts)
	defaulting.SyncDNS(shoot, old)
	defaulting.Label(shoot)
}

// canonicalize tells the user about the former spellings that it replaced: the
// stored object does not show them any more.
func canonicalize(ctx context.Context, shoot *core.Shoot) {
	for _, text := range defaulting.Canonicalize(shoot) {
		warning.AddWarning(ctx, "", text)
	}
}

// keepAnnotation makes an annotation what it was: it says what happened.
func keepAnnotation(shoot, old *core.Shoot, key string) {
	if value, known := old.Annotations[key]; known {
		metav1.SetMetaDataAnnotation(&shoot.ObjectMeta, key, value)
	} else {
		delete(shoot.Annotations, key)
	}
}

// recordConfirmation keeps who confirmed a deletion, for projects in which
// another has to carry it out.
func recordConfirmation(ctx context.Context, shoot, old *core.Shoot) {
	const key = v1beta1constants.DeletionConfirmedBy
	before := old != nil && confirmation.Given(old)
	switch user, known := genericapirequest.UserFrom(ctx); {
	case confirmation.Given(shoot) && before:
		keepAnnotation(shoot, old, key)
	case confirmation.Given(shoot) && known:
		metav1.SetMetaDataAnnotation(&shoot.ObjectMeta, key, user.GetName())
	default:
		delete(shoot.Annotations, key)
	}
}

// defaults reads what a Shoot's defaults come from. From memory first; what is
// not there may have been made just now. What cannot be read is left to
// validation, which reads it too and can say so.
func (r rules) defaults(ctx context.Context, shoot *core.Shoot) defaulting.Facts {
	facts := defaulting.Facts{Now: r.clock.Now()}
	for _, freshness := range []strategy.Freshness{strategy.Cached, strategy.Current} {
		if ref := profileReference(shoot); facts.Profile == nil && ref.Name != "" {
			facts.Profile, _ = r.objects.Profile(ctx, shoot.Namespace, ref, freshness)
		}
		if name := shoot.Spec.SeedName; facts.Seed == nil && name != nil && *name != "" {
			facts.Seed, _ = r.objects.Seed(ctx, *name, freshness)
		}
		if facts.Project == nil {
			facts.Project, _ = r.objects.ProjectOf(ctx, shoot.Namespace, freshness)
		}
	}
	return facts
}

// newGeneration decides whether a change of a Shoot is to be acted on now.
func (r rules) newGeneration(shoot, old *core.Shoot, changed bool) bool {
	asked := takeOperations(shoot, r.clock.Now())
	if asked || !changed {
		return asked
	}
	if !confinesRollout(shoot) {
		return true
	}
	// Waiting for the maintenance window makes no sense for these: sleeping and
	// waking is asked for when it is wanted, an update that is forced is, and a
	// move to another seed is an operator's.
	return schedules.Hibernates(shoot) != schedules.Hibernates(old) || operations.ForcesUpdate(shoot) ||
		!apiequality.Semantic.DeepEqual(shoot.Spec.SeedName, old.Spec.SeedName)
}

func confinesRollout(shoot *core.Shoot) bool {
	return shoot.Spec.Maintenance != nil && ptr.Deref(shoot.Spec.Maintenance.ConfineSpecUpdateRollout, false)
}
