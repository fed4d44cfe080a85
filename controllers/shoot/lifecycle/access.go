package lifecycle

import (
	"context"
	"errors"
	"fmt"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/shoots"
)

// The garden answers requests for kubeconfigs of a cluster from three things
// that have Gardener's names: who signs clients, who signed the server, and where
// it is.
const (
	clientAuthoritySuffix  = ".ca-client"
	clusterAuthoritySuffix = ".ca-cluster"
	// addressName is that of the address that users are to take.
	addressName = "external"
)

func (o *operationRun) clientAuthority() *gardencorev1beta1.InternalSecret {
	return &gardencorev1beta1.InternalSecret{ObjectMeta: o.owned(o.shoot.Name + clientAuthoritySuffix)}
}

func (o *operationRun) clusterAuthority() *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: o.owned(o.shoot.Name + clusterAuthoritySuffix)}
}

// publishAccess lets the garden make kubeconfigs for the cluster.
func (o *operationRun) publishAccess(ctx context.Context, flow *shoots.Flow, cluster shoots.Cluster, authorities shoots.Authorities) error {
	server, err := flow.Endpoint(ctx, cluster)
	if errors.Is(err, fault.Missing) {
		return nil // nothing to reach yet
	}
	if err != nil {
		return err
	}
	secret, config := o.clientAuthority(), o.clusterAuthority()
	if _, err := controllerutil.CreateOrPatch(ctx, o.Client, secret, func() error {
		o.label(&secret.ObjectMeta, v1beta1constants.GardenRoleCAClient)
		secret.Data = map[string][]byte{"ca.crt": authorities["ca.crt"], "ca.key": authorities["ca.key"]}
		return nil
	}); err != nil {
		return fmt.Errorf("publishing the authority of clients: %w", fault.Wrap(fault.Transient, err))
	}
	if _, err := controllerutil.CreateOrPatch(ctx, o.Client, config, func() error {
		o.label(&config.ObjectMeta, v1beta1constants.GardenRoleCACluster)
		config.Data = map[string]string{"ca.crt": string(authorities["ca.crt"])}
		return nil
	}); err != nil {
		return fmt.Errorf("publishing the cluster's authority: %w", fault.Wrap(fault.Transient, err))
	}
	return o.write(ctx, func(s *gardencorev1beta1.ShootStatus) {
		s.AdvertisedAddresses = []gardencorev1beta1.ShootAdvertisedAddress{{Name: addressName, URL: server}}
	})
}

func (o *operationRun) label(object *metav1.ObjectMeta, role string) {
	object.OwnerReferences = o.owned("").OwnerReferences
	metav1.SetMetaDataLabel(object, v1beta1constants.GardenRole, role)
	metav1.SetMetaDataLabel(object, v1beta1constants.LabelShootName, o.shoot.Name)
}

// grantAccess gives the groups in those kubeconfigs their rights in the cluster.
func (o *operationRun) grantAccess(ctx context.Context, flow *shoots.Flow, cluster shoots.Cluster, authorities shoots.Authorities) error {
	api, err := flow.Connection(ctx, cluster, authorities)
	if err != nil {
		return err
	}
	defer api.Close()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: v1beta1constants.ShootReadOnlyClusterRoleName}}
	if _, err := controllerutil.CreateOrPatch(ctx, api, role, func() error {
		role.Rules = readOnly()
		return nil
	}); err != nil {
		return fmt.Errorf("granting access to the cluster: %w", fault.Wrap(fault.Transient, err))
	}
	for _, grant := range []struct{ name, role string }{
		{v1beta1constants.ShootSystemAdminsGroupName, "cluster-admin"},
		{v1beta1constants.ShootProjectAdminsGroupName, "cluster-admin"},
		{v1beta1constants.ShootSystemViewersGroupName, role.Name},
		{v1beta1constants.ShootProjectViewersGroupName, role.Name},
	} {
		if err := bind(ctx, api, grant.name, grant.role); err != nil {
			return fmt.Errorf("granting access to the cluster: %w", fault.Wrap(fault.Transient, err))
		}
	}
	return nil
}

// bind keeps a binding of a role to a group, with the group's name.
func bind(ctx context.Context, api client.Client, group, role string) error {
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: group}}
	_, err := controllerutil.CreateOrPatch(ctx, api, binding, func() error {
		binding.Subjects = []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: group}}
		binding.RoleRef = rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role}
		return nil
	})
	return err
}

// readOnly is everything that Kubernetes itself serves but Secrets and what
// would give more than sight: pods/exec and the like are not read. Custom
// resources are not in it, because some hold secrets: who defines them can
// aggregate them into roles of their own.
func readOnly() []rbacv1.PolicyRule {
	read := []string{"get", "list", "watch"}
	everything := []string{rbacv1.ResourceAll}
	return []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Verbs: read, Resources: []string{
			"bindings", "componentstatuses", "configmaps", "endpoints", "events", "limitranges", "namespaces", "namespaces/status",
			"nodes", "nodes/status", "persistentvolumeclaims", "persistentvolumeclaims/status", "persistentvolumes", "persistentvolumes/status",
			"pods", "pods/log", "pods/status", "podtemplates", "replicationcontrollers", "replicationcontrollers/scale", "replicationcontrollers/status",
			"resourcequotas", "resourcequotas/status", "serviceaccounts", "services", "services/status",
		}},
		{APIGroups: []string{
			"admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "apps", "autoscaling", "batch",
			"certificates.k8s.io", "coordination.k8s.io", "discovery.k8s.io", "events.k8s.io", "flowcontrol.apiserver.k8s.io",
			"metrics.k8s.io", "networking.k8s.io", "node.k8s.io", "policy", "rbac.authorization.k8s.io", "resource.k8s.io",
			"scheduling.k8s.io", "snapshot.storage.k8s.io", "storage.k8s.io",
		}, Resources: everything, Verbs: read},
		{NonResourceURLs: []string{"/healthz", "/healthz/*", "/livez", "/livez/*", "/readyz", "/readyz/*", "/metrics", "/version"}, Verbs: []string{"get"}},
	}
}
