package aggregated

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authorization/union"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/options"
	serverstorage "k8s.io/apiserver/pkg/server/storage"
	"k8s.io/apiserver/pkg/util/compatibility"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"github.com/loam-cloud/loam/garden/access/identity"
	"github.com/loam-cloud/loam/garden/authorization/projects"
	"github.com/loam-cloud/loam/garden/authorization/seeds"
	"github.com/loam-cloud/loam/garden/footprint"
	"github.com/loam-cloud/loam/garden/internal/compression"
	"github.com/loam-cloud/loam/garden/internal/pki"
	"github.com/loam-cloud/loam/garden/kinds"
	"github.com/loam-cloud/loam/garden/openapi"
	"github.com/loam-cloud/loam/garden/scheme"
	"github.com/loam-cloud/loam/garden/strategy"
)

// prefix begins every key in etcd unless the configuration says otherwise; it is
// that of a garden of its own, so that an etcd can be moved between the two.
const prefix = "/registry"

// seedAuthorizerPath is where reviews of what agents may do are answered, for an
// API server with an authorizer of type Webhook.
const seedAuthorizerPath = "/webhooks/authorize-seeds"

// instance is one replica.
type instance struct {
	config Config
	kube   kubernetes.Interface
	keys   *shared
	// etcdKeys is nil when others made the certificates of etcd.
	etcdKeys *shared
	// folder is removed when the replica ends.
	folder string
	scheme *runtime.Scheme
	codecs serializer.CodecFactory
	stores *strategy.Stores
	// agents decides about requests of seeds' agents.
	agents   *seeds.Authorizer
	issuer   *identity.Issuer
	register registration
}

// Run serves until ctx ends. Faults: Invalid for what the user has to change.
func Run(ctx context.Context, config Config) (err error) {
	if err := config.Validate(); err != nil {
		return err
	}
	i, err := newInstance(withDefaults(config))
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(i.folder) }() // private to this process, and small
	authority, err := i.prepare(ctx)
	if err != nil {
		return err
	}
	if i.issuer, err = identity.NewIssuer(i.config.IdentityIssuer, i.keys.path(identityEntry)); err != nil {
		return err
	}
	server, err := i.server()
	if err != nil {
		return err
	}
	i.register.groups = i.groups(server.config)
	built, err := i.install(server)
	if err != nil {
		return err
	}
	if err := built.AddPostStartHook("loam-registration", func(hook genericapiserver.PostStartHookContext) error {
		go i.upkeep(hook, authority)
		go footprint.Keep(ctx.Done())
		return nil
	}); err != nil {
		return fmt.Errorf("preparing the registration of the API: %w", err)
	}
	i.config.Logger.Info("Serving the garden's API", "listen", i.config.Listen, "etcd", i.config.Etcd.Servers)
	if err := built.PrepareRun().RunWithContext(ctx); err != nil {
		return fmt.Errorf("serving the garden's API: %w", err)
	}
	return nil
}

func newInstance(config Config) (*instance, error) {
	kube, err := kubernetes.NewForConfig(config.REST)
	if err != nil {
		return nil, fmt.Errorf("making a client for the cluster: %w", err)
	}
	anything, err := dynamic.NewForConfig(config.REST)
	if err != nil {
		return nil, fmt.Errorf("making a client for the cluster: %w", err)
	}
	folder, err := os.MkdirTemp("", "loam-apiserver-")
	if err != nil {
		return nil, fmt.Errorf("making a folder for keys: %w", err)
	}
	s := scheme.Server()
	i := &instance{
		config: config, kube: kube, folder: folder, scheme: s, codecs: serializer.NewCodecFactory(s), stores: &strategy.Stores{}, agents: seeds.NewAuthorizer(),
		keys:     servingKeys(kube, config.Namespace, config.Service, filepath.Join(folder, "server")),
		register: registration{client: anything, namespace: config.Namespace, service: config.Service, takeOver: config.TakeOver},
	}
	if config.EtcdSecret != "" {
		i.etcdKeys = etcdKeys(kube, config.Namespace, config.EtcdSecret, filepath.Join(folder, "etcd"))
		files := pki.EtcdFilesIn(i.etcdKeys.folder)
		i.config.Etcd.CAFile, i.config.Etcd.CertFile, i.config.Etcd.KeyFile = files.CACert, files.ClientCert, files.ClientKey
	}
	return i, nil
}

