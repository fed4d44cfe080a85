package project

import (
	"context"
	"fmt"
	"slices"
	"strings"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
		binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if err := r.ensureBinding(ctx, project, binding, &binding.RoleRef, &binding.Subjects, name, role.subjects, nil); err != nil {
			return err
		}
	}
	for name, subjects := range map[string][]rbacv1.Subject{
		roles.ProjectMember: a.admins, roles.ProjectViewer: a.viewers, roles.ProjectServiceAccountManager: a.accountManagers,
	} {
		binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
		if err := r.ensureBinding(ctx, project, binding, &binding.RoleRef, &binding.Subjects, name, subjects, nil); err != nil {
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
		binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
		if err := r.ensureBinding(ctx, project, binding, &binding.RoleRef, &binding.Subjects, name, subjects, mine); err != nil {
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

// ensureBinding keeps a binding of either kind, whose reference and subjects are
// given. One that leads to another role is made anew: Kubernetes does not let it
// be changed.
func (r *Reconciler) ensureBinding(ctx context.Context, project *gardencorev1beta1.Project, binding client.Object, ref *rbacv1.RoleRef, have *[]rbacv1.Subject, role string, subjects []rbacv1.Subject, labels map[string]string) error {
	name, namespace := binding.GetName(), binding.GetNamespace()
	wanted := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role}
	err := r.Client.Get(ctx, client.ObjectKeyFromObject(binding), binding)
	if err == nil && *ref != wanted {
		if err := client.IgnoreNotFound(r.Client.Delete(ctx, binding)); err != nil {
			return fmt.Errorf("removing %T %q: %w", binding, name, err)
		}
		err = apierrors.NewNotFound(rbacv1.Resource("rolebindings"), name)
	}
	missing := apierrors.IsNotFound(err)
	if err != nil && !missing {
		return fmt.Errorf("reading %T %q: %w", binding, name, err)
	}
	if missing {
		binding.SetResourceVersion("")
		binding.SetUID("")
		binding.SetName(name)
		binding.SetNamespace(namespace)
	}
	base, ok := binding.DeepCopyObject().(client.Object)
	if !ok {
		return fmt.Errorf("a %T is no object", binding)
	}
	*ref, *have = wanted, subjects
	binding.SetLabels(merged(binding.GetLabels(), labels))
	if err := r.own(project, binding); err != nil {
		return err
	}
	switch {
	case missing:
		err = r.Client.Create(ctx, binding)
	case !equality.Semantic.DeepEqual(base, binding):
		err = r.Client.Patch(ctx, binding, client.MergeFrom(base))
	}
	if err != nil {
		return fmt.Errorf("writing %T %q: %w", binding, name, err)
	}
	return nil
}
