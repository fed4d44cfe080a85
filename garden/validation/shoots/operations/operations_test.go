package operations_test

import (
	"strings"
	"testing"

	"github.com/gardener/gardener/pkg/apis/core"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/loam-cloud/loam/garden/validation/shoots/operations"
)

// shoot was created, and has two pools, one of which is updated in place.
func shoot() *core.Shoot {
	s := &core.Shoot{}
	s.Spec.Kubernetes.Version = "1.36.3"
	s.Spec.Provider.Workers = []core.Worker{{Name: "a"}, {Name: "b", UpdateStrategy: new(core.ManualInPlaceUpdate)}}
	s.Status.LastOperation = &core.LastOperation{Type: core.LastOperationTypeReconcile, State: core.LastOperationStateError}
	return s
}

func rotating(s *core.Shoot) *core.ShootCredentialsRotation {
	if s.Status.Credentials == nil {
		s.Status.Credentials = &core.ShootCredentials{Rotation: &core.ShootCredentialsRotation{}}
	}
	return s.Status.Credentials.Rotation
}

// TestProblem has a row per rule about operations; no want means that the
// operation is in order.
func TestProblem(t *testing.T) {
	authorities := func(phase core.CredentialsRotationPhase) func(*core.Shoot) {
		return func(s *core.Shoot) { rotating(s).CertificateAuthorities = &core.CARotation{Phase: phase} }
	}
	key := func(phase core.CredentialsRotationPhase) func(*core.Shoot) {
		return func(s *core.Shoot) { rotating(s).ServiceAccountKey = &core.ServiceAccountKeyRotation{Phase: phase} }
	}
	encryption := func(phase core.CredentialsRotationPhase) func(*core.Shoot) {
		return func(s *core.Shoot) { rotating(s).ETCDEncryptionKey = &core.ETCDEncryptionKeyRotation{Phase: phase} }
	}
	both := func(s *core.Shoot) { authorities(core.RotationPrepared)(s); key(core.RotationPrepared)(s) }
	for name, test := range map[string]struct {
		operation string
		change    func(*core.Shoot)
		want      string
	}{
		"reconcile":                     {"reconcile", nil, ""},
		"reconcile what was never made": {"reconcile", func(s *core.Shoot) { s.Status.LastOperation = nil }, ""},
		"retry":                         {"retry", nil, ""},
		"maintain":                      {"maintain", nil, ""},
		"nothing":                       {"", nil, "is not an operation: known are"},
		"unknown":                       {"dance", nil, "is not an operation: known are"},
		"unknown with pools":            {"dance=a", nil, `"dance" is not an operation that takes names of pools`},
		"force":                         {"force-in-place-update", nil, ""},
		"force without such pools":      {"force-in-place-update", func(s *core.Shoot) { s.Spec.Provider.Workers = nil }, "no worker pool is updated in place"},
		"roll pools":                    {"rollout-workers=a, b", nil, ""},
		"roll no pool":                  {"rollout-workers=", nil, `there is no worker pool ""`},
		"roll an unknown pool":          {"rollout-workers=a,c", nil, `there is no worker pool "c"`},
		"roll for a rotation":           {"rotate-rollout-workers=a", authorities(core.RotationWaitingForWorkersRollout), ""},
		"roll for the other rotation":   {"rotate-rollout-workers=a", key(core.RotationWaitingForWorkersRollout), ""},
		"roll for no rotation":          {"rotate-rollout-workers=a", nil, "no rotation waits"},

		"begin":                        {"rotate-ca-start", nil, ""},
		"begin again":                  {"rotate-ca-start", authorities(core.RotationCompleted), ""},
		"begin twice":                  {"rotate-ca-start-without-workers-rollout", authorities(core.RotationPreparing), "certificate authorities has begun already, it is in phase Preparing"},
		"begin beside another":         {"rotate-ca-start", key(core.RotationPreparing), ""},
		"begin all beside one":         {"rotate-credentials-start", key(core.RotationPreparing), "service account key has begun already"},
		"complete":                     {"rotate-ca-complete", authorities(core.RotationPrepared), ""},
		"complete what never began":    {"rotate-ca-complete", nil, "in phase Prepared only, it is in none, as it was never begun"},
		"complete too early":           {"rotate-serviceaccount-key-complete", key(core.RotationWaitingForWorkersRollout), "it is in phase WaitingForWorkersRollout"},
		"complete all":                 {"rotate-credentials-complete", both, ""},
		"complete all with one behind": {"rotate-credentials-complete", func(s *core.Shoot) { both(s); key(core.RotationPreparing)(s) }, "service account key can be completed in phase Prepared only"},
		"encryption key":               {"rotate-etcd-encryption-key", nil, ""},
		"encryption key again":         {"rotate-etcd-encryption-key", encryption(core.RotationCompleting), "it is in phase Completing"},
		"encryption key, former":       {"rotate-etcd-encryption-key-start", nil, "from Kubernetes 1.34 on: use rotate-etcd-encryption-key"},
		"encryption key, before 1.34":  {"rotate-etcd-encryption-key-start", func(s *core.Shoot) { s.Spec.Kubernetes.Version = "1.33.9" }, ""},
		"never made":                   {"rotate-ssh-keypair", func(s *core.Shoot) { s.Status.LastOperation = nil }, "has not been created yet"},
		"being made":                   {"rotate-ca-start", func(s *core.Shoot) { s.Status.LastOperation.Type = core.LastOperationTypeCreate }, "has not been created yet"},
		"being deleted":                {"rotate-ssh-keypair", func(s *core.Shoot) { s.DeletionTimestamp = &metav1.Time{} }, "being deleted"},
		"asleep":                       {"rotate-ca-start", func(s *core.Shoot) { s.Status.IsHibernated = true }, "is hibernated"},
		"falling asleep":               {"rotate-etcd-encryption-key", func(s *core.Shoot) { s.Spec.Hibernation = &core.Hibernation{Enabled: new(true)} }, "is hibernated"},
		"asleep, but nothing runs":     {"rotate-ssh-keypair", func(s *core.Shoot) { s.Status.IsHibernated = true }, ""},
	} {
		t.Run("garden-api: operations/"+name, func(t *testing.T) {
			s := shoot()
			if test.change != nil {
				test.change(s)
			}
			got := operations.Problem(s, test.operation)
			if got == "" && test.want != "" || test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	const now, later = "gardener.cloud/operation", "maintenance.gardener.cloud/operation"
	annotated := func(annotations map[string]string) *core.Shoot {
		s := shoot()
		s.Annotations = annotations
		return s
	}
	old := annotated(map[string]string{now: "rotate-ca-complete"})
	for name, test := range map[string]struct {
		annotations map[string]string
		old         *core.Shoot
		want        int
	}{
		"none":                       {nil, nil, 0},
		"both wrong":                 {map[string]string{now: "dance; rotate-ca-complete;maintain"}, nil, 2},
		"wrong before already":       {map[string]string{now: "rotate-ca-complete"}, old, 0},
		"another wrong one":          {map[string]string{now: "rotate-ca-complete;dance"}, old, 2},
		"in order by then perhaps":   {map[string]string{later: "rotate-ca-complete;rollout-workers=c"}, nil, 0},
		"unknown at any time":        {map[string]string{later: "dance;reconcile"}, nil, 1},
		"pools where there are none": {map[string]string{later: "reconcile=a;rotate-rollout-workers"}, nil, 2},
	} {
		if errs := operations.Validate(annotated(test.annotations), test.old); len(errs) != test.want {
			t.Errorf("%s: got %v, want %d problems", name, errs, test.want)
		}
	}
}
