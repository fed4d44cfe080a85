package projects

import (
	"slices"
	"strings"

	"github.com/gardener/gardener/pkg/apis/core"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"

	"github.com/loam-cloud/loam/garden/validation/internal/check"
)

// extensionRoleLimit keeps names of roles that are made for an extension role
// within what RBAC takes.
const extensionRoleLimit = 20

// KeepOwner makes the owner a member with the owner's role, and nobody else: by
// the present API the owner is changed in spec.owner only. A former owner stays
// a member with the other roles, or as an admin.
func KeepOwner(project, old *core.Project) {
	owner := project.Spec.Owner
	if owner == nil {
		return
	}
	if old != nil && old.Spec.Owner != nil && *old.Spec.Owner != *owner {
		for i := range project.Spec.Members {
			if member := &project.Spec.Members[i]; member.Subject == *old.Spec.Owner {
				dropOwnerRole(member)
			}
		}
	}
	at := slices.IndexFunc(project.Spec.Members, func(m core.ProjectMember) bool { return m.Subject == *owner })
	switch {
	case at < 0:
		project.Spec.Members = append(project.Spec.Members, core.ProjectMember{
			Subject: *owner, Roles: []string{core.ProjectMemberAdmin, core.ProjectMemberOwner},
		})
	case !slices.Contains(project.Spec.Members[at].Roles, core.ProjectMemberOwner):
		member := &project.Spec.Members[at]
		member.Roles = append(slices.Clone(member.Roles), core.ProjectMemberOwner)
	}
}

func dropOwnerRole(member *core.ProjectMember) {
	member.Roles = slices.DeleteFunc(slices.Clone(member.Roles), func(role string) bool { return role == core.ProjectMemberOwner })
	if len(member.Roles) == 0 {
		member.Roles = []string{core.ProjectMemberAdmin}
	}
}

func members(path *field.Path, spec *core.ProjectSpec) field.ErrorList {
	var errs field.ErrorList
	for i, member := range spec.Members {
		path := path.Index(i)
		// What is wrong with the owner is told at spec.owner: the member may have
		// been added for it.
		if spec.Owner == nil || member.Subject != *spec.Owner {
			errs = append(errs, subject(path, member.Subject)...)
		}
		roles := path.Child("roles")
		if len(member.Roles) == 0 {
			errs = append(errs, field.Required(roles, "say what the member may do: "+strings.Join(knownRoles(), ", ")))
		}
		for j, role := range member.Roles {
			errs = append(errs, memberRole(roles.Index(j), role)...)
			if role == core.ProjectMemberOwner && (spec.Owner == nil || member.Subject != *spec.Owner) {
				errs = append(errs, field.Forbidden(roles.Index(j), "only the owner has this role: spec.owner names who that is"))
			}
		}
		errs = append(errs, check.UniqueStrings(roles, member.Roles)...)
	}
	return append(errs, check.Unique(path, "", spec.Members, func(m core.ProjectMember) rbacv1.Subject { return canonical(m.Subject) })...)
}

func knownRoles() []string {
	return []string{
		core.ProjectMemberOwner, core.ProjectMemberAdmin, core.ProjectMemberViewer,
		core.ProjectMemberUserAccessManager, core.ProjectMemberServiceAccountManager,
	}
}

func memberRole(path *field.Path, role string) field.ErrorList {
	name, extension := strings.CutPrefix(role, core.ProjectMemberExtensionPrefix)
	if !extension {
		return check.OneOf(path, role, append(knownRoles(), core.ProjectMemberExtensionPrefix+"<name>")...)
	}
	errs := check.DNSLabel(path, name)
	if len(name) > extensionRoleLimit {
		errs = append(errs, field.TooLong(path, role, len(core.ProjectMemberExtensionPrefix)+extensionRoleLimit))
	}
	return errs
}

// canonical brings both ways to name a service account to one.
func canonical(subject rbacv1.Subject) rbacv1.Subject {
	if subject.Kind == rbacv1.UserKind {
		if namespace, name, err := serviceaccount.SplitUsername(subject.Name); err == nil {
			return rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}
		}
	}
	return subject
}

func subject(path *field.Path, subject rbacv1.Subject) field.ErrorList {
	errs := check.Required(path.Child("name"), subject.Name, "says who it is")
	group := rbacv1.GroupName
	switch subject.Kind {
	case rbacv1.ServiceAccountKind:
		group = ""
		if subject.Namespace == "" {
			errs = append(errs, field.Required(path.Child("namespace"), "is where the service account lives"))
		} else {
			errs = append(errs, check.DNSLabel(path.Child("namespace"), subject.Namespace)...)
		}
	case rbacv1.UserKind, rbacv1.GroupKind:
	default:
		return append(errs, field.NotSupported(path.Child("kind"), subject.Kind, []string{rbacv1.UserKind, rbacv1.GroupKind, rbacv1.ServiceAccountKind}))
	}
	return append(errs, check.OneOf(path.Child("apiGroup"), subject.APIGroup, group)...)
}
