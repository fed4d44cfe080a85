// Package projects decides who may change who the people of a Project are: an
// update of it is RBAC's to allow, but that needs a right of its own, so that an
// admin of a project does not make others admins. And it keeps the namespaces
// that Projects live in.
//
// Both API servers put Restriction into their admission, that which holds the
// namespaces NamespaceGuard too. It must not know roles.
package projects

import (
	"context"
	"fmt"
	"slices"

	"github.com/gardener/gardener/pkg/apis/core"
	rbacv1 "k8s.io/api/rbac/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// ManageMembers is the verb on a Project that lets a user change its owner, and
// members who are people.
const ManageMembers = "manage-members"

// Restriction asks for that verb.
type Restriction struct{ authorizer authorizer.Authorizer }

// NewRestriction returns one that asks the given authorizer.
func NewRestriction(rights authorizer.Authorizer) *Restriction { return &Restriction{rights} }

var _ admission.ValidationInterface = (*Restriction)(nil)

// Handles implements admission.Interface.
func (r *Restriction) Handles(operation admission.Operation) bool {
	// Whoever creates a project names its first members.
	return operation == admission.Update
}

// Validate implements admission.ValidationInterface.
func (r *Restriction) Validate(ctx context.Context, request admission.Attributes, _ admission.ObjectInterfaces) error {
	project, ok := request.GetObject().(*core.Project)
	if !ok || request.GetSubresource() != "" {
		return nil
	}
	before, ok := request.GetOldObject().(*core.Project)
	if !ok || apiequality.Semantic.DeepEqual(people(before), people(project)) {
		return nil
	}
	resource := request.GetResource()
	decision, _, err := r.authorizer.Authorize(ctx, authorizer.AttributesRecord{
		User: request.GetUserInfo(), Verb: ManageMembers, APIGroup: resource.Group, APIVersion: resource.Version, Resource: resource.Resource,
		Name: request.GetName(), ResourceRequest: true,
	})
	if decision == authorizer.DecisionAllow {
		return nil
	}
	if err != nil {
		return admission.NewForbidden(request, fmt.Errorf("asking for the right to change spec.members and spec.owner: %w", err))
	}
	return admission.NewForbidden(request, fmt.Errorf("changing spec.members and spec.owner needs verb %q on the project", ManageMembers))
}

// person is a human member with what they may do.
type person struct {
	Subject rbacv1.Subject
	Roles   []string
}

// people are the owner and all members but service accounts, which those who
// manage them may add.
func people(project *core.Project) []person {
	all := []person{{}}
	if project.Spec.Owner != nil {
		all[0].Subject = *project.Spec.Owner
	}
	for _, member := range project.Spec.Members {
		if member.Kind != rbacv1.ServiceAccountKind {
			all = append(all, person{member.Subject, slices.Sorted(slices.Values(member.Roles))})
		}
	}
	return all
}
