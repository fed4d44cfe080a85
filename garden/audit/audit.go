// Package audit writes down who did what in the garden: a line of JSON per
// request, in a file that is rotated.
//
// The garden's API server is given what New returns. It must not know what the
// objects mean, only which of them hold secrets.
package audit

import (
	"fmt"
	"slices"

	"gopkg.in/natefinch/lumberjack.v2"
	"k8s.io/apimachinery/pkg/runtime/schema"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/audit/policy"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	auditlog "k8s.io/apiserver/plugin/pkg/audit/log"

	"github.com/loam-cloud/loam/fault"
)

// Rotation of the file.
const (
	maxMegabytes = 100
	maxFiles     = 10
	maxDays      = 30
)

// Config says where the log goes and what is in it.
type Config struct {
	// Path is the file, made with mode 0600. Former ones lie beside it.
	Path string
	// PolicyFile is a Policy of audit.k8s.io/v1; empty means the garden's own:
	// the metadata of everything but health checks.
	PolicyFile string
}

// New opens the log. Faults: Invalid for a policy that cannot be used.
func New(config Config) (audit.Backend, audit.PolicyRuleEvaluator, error) {
	rules := defaultPolicy()
	if config.PolicyFile != "" {
		var err error
		if rules, err = policy.LoadPolicyFromFile(config.PolicyFile); err != nil {
			return nil, nil, fault.New(fault.Invalid, "audit policy %q: %w", config.PolicyFile, err)
		}
	}
	file := &lumberjack.Logger{Filename: config.Path, MaxSize: maxMegabytes, MaxBackups: maxFiles, MaxAge: maxDays, Compress: true}
	if _, err := file.Write(nil); err != nil {
		return nil, nil, fault.New(fault.Invalid, "audit log %q: %w", config.Path, err)
	}
	// Without a buffer in between: what was answered is written down, also when
	// the process is killed after.
	backend := auditlog.NewBackend(file, auditlog.FormatJson, auditv1.SchemeGroupVersion)
	return closing{backend, file}, Evaluator(policy.NewPolicyRuleEvaluator(rules)), nil
}

// closing gives the file back when the server has ended.
type closing struct {
	audit.Backend
	file *lumberjack.Logger
}

// Shutdown implements audit.Backend.
func (c closing) Shutdown() {
	c.Backend.Shutdown()
	if err := c.file.Close(); err != nil {
		audit.HandlePluginError("log", fmt.Errorf("closing %q: %w", c.file.Filename, err))
	}
}

func defaultPolicy() *auditinternal.Policy {
	return &auditinternal.Policy{
		// One line per request: what it came to.
		OmitStages: []auditinternal.Stage{auditinternal.StageRequestReceived},
		Rules: []auditinternal.PolicyRule{
			{Level: auditinternal.LevelNone, NonResourceURLs: []string{"/livez*", "/readyz*", "/healthz*"}},
			{Level: auditinternal.LevelMetadata},
		},
	}
}

// Evaluator bounds what a policy says: bodies that hold secrets are never
// written, and what the garden reads from itself is not, thousands of requests
// that nobody made.
func Evaluator(rules audit.PolicyRuleEvaluator) audit.PolicyRuleEvaluator { return bounded{rules} }

type bounded struct{ rules audit.PolicyRuleEvaluator }

// EvaluatePolicyRule implements audit.PolicyRuleEvaluator.
func (b bounded) EvaluatePolicyRule(request authorizer.Attributes) audit.RequestAuditConfig {
	answer := b.rules.EvaluatePolicyRule(request)
	switch {
	case fromItself(request) && request.IsReadOnly():
		answer.Level = auditinternal.LevelNone
	case holdsSecrets(request) && !answer.Level.Less(auditinternal.LevelRequest):
		answer.Level = auditinternal.LevelMetadata
	}
	return answer
}

func fromItself(request authorizer.Attributes) bool {
	who := request.GetUser()
	return who != nil && who.GetName() == user.APIServerUser && slices.Contains(who.GetGroups(), user.SystemPrivilegedGroup)
}

// holdsSecrets tells whether the bodies of a request or of its answer do.
func holdsSecrets(request authorizer.Attributes) bool {
	if !request.IsResourceRequest() {
		return false
	}
	resource := schema.GroupResource{Group: request.GetAPIGroup(), Resource: request.GetResource()}.String()
	if sub := request.GetSubresource(); sub != "" && sub != "status" {
		resource += "/" + sub
	}
	switch resource {
	case "secrets", "internalsecrets.core.gardener.cloud", "shootstates.core.gardener.cloud",
		"serviceaccounts/token", "tokenreviews.authentication.k8s.io", "workloadidentities.security.gardener.cloud/token",
		"shoots.core.gardener.cloud/adminkubeconfig", "shoots.core.gardener.cloud/viewerkubeconfig":
		return true
	}
	return false
}
