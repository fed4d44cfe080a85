package garden

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/gofrs/flock"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/access/identity"
	"github.com/loam-cloud/loam/garden/bootstrap"
	"github.com/loam-cloud/loam/garden/footprint"
	"github.com/loam-cloud/loam/garden/internal/etcd"
	"github.com/loam-cloud/loam/garden/internal/klogs"
	"github.com/loam-cloud/loam/garden/internal/pki"
	"github.com/loam-cloud/loam/garden/kubecontrollers"
	"github.com/loam-cloud/loam/garden/scheme"
)

const (
	defaultStopTimeout = 5 * time.Second
	// pollReady is how often readiness is asked for during a start.
	pollReady = 20 * time.Millisecond
	// probeStore is how often a garden that is not ready is asked for the reason.
	probeStore = 3 * time.Second
	// renewEvery is how often certificates are looked at while running.
	renewEvery = 24 * time.Hour
)

// Garden is a running garden.
type Garden struct {
	config   Config
	lock     *flock.Flock
	listener net.Listener
	// made is what a failed start has to remove.
	made  string
	hosts []string
	files pki.Files
	// store is nil when the objects are in an etcd that others run.
	store *etcd.Server
	rest  *rest.Config
	// keeper looks after the store.
	keeper *keeper
	// keysInUse keeps the keys for secrets at rest as they are while it is held.
	keysInUse sync.RWMutex
	rotating  sync.Mutex
	klog      *klogs.Writer

	// Three lives, ended in this order: what PostStart began, Kubernetes'
	// controllers and upkeep, the API server.
	stopFleet, stopControllers, stopServer context.CancelFunc
	controllers                            *kubecontrollers.Controllers
	serverDone                             chan struct{}
	serverErr                              error

	// certificates is held while their files are written.
	certificates sync.Mutex

	stopOnce sync.Once
	stopped  chan struct{}
	done     chan struct{}
	err      error
}

// Start runs a garden and returns once it is ready and bootstrapped. ctx bounds
// the start only; Stop ends the garden. What the user has to change (folder in
// use or not writable, port taken) is fault.Invalid, a disk without room
// fault.Exhausted, and then nothing is left behind.
func Start(ctx context.Context, cfg Config) (*Garden, error) {
	g := &Garden{config: withDefaults(cfg), stopped: make(chan struct{}), done: make(chan struct{})}
	g.keeper = &keeper{garden: g, free: freeOnDisk}
	var err error
	if g.klog, err = klogs.Route(g.config.Logger); err != nil {
		return nil, err
	}
	if err := g.claim(ctx); err != nil {
		return nil, err
	}
	if err := g.run(ctx); err != nil {
		g.closeParts()
		g.removeMade()
		return nil, withUnlock(err, g.lock)
	}
	g.klog.SetLoud(true)
	// Not before: collections would be a third of a start's work.
	go footprint.Keep(g.done)
	if g.store != nil {
		g.store.LogWarnings()
	}
	go g.watch()
	return g, nil
}

func withDefaults(cfg Config) Config {
	if cfg.Listen == "" {
		cfg.Listen = DefaultListen
	}
	if cfg.StoreQuotaBytes == 0 {
		cfg.StoreQuotaBytes = etcd.DefaultQuotaBytes
	}
	if cfg.StopTimeout == 0 {
		cfg.StopTimeout = defaultStopTimeout
	}
	if cfg.Logger.GetSink() == nil {
		cfg.Logger = logr.Discard()
	}
	return cfg
}

// run brings everything up, in order. Whatever it leaves half done
// closeParts ends.
func (g *Garden) run(ctx context.Context) error {
	began := time.Now()
	if err := g.prepareFiles(); err != nil {
		return err
	}
	if err := g.openStore(ctx); err != nil {
		return err
	}
	if err := g.serve(); err != nil {
		return err
	}
	if err := g.startControllers(); err != nil {
		return err
	}
	if err := g.waitReady(ctx); err != nil {
		return err
	}
	if err := g.bootstrap(ctx); err != nil {
		return err
	}
	if err := pki.WriteKubeconfig(g.KubeconfigPath(), g.url(), g.files); err != nil {
		return err
	}
	g.config.Logger.Info("garden is ready", "address", g.Address(), "kubeconfig", g.KubeconfigPath(), "took", time.Since(began).Round(time.Millisecond).String())
	return g.postStart()
}

