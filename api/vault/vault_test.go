package vault_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/api/vault"
)

func TestEveryProblemOfAServerIsNamed(t *testing.T) {
	const login = "\nlogin: {token: {file: /t}}"
	for text, want := range map[string]string{
		"address: https://vault.example:8200" + login:                         "",
		"address: http://127.0.0.1:8200" + login:                              "",
		"address: http://[::1]:8200" + login:                                  "",
		"address: https://v/" + login:                                         "",
		"address: https://v\nlogin: {appRole: {roleID: a, secretIDFile: /b}}": "",
		"address: https://v\nlogin: {kubernetes: {role: a}}":                  "",
		login:                                   "vault.address",
		"address: http://vault.example" + login: "vault.address",
		"address: vault.example:8200" + login:   "vault.address",
		"address: https://u:hidden@v" + login:   "vault.address",
		"address: https://v/v1" + login:         "vault.address",
		"address: https://v\nlogin: {}":         "vault.login",
		"address: https://v\nlogin: {token: {file: /t}, kubernetes: {role: a}}":              "vault.login",
		"address: https://v\nlogin: {token: {}}":                                             "vault.login.token",
		"address: https://v\nlogin: {token: {file: /t, environment: T}}":                     "vault.login.token",
		"address: https://v\nlogin: {appRole: {secretIDFile: /b}}":                           "vault.login.appRole.roleID",
		"address: https://v\nlogin: {appRole: {roleID: a}}":                                  "vault.login.appRole.secretIDFile",
		"address: https://v\nlogin: {appRole: {roleID: a, secretIDFile: /b, mount: ../sys}}": "vault.login.appRole.mount",
		"address: https://v\nlogin: {kubernetes: {mount: a/}}":                               "vault.login.kubernetes.mount",
		"address: https://v\nlogin: {kubernetes: {}}":                                        "vault.login.kubernetes.role",
	} {
		var s vault.Server
		if err := yaml.UnmarshalStrict([]byte(text), &s); err != nil {
			t.Fatal(err)
		}
		expect(t, text, s.Validate(field.NewPath("vault")), want)
	}
}

func TestEveryProblemOfAReferenceIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		"path: a/b":                   "",
		"{mount: team/kv, path: a.b}": "",
		"{path: a, version: 3}":       "",
		"mount: kv":                   "r.path",
		"path: /a":                    "r.path",
		"path: a/":                    "r.path",
		"path: a/../b":                "r.path",
		"path: ../../sys/seal":        "r.path",
		"path: a?version=1":           "r.path",
		"path: .":                     "r.path",
		"{path: a, version: -1}":      "r.version",
		"{path: a, mount: /kv}":       "r.mount",
	} {
		var r vault.Reference
		if err := yaml.UnmarshalStrict([]byte(text), &r); err != nil {
			t.Fatal(err)
		}
		expect(t, text, r.Validate(field.NewPath("r")), want)
	}
}

func expect(t *testing.T, text string, problems field.ErrorList, want string) {
	t.Helper()
	found := want == "" && len(problems) == 0
	for _, p := range problems {
		found = found || want != "" && p.Field == want
		if strings.Contains(p.Error(), "hidden") {
			t.Errorf("%s: a password is shown: %v", text, p)
		}
	}
	if !found {
		t.Errorf("%s: got %v, want %q", text, problems, want)
	}
}
