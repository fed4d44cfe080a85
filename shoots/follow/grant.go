package follow

import (
	"context"
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
)

// Group is that of followers in clusters.
const Group = "loam:ports"

// Grant lets followers see what they need in a cluster, and write the status of
// its services.
func Grant(ctx context.Context, api client.Client) error {
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: Group}}
	if _, err := controllerutil.CreateOrPatch(ctx, api, role, func() error {
		read := []string{"get", "list", "watch"}
		role.Rules = []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"services", "nodes"}, Verbs: read},
			{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: read},
			{APIGroups: []string{""}, Resources: []string{"services/status"}, Verbs: []string{"patch"}},
		}
		return nil
	}); err != nil {
		return fmt.Errorf("granting sight of services: %w", err)
	}
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: Group}}
	if _, err := controllerutil.CreateOrPatch(ctx, api, binding, func() error {
		binding.Subjects = []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: Group}}
		binding.RoleRef = rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: Group}
		return nil
	}); err != nil {
		return fmt.Errorf("granting sight of services: %w", err)
	}
	return nil
}
