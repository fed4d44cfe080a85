package garden

import (
	"context"
	"fmt"

	"k8s.io/apiserver/pkg/admission"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/kubernetes"

	"github.com/loam-cloud/loam/garden/authorization/seeds"
)

// restrictAgents puts what looks into an agent's writes at the end of admission,
// and fills what the authorizer of agents knows once the server serves. The
// server is not ready before.
func (c *chain) restrictAgents(kube kubernetes.Interface) {
	generic := c.control.Generic
	generic.AdmissionControl = admission.NewChainHandler(generic.AdmissionControl, seeds.NewRestriction(c.agents))
	generic.AddPostStartHookOrDie("loam-seed-authorizer", func(hook genericapiserver.PostStartHookContext) error {
		return keepAgents(hook, c, kube)
	})
}

func keepAgents(ctx context.Context, c *chain, kube kubernetes.Interface) error {
	sources := []seeds.Source{seeds.CertificateRequests(kube)}
	for _, resource := range seeds.Resources() {
		objects, err := c.stores.ListerWatcher(resource)
		if err != nil {
			return fmt.Errorf("preparing the authorizer of agents: %w", err)
		}
		sources = append(sources, seeds.Source{Name: resource.String(), Objects: objects})
	}
	return c.agents.Keep(ctx, sources)
}
