package seed_test

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	gardencorev1 "github.com/gardener/gardener/pkg/apis/core/v1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/loam-cloud/loam/controllers/controllerregistration/controllerinstallation/seed"
	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/garden/gardentest"
)

// TestInstallation has what an installation is made of, and what it is made of
// change.
func TestInstallation(t *testing.T) {
	h := newHarness(t)
	secret, ref := h.gardenSecret()
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: v1beta1constants.GardenNamespace, Name: "c-" + h.id}}
	h.must(h.garden.Create(t.Context(), config))
	deployment := h.deployment(ref, gardencorev1.NamedResourceReference{Name: "config", ResourceRef: reference("ConfigMap", config.Name)})
	registration := h.offer("provider", deployedBy(deployment), "ControlPlane", "Infrastructure", "Worker")
	h.reconcile()
	h.want("provider")
	got := h.installed()["provider"]
	if !strings.HasPrefix(got.Name, registration.Name+"-") || len(got.Name) != len(registration.Name)+6 {
		t.Errorf("the name is %q", got.Name)
	}
	for label := range map[string]bool{"registration-spec-hash": true, "seed-spec-hash": true, "deployment-hash": true} {
		if !regexp.MustCompile("^[0-9a-f]{16}$").MatchString(got.Labels[label]) {
			t.Errorf("label %s is %q", label, got.Labels[label])
		}
	}
	spec := got.Spec
	if spec.RegistrationRef != (corev1.ObjectReference{Name: registration.Name, ResourceVersion: registration.ResourceVersion}) ||
		*spec.SeedRef != (corev1.ObjectReference{Name: h.seed.Name, ResourceVersion: h.seed.ResourceVersion}) ||
		*spec.DeploymentRef != (corev1.ObjectReference{Name: deployment.Name, ResourceVersion: deployment.ResourceVersion}) || spec.ShootRef != nil ||
		len(spec.ResourceRefs) != 2 || spec.ResourceRefs[1] != (corev1.ObjectReference{APIVersion: "v1", Kind: "ConfigMap", Namespace: "garden", Name: config.Name, ResourceVersion: config.ResourceVersion}) ||
		spec.ResourceRefs[0] != (corev1.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: "garden", Name: secret.Name, ResourceVersion: secret.ResourceVersion}) {
		t.Errorf("got %+v", spec)
	}

	unchanged := func(why string) {
		t.Helper()
		h.writes.Fail(0)
		h.reconcile()
		if h.writes.Count() > 0 {
			t.Errorf("%s: %d writes", why, h.writes.Count())
		}
	}
	unchanged("nothing has changed")
	h.seed.Status.KubernetesVersion = &h.seed.Name
	h.must(h.garden.Status().Update(t.Context(), h.seed))
	unchanged("the seed's status")

	changes := func(label string, change func() string) {
		t.Helper()
		before := h.installed()["provider"]
		version := change()
		h.reconcile()
		after := h.installed()["provider"]
		if after.Name != before.Name || label != "" && after.Labels[label] == before.Labels[label] || !strings.Contains(after.Spec.String(), version) {
			t.Errorf("%s: from %+v %v to %+v %v, want version %s", label, before.Spec, before.Labels, after.Spec, after.Labels, version)
		}
		unchanged("after " + label)
	}
	changes("seed-spec-hash", func() string { // only a list
		h.seed.Spec.Provider.Zones = []string{"a"}
		h.must(h.garden.Update(t.Context(), h.seed))
		return h.seed.ResourceVersion
	})
	changes("registration-spec-hash", func() string { // only in a list
		registration.Spec.Resources = append(registration.Spec.Resources, gardencorev1beta1.ControllerResource{Kind: "Bastion", Type: h.id})
		h.must(h.garden.Update(t.Context(), registration))
		return registration.ResourceVersion
	})
	changes("deployment-hash", func() string {
		deployment.Helm.RawChart = []byte("another")
		h.must(h.garden.Update(t.Context(), deployment))
		return deployment.ResourceVersion
	})
	changes("", func() string {
		secret.Data = map[string][]byte{"new": nil}
		h.must(h.garden.Update(t.Context(), secret))
		return secret.ResourceVersion
	})
	const enforce = v1beta1constants.AnnotationPodSecurityEnforce
	registration.Annotations = map[string]string{enforce: "baseline"}
	h.must(h.garden.Update(t.Context(), registration))
	h.reconcile()
	if got := h.installed()["provider"].Annotations[enforce]; got != "baseline" {
		t.Errorf("the annotation is %q", got)
	}
	registration.Annotations = nil
	h.must(h.garden.Update(t.Context(), registration))
	h.reconcile()
	if got, found := h.installed()["provider"].Annotations[enforce]; found {
		t.Errorf("the annotation is still %q", got)
	}
}

