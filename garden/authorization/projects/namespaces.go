package projects

import (
	"context"
	"fmt"

	"github.com/gardener/gardener/pkg/apis/core"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/admission"

	"github.com/loam-cloud/loam/garden/strategy"
)

// NamespaceGuard refuses to delete a namespace that a Project lives in, and the
// garden's own: Kubernetes would take out the credentials of every cluster in it
// before it finds that Shoots do not go without confirmation.
type NamespaceGuard struct{ stores *strategy.Stores }

// NewNamespaceGuard returns one that looks Projects and Shoots up in stores.
func NewNamespaceGuard(stores *strategy.Stores) *NamespaceGuard { return &NamespaceGuard{stores} }

var _ admission.ValidationInterface = (*NamespaceGuard)(nil)

// Handles implements admission.Interface.
func (g *NamespaceGuard) Handles(operation admission.Operation) bool {
	return operation == admission.Delete
}

// Validate implements admission.ValidationInterface.
func (g *NamespaceGuard) Validate(ctx context.Context, request admission.Attributes, _ admission.ObjectInterfaces) error {
	if request.GetResource().GroupResource() != corev1.Resource("namespaces") || request.GetSubresource() != "" {
		return nil
	}
	name := request.GetName()
	if name == v1beta1constants.GardenNamespace {
		return admission.NewForbidden(request, fmt.Errorf("the garden itself lives in namespace %q", name))
	}
	found, err := g.stores.List(ctx, core.Resource("projects"), core.ProjectNamespace, name, strategy.Current)
	if err != nil {
		return admission.NewForbidden(request, fmt.Errorf("looking for its project: %w", err))
	}
	if len(found) == 0 {
		return nil
	}
	project := found[0].(*core.Project)
	if project.DeletionTimestamp == nil {
		return admission.NewForbidden(request, fmt.Errorf("it belongs to project %[1]q: delete that instead, which takes the namespace along: "+
			"kubectl annotate project %[1]s %[2]s=true && kubectl delete project %[1]s", project.Name, v1beta1constants.ConfirmationDeletion))
	}
	shoots, err := g.stores.List(ctx, core.Resource("shoots"), "metadata.namespace", name, strategy.Current)
	if err != nil {
		return admission.NewForbidden(request, fmt.Errorf("looking for its clusters: %w", err))
	}
	if len(shoots) > 0 {
		return admission.NewForbidden(request, fmt.Errorf("it still has %d clusters, for example %q: project %q takes it along when they are gone",
			len(shoots), shoots[0].(*core.Shoot).Name, project.Name))
	}
	return nil
}
