package garden

import (
	"k8s.io/apiserver/pkg/admission"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/kubernetes"

	"github.com/loam-cloud/loam/garden/authorization/projects"
	"github.com/loam-cloud/loam/garden/authorization/seeds"
)

// restrict puts what looks into the writes of agents and members, and what keeps
// the namespaces of projects, at the end of admission, and fills what the authorizer of agents knows once the server
// serves. The server is not ready before.
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
