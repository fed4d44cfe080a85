package kubecontrollers

import (
	"context"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/quota/v1/generic"
	"k8s.io/kubernetes/pkg/controller"
	"k8s.io/kubernetes/pkg/controller/garbagecollector"
	"k8s.io/kubernetes/pkg/controller/namespace"
	"k8s.io/kubernetes/pkg/controller/resourcequota"
	quotainstall "k8s.io/kubernetes/pkg/quota/v1/install"
)

// namespaces empties namespaces that are deleted.
func namespaces(ctx context.Context, shared *clients, _ Config) ([]runner, error) {
	namespaceController := namespace.NewNamespaceController(ctx, shared.kube, shared.metadata,
		shared.kube.Discovery().ServerPreferredNamespacedResources,
		shared.typed.Core().V1().Namespaces(), resync, corev1.FinalizerKubernetes)
	return []runner{func(ctx context.Context) { namespaceController.Run(ctx, gcWorkers) }}, nil
}

// garbageCollection deletes objects whose owners are gone.
func garbageCollection(ctx context.Context, shared *clients, _ Config) ([]runner, error) {
	collector, err := garbagecollector.NewGarbageCollector(ctx, shared.kube, shared.metadata, shared.mapper,
		garbagecollector.DefaultIgnoredResources(), shared.any, shared.started)
	if err != nil {
		return nil, fmt.Errorf("preparing garbage collection: %w", err)
	}
	return []runner{
		func(ctx context.Context) { collector.Run(ctx, gcWorkers, rediscover) },
		func(ctx context.Context) { collector.Sync(ctx, shared.kube.Discovery(), rediscover) },
	}, nil
}

// quotas counts objects per namespace. It evaluates nothing but counts: there
// are no pods whose requests could be added up.
func quotas(ctx context.Context, shared *clients, _ Config) ([]runner, error) {
	discover := shared.kube.Discovery().ServerPreferredNamespacedResources
	quotaController, err := resourcequota.NewController(ctx, &resourcequota.ControllerOptions{
		QuotaClient:               shared.kube.CoreV1(),
		ResourceQuotaInformer:     shared.typed.Core().V1().ResourceQuotas(),
		ResyncPeriod:              controller.StaticResyncPeriodFunc(resync),
		Registry:                  generic.NewRegistry(nil),
		DiscoveryFunc:             discover,
		IgnoredResourcesFunc:      func() map[schema.GroupResource]struct{} { return maps.Clone(quotainstall.DefaultIgnoredResources()) },
		InformersStarted:          shared.started,
		InformerFactory:           shared.any,
		ReplenishmentResyncPeriod: controller.StaticResyncPeriodFunc(resync),
		UpdateFilter:              func(schema.GroupVersionResource, any, any) bool { return false },
	})
	if err != nil {
		return nil, fmt.Errorf("preparing resource quotas: %w", err)
	}
	return []runner{
		func(ctx context.Context) { quotaController.Run(ctx, workers) },
		func(ctx context.Context) { quotaController.Sync(ctx, discover, rediscover) },
	}, nil
}
