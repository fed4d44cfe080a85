// Package roles is the table of cluster roles that every garden has: what
// members of projects may do, what everybody may read, what administrators and
// agents without a certificate may.
//
// The garden puts them in place at its start, the aggregated API server the
// same. Who has the roles of a project is the project controller's to write; it
// must not know projects.
package roles

import (
	"context"
	"fmt"
	"maps"

	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/garden/access/identity"
)

// Names of the roles that are bound in the namespaces of projects.
const (
	ProjectMember                = "gardener.cloud:system:project-member"
	ProjectViewer                = "gardener.cloud:system:project-viewer"
	ProjectServiceAccountManager = "gardener.cloud:system:project-serviceaccountmanager"
)

const (
	// Administrators is bound to nobody: an operator binds it to whom it trusts.
	Administrators = v1beta1constants.ClusterRoleNameGardenerAdministrators
	// ProjectCreation lets its subjects create projects; it is bound to nobody.
	ProjectCreation = "gardener.cloud:system:project-creation"
	readGlobal      = "gardener.cloud:system:read-global-resources"
	discovery       = "loam.dev:workload-identity-issuer-discovery"
	bootstrappers   = "gardener.cloud:system:seed-bootstrapper"

	// Roles with these labels and the value "true" are added to the roles of
	// members and viewers, so that who adds kinds can open them to projects.
	aggregateToMember = v1beta1constants.LabelKeyAggregateToProjectMember
	aggregateToViewer = "rbac.gardener.cloud/aggregate-to-project-viewer"

	// keptByHand on a role is Kubernetes' word for "do not put this one right".
	keptByHand = "rbac.authorization.kubernetes.io/autoupdate"
)

const (
	groupCore           = "core.gardener.cloud"
	groupSecurity       = "security.gardener.cloud"
	groupOperations     = "operations.gardener.cloud"
	groupSeedManagement = "seedmanagement.gardener.cloud"
	groupLoam           = "loam.dev"
	groupRBAC           = rbacv1.GroupName
)

func read() []string { return []string{"get", "list", "watch"} }

func write() []string {
	return []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"}
}

func rule(group string, verbs []string, resources ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: verbs}
}

// ClusterRoles returns all of them.
func ClusterRoles() []*rbacv1.ClusterRole {
	role := func(name string, labels map[string]string, rules ...rbacv1.PolicyRule) *rbacv1.ClusterRole {
		return &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, Rules: rules}
	}
	aggregated := func(name, label string) *rbacv1.ClusterRole {
		return &rbacv1.ClusterRole{
			ObjectMeta:      metav1.ObjectMeta{Name: name},
			AggregationRule: &rbacv1.AggregationRule{ClusterRoleSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{label: "true"}}}},
		}
	}
	return []*rbacv1.ClusterRole{
		role(Administrators, nil, administratorRules()...),
		role(readGlobal, nil, rule(groupCore, read(), "cloudprofiles", "exposureclasses", "seeds")),
		role(ProjectCreation, nil, rule(groupCore, []string{"create"}, "projects")),
		role(bootstrappers, nil,
			rule("certificates.k8s.io", []string{"create", "get", "list", "watch"}, "certificatesigningrequests"),
			rule("certificates.k8s.io", []string{"create"}, "certificatesigningrequests/seedclient"),
		),
		{ObjectMeta: metav1.ObjectMeta{Name: discovery}, Rules: []rbacv1.PolicyRule{{
			NonResourceURLs: []string{identity.ConfigurationPath, identity.KeysPath}, Verbs: []string{"get"},
		}}},
		aggregated(ProjectMember, aggregateToMember),
		role(ProjectMember+"-base", map[string]string{aggregateToMember: "true"}, memberRules()...),
		aggregated(ProjectViewer, aggregateToViewer),
		role(ProjectViewer+"-base", map[string]string{aggregateToViewer: "true"}, viewerRules()...),
		role(ProjectServiceAccountManager, nil,
			rule("", write(), "serviceaccounts"), rule("", []string{"create"}, "serviceaccounts/token"),
		),
	}
}

func administratorRules() []rbacv1.PolicyRule {
	everything := []string{rbacv1.VerbAll}
	return []rbacv1.PolicyRule{
		{
			APIGroups: []string{groupCore, groupSecurity, groupOperations, groupSeedManagement, groupLoam},
			Resources: []string{rbacv1.ResourceAll}, Verbs: everything,
		},
		rule("", everything, "configmaps", "events", "limitranges", "namespaces", "resourcequotas", "secrets", "serviceaccounts", "serviceaccounts/token"),
		rule(groupRBAC, everything, "clusterroles", "clusterrolebindings", "roles", "rolebindings"),
		rule("certificates.k8s.io", everything, "certificatesigningrequests", "certificatesigningrequests/approval", "certificatesigningrequests/seedclient"),
		{APIGroups: []string{"certificates.k8s.io"}, Resources: []string{"signers"}, ResourceNames: []string{"kubernetes.io/kube-apiserver-client"}, Verbs: []string{"approve"}},
		rule("coordination.k8s.io", everything, "leases"),
		rule("apiextensions.k8s.io", everything, "customresourcedefinitions"),
		rule("admissionregistration.k8s.io", everything, rbacv1.ResourceAll),
		rule("apiregistration.k8s.io", everything, "apiservices"),
		rule("events.k8s.io", everything, "events"),
	}
}

