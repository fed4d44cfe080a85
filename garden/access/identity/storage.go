package identity

import (
	"context"
	"fmt"
	"time"

	"github.com/gardener/gardener/pkg/apis/core"
	"github.com/gardener/gardener/pkg/apis/security"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/utils/clock"

	"github.com/loam-cloud/loam/garden/strategy"
)

// Subresources returns the subresource token for the storage of workload
// identities; none without an issuer. The stores find the object that a token is
// asked for.
func Subresources(issuer *Issuer, stores *strategy.Stores, now clock.PassiveClock) map[string]func(*registry.Store) rest.Storage {
	if issuer == nil {
		return nil
	}
	return map[string]func(*registry.Store) rest.Storage{
		"token": func(identities *registry.Store) rest.Storage { return &storage{issuer, stores, now, identities} },
	}
}

type storage struct {
	issuer     *Issuer
	stores     *strategy.Stores
	clock      clock.PassiveClock
	identities *registry.Store
}

var _ rest.NamedCreater = (*storage)(nil)

// New implements rest.Storage.
func (s *storage) New() runtime.Object { return &security.TokenRequest{} }

// Destroy does nothing: there is nothing to close.
func (s *storage) Destroy() {}

// Create implements rest.NamedCreater.
func (s *storage) Create(ctx context.Context, name string, obj runtime.Object, validate rest.ValidateObjectFunc, options *metav1.CreateOptions) (runtime.Object, error) {
	request, ok := obj.(*security.TokenRequest)
	if !ok {
		return nil, apierrors.NewInternalError(fmt.Errorf("a %T is no TokenRequest", obj))
	}
	found, err := s.identities.Get(ctx, name, &metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	identity, ok := found.(*security.WorkloadIdentity)
	if !ok {
		return nil, apierrors.NewInternalError(fmt.Errorf("a %T is no WorkloadIdentity", found))
	}
	about := claims{gardenerClaims{WorkloadIdentity: refer(identity)}}
	problems := checkLifetime(request.Spec.ExpirationSeconds)
	if request.Spec.ContextObject != nil {
		more, err := s.describe(ctx, *request.Spec.ContextObject, &about.Gardener)
		if err != nil {
			return nil, apierrors.NewInternalError(err)
		}
		problems = append(problems, more...)
	}
	if len(problems) > 0 {
		return nil, apierrors.NewInvalid(security.Kind("TokenRequest"), name, problems)
	}
	if validate != nil {
		if err := validate(ctx, obj.DeepCopyObject()); err != nil {
			return nil, err
		}
	}
	if len(options.DryRun) > 0 {
		return request, nil
	}
	now := s.clock.Now()
	end := now.Add(min(time.Duration(request.Spec.ExpirationSeconds)*time.Second, longest))
	request.Status.Token, err = s.issuer.sign(ctx, identity.Status.Sub, identity.Spec.Audiences, about, now, end)
	if err != nil {
		return nil, apierrors.NewInternalError(fmt.Errorf("signing a token: %w", err))
	}
	request.Status.ExpirationTimestamp = metav1.NewTime(end)
	return request, nil
}

// checkLifetime bounds what is asked for from below; more than the longest is
// cut, as the answer shows.
func checkLifetime(seconds int64) field.ErrorList {
	// Beyond a hundred years the number of nanoseconds overflows.
	const most = 100 * 365 * 24 * 3600
	path := field.NewPath("spec", "expirationSeconds")
	if least := int64(shortest / time.Second); seconds < least || seconds > most {
		return field.ErrorList{field.Invalid(path, seconds, fmt.Sprintf("must be between %d (10 minutes) and %d", least, most))}
	}
	return nil
}

func refer(object metav1.Object) reference {
	return reference{Name: object.GetName(), Namespace: object.GetNamespace(), UID: string(object.GetUID())}
}

// describe fills in for what object a token is asked for, and whose it is.
func (s *storage) describe(ctx context.Context, asked security.ContextObject, about *gardenerClaims) (field.ErrorList, error) {
	path := field.NewPath("spec", "contextObject")
	// A version that cannot be read is of no group.
	group, _ := schema.ParseGroupVersion(asked.APIVersion)
	targets := map[string]struct {
		resource string
		claim    **reference
	}{
		"Shoot": {"shoots", &about.Shoot}, "Seed": {"seeds", &about.Seed}, "Project": {"projects", &about.Project},
		"BackupBucket": {"backupbuckets", &about.BackupBucket}, "BackupEntry": {"backupentries", &about.BackupEntry},
	}
	target, known := targets[asked.Kind]
	if group.Group != core.GroupName || !known {
		return field.ErrorList{field.NotSupported(path.Child("kind"), asked.APIVersion+" "+asked.Kind, []string{"Shoot", "Seed", "Project", "BackupBucket", "BackupEntry"})}, nil
	}
	namespace := ""
	if asked.Namespace != nil {
		namespace = *asked.Namespace
	}
	object, err := s.object(ctx, target.resource, namespace, asked.Name)
	if err != nil {
		return nil, err
	}
	switch {
	case object == nil:
		return field.ErrorList{field.NotFound(path.Child("name"), asked.Name)}, nil
	case object.GetUID() != asked.UID:
		return field.ErrorList{field.Invalid(path.Child("uid"), asked.UID, fmt.Sprintf("the object of this name has uid %q", object.GetUID()))}, nil
	}
	claim := refer(object)
	*target.claim = &claim
	if shoot, ok := object.(*core.Shoot); ok {
		return nil, s.describeShoot(ctx, shoot, about)
	}
	return nil, nil
}

// describeShoot names the project and the seed of a cluster as well, which is
// what target systems grant rights by.
func (s *storage) describeShoot(ctx context.Context, shoot *core.Shoot, about *gardenerClaims) error {
	projects, err := s.stores.List(ctx, core.Resource("projects"), core.ProjectNamespace, shoot.Namespace, strategy.Cached)
	if err != nil {
		return fmt.Errorf("finding the project of a cluster: %w", err)
	}
	for _, project := range projects {
		if accessor, err := meta.Accessor(project); err == nil {
			claim := refer(accessor)
			about.Project = &claim
		}
	}
	if shoot.Spec.SeedName == nil {
		return nil
	}
	seed, err := s.object(ctx, "seeds", "", *shoot.Spec.SeedName)
	if err == nil && seed != nil {
		claim := refer(seed)
		about.Seed = &claim
	}
	return err
}

// object reads what a token is asked for; nil when it is not there.
func (s *storage) object(ctx context.Context, resource, namespace, name string) (metav1.Object, error) {
	obj, err := s.stores.Get(ctx, core.Resource(resource), namespace, name, strategy.Current)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading what a token is asked for: %w", err)
	}
	return meta.Accessor(obj)
}