// TestMissingType wants one unknown type told, once, and the others installed.
func TestMissingType(t *testing.T) {
	h := newHarness(t)
	h.offer("plane", nil, "ControlPlane")
	h.offer("worker", nil, "Worker")
	h.reconcile()
	h.want("plane", "worker")
	h.reconcile()
	if got := len(h.recorder.Events); got != 1 {
		t.Fatalf("%d events", got)
	}
	if said := <-h.recorder.Events; !strings.Contains(said, "Warning ExtensionMissing") || !strings.Contains(said, "Infrastructure/"+h.id) {
		t.Errorf("the event is %q", said)
	}
	h.offer("infra", nil, "Infrastructure")
	h.reconcile()
	h.want("infra", "plane", "worker")
	if len(h.recorder.Events) > 0 {
		t.Errorf("said though nothing is missing: %s", <-h.recorder.Events)
	}
}

// TestOneFails wants what cannot be installed to keep nothing else from being so.
func TestOneFails(t *testing.T) {
	h := newHarness(t)
	deployment := h.deployment(gardencorev1.NamedResourceReference{Name: "values", ResourceRef: reference("Secret", "missing-"+h.id)})
	h.offer("plane", deployedBy(deployment), "ControlPlane")
	h.offer("worker", nil, "Worker", "Infrastructure")
	if _, err := h.run(); err == nil || !strings.Contains(err.Error(), "missing-"+h.id) {
		t.Errorf("got %v", err)
	}
	h.want("worker")
}

// TestRequired has an extension that is no longer wanted but still required.
func TestRequired(t *testing.T) {
	h := newHarness(t)
	h.offer("plane", nil, "ControlPlane")
	h.offer("ext", nil, "Extension")
	h.seed.Spec.Extensions = []gardencorev1beta1.Extension{{Type: h.id}}
	h.must(h.garden.Update(t.Context(), h.seed))
	h.reconcile()
	h.want("ext", "plane")
	h.require(h.installed()["ext"], gardencorev1beta1.ConditionTrue)
	h.seed.Spec.Extensions = nil
	h.must(h.garden.Update(t.Context(), h.seed))
	h.reconcile()
	h.want("ext", "plane")
	h.require(h.installed()["ext"], gardencorev1beta1.ConditionFalse)
	h.reconcile()
	h.want("plane")
}

// TestRegistrationInDeletion is neither installed nor changed, and goes when
// nothing wants it.
func TestRegistrationInDeletion(t *testing.T) {
	h := newHarness(t, func(s *gardencorev1beta1.Seed) { s.Labels = map[string]string{"place": "here"} })
	end := func(r *gardencorev1beta1.ControllerRegistration) {
		controllertest.Refresh(t, r)
		r.Finalizers = []string{"example.org/test"}
		h.must(h.garden.Update(t.Context(), r))
		h.must(h.garden.Delete(t.Context(), r))
		t.Cleanup(func() {
			controllertest.Refresh(t, r)
			r.Finalizers = nil
			h.must(h.garden.Update(context.Background(), r))
		})
	}
	plane := h.offer("plane", nil, "ControlPlane")
	always := h.offer("always", &gardencorev1beta1.ControllerRegistrationDeployment{
		Policy: policyOf(gardencorev1beta1.ControllerDeploymentPolicyAlways), SeedSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"place": "here"}},
	}, "Extension")
	h.reconcile()
	h.want("always", "plane")
	end(always)
	end(plane)
	end(h.offer("worker", nil, "Worker"))
	controllertest.Refresh(t, h.seed)
	h.seed.Spec.Provider.Zones = []string{"a"}
	h.must(h.garden.Update(t.Context(), h.seed))
	before := h.installed()["plane"]
	h.reconcile()
	h.want("plane")
	if after := h.installed()["plane"]; after.ResourceVersion != before.ResourceVersion {
		t.Error("an installation of a registration in deletion was changed")
	}
}

func policyOf(p gardencorev1beta1.ControllerDeploymentPolicy) *gardencorev1beta1.ControllerDeploymentPolicy {
	return &p
}