// memberRules hold in a project's namespace. InternalSecrets and ShootStates are
// not among them: they hold the keys of clusters. Tokens of workload identities
// are for agents.
func memberRules() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{
		rule(groupCore, write(), "shoots", "secretbindings", "quotas"),
		rule(groupCore, []string{"create"}, "shoots/adminkubeconfig", "shoots/viewerkubeconfig"),
		rule(groupCore, read(), "namespacedcloudprofiles"),
		rule(groupSecurity, write(), "credentialsbindings", "workloadidentities"),
		rule(groupOperations, write(), "bastions"),
		rule("", write(), "secrets", "configmaps"),
		rule("", read(), "events", "resourcequotas", "serviceaccounts"),
		rule("events.k8s.io", read(), "events"),
		rule(groupRBAC, write(), "roles", "rolebindings"),
		rule(groupLoam, read(), "machines"),
	}
}

// viewerRules are what a member sees, without Secrets.
func viewerRules() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{
		rule(groupCore, read(), "shoots", "secretbindings", "quotas", "namespacedcloudprofiles"),
		rule(groupCore, []string{"create"}, "shoots/viewerkubeconfig"),
		rule(groupSecurity, read(), "credentialsbindings", "workloadidentities"),
		rule(groupOperations, read(), "bastions"),
		rule("", read(), "configmaps", "events", "resourcequotas", "serviceaccounts"),
		rule("events.k8s.io", read(), "events"),
		rule(groupRBAC, read(), "roles", "rolebindings"),
		rule(groupLoam, read(), "machines"),
	}
}

// Bindings returns the bindings that hold for whole groups.
func Bindings() []*rbacv1.ClusterRoleBinding {
	bind := func(role string, groups ...string) *rbacv1.ClusterRoleBinding {
		binding := &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: role},
			RoleRef:    rbacv1.RoleRef{APIGroup: groupRBAC, Kind: "ClusterRole", Name: role},
		}
		for _, group := range groups {
			binding.Subjects = append(binding.Subjects, rbacv1.Subject{APIGroup: groupRBAC, Kind: rbacv1.GroupKind, Name: group})
		}
		return binding
	}
	return []*rbacv1.ClusterRoleBinding{
		bind(readGlobal, "system:authenticated"),
		bind(bootstrappers, bootstrapapi.BootstrapDefaultGroup),
		bind(discovery, "system:authenticated", "system:unauthenticated"),
	}
}

// Ensure makes what is missing and puts right what was changed, except for
// objects whose annotation rbac.authorization.kubernetes.io/autoupdate is
// "false": those are somebody's by hand.
func Ensure(ctx context.Context, c client.Client) error {
	for _, role := range ClusterRoles() {
		have := &rbacv1.ClusterRole{}
		if err := ensure(ctx, c, role, have, func() bool {
			same := equality.Semantic.DeepEqual(have.AggregationRule, role.AggregationRule)
			if role.AggregationRule == nil { // else the rules are a controller's
				same = same && equality.Semantic.DeepEqual(have.Rules, role.Rules)
				have.Rules = role.Rules
			}
			have.AggregationRule = role.AggregationRule
			for key, value := range role.Labels {
				same = same && have.Labels[key] == value
			}
			if have.Labels == nil {
				have.Labels = map[string]string{}
			}
			maps.Copy(have.Labels, role.Labels)
			return same
		}); err != nil {
			return err
		}
	}
	for _, binding := range Bindings() {
		have := &rbacv1.ClusterRoleBinding{}
		if err := ensure(ctx, c, binding, have, func() bool {
			same := equality.Semantic.DeepEqual(have.Subjects, binding.Subjects)
			have.Subjects = binding.Subjects
			return same
		}); err != nil {
			return err
		}
	}
	return nil
}

// ensure reads have; mend brings it to what is wanted and tells whether it was so.
func ensure(ctx context.Context, c client.Client, wanted, have client.Object, mend func() bool) error {
	err := c.Get(ctx, client.ObjectKeyFromObject(wanted), have)
	if apierrors.IsNotFound(err) {
		if err = c.Create(ctx, wanted); apierrors.IsAlreadyExists(err) {
			return nil // another replica was faster, with the same
		}
	} else if err == nil && have.GetAnnotations()[keptByHand] != "false" && !mend() {
		err = c.Update(ctx, have)
	}
	if err != nil {
		return fmt.Errorf("ensuring %T %q: %w", wanted, wanted.GetName(), err)
	}
	return nil
}
