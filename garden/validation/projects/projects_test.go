package projects_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gardener/gardener/pkg/apis/core"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/garden/validation/projects"
)

func user(name string) rbacv1.Subject {
	return rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}
}

func member(name string, roles ...string) core.ProjectMember {
	return core.ProjectMember{Subject: user(name), Roles: roles}
}

func project(owner string, members ...core.ProjectMember) *core.Project {
	return &core.Project{Spec: core.ProjectSpec{Owner: ptr.To(user(owner)), Members: members}}
}

func TestKeepOwner(t *testing.T) {
	for name, test := range map[string]struct {
		project, old *core.Project
		want         string
	}{
		"nobody else":                        {project("ada"), nil, "ada: admin owner"},
		"a member already":                   {project("ada", member("ada", "viewer"), member("bob", "admin")), nil, "ada: viewer owner, bob: admin"},
		"the owner already":                  {project("ada", member("ada", "owner")), nil, "ada: owner"},
		"another one":                        {project("bob", member("ada", "admin", "owner")), project("ada"), "ada: admin, bob: admin owner"},
		"another one, who is a member":       {project("bob", member("bob", "uam"), member("ada", "owner")), project("ada"), "bob: uam owner, ada: admin"},
		"another one, the former taken out":  {project("bob"), project("ada", member("ada", "owner")), "bob: admin owner"},
		"a role that somebody else took":     {project("ada", member("eve", "owner")), project("ada"), "eve: owner, ada: admin owner"},
		"a role that is given with the name": {project("bob", member("ada", "owner"), member("bob", "owner")), project("ada"), "ada: admin, bob: owner"},
	} {
		t.Run(name, func(t *testing.T) {
			projects.KeepOwner(test.project, test.old)
			var members []string
			for _, m := range test.project.Spec.Members {
				members = append(members, m.Name+": "+strings.Join(m.Roles, " "))
			}
			if got := strings.Join(members, ", "); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			projects.KeepOwner(test.project, test.project)
			if again := len(test.project.Spec.Members); again != len(members) {
				t.Errorf("a second time there are %d members", again)
			}
		})
	}
	without := &core.Project{}
	projects.KeepOwner(without, nil)
	if len(without.Spec.Members) > 0 {
		t.Errorf("without an owner: %v", without.Spec.Members)
	}
}

// TestAWrongOwnerIsToldOnce wants the problem where the user wrote the owner, not at
// the member that was added for it.
func TestAWrongOwnerIsToldOnce(t *testing.T) {
	p := project("ada")
	p.Spec.Owner.Kind = "Robot"
	projects.KeepOwner(p, nil)
	errs := projects.Validate(p, nil, projects.Facts{})
	if len(errs) != 1 || errs[0].Field != "spec.owner.kind" {
		t.Errorf("got %v", errs)
	}
}

func TestDescriptions(t *testing.T) {
	for text, good := range map[string]bool{
		"Äpfel & Birnen (50 % off), see #12: a@b.c!": true, "two\nlines": true, "": true, "価格": true,
		"<script>": false, "a`b`": false, "bell\a": false, "escape\x1b[31m": false,
	} {
		p := project("ada", member("ada", "owner"))
		p.Spec.Description = &text
		errs := projects.Validate(p, nil, projects.Facts{})
		if good != (len(errs) == 0) || !good && !strings.HasPrefix(errs[0].Error(), "spec.description") {
			t.Errorf("%q: got %v", text, errs)
		}
	}
}

func TestTolerationsAndWhitelist(t *testing.T) {
	key, value := core.Toleration{Key: "k"}, core.Toleration{Key: "k", Value: ptr.To("v")}
	for name, test := range map[string]struct {
		wanted, allowed core.Toleration
		good            bool
	}{
		"the same key":              {key, key, true},
		"the same value":            {value, value, true},
		"a value of any":            {value, key, true},
		"any where one is allowed":  {key, value, false},
		"another key":               {core.Toleration{Key: "other"}, key, false},
		"another value of that key": {core.Toleration{Key: "k", Value: ptr.To("w")}, value, false},
	} {
		p := project("ada", member("ada", "owner"))
		p.Spec.Tolerations = &core.ProjectTolerations{Defaults: []core.Toleration{test.wanted}, Whitelist: []core.Toleration{test.allowed}}
		if errs := projects.Validate(p, nil, projects.Facts{}); test.good != (len(errs) == 0) {
			t.Errorf("%s: got %v", name, errs)
		}
	}
}

func TestName(t *testing.T) {
	for name, good := range map[string]bool{
		"fruit": true, strings.Repeat("a", 53): true, strings.Repeat("a", 54): false, "a--b": false, "a.b": false, "-a": false, "A": false,
	} {
		if errs := projects.Name(name, false); good != (len(errs) == 0) {
			t.Errorf("%s: %v", name, fmt.Sprint(errs))
		}
	}
}
