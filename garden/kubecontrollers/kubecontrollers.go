// Package kubecontrollers runs those of Kubernetes' own controllers that an API
// without nodes and pods needs, in this process: deletion of namespaces, garbage
// collection by owner, certificate requests, service accounts and their token
// secrets, resource quotas, aggregated cluster roles, bootstrap tokens.
//
// The garden starts them once its API serves. It must not know Loam's own
// controllers.
package kubecontrollers

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/controller-manager/pkg/informerfactory"
	"k8s.io/klog/v2"
)

const (
	// resync repairs what a controller missed; nothing waits for it.
	resync = 12 * time.Hour
	// rediscover is how soon new kinds are collected and counted.
	rediscover = 30 * time.Second
	// signedFor is how long a certificate lives that was asked for by request.
	signedFor = 365 * 24 * time.Hour
	workers   = 2
	// gcWorkers take two requests per object and are the bottleneck when a
	// namespace or an owner with thousands of dependents goes.
	gcWorkers = 5
)

// Config says for which API the controllers run.
type Config struct {
	// REST has all rights and no rate limit.
	REST *rest.Config
	// CACert and CAKey are files: what signs certificate requests.
	CACert, CAKey string
	// ServiceAccountKey is a file: what signs token secrets.
	ServiceAccountKey string
}

// Controllers are running controllers.
type Controllers struct{ running sync.WaitGroup }

// Wait returns when all controllers have ended, some time after the context of
// Start did.
func (c *Controllers) Wait() { c.running.Wait() }

// clients are what the controllers share.
type clients struct {
	kube     kubernetes.Interface
	metadata metadata.Interface
	typed    informers.SharedInformerFactory
	any      informerfactory.InformerFactory
	mapper   *restmapper.DeferredDiscoveryRESTMapper
	// started is closed when informers may be waited for.
	started chan struct{}
}

func newClients(config *rest.Config) (*clients, error) {
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client for the controllers: %w", err)
	}
	partial, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a metadata client for the controllers: %w", err)
	}
	typed := informers.NewSharedInformerFactoryWithOptions(kube, resync, informers.WithTransform(withoutManagers))
	return &clients{
		kube:     kube,
		metadata: partial,
		typed:    typed,
		any:      informerfactory.NewInformerFactory(typed, metadatainformer.NewSharedInformerFactoryWithOptions(partial, resync, metadatainformer.WithTransform(withoutManagers))),
		mapper:   restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(kube.Discovery())),
		started:  make(chan struct{}),
	}, nil
}

// withoutManagers leaves out who set which field, most of an object's metadata,
// as Kubernetes' own controller manager does.
func withoutManagers(object any) (any, error) {
	if accessor, err := meta.Accessor(object); err == nil {
		accessor.SetManagedFields(nil)
	}
	return object, nil
}

// runner is one controller's loop; it returns when its context ends.
type runner func(ctx context.Context)

// Start starts all controllers. They end with ctx.
func Start(ctx context.Context, config Config) (*Controllers, error) {
	shared, err := newClients(config.REST)
	if err != nil {
		return nil, err
	}
	ctx = klog.NewContext(ctx, klog.Background())
	var runners []runner
	for _, make := range []func(context.Context, *clients, Config) ([]runner, error){
		namespaces, garbageCollection, quotas, certificates, serviceAccounts, roles, bootstrapTokens,
	} {
		more, err := make(ctx, shared, config)
		if err != nil {
			return nil, fmt.Errorf("preparing Kubernetes' controllers: %w", err)
		}
		runners = append(runners, more...)
	}
	shared.any.Start(ctx.Done())
	close(shared.started)
	controllers := &Controllers{}
	for _, run := range runners {
		controllers.running.Go(func() { run(ctx) })
	}
	controllers.running.Go(func() {
		<-ctx.Done()
		shared.typed.Shutdown()
	})
	return controllers, nil
}
