package project

import (
	"context"
	"fmt"
	"slices"
	"strings"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/loam-cloud/loam/garden/authorization/projects"
	"github.com/loam-cloud/loam/garden/authorization/roles"
)

const (
	// Names of what holds for one Project begin so; its name follows.
	ownerPrefix     = "gardener.cloud:system:project:"
	memberPrefix    = "gardener.cloud:system:project-member:"
	viewerPrefix    = "gardener.cloud:system:project-viewer:"
	uamPrefix       = "gardener.cloud:system:project-uam:"
	extensionPrefix = "gardener.cloud:extension:project:"

	// extensionLabel on a ClusterRole adds it to the extension role in its value.
	extensionLabel = "rbac.gardener.cloud/aggregate-to-extension-role"
	// extensionRole marks the roles that are made for extension roles.
	extensionRole = "extension-project-role"
)

// access is who has which role in a Project, each subject once.
type access struct {
	owners, admins, viewers, accessManagers, accountManagers []rbacv1.Subject
	extensions                                               map[string][]rbacv1.Subject
}

// accessOf reads it from a Project. The owner is an admin and manages service
// accounts without being a member.
func accessOf(project *gardencorev1beta1.Project) access {
	a := access{extensions: map[string][]rbacv1.Subject{}}
	if owner := project.Spec.Owner; owner != nil {
		a.owners, a.admins, a.accountManagers = []rbacv1.Subject{*owner}, []rbacv1.Subject{*owner}, []rbacv1.Subject{*owner}
	}
	for _, member := range project.Spec.Members {
		for _, role := range append([]string{member.Role}, member.Roles...) {
			switch role {
			case gardencorev1beta1.ProjectMemberOwner:
				add(&a.owners, member.Subject)
				add(&a.admins, member.Subject)
				add(&a.accountManagers, member.Subject)
			case gardencorev1beta1.ProjectMemberAdmin:
				add(&a.admins, member.Subject)
			case gardencorev1beta1.ProjectMemberViewer:
				add(&a.viewers, member.Subject)
			case gardencorev1beta1.ProjectMemberUserAccessManager:
				add(&a.accessManagers, member.Subject)
			case gardencorev1beta1.ProjectMemberServiceAccountManager:
				add(&a.accountManagers, member.Subject)
			default:
				if name, found := strings.CutPrefix(role, gardencorev1beta1.ProjectMemberExtensionPrefix); found {
					subjects := a.extensions[name]
					add(&subjects, member.Subject)
					a.extensions[name] = subjects
				}
			}
		}
	}
	return a
}

func add(subjects *[]rbacv1.Subject, subject rbacv1.Subject) {
	if !slices.Contains(*subjects, subject) {
		*subjects = append(*subjects, subject)
	}
}

// ensureAccess writes the roles of the Project and removes those of extension
// roles that nobody has any more.
func (r *Reconciler) ensureAccess(ctx context.Context, project *gardencorev1beta1.Project, namespace string) error {
	a := accessOf(project)
	for _, role := range []struct {
		prefix   string
		subjects []rbacv1.Subject
		verbs    []string
	}{
		{ownerPrefix, a.owners, []string{"get", "update", "patch", "delete", projects.ManageMembers}},
		{memberPrefix, a.admins, []string{"get", "update", "patch", "delete"}},
		{viewerPrefix, a.viewers, []string{"get"}},
		{uamPrefix, a.accessManagers, []string{"get", "update", "patch", projects.ManageMembers}},
	} {
		name := role.prefix + project.Name
		rules := []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"namespaces"}, ResourceNames: []string{namespace}, Verbs: []string{"get"}},
			{APIGroups: []string{gardencorev1beta1.GroupName}, Resources: []string{"projects"}, ResourceNames: []string{project.Name}, Verbs: role.verbs},
		}
		if err := r.ensureClusterRole(ctx, project, name, nil, func(role *rbacv1.ClusterRole) { role.Rules, role.AggregationRule = rules, nil }); err != nil {
			return err
		}
		if err := r.ensureBinding(ctx, project, clusterGrant(name), role.subjects, nil); err != nil {
			return err
		}
	}
	for name, subjects := range map[string][]rbacv1.Subject{
		roles.ProjectMember: a.admins, roles.ProjectViewer: a.viewers, roles.ProjectServiceAccountManager: a.accountManagers,
	} {
		if err := r.ensureBinding(ctx, project, namespaceGrant(namespace, name), subjects, nil); err != nil {
			return err
		}
	}
	return r.ensureExtensions(ctx, project, namespace, a.extensions)
}

