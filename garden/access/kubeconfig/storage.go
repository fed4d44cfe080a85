// Package kubeconfig serves the subresources of a Shoot by which users get into
// its cluster: adminkubeconfig and viewerkubeconfig. Each request is answered
// with a new client certificate that ends soon; nothing is stored.
//
// The table of kinds installs it. It must not know who may ask: that is for the
// API server's authorization, by the names of the subresources.
package kubeconfig

import (
	"context"
	"fmt"
	"time"

	authenticationv1alpha1 "github.com/gardener/gardener/pkg/apis/authentication/v1alpha1"
	"github.com/gardener/gardener/pkg/apis/core"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/clock"

	"github.com/loam-cloud/loam/garden/internal/pki"
	"github.com/loam-cloud/loam/garden/strategy"
)

// Names of the subresources.
const (
	Admin  = "adminkubeconfig"
	Viewer = "viewerkubeconfig"
)

const (
	// shortest is what clients need to do anything at all with clocks that differ.
	shortest = 10 * time.Minute
	// Longest is the bound on lifetimes where nothing else is said. Who asks for
	// more gets this.
	Longest = 24 * time.Hour
	// usual is Gardener's default.
	usual = time.Hour
)

// Config is what requests are answered from.
type Config struct {
	// Stores reads the InternalSecret <shoot>.ca-client.
	Stores *strategy.Stores
	// Kubernetes reads the ConfigMap <shoot>.ca-cluster.
	Kubernetes kubernetes.Interface
	// Authorizer tells administrators of the garden from members of a project.
	Authorizer authorizer.Authorizer
	Clock      clock.PassiveClock
	// Longest bounds lifetimes; zero means the constant.
	Longest time.Duration
}

// Subresources returns both, for the storage of Shoots.
func Subresources(config Config) map[string]func(*registry.Store) rest.Storage {
	if config.Longest == 0 {
		config.Longest = Longest
	}
	subresources := map[string]func(*registry.Store) rest.Storage{}
	for name, l := range map[string]level{Admin: admin(), Viewer: viewer()} {
		subresources[name] = func(shoots *registry.Store) rest.Storage { return &storage{config, l, shoots} }
	}
	return subresources
}

// level is one of the two kinds of access.
type level struct {
	name string
	kind string
	// newRequest makes an empty request; fields finds what is asked and answered.
	newRequest func() runtime.Object
	fields     func(runtime.Object) (ask *int64, answer func(kubeconfig []byte, end metav1.Time), ok bool)
	// system and project are the groups of the certificate: for administrators of
	// the garden, and for everybody else who may ask.
	system, project string
}

func admin() level {
	return level{
		name: Admin, kind: "AdminKubeconfigRequest",
		newRequest: func() runtime.Object { return &authenticationv1alpha1.AdminKubeconfigRequest{} },
		fields: func(obj runtime.Object) (*int64, func([]byte, metav1.Time), bool) {
			r, ok := obj.(*authenticationv1alpha1.AdminKubeconfigRequest)
			if !ok {
				return nil, nil, false
			}
			return r.Spec.ExpirationSeconds, func(kubeconfig []byte, end metav1.Time) {
				r.Status.Kubeconfig, r.Status.ExpirationTimestamp = kubeconfig, end
			}, true
		},
		system: v1beta1constants.ShootSystemAdminsGroupName, project: v1beta1constants.ShootProjectAdminsGroupName,
	}
}

func viewer() level {
	return level{
		name: Viewer, kind: "ViewerKubeconfigRequest",
		newRequest: func() runtime.Object { return &authenticationv1alpha1.ViewerKubeconfigRequest{} },
		fields: func(obj runtime.Object) (*int64, func([]byte, metav1.Time), bool) {
			r, ok := obj.(*authenticationv1alpha1.ViewerKubeconfigRequest)
			if !ok {
				return nil, nil, false
			}
			return r.Spec.ExpirationSeconds, func(kubeconfig []byte, end metav1.Time) {
				r.Status.Kubeconfig, r.Status.ExpirationTimestamp = kubeconfig, end
			}, true
		},
		system: v1beta1constants.ShootSystemViewersGroupName, project: v1beta1constants.ShootProjectViewersGroupName,
	}
}

// storage answers requests for one level of access.
type storage struct {
	config Config
	level  level
	shoots *registry.Store
}

var (
	_ rest.NamedCreater             = (*storage)(nil)
	_ rest.GroupVersionKindProvider = (*storage)(nil)
)

// New implements rest.Storage. It is the versioned type: the internal group has
// one kind for both levels.
func (s *storage) New() runtime.Object { return s.level.newRequest() }

// Destroy does nothing: there is nothing to close.
func (s *storage) Destroy() {}

// GroupVersionKind implements rest.GroupVersionKindProvider.
func (s *storage) GroupVersionKind(schema.GroupVersion) schema.GroupVersionKind {
	return authenticationv1alpha1.SchemeGroupVersion.WithKind(s.level.kind)
}

