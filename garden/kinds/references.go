package kinds

import (
	"context"

	"github.com/gardener/gardener/pkg/apis/core"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/loam-cloud/loam/garden/strategy"
)

// references finds the objects that another one names. Objects that are not
// there are nil, without an error.
type references struct{ Surroundings }

func (r references) seed(ctx context.Context, name string, freshness strategy.Freshness) (*core.Seed, error) {
	return find[*core.Seed](r.Stores.Get(ctx, core.Resource("seeds"), "", name, freshness))
}

// profile returns the specification behind a reference to a cloud profile, with
// what a namespaced one adds.
func (r references) profile(ctx context.Context, namespace string, ref core.CloudProfileReference, freshness strategy.Freshness) (*core.CloudProfileSpec, error) {
	if ref.Kind == v1beta1constants.CloudProfileReferenceKindNamespacedCloudProfile {
		profile, err := find[*core.NamespacedCloudProfile](r.Stores.Get(ctx, core.Resource("namespacedcloudprofiles"), namespace, ref.Name, freshness))
		if err != nil || profile == nil {
			return nil, err
		}
		return &profile.Status.CloudProfileSpec, nil
	}
	profile, err := find[*core.CloudProfile](r.Stores.Get(ctx, core.Resource("cloudprofiles"), "", ref.Name, freshness))
	if err != nil || profile == nil {
		return nil, err
	}
	return &profile.Spec, nil
}

// projectOf returns the project that a namespace belongs to.
func (r references) projectOf(ctx context.Context, namespace string, freshness strategy.Freshness) (*core.Project, error) {
	projects, err := r.Stores.List(ctx, core.Resource("projects"), core.ProjectNamespace, namespace, freshness)
	if err != nil || len(projects) == 0 {
		return nil, err
	}
	return projects[0].(*core.Project), nil
}

// find takes the answer of a Get and turns "not found" into nil.
func find[T any](obj any, err error) (result T, _ error) {
	if apierrors.IsNotFound(err) {
		return result, nil
	}
	if err != nil {
		return result, err
	}
	return obj.(T), nil
}