// prepare gets the keys that all replicas share, and returns the authority by
// which the cluster knows the server.
func (i *instance) prepare(ctx context.Context) ([]byte, error) {
	if i.etcdKeys != nil {
		if err := i.etcdKeys.sync(ctx); err != nil {
			return nil, err
		}
	}
	if err := i.keys.sync(ctx); err != nil {
		return nil, err
	}
	authority, err := os.ReadFile(cmp.Or(i.config.CAFile, i.keys.path(caCertEntry)))
	if err != nil {
		return nil, fmt.Errorf("reading the server's authority: %w", err)
	}
	return authority, nil
}

// upkeep registers the API once it is served, and keeps keys and registration
// as they should be. A replica that cannot register goes on serving: another one
// may have done so, and the log says what is wrong.
func (i *instance) upkeep(ctx context.Context, authority []byte) {
	registered := false
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		if latest, err := i.prepare(ctx); err != nil {
			i.config.Logger.Error(err, "The server's keys cannot be read")
		} else {
			authority = latest
		}
		if err := i.register.ensure(ctx, authority); err != nil {
			i.config.Logger.Error(err, "The API cannot be registered")
			return
		}
		if !registered {
			i.config.Logger.Info("The API is registered", "service", i.config.Namespace+"/"+i.config.Service)
		}
		registered = true
	}, refresh)
}

// configured is a server that has not been built yet.
type configured struct {
	config *genericapiserver.RecommendedConfig
	etcd   *options.EtcdOptions
}

func (i *instance) server() (configured, error) {
	o, err := i.options()
	if err != nil {
		return configured{}, err
	}
	// Applied by install: only then is known what is stored.
	etcd := o.Etcd
	o.Etcd = nil
	config := genericapiserver.NewRecommendedConfig(i.codecs)
	config.EffectiveVersion = compatibility.DefaultBuildEffectiveVersion()
	config.ShutdownDelayDuration = 0
	config.RequestTimeout = time.Minute
	namer := openapinamer.NewDefinitionNamer(scheme.Client())
	config.OpenAPIConfig = genericapiserver.DefaultOpenAPIConfig(openapi.Definitions, namer)
	config.OpenAPIV3Config = genericapiserver.DefaultOpenAPIV3Config(openapi.Definitions, namer)
	config.OpenAPIConfig.Info.Title, config.OpenAPIV3Config.Info.Title = "Loam garden", "Loam garden"
	if err := o.ApplyTo(config); err != nil {
		return configured{}, fmt.Errorf("configuring the server: %w", err)
	}
	if err := compression.Chain(&config.Config); err != nil {
		return configured{}, err
	}
	// The cluster has asked its own RBAC already; here an agent is held to its seed.
	config.Authorization.Authorizer = union.New(i.agents, config.Authorization.Authorizer)
	config.AdmissionControl = admission.NewChainHandler(config.AdmissionControl, seeds.NewRestriction(i.agents),
		projects.NewRestriction(config.Authorization.Authorizer))
	return configured{config, etcd}, nil
}

