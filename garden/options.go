package garden

import (
	"context"
	"fmt"
	"net"
	"time"

	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle"
	mutatingpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/mutating"
	validatingpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/admission/plugin/resourcequota"
	mutatingwebhook "k8s.io/apiserver/pkg/admission/plugin/webhook/mutating"
	validatingwebhook "k8s.io/apiserver/pkg/admission/plugin/webhook/validating"
	apiserverfeatures "k8s.io/apiserver/pkg/features"
	"k8s.io/apiserver/pkg/server/egressselector"
	"k8s.io/apiserver/pkg/util/feature"
	"k8s.io/kubernetes/pkg/controlplane/apiserver/options"
	"k8s.io/kubernetes/pkg/kubeapiserver/authorizer/modes"
	kubeoptions "k8s.io/kubernetes/pkg/kubeapiserver/options"
	certapproval "k8s.io/kubernetes/plugin/pkg/admission/certificates/approval"
	certsigning "k8s.io/kubernetes/plugin/pkg/admission/certificates/signing"
	certsubjectrestriction "k8s.io/kubernetes/plugin/pkg/admission/certificates/subjectrestriction"

	"github.com/loam-cloud/loam/garden/internal/tokens"
)

// tokenIssuer is the issuer in service account tokens. Changing it invalidates
// every token that was given out.
const tokenIssuer = "https://garden.loam.dev"

// watchGrace is how long a stop waits for watches, which it tells to end.
const watchGrace = time.Second

// serverOptions are those of Kubernetes' generic control plane for this garden.
func (g *Garden) serverOptions() (options.CompletedOptions, error) {
	// The lease by which API servers of one cluster find each other has nobody
	// to be found by, and would cost a write every ten seconds.
	if err := feature.DefaultMutableFeatureGate.SetFromMap(map[string]bool{
		string(apiserverfeatures.APIServerIdentity):                   false,
		string(apiserverfeatures.UnknownVersionInteroperabilityProxy): false,
	}); err != nil {
		return options.CompletedOptions{}, fmt.Errorf("setting feature gates: %w", err)
	}
	ip := listenIP(g.listener)
	if ip.IsUnspecified() {
		ip = net.IPv4(127, 0, 0, 1)
	}
	o := options.NewOptions()
	o.GenericServerRunOptions.AdvertiseAddress = ip
	o.GenericServerRunOptions.ExternalHost = ip.String()
	// Without it, watches would be left to hold up a stop until StopTimeout.
	o.GenericServerRunOptions.ShutdownWatchTerminationGracePeriod = watchGrace
	o.SecureServing.Listener = g.listener
	o.SecureServing.BindAddress = listenIP(g.listener)
	o.SecureServing.BindPort = g.listener.Addr().(*net.TCPAddr).Port
	o.SecureServing.ServerCert.CertDirectory = ""
	o.SecureServing.ServerCert.CertKey.CertFile = g.files.ServerCert
	o.SecureServing.ServerCert.CertKey.KeyFile = g.files.ServerKey
	o.Features.EnableProfiling = false
	o.Admission.GenericAdmission.DefaultOffPlugins = pluginsOff()
	o.Authorization.Modes = []string{modes.ModeRBAC}
	g.setAuthentication(o)
	g.setStore(o)

	completed, err := o.Complete(context.Background(), nil, nil)
	if err != nil {
		return completed, fmt.Errorf("completing the server's options: %w", err)
	}
	if errs := completed.Validate(); len(errs) > 0 {
		return completed, fmt.Errorf("checking the server's options: %w", utilerrors.NewAggregate(errs))
	}
	return completed, nil
}

func (g *Garden) setAuthentication(o *options.Options) {
	authentication := o.Authentication
	authentication.ClientCert.ClientCA = g.files.CACert
	authentication.BootstrapToken.Enable = true
	// publicOnly lets anonymous requests in, to very few paths.
	authentication.Anonymous = nil
	authentication.ServiceAccounts.KeyFiles = []string{g.files.ServiceAccountKey}
	authentication.ServiceAccounts.Issuers = []string{tokenIssuer}
	authentication.ServiceAccounts.OptionalTokenGetter = tokens.NewGetter
	o.ServiceAccountSigningKeyFile = g.files.ServiceAccountKey
}

func (g *Garden) setStore(o *options.Options) {
	o.Etcd.EncryptionProviderConfigFilepath = g.path(encryptionFile)
	// A key that is put first into the file is used within a minute.
	o.Etcd.EncryptionProviderConfigAutomaticReload = true
	if g.config.Etcd.Used() {
		g.config.Etcd.ApplyTo(&o.Etcd.StorageConfig)
		return
	}
	transport := &o.Etcd.StorageConfig.Transport
	// Never resolved. It tells the stores of two gardens in one process apart,
	// for which some of the server's state is kept by address.
	transport.ServerList = []string{fmt.Sprintf("http://garden-%d.invalid:2379", o.SecureServing.BindPort)}
	transport.EgressLookup = func(egressselector.NetworkContext) (utilnet.DialFunc, error) {
		return func(ctx context.Context, _, _ string) (net.Conn, error) { return g.store.Dial(ctx) }, nil
	}
}

// pluginsOff are all admission plug-ins but those that mean something without
// pods, nodes and volumes.
func pluginsOff() sets.Set[string] {
	on := sets.New(
		lifecycle.PluginName,
		mutatingpolicy.PluginName,
		mutatingwebhook.PluginName,
		validatingpolicy.PluginName,
		validatingwebhook.PluginName,
		resourcequota.PluginName,
		certapproval.PluginName,
		certsigning.PluginName,
		certsubjectrestriction.PluginName,
	)
	return sets.New(kubeoptions.AllOrderedPlugins...).Difference(on)
}