func (g *Garden) startControllers() error {
	ctx, cancel := context.WithCancel(context.Background())
	g.stopControllers = cancel
	var err error
	g.controllers, err = kubecontrollers.Start(ctx, kubecontrollers.Config{
		REST:              g.protobufConfig(),
		CACert:            g.files.CACert,
		CAKey:             g.files.CAKey,
		ServiceAccountKey: g.files.ServiceAccountKey,
	})
	if err != nil {
		return err
	}
	go g.renewCertificates(ctx)
	go g.keeper.run(ctx)
	if g.store != nil {
		go g.config.Backups.Run(ctx, g.config.DataDir, g.Backup, g.config.Logger)
	}
	return nil
}

// waitReady returns when every check of readyz passes.
func (g *Garden) waitReady(ctx context.Context) error {
	kube, err := kubernetes.NewForConfig(g.RESTConfig())
	if err != nil {
		return fmt.Errorf("making a client for the garden: %w", err)
	}
	ticker := time.NewTicker(pollReady)
	defer ticker.Stop()
	probe := time.Now().Add(probeStore)
	for {
		var status int
		answer, err := kube.Discovery().RESTClient().Get().AbsPath("/readyz").Param("verbose", "").Do(ctx).StatusCode(&status).Raw()
		if err == nil && status == http.StatusOK {
			return nil
		}
		if time.Now().After(probe) {
			probe = time.Now().Add(probeStore)
			if err := g.readable(ctx, kube); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the garden to be ready: %w; it last said: %s", ctx.Err(), answer)
		case <-g.serverDone:
			return fmt.Errorf("the API server ended while it started: %w", g.serverErr)
		case <-ticker.C:
		}
	}
}

// readable tells whether the secrets in the store were encrypted with a key that
// this garden has. A server that cannot read them is never ready, and says
// nothing but that.
func (g *Garden) readable(ctx context.Context, kube kubernetes.Interface) error {
	_, err := kube.CoreV1().Secrets("").List(ctx, metav1.ListOptions{Limit: 1})
	// The server has no type for it.
	if err == nil || !strings.Contains(err.Error(), "unable to transform key") {
		return nil
	}
	return fault.New(fault.Invalid, "the secrets in the store cannot be read with the keys in %q: put back the file with which they were written", g.path(encryptionFile))
}

func (g *Garden) bootstrap(ctx context.Context) error {
	c, err := client.New(g.RESTConfig(), client.Options{Scheme: scheme.Client()})
	if err != nil {
		return fmt.Errorf("making a client for the bootstrap: %w", err)
	}
	return bootstrap.Ensure(ctx, c, pki.AdminUser, g.config.KubernetesVersions)
}

func (g *Garden) postStart() error {
	ctx, cancel := context.WithCancel(context.Background())
	g.stopFleet = cancel
	if g.config.PostStart == nil {
		return nil
	}
	return g.config.PostStart(ctx, g.RESTConfig())
}

// RESTConfig returns a new client configuration with all rights and without a
// rate limit. It works inside this process only and ends with it. The content
// type is left open: a client takes protobuf or JSON as its types allow.
func (g *Garden) RESTConfig() *rest.Config {
	config := rest.CopyConfig(g.rest)
	config.ContentType, config.AcceptContentTypes = "", ""
	config.QPS = -1
	return config
}

// protobufConfig is for clients of Kubernetes' own types.
func (g *Garden) protobufConfig() *rest.Config {
	config := g.RESTConfig()
	config.ContentType = g.rest.ContentType
	return config
}

// KubeconfigPath is the file for administrators, mode 0600.
func (g *Garden) KubeconfigPath() string { return g.path(kubeconfigFile) }

// Address is the host:port on which the API listens.
func (g *Garden) Address() string { return g.listener.Addr().String() }

// url is how clients on this host reach the API.
func (g *Garden) url() string {
	address := g.listener.Addr().(*net.TCPAddr)
	host := address.IP.String()
	if address.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "https://" + net.JoinHostPort(host, fmt.Sprint(address.Port))
}

// issuerURL is who signs tokens of workload identities.
func (g *Garden) issuerURL() string {
	if g.config.WorkloadIdentityIssuer != "" {
		return strings.TrimSuffix(g.config.WorkloadIdentityIssuer, "/")
	}
	return g.url() + identity.Path
}