func (i *instance) options() (*options.RecommendedOptions, error) {
	o := options.NewRecommendedOptions(prefix, nil)
	i.config.Etcd.ApplyTo(&o.Etcd.StorageConfig)
	o.Etcd.EncryptionProviderConfigFilepath = i.keys.path(encryptionEntry)
	o.Etcd.EncryptionProviderConfigAutomaticReload = true

	host, port, err := net.SplitHostPort(i.config.Listen)
	if err != nil {
		return nil, fmt.Errorf("listening on %q: %w", i.config.Listen, err)
	}
	if o.SecureServing.BindPort, err = strconv.Atoi(port); err != nil {
		return nil, fmt.Errorf("listening on %q: %w", i.config.Listen, err)
	}
	if host != "" {
		o.SecureServing.BindAddress = net.ParseIP(host)
	}
	o.SecureServing.ServerCert.CertDirectory = ""
	o.SecureServing.ServerCert.CertKey.CertFile, o.SecureServing.ServerCert.CertKey.KeyFile = i.keys.path("server.crt"), i.keys.path("server.key")
	if i.config.CertFile != "" {
		o.SecureServing.ServerCert.CertKey.CertFile, o.SecureServing.ServerCert.CertKey.KeyFile = i.config.CertFile, i.config.KeyFile
	}
	o.CoreAPI.CoreAPIKubeconfigPath = i.config.Kubeconfig
	o.Authentication.RemoteKubeConfigFile, o.Authorization.RemoteKubeConfigFile = i.config.Kubeconfig, i.config.Kubeconfig
	// Target systems have no credentials for the cluster.
	o.Authorization.WithAlwaysAllowPaths(identity.ConfigurationPath, identity.KeysPath)
	o.Features.EnableProfiling = false
	// The cluster in front has limited the requests already.
	o.Features.EnablePriorityAndFairness = false
	if errs := o.Validate(); len(errs) > 0 {
		return nil, fmt.Errorf("checking the server's options: %w", utilerrors.NewAggregate(errs))
	}
	return o, nil
}

func (i *instance) groups(config *genericapiserver.RecommendedConfig) []strategy.Group {
	return kinds.Groups(kinds.Surroundings{
		Stores: i.stores, Kubernetes: i.kube, Authorizer: config.Authorization.Authorizer, Clock: clock.RealClock{}, Issuer: i.issuer,
	})
}

// install builds the server with all groups.
func (i *instance) install(c configured) (*genericapiserver.GenericAPIServer, error) {
	groups := i.register.groups
	storage := c.etcd.StorageConfig
	storage.StorageObjectCountTracker = c.config.StorageObjectCountTracker
	factory := strategy.NewStorageFactory(i.scheme, groups, storage, c.config.EffectiveVersion, resourceConfig(groups))
	if err := c.etcd.ApplyWithStorageFactoryTo(factory, &c.config.Config); err != nil {
		return nil, fmt.Errorf("configuring the storage: %w", err)
	}
	server, err := c.config.Complete().New("loam-apiserver", genericapiserver.NewEmptyDelegate())
	if err != nil {
		return nil, fmt.Errorf("building the server: %w", err)
	}
	server.ShutdownTimeout = i.config.StopTimeout
	for _, group := range groups {
		provider := strategy.Provider{
			Group: group, Scheme: i.scheme, Codecs: i.codecs, ParameterCodec: runtime.NewParameterCodec(i.scheme),
			Options: c.config.RESTOptionsGetter, Stores: i.stores,
		}
		info, err := provider.NewRESTStorage(nil, nil)
		if err != nil {
			return nil, err
		}
		if err := server.InstallAPIGroup(&info); err != nil {
			return nil, fmt.Errorf("installing group %q: %w", group.Name, err)
		}
	}
	i.issuer.Serve(server.Handler.NonGoRestfulMux)
	// For the cluster's own objects: its API server may ask here too.
	server.Handler.NonGoRestfulMux.Handle(seedAuthorizerPath, i.agents.Webhook())
	return server, server.AddPostStartHook("loam-seed-authorizer", func(hook genericapiserver.PostStartHookContext) error {
		sources, err := seeds.Sources(i.stores, i.kube)
		if err != nil {
			return err
		}
		return i.agents.Keep(hook, sources)
	})
}

// resourceConfig serves everything that there is.
func resourceConfig(groups []strategy.Group) *serverstorage.ResourceConfig {
	config := serverstorage.NewResourceConfig()
	for _, group := range groups {
		config.EnableVersions(group.GroupVersions()...)
	}
	return config
}
