package cli

import (
	"bytes"
	"os"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/app"
)

// TestRoleOfTheManagerIsGenerated wants the manifests to grant what the
// controllers declare, no more and no less.
func TestRoleOfTheManagerIsGenerated(t *testing.T) {
	text, err := os.ReadFile("../deploy/controller-manager/zz_generated.role.yaml")
	if err != nil {
		t.Fatal(err)
	}
	have := &rbacv1.ClusterRole{}
	if err := yaml.UnmarshalStrict(text, have); err != nil {
		t.Fatal(err)
	}
	if want := managerRole(app.Declarations()); !equality.Semantic.DeepEqual(have, want) {
		t.Errorf("the role is not what the controllers declare: run make generate")
	}
}

func TestDebugControllers(t *testing.T) {
	for format, want := range map[string][]string{
		"":     {"CONTROLLER", "shoot.hibernation", "shoots.core.gardener.cloud/status"},
		"wide": {"secrets (metadata)", "shoots.core.gardener.cloud (patch): spec.hibernation.enabled"},
		"json": {`"controller": "shoot.hibernation"`, `"metadataOnly": true`},
		"yaml": {"controller: shoot.hibernation"},
	} {
		out := &bytes.Buffer{}
		cmd := New()
		cmd.SetOut(out)
		cmd.SetArgs([]string{"debug", "controllers", "-o", format})
		if err := cmd.Execute(); err != nil {
			t.Fatal(err)
		}
		for _, text := range want {
			if !strings.Contains(out.String(), text) {
				t.Errorf("-o %q does not say %q", format, text)
			}
		}
	}
}

// TestEveryControllerDeclares what it reads: nothing runs without.
func TestEveryControllerDeclares(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range app.Declarations() {
		if d.Controller == "" || len(d.Reads) == 0 || seen[d.Controller] {
			t.Errorf("controller %q reads %v, seen before: %v", d.Controller, d.Reads, seen[d.Controller])
		}
		seen[d.Controller] = true
	}
}
