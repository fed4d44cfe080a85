// Package lookup finds what an object names, and asks whether the user who names
// it may.
//
// The kinds are its callers, for their rules and for what they fill in. It must
// not know what is right about an object.
package lookup

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
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/loam-cloud/loam/garden/strategy"
)

// Objects finds the objects that another one names. Objects that are not there
// are nil, without an error.
type Objects struct {
	// Stores reads objects of the kinds that are served here.
	Stores *strategy.Stores
	// Kubernetes reads Secrets and ConfigMaps. It has all rights.
	Kubernetes kubernetes.Interface
	// Authorizer answers whether the user of a request may read what their object
	// names.
	Authorizer authorizer.Authorizer
}

// Shoot returns a cluster by its name.
func (o Objects) Shoot(ctx context.Context, namespace, name string, freshness strategy.Freshness) (*core.Shoot, error) {
	if name == "" {
		return nil, nil
	}
	return Find[*core.Shoot](o.Stores.Get(ctx, core.Resource("shoots"), namespace, name, freshness))
}

// Exists wants an object of a kind that is served here to be there. That a name
// is missing is another rule's.
func (o Objects) Exists(ctx context.Context, path *field.Path, resource schema.GroupResource, namespace, name string, freshness strategy.Freshness) field.ErrorList {
	if name == "" {
		return nil
	}
	_, err := o.Stores.Get(ctx, resource, namespace, name, freshness)
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

// Usable wants the user of a request to be allowed to read what their object
// names, and that to be there. Who may not read it does not learn whether it is.
func (o Objects) Usable(ctx context.Context, path *field.Path, resource schema.GroupResource, namespace, name string, freshness strategy.Freshness) field.ErrorList {
	if name == "" || namespace == "" {
		return nil
	}
	if errs := o.Readable(ctx, path, resource, namespace, name); len(errs) > 0 {
		return errs
	}
	return o.Exists(ctx, path, resource, namespace, name, freshness)
}

// UsableSecret is Usable for a Secret of Kubernetes.
func (o Objects) UsableSecret(ctx context.Context, path *field.Path, namespace, name string) field.ErrorList {
	if name == "" || namespace == "" {
		return nil
	}
	if errs := o.Readable(ctx, path, corev1.Resource("secrets"), namespace, name); len(errs) > 0 {
		return errs
	}
	_, err := o.Kubernetes.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	return missing(path, cache.NewObjectName(namespace, name).String(), err)
}

// UsableConfigMap is Usable for a ConfigMap of Kubernetes.
func (o Objects) UsableConfigMap(ctx context.Context, path *field.Path, namespace, name string) field.ErrorList {
	if errs := o.Readable(ctx, path, corev1.Resource("configmaps"), namespace, name); len(errs) > 0 {
		return errs
	}
	_, err := o.Kubernetes.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	return missing(path, cache.NewObjectName(namespace, name).String(), err)
}

// Readable wants the user of a request to be allowed to read what their object
// names.
func (o Objects) Readable(ctx context.Context, path *field.Path, resource schema.GroupResource, namespace, name string) field.ErrorList {
	return o.Allowed(ctx, path, authorizer.AttributesRecord{
		Verb: "get", APIGroup: resource.Group, APIVersion: "*", Resource: resource.Resource, Namespace: namespace, Name: name,
	})
}

// Allowed wants the user of a request to have a right besides that to the
// request itself.
func (o Objects) Allowed(ctx context.Context, path *field.Path, right authorizer.AttributesRecord) field.ErrorList {
	user, ok := genericapirequest.UserFrom(ctx)
	if !ok {
		return field.ErrorList{field.Forbidden(path, "the request has no user")}
	}
	right.User, right.ResourceRequest = user, true
	resource := right.Resource
	if right.Subresource != "" {
		resource += "/" + right.Subresource
	}
	decision, _, err := o.Authorizer.Authorize(ctx, right)
	if decision == authorizer.DecisionAllow {
		return nil
	}
	if err != nil {
		return field.ErrorList{field.InternalError(path, fmt.Errorf("asking whether user %q may %s %s %q: %w", user.GetName(), right.Verb, resource, right.Name, err))}
	}
	return field.ErrorList{field.Forbidden(path, fmt.Sprintf("user %q may not %s %s %q", user.GetName(), right.Verb, resource, cache.NewObjectName(right.Namespace, right.Name).String()))}
}

// Seed returns a seed by its name.
func (o Objects) Seed(ctx context.Context, name string, freshness strategy.Freshness) (*core.Seed, error) {
	return Find[*core.Seed](o.Stores.Get(ctx, core.Resource("seeds"), "", name, freshness))
}

// Profile returns the specification behind a reference to a cloud profile, with
// what a namespaced one adds.
func (o Objects) Profile(ctx context.Context, namespace string, ref core.CloudProfileReference, freshness strategy.Freshness) (*core.CloudProfileSpec, error) {
	if ref.Kind == v1beta1constants.CloudProfileReferenceKindNamespacedCloudProfile {
		profile, err := Find[*core.NamespacedCloudProfile](o.Stores.Get(ctx, core.Resource("namespacedcloudprofiles"), namespace, ref.Name, freshness))
		if err != nil || profile == nil {
			return nil, err
		}
		return &profile.Status.CloudProfileSpec, nil
	}
	if ref.Name == "" {
		return nil, nil
	}
	profile, err := Find[*core.CloudProfile](o.Stores.Get(ctx, core.Resource("cloudprofiles"), "", ref.Name, freshness))
	if err != nil || profile == nil {
		return nil, err
	}
	return &profile.Spec, nil
}

// ProjectOf returns the project that a namespace belongs to.
func (o Objects) ProjectOf(ctx context.Context, namespace string, freshness strategy.Freshness) (*core.Project, error) {
	projects, err := o.Stores.List(ctx, core.Resource("projects"), core.ProjectNamespace, namespace, freshness)
	if err != nil || len(projects) == 0 {
		return nil, err
	}
	return projects[0].(*core.Project), nil
}

// Find takes the answer of a Get and turns "not found" into nil.
func Find[T any](obj any, err error) (result T, _ error) {
	if apierrors.IsNotFound(err) {
		return result, nil
	}
	if err != nil {
		return result, err
	}
	return obj.(T), nil
}

// Again runs rules that look at other objects: from memory first, because nearly
// every write is right, and once more from the store if something is wrong, for
// what an object names may have been made just now.
func Again(rules func(strategy.Freshness) field.ErrorList) field.ErrorList {
	if errs := rules(strategy.Cached); len(errs) == 0 {
		return nil
	}
	return rules(strategy.Current)
}