// Create implements rest.NamedCreater.
func (s *storage) Create(ctx context.Context, name string, obj runtime.Object, validate rest.ValidateObjectFunc, options *metav1.CreateOptions) (runtime.Object, error) {
	ask, answer, ok := s.level.fields(obj)
	if !ok {
		return nil, apierrors.NewInternalError(fmt.Errorf("a %T is no %s", obj, s.level.kind))
	}
	lifetime, problems := s.lifetime(ask)
	if len(problems) > 0 {
		return nil, apierrors.NewInvalid(s.GroupVersionKind(schema.GroupVersion{}).GroupKind(), name, problems)
	}
	if validate != nil {
		if err := validate(ctx, obj.DeepCopyObject()); err != nil {
			return nil, err
		}
	}
	who, ok := genericapirequest.UserFrom(ctx)
	if !ok {
		return nil, apierrors.NewInternalError(fmt.Errorf("the request has no user"))
	}
	cluster, err := s.cluster(ctx, name)
	if err != nil {
		return nil, err
	}
	if len(options.DryRun) > 0 {
		return obj, nil
	}
	group, err := s.group(ctx, who)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	now := s.config.Clock.Now()
	certificate, key, end, err := pki.SignClient(cluster.clientCert, cluster.clientKey, pki.Client{User: who.GetName(), Groups: []string{group}, NotAfter: now.Add(lifetime)}, now)
	if err != nil {
		return nil, apierrors.NewInternalError(fmt.Errorf("making a kubeconfig: %w", err))
	}
	text, err := cluster.kubeconfig(certificate, key)
	if err != nil {
		return nil, apierrors.NewInternalError(fmt.Errorf("making a kubeconfig: %w", err))
	}
	answer(text, metav1.NewTime(end))
	return obj, nil
}

// lifetime is what a request gets: what it asks for, up to the bound.
func (s *storage) lifetime(ask *int64) (time.Duration, field.ErrorList) {
	path := field.NewPath("spec", "expirationSeconds")
	switch {
	case ask == nil:
		return min(usual, s.config.Longest), nil
	case *ask < int64(shortest/time.Second):
		return 0, field.ErrorList{field.Invalid(path, *ask, fmt.Sprintf("must be %d (10 minutes) or more", int64(shortest/time.Second)))}
	case *ask > int64(s.config.Longest/time.Second):
		return s.config.Longest, nil
	}
	return time.Duration(*ask) * time.Second, nil
}

// group is the one that the certificate names beside the user: that of
// administrators for who could ask for any Shoot of the garden.
func (s *storage) group(ctx context.Context, who user.Info) (string, error) {
	decision, _, err := s.config.Authorizer.Authorize(ctx, authorizer.AttributesRecord{
		User: who, Verb: "create", APIGroup: core.GroupName, APIVersion: "v1beta1", Resource: "shoots", Subresource: s.level.name, ResourceRequest: true,
	})
	if err != nil && decision != authorizer.DecisionAllow {
		return "", fmt.Errorf("asking for the rights of %q: %w", who.GetName(), err)
	}
	if decision == authorizer.DecisionAllow {
		return s.level.system, nil
	}
	return s.level.project, nil
}

// cluster is what a kubeconfig needs of one.
type cluster struct {
	name                  string
	addresses             []core.ShootAdvertisedAddress
	serverCA              []byte
	clientCert, clientKey []byte
}

// cluster finds it all. A cluster that is not there yet is a conflict: the same
// request will do later.
func (s *storage) cluster(ctx context.Context, name string) (cluster, error) {
	obj, err := s.shoots.Get(ctx, name, &metav1.GetOptions{})
	if err != nil {
		return cluster{}, err
	}
	shoot, ok := obj.(*core.Shoot)
	if !ok {
		return cluster{}, apierrors.NewInternalError(fmt.Errorf("a %T is no Shoot", obj))
	}
	early := func(reason string) error {
		return apierrors.NewConflict(core.Resource("shoots/"+s.level.name), name, fmt.Errorf("the cluster cannot be reached yet: %s; its last operation and conditions say how far it is", reason))
	}
	found := cluster{name: shoot.Namespace + "--" + shoot.Name, addresses: shoot.Status.AdvertisedAddresses}
	if len(found.addresses) == 0 {
		return cluster{}, early("status.advertisedAddresses is empty")
	}
	obj, err = s.config.Stores.Get(ctx, core.Resource("internalsecrets"), shoot.Namespace, name+".ca-client", strategy.Cached)
	if apierrors.IsNotFound(err) {
		return cluster{}, early(fmt.Sprintf("InternalSecret %q, which signs, is missing", name+".ca-client"))
	}
	if err != nil {
		return cluster{}, fmt.Errorf("reading the cluster's authority: %w", err)
	}
	if secret, ok := obj.(*core.InternalSecret); ok {
		found.clientCert, found.clientKey = secret.Data["ca.crt"], secret.Data["ca.key"]
	}
	config, err := s.config.Kubernetes.CoreV1().ConfigMaps(shoot.Namespace).Get(ctx, name+".ca-cluster", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return cluster{}, early(fmt.Sprintf("ConfigMap %q is missing", name+".ca-cluster"))
	}
	if err != nil {
		return cluster{}, fmt.Errorf("reading the cluster's authority: %w", err)
	}
	found.serverCA = []byte(config.Data["ca.crt"])
	if len(found.serverCA) == 0 || len(found.clientCert) == 0 || len(found.clientKey) == 0 {
		return cluster{}, early("its authorities are not complete")
	}
	return found, nil
}

// kubeconfig has a context for each address; the first one is current.
func (c cluster) kubeconfig(certificate, key []byte) ([]byte, error) {
	config := clientcmdapi.NewConfig()
	config.AuthInfos[c.name] = &clientcmdapi.AuthInfo{ClientCertificateData: certificate, ClientKeyData: key}
	for _, address := range c.addresses {
		name := c.name + "-" + address.Name
		config.Clusters[name] = &clientcmdapi.Cluster{Server: address.URL, CertificateAuthorityData: c.serverCA}
		config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: c.name}
		if config.CurrentContext == "" {
			config.CurrentContext = name
		}
	}
	return clientcmd.Write(*config)
}
