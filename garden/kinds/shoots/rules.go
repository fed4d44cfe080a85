package shoots

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/gardener/gardener/pkg/apis/core"
	"github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	"github.com/gardener/gardener/pkg/apis/seedmanagement"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/garden/kinds/internal/confirmation"
	"github.com/loam-cloud/loam/garden/kinds/internal/lookup"
	"github.com/loam-cloud/loam/garden/strategy"
	shootrules "github.com/loam-cloud/loam/garden/validation/shoots"
)

func validName(name string, prefix bool) []string {
	errs := apivalidation.NameIsDNSLabel(name, prefix)
	if strings.Contains(name, "--") {
		errs = append(errs, `must not contain "--", which separates the parts of names derived from it`)
	}
	return errs
}

// validate reads what the rules of Shoots look at, and applies them.
func (r rules) validate(ctx context.Context, shoot, old *core.Shoot) field.ErrorList {
	return lookup.Again(func(freshness strategy.Freshness) field.ErrorList { return r.validateWith(ctx, shoot, old, freshness) })
}

func (r rules) validateWith(ctx context.Context, shoot, old *core.Shoot, freshness strategy.Freshness) field.ErrorList {
	facts, errs := r.facts(ctx, shoot, old, freshness)
	if len(errs) > 0 {
		return errs
	}
	errs = shootrules.Validate(shoot, old, facts)
	if shoot.DeletionTimestamp != nil || facts.Binds {
		return errs
	}
	if old == nil && ptr.Deref(shoot.Spec.SeedName, "") != "" {
		errs = append(errs, r.mayBind(ctx, shoot)...)
	}
	return append(errs, r.validateReferences(ctx, shoot, old, freshness)...)
}

// mayBind wants who makes a Shoot with a seed to have the right by which a seed
// is given to one that exists: else owners could choose where their clusters go.
func (r rules) mayBind(ctx context.Context, shoot *core.Shoot) field.ErrorList {
	right := authorizer.AttributesRecord{
		APIGroup: core.GroupName, APIVersion: v1beta1.SchemeGroupVersion.Version, Resource: "shoots", Subresource: "binding",
		Namespace: shoot.Namespace, Name: shoot.Name,
	}
	var errs field.ErrorList
	for _, right.Verb = range []string{"patch", "update"} {
		if errs = r.objects.Allowed(ctx, field.NewPath("spec", "seedName"), right); len(errs) == 0 {
			break
		}
	}
	return errs
}

// facts reads what the rules look at. Its problems are that something could not
// be read; that something is not there is a fact.
func (r rules) facts(ctx context.Context, shoot, old *core.Shoot, freshness strategy.Freshness) (shootrules.Facts, field.ErrorList) {
	facts := shootrules.Facts{Now: r.clock.Now(), Binds: bindsSeed(ctx)}
	var errs field.ErrorList
	spec := field.NewPath("spec")
	failed := func(path *field.Path, what string, err error) {
		if err != nil {
			errs = append(errs, field.InternalError(path, fmt.Errorf("reading %s: %w", what, err)))
		}
	}
	var err error
	facts.Project, err = r.objects.ProjectOf(ctx, shoot.Namespace, freshness)
	failed(field.NewPath("metadata", "namespace"), "the project of the namespace", err)
	if ref := profileReference(shoot); ref.Name != "" {
		facts.Profile, err = r.objects.Profile(ctx, shoot.Namespace, ref, freshness)
		failed(spec.Child("cloudProfile", "name"), "the cloud profile", err)
	}
	facts.Seed, err = r.seedOf(ctx, shoot, freshness)
	failed(spec.Child("seedName"), "the seed", err)
	if old != nil {
		facts.OldSeed, err = r.seedOf(ctx, old, freshness)
		failed(spec.Child("seedName"), "the former seed", err)
	}
	if name := shoot.Spec.ExposureClassName; name != nil && *name != "" {
		class, err := lookup.Find[*core.ExposureClass](r.objects.Stores.Get(ctx, core.Resource("exposureclasses"), "", *name, freshness))
		failed(spec.Child("exposureClassName"), "the exposure class", err)
		facts.ExposureClass = class != nil
	}
	facts.ManagedSeed, err = r.managedSeed(ctx, shoot, freshness)
	failed(spec, "managed seeds", err)
	failed(spec.Child("credentialsBindingName"), "the credentials and their quotas", r.bindingFacts(ctx, shoot, old, freshness, &facts))
	return facts, errs
}

