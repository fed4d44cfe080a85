// Package projects decides what an update of a Project may change: who may
// update it is RBAC's, but members and tolerations need a right of their own, so
// that an admin of a project does not make others admins.
//
// Both API servers put Restriction into their admission. It must not know roles.
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

// Verbs on a Project beyond Kubernetes' own.
const (
	// ManageMembers lets a user change the owner, and members who are people.
	ManageMembers = "manage-members"
	// ModifyTolerations lets a user change the whitelist of tolerations.
	ModifyTolerations = "modify-spec-tolerations-whitelist"
)

// Restriction asks for these verbs.
type Restriction struct{ authorizer authorizer.Authorizer }

// NewRestriction returns one that asks the given authorizer.
func NewRestriction(rights authorizer.Authorizer) *Restriction { return &Restriction{rights} }

var _ admission.ValidationInterface = (*Restriction)(nil)

// Handles implements admission.Interface.
func (r *Restriction) Handles(operation admission.Operation) bool {
	return operation == admission.Create || operation == admission.Update
}

// Validate implements admission.ValidationInterface.
func (r *Restriction) Validate(ctx context.Context, request admission.Attributes, _ admission.ObjectInterfaces) error {
	project, ok := request.GetObject().(*core.Project)
	if !ok || request.GetSubresource() != "" {
		return nil
	}
	before, exists := request.GetOldObject().(*core.Project)
	if !exists {
		// Whoever creates a project names its first members.
		before = &core.Project{Spec: core.ProjectSpec{Owner: project.Spec.Owner, Members: project.Spec.Members}}
	}
	if !apiequality.Semantic.DeepEqual(people(before), people(project)) {
		if err := r.require(ctx, request, ManageMembers, "spec.members and spec.owner"); err != nil {
			return err
		}
	}
	if !apiequality.Semantic.DeepEqual(whitelist(before), whitelist(project)) {
		return r.require(ctx, request, ModifyTolerations, "spec.tolerations.whitelist")
	}
	return nil
}

func (r *Restriction) require(ctx context.Context, request admission.Attributes, verb, what string) error {
	resource := request.GetResource()
	decision, _, err := r.authorizer.Authorize(ctx, authorizer.AttributesRecord{
		User: request.GetUserInfo(), Verb: verb, APIGroup: resource.Group, APIVersion: resource.Version, Resource: resource.Resource,
		Name: request.GetName(), ResourceRequest: true,
	})
	if decision == authorizer.DecisionAllow {
		return nil
	}
	if err != nil {
		return admission.NewForbidden(request, fmt.Errorf("asking for the right to change %s: %w", what, err))
	}
	return admission.NewForbidden(request, fmt.Errorf("changing %s needs verb %q on the project", what, verb))
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

func whitelist(project *core.Project) []core.Toleration {
	if project.Spec.Tolerations == nil {
		return nil
	}
	return project.Spec.Tolerations.Whitelist
}