// TestPolicies follows the Seed's Shoots.
func TestPolicies(t *testing.T) {
	h := newHarness(t)
	h.seed.Labels = map[string]string{"test": h.id}
	h.must(h.garden.Update(t.Context(), h.seed))
	h.offer("always", h.policy(gardencorev1beta1.ControllerDeploymentPolicyAlways), "Extension/a-"+h.id)
	h.offer("shoots", h.policy(gardencorev1beta1.ControllerDeploymentPolicyAlwaysExceptNoShoots), "Extension/b-"+h.id)
	h.offer("demand", h.policy(gardencorev1beta1.ControllerDeploymentPolicyOnDemand), "Extension/c-"+h.id)
	h.reconcile()
	h.want("always")
	shoot := controllertest.NewShoot(t, gardentest.Namespace(t), func(s *gardencorev1beta1.Shoot) { s.Spec.SeedName = &h.seed.Name })
	h.reconcile()
	h.want("always", "shoots")
	h.must(h.garden.Delete(t.Context(), shoot))
	h.reconcile()
	h.want("always")
	controllertest.Refresh(t, h.seed)
	h.seed.Labels = nil
	h.must(h.garden.Update(t.Context(), h.seed))
	h.reconcile()
	h.want()
}

// TestMigratingShoot counts on the Seed of its spec and on that of its status.
func TestMigratingShoot(t *testing.T) {
	from, to := newHarness(t), newHarness(t)
	for _, h := range []*harness{from, to} {
		h.offer("plane", nil, "ControlPlane", "Worker", "Infrastructure")
		h.offer("dns", nil, "DNSRecord/dns-"+h.id)
	}
	shoot := controllertest.NewShoot(t, gardentest.Namespace(t), func(s *gardencorev1beta1.Shoot) { s.Spec.SeedName = &to.seed.Name })
	t.Cleanup(func() { to.remove(shoot) })
	from.reconcile()
	from.want("plane")
	shoot.Status.SeedName = &from.seed.Name
	to.must(to.garden.Status().Update(t.Context(), shoot))
	for _, h := range []*harness{from, to} {
		h.reconcile()
		h.want("dns", "plane")
	}
}

// TestPendingDeletion waits for an old installation before it makes another, and
// lets others go on.
func TestPendingDeletion(t *testing.T) {
	h := newHarness(t)
	h.offer("plane", nil, "ControlPlane")
	h.reconcile()
	old := h.installed()["plane"]
	old.Finalizers = []string{"example.org/test"}
	h.must(h.garden.Update(t.Context(), old))
	h.must(h.garden.Delete(t.Context(), old))
	h.offer("worker", nil, "Worker", "Infrastructure")
	result, err := h.run()
	if err != nil || result.RequeueAfter != 5*time.Second {
		t.Errorf("got %+v, %v", result, err)
	}
	h.want("plane", "worker")
	controllertest.Refresh(t, old)
	old.Finalizers = nil
	h.must(h.garden.Update(t.Context(), old))
	h.reconcile()
	h.want("plane", "worker")
	if h.installed()["plane"].Name == old.Name {
		t.Error("the old one is still there")
	}
}

// TestTwice removes one of two installations that somebody made.
func TestTwice(t *testing.T) {
	h := newHarness(t)
	h.offer("plane", nil, "ControlPlane", "Worker", "Infrastructure")
	h.reconcile()
	first := h.installed()["plane"]
	second := first.DeepCopy()
	second.ObjectMeta = metav1.ObjectMeta{Name: first.Name + "-2", Labels: first.Labels}
	h.must(h.garden.Create(t.Context(), second))
	h.reconcile()
	h.want("plane")
}

// TestDomains of the garden count where the Seed has none of its own.
func TestDomains(t *testing.T) {
	h := newHarness(t, func(s *gardencorev1beta1.Seed) { s.Spec.DNS.Internal = nil })
	h.offer("internal", nil, "DNSRecord/i-"+h.id)
	h.offer("default", nil, "DNSRecord/d-"+h.id)
	namespace := gardentest.Namespace(t)
	shoot := controllertest.NewShoot(t, namespace, func(s *gardencorev1beta1.Shoot) {
		domain := "x.default-" + h.id + ".example.org"
		s.Spec.SeedName, s.Spec.DNS = &h.seed.Name, &gardencorev1beta1.DNS{Domain: &domain}
	})
	t.Cleanup(func() { h.remove(shoot) })
	h.reconcile()
	h.want()
	told := ""
	for len(h.recorder.Events) > 0 {
		told += <-h.recorder.Events
	}
	if !strings.Contains(told, "there is no internal domain") {
		t.Errorf("told is %q", told)
	}
	for role, name := range map[string]string{v1beta1constants.GardenRoleInternalDomain: "internal", v1beta1constants.GardenRoleDefaultDomain: "default"} {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
			Namespace: v1beta1constants.GardenNamespace, Name: role + h.id, Labels: map[string]string{v1beta1constants.GardenRole: role},
			Annotations: map[string]string{"dns.gardener.cloud/domain": name + "-" + h.id + ".example.org", "dns.gardener.cloud/provider": name[:1] + "-" + h.id},
		}}
		h.must(h.garden.Create(t.Context(), secret))
		t.Cleanup(func() { h.remove(secret) })
	}
	h.reconcile()
	h.want("default", "internal")
}