func (r rules) seedOf(ctx context.Context, shoot *core.Shoot, freshness strategy.Freshness) (*core.Seed, error) {
	if name := ptr.Deref(shoot.Spec.SeedName, ""); name != "" {
		return r.objects.Seed(ctx, name, freshness)
	}
	return nil, nil
}

// managedSeed is the name of the seed that a Shoot became. Only clusters in the
// namespace garden do.
func (r rules) managedSeed(ctx context.Context, shoot *core.Shoot, freshness strategy.Freshness) (string, error) {
	if shoot.Namespace != v1beta1constants.GardenNamespace {
		return "", nil
	}
	seeds, err := r.objects.Stores.List(ctx, seedmanagement.Resource("managedseeds"), seedmanagement.ManagedSeedShootName, shoot.Name, freshness)
	if err != nil || len(seeds) == 0 {
		return "", err
	}
	return seeds[0].(*seedmanagement.ManagedSeed).Name, nil
}

// warnings leaves out what cannot be read: it is advice.
func (r rules) warnings(ctx context.Context, shoot, _ *core.Shoot) []string {
	if shoot.DeletionTimestamp != nil {
		return nil
	}
	facts := shootrules.Facts{Now: r.clock.Now()}
	facts.Profile, _ = r.objects.Profile(ctx, shoot.Namespace, profileReference(shoot), strategy.Cached)
	return shootrules.Warnings(shoot, facts)
}

// validateDelete wants a deletion to be confirmed first, by someone else where
// the project says so, and keeps clusters that others depend on.
func (r rules) validateDelete(ctx context.Context, shoot *core.Shoot) error {
	if err := confirmation.Required(core.Resource("shoots"), shoot); err != nil {
		return err
	}
	refuse := func(format string, args ...any) error {
		return apierrors.NewForbidden(core.Resource("shoots"), shoot.Name, fmt.Errorf(format, args...))
	}
	seed, err := r.managedSeed(ctx, shoot, strategy.Current)
	if err != nil {
		return apierrors.NewInternalError(fmt.Errorf("looking for a seed on the cluster: %w", err))
	}
	if seed != "" {
		return refuse("the cluster is seed %q: delete that ManagedSeed first", seed)
	}
	project, err := r.objects.ProjectOf(ctx, shoot.Namespace, strategy.Cached)
	if err != nil {
		return apierrors.NewInternalError(fmt.Errorf("reading the project of the namespace: %w", err))
	}
	user, known := genericapirequest.UserFrom(ctx)
	if project == nil || !known || !needsTwo(project, shoot, user.GetName()) {
		return nil
	}
	if by := shoot.Annotations[v1beta1constants.DeletionConfirmedBy]; by == "" || by == user.GetName() {
		return refuse("project %q wants two users for a deletion: %q confirmed it, another has to delete", project.Name, by)
	}
	return nil
}

// needsTwo tells whether a project wants one user to confirm a deletion and
// another to carry it out.
func needsTwo(project *core.Project, shoot *core.Shoot, user string) bool {
	_, _, notAccount := serviceaccount.SplitUsername(user)
	return slices.ContainsFunc(project.Spec.DualApprovalForDeletion, func(dual core.DualApprovalForDeletion) bool {
		selector, err := metav1.LabelSelectorAsSelector(&dual.Selector)
		if dual.Resource != "shoots" || err != nil || !selector.Matches(labels.Set(shoot.Labels)) {
			return false
		}
		return notAccount != nil || dual.IncludeServiceAccounts == nil || *dual.IncludeServiceAccounts
	})
}
