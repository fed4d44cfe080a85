package kinds

import (
	"context"
	"fmt"

	"github.com/gardener/gardener/pkg/apis/core"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"

	"github.com/loam-cloud/loam/garden/strategy"
)

// references finds the objects that another one names. Objects that are not
// there are nil, without an error.
type references struct{ Surroundings }

// A right of its own decides who may extend a project's list of taints that its
// clusters may tolerate.
const whitelistVerb = "modify-spec-tolerations-whitelist"

func (r references) shoot(ctx context.Context, namespace, name string, freshness strategy.Freshness) (*core.Shoot, error) {
	if name == "" {
		return nil, nil
	}
	return find[*core.Shoot](r.Stores.Get(ctx, core.Resource("shoots"), namespace, name, freshness))
}

// exists wants an object of a kind that is served here to be there. That a name
// is missing is another rule's.
func (r references) exists(ctx context.Context, path *field.Path, resource schema.GroupResource, namespace, name string, freshness strategy.Freshness) field.ErrorList {
	if name == "" {
		return nil
	}
	_, err := r.Stores.Get(ctx, resource, namespace, name, freshness)
	return missing(path, name, err)
}

func missing(path *field.Path, name string, err error) field.ErrorList {
	switch {
	case err == nil:
		return nil
	case apierrors.IsNotFound(err):
		return field.ErrorList{field.NotFound(path, name)}
	default:
		return field.ErrorList{field.InternalError(path, fmt.Errorf("reading %q: %w", name, err))}
	}
}

// usable wants the user of a request to be allowed to read what their object
// names, and that to be there. Who may not read it does not learn whether it is.
func (r references) usable(ctx context.Context, path *field.Path, resource schema.GroupResource, namespace, name string, freshness strategy.Freshness) field.ErrorList {
	if name == "" || namespace == "" {
		return nil
	}
	if errs := r.readable(ctx, path, resource, namespace, name); len(errs) > 0 {
		return errs
	}
	return r.exists(ctx, path, resource, namespace, name, freshness)
}

// usableSecret is usable for a Secret of Kubernetes.
func (r references) usableSecret(ctx context.Context, path *field.Path, namespace, name string) field.ErrorList {
	if name == "" || namespace == "" {
		return nil
	}
	if errs := r.readable(ctx, path, corev1.Resource("secrets"), namespace, name); len(errs) > 0 {
		return errs
	}
	_, err := r.Kubernetes.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	return missing(path, namespacedName(namespace, name), err)
}

func (r references) readable(ctx context.Context, path *field.Path, resource schema.GroupResource, namespace, name string) field.ErrorList {
	return r.allowed(ctx, path, authorizer.AttributesRecord{
		Verb: "get", APIGroup: resource.Group, APIVersion: "*", Resource: resource.Resource, Namespace: namespace, Name: name,
	})
}

// allowed wants the user of a request to have a right besides that to the
// request itself.
func (r references) allowed(ctx context.Context, path *field.Path, right authorizer.AttributesRecord) field.ErrorList {
	user, ok := genericapirequest.UserFrom(ctx)
	if !ok {
		return field.ErrorList{field.Forbidden(path, "the request has no user")}
	}
	right.User, right.ResourceRequest = user, true
	decision, _, err := r.Authorizer.Authorize(ctx, right)
	if decision == authorizer.DecisionAllow {
		return nil
	}
	if err != nil {
		return field.ErrorList{field.InternalError(path, fmt.Errorf("asking whether user %q may %s %s %q: %w", user.GetName(), right.Verb, right.Resource, right.Name, err))}
	}
	return field.ErrorList{field.Forbidden(path, fmt.Sprintf("user %q may not %s %s %q", user.GetName(), right.Verb, right.Resource, namespacedName(right.Namespace, right.Name)))}
}

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
	if ref.Name == "" {
		return nil, nil
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
