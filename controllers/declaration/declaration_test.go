package declaration_test

import (
	"reflect"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/loam-cloud/loam/controllers/declaration"
)

// TestRules wants the rights of several controllers put together by group and
// verbs.
func TestRules(t *testing.T) {
	got := declaration.Rules(
		declaration.Declaration{
			Controller: "one",
			Reads:      []declaration.Read{{Resource: "shoots.core.gardener.cloud"}, {Resource: "secrets", MetadataOnly: true}},
			Writes:     []declaration.Write{{Resource: "shoots.core.gardener.cloud/status", Verbs: []string{"patch"}}, declaration.Events()},
		},
		declaration.Declaration{
			Controller: "two",
			Reads:      []declaration.Read{{Resource: "configmaps"}, {Resource: "shoots.core.gardener.cloud"}},
			Writes: []declaration.Write{
				{Resource: "signers.certificates.k8s.io", Verbs: []string{"approve"}, Names: []string{"one"}},
				{Resource: "secrets", Verbs: []string{"patch"}},
			},
		},
	)
	rule := func(group, resource string, verbs ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs}
	}
	want := []rbacv1.PolicyRule{
		rule("", "secrets", "get", "list", "patch", "watch"),
		rule("", "configmaps", "get", "list", "watch"),
		rule("core.gardener.cloud", "shoots", "get", "list", "watch"),
		rule("core.gardener.cloud", "shoots/status", "patch"),
		rule("events.k8s.io", "events", "create", "patch"),
		{APIGroups: []string{"certificates.k8s.io"}, Resources: []string{"signers"}, ResourceNames: []string{"one"}, Verbs: []string{"approve"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
