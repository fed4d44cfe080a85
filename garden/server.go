package garden

import (
	"context"
	"fmt"
	"maps"
	"runtime/debug"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsapiserver "k8s.io/apiextensions-apiserver/pkg/apiserver"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	apimachineryversion "k8s.io/apimachinery/pkg/version"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/request/anonymous"
	authenticationunion "k8s.io/apiserver/pkg/authentication/request/union"
	"k8s.io/apiserver/pkg/authorization/union"
	genericapifilters "k8s.io/apiserver/pkg/endpoints/filters"
	genericapiserver "k8s.io/apiserver/pkg/server"
	serverstorage "k8s.io/apiserver/pkg/server/storage"
	"k8s.io/apiserver/pkg/util/notfoundhandler"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/kubernetes"
	basecompatibility "k8s.io/component-base/compatibility"
	aggregatorapiserver "k8s.io/kube-aggregator/pkg/apiserver"
	aggregatorscheme "k8s.io/kube-aggregator/pkg/apiserver/scheme"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/controlplane"
	controlplaneapiserver "k8s.io/kubernetes/pkg/controlplane/apiserver"
	"k8s.io/kubernetes/pkg/controlplane/apiserver/options"
	"k8s.io/utils/clock"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/access/identity"
	"github.com/loam-cloud/loam/garden/audit"
	"github.com/loam-cloud/loam/garden/authorization/projects"
	"github.com/loam-cloud/loam/garden/authorization/seeds"
	"github.com/loam-cloud/loam/garden/internal/clientcert"
	"github.com/loam-cloud/loam/garden/internal/compression"
	"github.com/loam-cloud/loam/garden/kinds"
	"github.com/loam-cloud/loam/garden/openapi"
	"github.com/loam-cloud/loam/garden/operations"
	"github.com/loam-cloud/loam/garden/scheme"
	"github.com/loam-cloud/loam/garden/strategy"
)

// serverName is in the server's metrics and leases.
const serverName = "loam-garden"

// chain is the API server in three parts, each of which hands what it does not
// know to the next: aggregated APIs and discovery, the built-in groups (Kubernetes' and
// the garden's), custom resources.
type chain struct {
	options    options.CompletedOptions
	control    *controlplaneapiserver.Config
	extensions *apiextensionsapiserver.Config
	aggregator *aggregatorapiserver.Config

	// What agents may do.
	agents *seeds.Authorizer
	// Who signs tokens for other systems.
	issuer *identity.Issuer

	// What the garden's own groups need beside it.
	groups  []strategy.Group
	scheme  *runtime.Scheme
	stores  *strategy.Stores
	factory *serverstorage.DefaultStorageFactory
}

// serve starts the API server. It serves when serve returns, but is ready later.
func (g *Garden) serve() error {
	completed, err := g.serverOptions()
	if err != nil {
		return err
	}
	chain, err := g.newChain(completed)
	if err != nil {
		return err
	}
	server, err := chain.install()
	if err != nil {
		return err
	}
	operations.Serve(server.GenericAPIServer.Handler.NonGoRestfulMux, g, g.config.Logger)
	server.GenericAPIServer.ShutdownTimeout = g.config.StopTimeout
	chain.issuer.Serve(server.GenericAPIServer.Handler.NonGoRestfulMux)
	prepared, err := server.PrepareRun()
	if err != nil {
		return fmt.Errorf("preparing the API server: %w", err)
	}
	g.rest = server.GenericAPIServer.LoopbackClientConfig
	ctx, cancel := context.WithCancel(context.Background())
	g.stopServer, g.serverDone = cancel, make(chan struct{})
	go func() {
		defer close(g.serverDone)
		g.serverErr = prepared.Run(ctx)
	}()
	return nil
}

