package installer_test

import (
	"errors"
	"testing"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/loam-cloud/loam/controllers/controllerregistration/internal/installer"
	"github.com/loam-cloud/loam/fault"
)

// update tells whether a change from one object to another passes.
func update[T client.Object](p predicate.Predicate, object T, change func(T)) bool {
	before := object.DeepCopyObject().(T)
	before.SetResourceVersion("1")
	after := before.DeepCopyObject().(T)
	after.SetResourceVersion("2")
	change(after)
	return p.Update(event.UpdateEvent{ObjectOld: before, ObjectNew: after})
}

// TestShootChanged wants what a Seed needs for a Shoot to wake it, and nothing
// else.
func TestShootChanged(t *testing.T) {
	shoot := &gardencorev1beta1.Shoot{Spec: gardencorev1beta1.ShootSpec{
		Networking: &gardencorev1beta1.Networking{}, Provider: gardencorev1beta1.Provider{Workers: []gardencorev1beta1.Worker{{Name: "a", Maximum: 1}}},
	}}
	for name, test := range map[string]struct {
		change func(*gardencorev1beta1.Shoot)
		want   bool
	}{
		"nothing":        {func(*gardencorev1beta1.Shoot) {}, false},
		"labels":         {func(s *gardencorev1beta1.Shoot) { s.Labels = map[string]string{"a": "b"} }, false},
		"conditions":     {func(s *gardencorev1beta1.Shoot) { s.Status.Conditions = make([]gardencorev1beta1.Condition, 1) }, false},
		"version":        {func(s *gardencorev1beta1.Shoot) { s.Spec.Kubernetes.Version = "1.36.3" }, false},
		"address ranges": {func(s *gardencorev1beta1.Shoot) { s.Spec.Networking.Pods = ptr.To("10.0.0.0/8") }, false},
		"seed":           {func(s *gardencorev1beta1.Shoot) { s.Spec.SeedName = ptr.To("s") }, true},
		"seed of status": {func(s *gardencorev1beta1.Shoot) { s.Status.SeedName = ptr.To("s") }, true},
		"workers":        {func(s *gardencorev1beta1.Shoot) { s.Spec.Provider.Workers = nil }, true},
		"image of a worker": {func(s *gardencorev1beta1.Shoot) {
			s.Spec.Provider.Workers[0].Machine.Image = &gardencorev1beta1.ShootMachineImage{Name: "os"}
		}, true},
		"extensions": {func(s *gardencorev1beta1.Shoot) { s.Spec.Extensions = make([]gardencorev1beta1.Extension, 1) }, true},
		"DNS":        {func(s *gardencorev1beta1.Shoot) { s.Spec.DNS = &gardencorev1beta1.DNS{} }, true},
		"network":    {func(s *gardencorev1beta1.Shoot) { s.Spec.Networking.Type = ptr.To("net") }, true},
		"provider":   {func(s *gardencorev1beta1.Shoot) { s.Spec.Provider.Type = "p" }, true},
		"deletion":   {func(s *gardencorev1beta1.Shoot) { s.DeletionTimestamp = &metav1.Time{} }, true},
	} {
		if got := update(installer.ShootChanged(), shoot, test.change); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestClusterChanged has what of a Seed counts: its spec, labels and annotations,
// and its deletion, but no status.
func TestClusterChanged(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*gardencorev1beta1.Seed)
		want   bool
	}{
		"status":     {func(s *gardencorev1beta1.Seed) { s.Status.ObservedGeneration++ }, false},
		"spec":       {func(s *gardencorev1beta1.Seed) { s.Generation++ }, true},
		"label":      {func(s *gardencorev1beta1.Seed) { s.Labels = map[string]string{"a": "b"} }, true},
		"annotation": {func(s *gardencorev1beta1.Seed) { s.Annotations = map[string]string{"a": "b"} }, true},
		"deletion":   {func(s *gardencorev1beta1.Seed) { s.DeletionTimestamp = &metav1.Time{} }, true},
	} {
		if got := update(installer.ClusterChanged(), &gardencorev1beta1.Seed{}, test.change); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if installer.ClusterChanged().Delete(event.DeleteEvent{Object: &gardencorev1beta1.Seed{}}) {
		t.Error("one that is gone passes")
	}
}

// TestInstallationChanged lets an installation through that comes or goes, or is
// required anew or no longer.
func TestInstallationChanged(t *testing.T) {
	p := installer.InstallationChanged()
	required := func(status gardencorev1beta1.ConditionStatus) func(*gardencorev1beta1.ControllerInstallation) {
		return func(i *gardencorev1beta1.ControllerInstallation) {
			i.Status.Conditions = []gardencorev1beta1.Condition{{Type: gardencorev1beta1.ControllerInstallationRequired, Status: status}}
		}
	}
	healthy := func(i *gardencorev1beta1.ControllerInstallation) {
		i.Status.Conditions = []gardencorev1beta1.Condition{{Type: gardencorev1beta1.ControllerInstallationHealthy, Status: gardencorev1beta1.ConditionTrue}}
	}
	installation := &gardencorev1beta1.ControllerInstallation{}
	if !p.Create(event.CreateEvent{Object: installation}) || !p.Delete(event.DeleteEvent{Object: installation}) {
		t.Error("one that comes or goes does not pass")
	}
	if !update(p, installation, required(gardencorev1beta1.ConditionTrue)) || update(p, installation, required(gardencorev1beta1.ConditionFalse)) || update(p, installation, healthy) {
		t.Error("another condition than that it is required passes, or that one does not")
	}
	required(gardencorev1beta1.ConditionTrue)(installation)
	if !update(p, installation, required(gardencorev1beta1.ConditionFalse)) {
		t.Error("one that is no longer required does not pass")
	}
}

// TestResourceChanged lets Secrets through by their place and role.
func TestResourceChanged(t *testing.T) {
	p := installer.ResourceChanged()
	for name, test := range map[string]struct {
		namespace, role string
		want            bool
	}{
		"of a deployment":      {"garden", "resource-reference", true},
		"internal domain":      {"garden", "internal-domain", true},
		"default domain":       {"garden", "default-domain", true},
		"of another role":      {"garden", "alerting", false},
		"in another namespace": {"garden-x", "resource-reference", false},
	} {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: test.namespace, Labels: map[string]string{"gardener.cloud/role": test.role}}}
		if got := p.Create(event.CreateEvent{Object: secret}); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
		if got := update(p, secret, func(s *corev1.Secret) { s.Labels = nil }); got != test.want {
			t.Errorf("%s, before it lost its label: %t", name, got)
		}
		if p.Create(event.CreateEvent{Object: secret, IsInInitialList: true}) {
			t.Errorf("%s passes at the start", name)
		}
	}
}

// TestResult wants a wait to hide no failure.
func TestResult(t *testing.T) {
	waiting, broken := fault.New(fault.Waiting, "soon"), errors.New("broken")
	for name, test := range map[string]struct {
		errs  []error
		after time.Duration
		err   bool
	}{
		"nothing": {[]error{nil, nil}, 0, false}, "waiting": {[]error{nil, waiting}, 5 * time.Second, false},
		"broken": {[]error{broken, nil}, 0, true}, "both": {[]error{waiting, broken}, 0, true},
	} {
		result, err := installer.Result(test.errs)
		if result.RequeueAfter != test.after || (err != nil) != test.err {
			t.Errorf("%s: got %+v, %v", name, result, err)
		}
	}
}