func (r *Reconciler) ensureExtensions(ctx context.Context, project *gardencorev1beta1.Project, namespace string, extensions map[string][]rbacv1.Subject) error {
	mine := map[string]string{v1beta1constants.GardenRole: extensionRole, v1beta1constants.ProjectName: project.Name}
	wanted := map[string]bool{}
	for extension, subjects := range extensions {
		name := extensionPrefix + project.Name + ":" + extension
		wanted[name] = true
		if err := r.ensureClusterRole(ctx, project, name, mine, func(role *rbacv1.ClusterRole) {
			// Its rules are the aggregation's.
			role.AggregationRule = &rbacv1.AggregationRule{ClusterRoleSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{extensionLabel: extension}}}}
		}); err != nil {
			return err
		}
		if err := r.ensureBinding(ctx, project, namespaceGrant(namespace, name), subjects, mine); err != nil {
			return err
		}
	}
	var bindings rbacv1.RoleBindingList
	if err := r.Client.List(ctx, &bindings, client.InNamespace(namespace), client.MatchingLabels(mine)); err != nil {
		return fmt.Errorf("listing bindings of extension roles: %w", err)
	}
	var clusterRoles rbacv1.ClusterRoleList
	if err := r.Client.List(ctx, &clusterRoles, client.MatchingLabels(mine)); err != nil {
		return fmt.Errorf("listing extension roles: %w", err)
	}
	var stale []client.Object
	for i := range bindings.Items {
		stale = append(stale, &bindings.Items[i])
	}
	for i := range clusterRoles.Items {
		stale = append(stale, &clusterRoles.Items[i])
	}
	for _, object := range stale {
		if wanted[object.GetName()] {
			continue
		}
		if err := client.IgnoreNotFound(r.Client.Delete(ctx, object)); err != nil {
			return fmt.Errorf("removing %T %q: %w", object, object.GetName(), err)
		}
	}
	return nil
}

func (r *Reconciler) ensureClusterRole(ctx context.Context, project *gardencorev1beta1.Project, name string, labels map[string]string, change func(*rbacv1.ClusterRole)) error {
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := controllerutil.CreateOrPatch(ctx, r.Client, role, func() error {
		change(role)
		role.Labels = merged(role.Labels, labels)
		return r.own(project, role)
	}); err != nil {
		return fmt.Errorf("writing role %q: %w", name, err)
	}
	return nil
}

// grant is a binding of either kind that is wanted: to the ClusterRole of its own
// name.
type grant struct {
	binding  client.Object
	ref      *rbacv1.RoleRef
	subjects *[]rbacv1.Subject
}

func clusterGrant(name string) grant {
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}}
	return grant{binding, &binding.RoleRef, &binding.Subjects}
}

func namespaceGrant(namespace, name string) grant {
	binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	return grant{binding, &binding.RoleRef, &binding.Subjects}
}

// ensureBinding keeps a binding with the given subjects. One that leads to another
// role is removed first: Kubernetes does not let that be changed.
func (r *Reconciler) ensureBinding(ctx context.Context, project *gardencorev1beta1.Project, g grant, subjects []rbacv1.Subject, labels map[string]string) error {
	name, namespace := g.binding.GetName(), g.binding.GetNamespace()
	wanted := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}
	err := r.Client.Get(ctx, client.ObjectKeyFromObject(g.binding), g.binding)
	if err == nil && *g.ref != wanted {
		if err = client.IgnoreNotFound(r.Client.Delete(ctx, g.binding)); err == nil {
			if namespace == "" {
				g = clusterGrant(name)
			} else {
				g = namespaceGrant(namespace, name)
			}
		}
	}
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading %T %q: %w", g.binding, name, err)
	}
	if _, err := controllerutil.CreateOrPatch(ctx, r.Client, g.binding, func() error {
		*g.ref, *g.subjects = wanted, subjects
		g.binding.SetLabels(merged(g.binding.GetLabels(), labels))
		return r.own(project, g.binding)
	}); err != nil {
		return fmt.Errorf("writing %T %q: %w", g.binding, name, err)
	}
	return nil
}