// newChain configures all parts.
func (g *Garden) newChain(completed options.CompletedOptions) (*chain, error) {
	issuer, err := identity.NewIssuer(g.issuerURL(), g.files.WorkloadIdentityKey)
	if err != nil {
		return nil, err
	}
	c := &chain{options: completed, scheme: scheme.Server(), stores: &strategy.Stores{}, agents: seeds.NewAuthorizer(), issuer: issuer}
	generic, informers, factory, err := controlplaneapiserver.BuildGenericConfig(completed,
		// For the names of kinds in OpenAPI: there our own internal types must not be.
		[]*runtime.Scheme{legacyscheme.Scheme, apiextensionsapiserver.Scheme, aggregatorscheme.Scheme, scheme.Client()},
		controlplane.DefaultGenericAPIResourceConfigSource(), openapi.Definitions)
	if err != nil {
		return nil, fmt.Errorf("configuring the API server: %w", err)
	}
	generic.OpenAPIConfig.Info.Title, generic.OpenAPIV3Config.Info.Title = "Loam garden", "Loam garden"
	generic.LongRunningFunc = operations.IsLong(generic.LongRunningFunc)
	generic.EffectiveVersion = kubernetesVersion{generic.EffectiveVersion}
	if generic.AuditBackend, generic.AuditPolicyRuleEvaluator, err = audit.New(g.config.Audit); err != nil {
		return nil, err
	}
	if generic.Authentication.RequestHeaderConfig != nil {
		return nil, fault.New(fault.Internal, "identities from a proxy's headers must not be remembered by its certificate")
	}
	generic.Authentication.Authenticator = publicOnly(clientcert.Remember(generic.Authentication.Authenticator, clock.RealClock{}))
	generic.Authorization.Authorizer = union.New(c.agents, generic.Authorization.Authorizer)
	kube, err := kubernetes.NewForConfig(generic.LoopbackClientConfig)
	if err != nil {
		return nil, fmt.Errorf("making the server's own client: %w", err)
	}
	c.groups = kinds.Groups(kinds.Surroundings{
		Stores: c.stores, Kubernetes: kube, Authorizer: generic.Authorization.Authorizer, Clock: clock.RealClock{}, Issuer: issuer,
	})
	c.factory = c.storageFactory(factory, generic)

	resolver := webhook.NewDefaultServiceResolver()
	control, initializers, err := controlplaneapiserver.CreateConfig(completed, generic, informers, factory, resolver, nil)
	if err != nil {
		return nil, fmt.Errorf("configuring the built-in groups: %w", err)
	}
	c.control = control
	c.restrict(kube)
	generic.AdmissionControl = g.keeper.admit(generic.AdmissionControl)
	authentication := webhook.NewDefaultAuthenticationInfoResolverWrapper(control.ProxyTransport, generic.EgressSelector, generic.LoopbackClientConfig, generic.TracerProvider)
	if c.extensions, err = controlplaneapiserver.CreateAPIExtensionsConfig(*generic, informers, initializers, completed, 1, resolver, authentication); err != nil {
		return nil, fmt.Errorf("configuring custom resources: %w", err)
	}
	c.extensions.GenericConfig.AdmissionControl = g.keeper.admit(c.extensions.GenericConfig.AdmissionControl)
	if c.aggregator, err = controlplaneapiserver.CreateAggregatorConfig(*generic, completed, informers, resolver, control.ProxyTransport, nil, initializers); err != nil {
		return nil, fmt.Errorf("configuring aggregated APIs: %w", err)
	}
	if err := compression.Chain(&c.aggregator.GenericConfig.Config); err != nil {
		return nil, err
	}
	// It dials cluster services, of which there are none.
	c.aggregator.ExtraConfig.DisableRemoteAvailableConditionController = true
	return c, nil
}

// restrict puts what looks into the writes of agents and members, and what keeps
// the namespaces of projects, at the end of admission, and fills what the
// authorizer of agents knows once the server serves. The server is not ready
// before.
func (c *chain) restrict(kube kubernetes.Interface) {
	generic := c.control.Generic
	generic.AdmissionControl = admission.NewChainHandler(generic.AdmissionControl,
		seeds.NewRestriction(c.agents), projects.NewRestriction(generic.Authorization.Authorizer), projects.NewNamespaceGuard(c.stores))
	generic.AddPostStartHookOrDie("loam-seed-authorizer", func(hook genericapiserver.PostStartHookContext) error {
		sources, err := seeds.Sources(c.stores, kube)
		if err != nil {
			return err
		}
		return c.agents.Keep(hook, sources)
	})
}

// storageFactory is Kubernetes' own, for the garden's groups: theirs refuses
// every group that its scheme does not know.
func (c *chain) storageFactory(theirs *serverstorage.DefaultStorageFactory, generic *genericapiserver.Config) *serverstorage.DefaultStorageFactory {
	return strategy.NewStorageFactory(c.scheme, c.groups, theirs.StorageConfig, generic.EffectiveVersion, theirs.APIResourceConfigSource)
}