// TestInterrupted ends the same, and never has an installation twice, whichever
// write fails.
func TestInterrupted(t *testing.T) {
	garden, writes := controllertest.Client(t)
	var h *harness
	controllertest.Interrupted(t, writes, func(t *testing.T) {
		h = newHarness(t)
		h.use(garden)
		h.offer("one", nil, "ControlPlane")
		h.offer("two", nil, "Worker", "Infrastructure")
		old := h.offer("old", nil, "Extension")
		h.must(h.garden.Create(context.Background(), &gardencorev1beta1.ControllerInstallation{
			ObjectMeta: metav1.ObjectMeta{Name: old.Name}, Spec: gardencorev1beta1.ControllerInstallationSpec{
				RegistrationRef: corev1.ObjectReference{Name: old.Name}, SeedRef: &corev1.ObjectReference{Name: h.seed.Name},
			},
		}))
	}, func() error { _, err := h.run(); return err }, func(*testing.T) { h.want("one", "two") })
}

// TestWatches has a manager follow everything that decides.
func TestWatches(t *testing.T) {
	h := newHarness(t)
	ctx := t.Context()
	bucket := func(kindType string) *gardencorev1beta1.BackupBucket {
		return &gardencorev1beta1.BackupBucket{
			ObjectMeta: metav1.ObjectMeta{Name: kindType + "-" + h.id}, Spec: gardencorev1beta1.BackupBucketSpec{
				Provider: gardencorev1beta1.BackupBucketProvider{Type: kindType + "-" + h.id, Region: "r"}, SeedName: &h.seed.Name,
				CredentialsRef: &corev1.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: "garden", Name: "backup"},
			},
		}
	}
	h.offer("plane", nil, "ControlPlane", "Infrastructure", "Worker")
	controllertest.Run(t, &seed.Reconciler{})
	h.eventually("plane")

	h.offer("bucket", nil, "BackupBucket/b-"+h.id)
	b := bucket("b")
	h.must(h.garden.Create(ctx, b))
	h.eventually("bucket", "plane")
	h.offer("entry", nil, "BackupEntry/b-"+h.id)
	namespace := gardentest.Namespace(t)
	entry := &gardencorev1beta1.BackupEntry{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "entry"}, Spec: gardencorev1beta1.BackupEntrySpec{BucketName: b.Name, SeedName: &h.seed.Name},
	}
	h.must(h.garden.Create(ctx, entry))
	h.eventually("bucket", "entry", "plane")
	h.must(h.garden.Delete(ctx, entry))
	h.eventually("bucket", "plane")
	h.must(h.garden.Delete(ctx, b))
	h.eventually("plane")

	h.offer("dns", nil, "DNSRecord/dns-"+h.id)
	shoot := controllertest.NewShoot(t, namespace, func(s *gardencorev1beta1.Shoot) { s.Spec.SeedName = &h.seed.Name })
	h.eventually("dns", "plane")
	h.must(h.garden.Delete(ctx, shoot))
	h.eventually("plane")

	secret, ref := h.gardenSecret()
	h.offer("ext", deployedBy(h.deployment(ref)), "Extension")
	controllertest.Refresh(t, h.seed)
	h.seed.Spec.Extensions = []gardencorev1beta1.Extension{{Type: h.id}}
	h.must(h.garden.Update(ctx, h.seed))
	h.eventually("ext", "plane")
	secret.Data = map[string][]byte{"new": nil}
	h.must(h.garden.Update(ctx, secret))
	controllertest.Eventually(t, func() error {
		if got := h.installed()["ext"]; got.Spec.ResourceRefs[0].ResourceVersion != secret.ResourceVersion {
			return context.DeadlineExceeded
		}
		return nil
	})
	h.require(h.installed()["ext"], gardencorev1beta1.ConditionTrue)
	controllertest.Refresh(t, h.seed)
	h.seed.Spec.Extensions = nil
	h.must(h.garden.Update(ctx, h.seed))
	time.Sleep(200 * time.Millisecond)
	h.want("ext", "plane")
	h.require(h.installed()["ext"], gardencorev1beta1.ConditionFalse)
	h.eventually("plane")
}
