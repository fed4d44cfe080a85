package bindings_test

import (
	"strings"
	"testing"

	"github.com/gardener/gardener/pkg/apis/core"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/garden/validation/bindings"
)

func TestScopes(t *testing.T) {
	quota := func(name, scope string) *core.Quota {
		return &core.Quota{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: core.QuotaSpec{Scope: corev1.ObjectReference{Kind: scope}}}
	}
	for name, test := range map[string]struct {
		quotas []*core.Quota
		want   int
	}{
		"none":                  {nil, 0},
		"one per scope":         {[]*core.Quota{quota("a", "Project"), quota("b", "Secret"), quota("c", "WorkloadIdentity")}, 0},
		"one that is not there": {[]*core.Quota{quota("a", "Project"), nil}, 0},
		"two of one scope":      {[]*core.Quota{quota("a", "Project"), nil, quota("b", "Project")}, 1},
		"three of one scope":    {[]*core.Quota{quota("a", "Secret"), quota("b", "Secret"), quota("c", "Secret")}, 2},
	} {
		errs := bindings.ValidateScopes(test.quotas)
		if len(errs) != test.want || len(errs) > 0 && !strings.Contains(errs[0].Detail, `like quota "a"`) {
			t.Errorf("%s: got %v, want %d", name, errs, test.want)
		}
	}
}

// TestBindingFromBeforeItsProvider lets it go on, and take the field once.
func TestBindingFromBeforeItsProvider(t *testing.T) {
	binding := func(provider *core.SecretBindingProvider) *core.SecretBinding {
		return &core.SecretBinding{SecretRef: corev1.SecretReference{Namespace: "n", Name: "s"}, Provider: provider}
	}
	local, other := &core.SecretBindingProvider{Type: "local"}, &core.SecretBindingProvider{Type: "local,other"}
	for name, test := range map[string]struct {
		binding, old *core.SecretBinding
		good         bool
	}{
		"new, without": {binding(nil), nil, false}, "new, with": {binding(local), nil, true}, "new, of several": {binding(other), nil, true},
		"new, of several and nothing": {binding(&core.SecretBindingProvider{Type: "local,"}), nil, false},
		"old, without":                {binding(nil), binding(nil), true}, "old, given one": {binding(local), binding(nil), true},
		"old, given another": {binding(other), binding(local), false}, "old, taken out": {binding(nil), binding(local), false},
	} {
		if errs := bindings.ValidateSecretBinding(test.binding, test.old); test.good != (len(errs) == 0) {
			t.Errorf("%s: got %v", name, errs)
		}
	}
}

func TestInternalSecretsAreNotShown(t *testing.T) {
	large := []byte(strings.Repeat("s3cret", corev1.MaxSecretSize/6+1))
	secret := &core.InternalSecret{Data: map[string][]byte{"a/b": []byte("s3cret"), "large": large}, Immutable: ptr.To(true)}
	old := &core.InternalSecret{Data: map[string][]byte{"c": []byte("s3cret")}, Immutable: ptr.To(true), Type: "t"}
	errs := bindings.ValidateInternalSecret(secret, old)
	if len(errs) != 4 {
		t.Errorf("got %d problems, want 4: key, size, type, data", len(errs))
	}
	if text := errs.ToAggregate().Error(); strings.Contains(text, "s3cret") {
		t.Errorf("the secret is shown: %.300s", text)
	}
}