// install builds the servers from the last part to the first.
func (c *chain) install() (*aggregatorapiserver.APIAggregator, error) {
	notFound := notfoundhandler.New(c.control.Generic.Serializer, genericapifilters.NoMuxAndDiscoveryIncompleteKey)
	extensions, err := c.extensions.Complete().New(genericapiserver.NewEmptyDelegateWithCustomHandler(notFound))
	if err != nil {
		return nil, fmt.Errorf("building the server of custom resources: %w", err)
	}
	control := c.control.Complete()
	native, err := control.New(serverName, extensions.GenericAPIServer)
	if err != nil {
		return nil, fmt.Errorf("building the server of built-in groups: %w", err)
	}
	client, err := kubernetes.NewForConfig(control.Generic.LoopbackClientConfig)
	if err != nil {
		return nil, fmt.Errorf("making the server's own client: %w", err)
	}
	providers, err := control.GenericStorageProviders(client.Discovery())
	if err != nil {
		return nil, fmt.Errorf("preparing the storage of Kubernetes' groups: %w", err)
	}
	if err := native.InstallAPIs(append(providers, c.providers()...)...); err != nil {
		return nil, fmt.Errorf("installing the built-in groups: %w", err)
	}
	crdsServed := c.extensions.GenericConfig.MergedResourceConfig.ResourceEnabled(apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions"))
	aggregator, err := controlplaneapiserver.CreateAggregatorServer(c.aggregator.Complete(), native.GenericAPIServer,
		extensions.Informers.Apiextensions().V1().CustomResourceDefinitions(), crdsServed, c.priorities())
	if err != nil {
		return nil, fmt.Errorf("building the server of aggregated APIs: %w", err)
	}
	return aggregator, nil
}

func (c *chain) providers() []controlplaneapiserver.RESTStorageProvider {
	codecs := serializer.NewCodecFactory(c.scheme)
	getter := c.options.Etcd.CreateRESTOptionsGetter(c.factory, c.control.Generic.ResourceTransformers)
	var providers []controlplaneapiserver.RESTStorageProvider
	for _, group := range c.groups {
		providers = append(providers, strategy.Provider{
			Group: group, Scheme: c.scheme, Codecs: codecs,
			ParameterCodec: runtime.NewParameterCodec(c.scheme), Options: getter, Stores: c.stores,
		})
	}
	return providers
}

// priorities order groups where a bare resource name could mean several. A
// group-version without a row would be missing from the list of groups.
func (c *chain) priorities() map[schema.GroupVersion]controlplaneapiserver.APIServicePriority {
	priorities := maps.Clone(controlplaneapiserver.DefaultGenericAPIServicePriorities())
	for version, priority := range strategy.Priorities(c.groups) {
		priorities[version] = controlplaneapiserver.APIServicePriority{Group: priority.Group, Version: priority.Version}
	}
	return priorities
}

// publicOnly lets requests without credentials ask whether the server is
// healthy and by which keys its workload identities are known, and nothing else.
func publicOnly(authenticated authenticator.Request) authenticator.Request {
	return authenticationunion.NewFailOnError(authenticated, anonymous.NewAuthenticator([]apiserver.AnonymousAuthCondition{
		{Path: "/livez"}, {Path: "/readyz"}, {Path: "/healthz"},
		{Path: identity.ConfigurationPath}, {Path: identity.KeysPath},
	}))
}

// kubernetesVersion reports the version of the Kubernetes module in this binary,
// which a build without special linker flags knows only from its build
// information.
type kubernetesVersion struct {
	basecompatibility.EffectiveVersion
}

func (v kubernetesVersion) Info() *apimachineryversion.Info {
	info := *v.EffectiveVersion.Info()
	// Where the build does not know either, as in tests, at least the minor is right.
	info.GitVersion = "v" + v.BinaryVersion().WithPatch(0).String()
	info.GitCommit, info.GitTreeState, info.BuildDate = "", "", ""
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, module := range build.Deps {
			if module.Path == "k8s.io/kubernetes" {
				info.GitVersion = module.Version
			}
		}
	}
	return &info
}
