package audit_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	"k8s.io/apiserver/pkg/audit/policy"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/audit"
)

func TestLevels(t *testing.T) {
	jane := &user.DefaultInfo{Name: "jane"}
	itself := &user.DefaultInfo{Name: "system:apiserver", Groups: []string{"system:masters"}}
	everything := audit.Evaluator(policy.NewFakePolicyRuleEvaluator(auditinternal.LevelRequestResponse, nil))
	nothing := audit.Evaluator(policy.NewFakePolicyRuleEvaluator(auditinternal.LevelNone, nil))
	for _, test := range []struct {
		name    string
		request authorizer.AttributesRecord
		want    auditinternal.Level
	}{
		{"a shoot", authorizer.AttributesRecord{User: jane, Verb: "create", APIGroup: "core.gardener.cloud", Resource: "shoots", ResourceRequest: true}, auditinternal.LevelRequestResponse},
		{"a secret", authorizer.AttributesRecord{User: jane, Verb: "create", Resource: "secrets", ResourceRequest: true}, auditinternal.LevelMetadata},
		{"secrets read", authorizer.AttributesRecord{User: jane, Verb: "list", Resource: "secrets", ResourceRequest: true}, auditinternal.LevelMetadata},
		{"another group's secret", authorizer.AttributesRecord{User: jane, Verb: "create", APIGroup: "example.org", Resource: "secrets", ResourceRequest: true}, auditinternal.LevelRequestResponse},
		{"an internal secret", authorizer.AttributesRecord{User: jane, Verb: "patch", APIGroup: "core.gardener.cloud", Resource: "internalsecrets", ResourceRequest: true}, auditinternal.LevelMetadata},
		{"a shoot's state", authorizer.AttributesRecord{User: jane, Verb: "patch", APIGroup: "core.gardener.cloud", Resource: "shootstates", ResourceRequest: true}, auditinternal.LevelMetadata},
		{"a kubeconfig", authorizer.AttributesRecord{User: jane, Verb: "create", APIGroup: "core.gardener.cloud", Resource: "shoots", Subresource: "adminkubeconfig", ResourceRequest: true}, auditinternal.LevelMetadata},
		{"a viewer's kubeconfig", authorizer.AttributesRecord{User: jane, Verb: "create", APIGroup: "core.gardener.cloud", Resource: "shoots", Subresource: "viewerkubeconfig", ResourceRequest: true}, auditinternal.LevelMetadata},
		{"a shoot's status", authorizer.AttributesRecord{User: jane, Verb: "patch", APIGroup: "core.gardener.cloud", Resource: "shoots", Subresource: "status", ResourceRequest: true}, auditinternal.LevelRequestResponse},
		{"a token", authorizer.AttributesRecord{User: jane, Verb: "create", Resource: "serviceaccounts", Subresource: "token", ResourceRequest: true}, auditinternal.LevelMetadata},
		{"a service account", authorizer.AttributesRecord{User: jane, Verb: "create", Resource: "serviceaccounts", ResourceRequest: true}, auditinternal.LevelRequestResponse},
		{"a workload's token", authorizer.AttributesRecord{User: jane, Verb: "create", APIGroup: "security.gardener.cloud", Resource: "workloadidentities", Subresource: "token", ResourceRequest: true}, auditinternal.LevelMetadata},
		{"a token that is shown", authorizer.AttributesRecord{User: jane, Verb: "create", APIGroup: "authentication.k8s.io", Resource: "tokenreviews", ResourceRequest: true}, auditinternal.LevelMetadata},
		{"what the garden reads", authorizer.AttributesRecord{User: itself, Verb: "list", APIGroup: "core.gardener.cloud", Resource: "shoots", ResourceRequest: true}, auditinternal.LevelNone},
		{"what the garden writes", authorizer.AttributesRecord{User: itself, Verb: "update", APIGroup: "core.gardener.cloud", Resource: "shoots", ResourceRequest: true}, auditinternal.LevelRequestResponse},
		{"an impostor", authorizer.AttributesRecord{User: &user.DefaultInfo{Name: "system:apiserver"}, Verb: "list", Resource: "pods", ResourceRequest: true}, auditinternal.LevelRequestResponse},
	} {
		if got := everything.EvaluatePolicyRule(test.request).Level; got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
		if got := nothing.EvaluatePolicyRule(test.request).Level; got != auditinternal.LevelNone {
			t.Errorf("%s: a policy that wants nothing gets %s", test.name, got)
		}
	}
}

func TestNew(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.log")
	backend, rules, err := audit.New(audit.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	for request, want := range map[string]auditinternal.Level{"/healthz": auditinternal.LevelNone, "/livez/etcd": auditinternal.LevelNone, "/metrics": auditinternal.LevelMetadata} {
		if got := rules.EvaluatePolicyRule(authorizer.AttributesRecord{User: &user.DefaultInfo{}, Path: request, Verb: "get"}).Level; got != want {
			t.Errorf("%s: got %s, want %s", request, got, want)
		}
	}
	if !backend.ProcessEvents(&auditinternal.Event{Level: auditinternal.LevelMetadata, RequestURI: "/apis"}) {
		t.Error("the event was not taken")
	}
	text, err := os.ReadFile(path)
	if err != nil || !bytes.Contains(text, []byte(`"requestURI":"/apis"`)) {
		t.Errorf("the log says %s, %v", text, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the log is %v, %v", info, err)
	}
	backend.Shutdown()

	for name, config := range map[string]audit.Config{
		"no policy":      {Path: path, PolicyFile: filepath.Join(dir, "none")},
		"no such folder": {Path: filepath.Join(path, "x")},
	} {
		if _, _, err := audit.New(config); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
