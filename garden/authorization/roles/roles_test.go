package roles_test

import (
	"os"
	"slices"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/garden/authorization/roles"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

// TestEnsure changes what the start has made: what is changed is put right,
// what is somebody's by hand stays.
func TestEnsure(t *testing.T) {
	c := gardentest.Client(t)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	versions := func() map[string]string {
		all := map[string]string{}
		for _, role := range roles.ClusterRoles() {
			must(c.Get(ctx, client.ObjectKeyFromObject(role), role))
			all[role.Name] = role.ResourceVersion
		}
		for _, binding := range roles.Bindings() {
			must(c.Get(ctx, client.ObjectKeyFromObject(binding), binding))
			all["binding "+binding.Name] = binding.ResourceVersion
		}
		return all
	}
	before := versions()
	must(roles.Ensure(ctx, c))
	for name, version := range versions() {
		if before[name] != version {
			t.Errorf("%s was written again", name)
		}
	}

	changed, byHand := &rbacv1.ClusterRole{}, &rbacv1.ClusterRole{}
	must(c.Get(ctx, client.ObjectKey{Name: roles.ProjectServiceAccountManager}, changed))
	must(c.Get(ctx, client.ObjectKey{Name: roles.ProjectCreation}, byHand))
	changed.Rules = nil
	byHand.Rules = nil
	metav1.SetMetaDataAnnotation(&byHand.ObjectMeta, "rbac.authorization.kubernetes.io/autoupdate", "false")
	must(c.Update(ctx, changed))
	must(c.Update(ctx, byHand))
	must(roles.Ensure(ctx, c))
	must(c.Get(ctx, client.ObjectKeyFromObject(changed), changed))
	must(c.Get(ctx, client.ObjectKeyFromObject(byHand), byHand))
	if len(changed.Rules) == 0 || len(byHand.Rules) > 0 {
		t.Errorf("rules are %v and, by hand, %v", changed.Rules, byHand.Rules)
	}
}

// TestAggregation adds a kind to what members may do, as an extension does.
func TestAggregation(t *testing.T) {
	c := gardentest.Client(t)
	ctx := t.Context()
	rule := rbacv1.PolicyRule{APIGroups: []string{"tuning.example.org"}, Resources: []string{"knobs"}, Verbs: []string{"get"}}
	extension := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "knobs", Labels: map[string]string{"rbac.gardener.cloud/aggregate-to-project-member": "true"}},
		Rules:      []rbacv1.PolicyRule{rule},
	}
	if err := c.Create(ctx, extension); err != nil {
		t.Fatal(err)
	}
	knows := func(name string, wanted rbacv1.PolicyRule) bool {
		role := &rbacv1.ClusterRole{}
		if err := c.Get(ctx, client.ObjectKey{Name: name}, role); err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(role.Rules, func(r rbacv1.PolicyRule) bool {
			return slices.Equal(r.APIGroups, wanted.APIGroups) && slices.Equal(r.Resources, wanted.Resources)
		})
	}
	for end := time.Now().Add(30 * time.Second); !knows(roles.ProjectMember, rule); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("members may not do what was added")
		}
	}
	if knows(roles.ProjectViewer, rule) {
		t.Error("viewers may do what was added for members")
	}
}
