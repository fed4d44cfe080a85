package credentials_test

import (
	"context"
	"strings"
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	securityv1alpha1 "github.com/gardener/gardener/pkg/apis/security/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/index"
	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/controllers/secretbinding"
	"github.com/loam-cloud/loam/garden/gardentest"
)

// TestBindingsOfBothKindsShareASecret, which is released by neither while the
// other needs it, and keeps the types of that one.
func TestBindingsOfBothKindsShareASecret(t *testing.T) {
	h := newHarness(t)
	s := h.secret("shared", "gardener.cloud/gardener")
	q := h.quota("limits", "Project")
	first := h.secretBinding("first", "aws,gcp", s, q)
	h.eventually(s, "by:secretbinding for:aws for:gcp gardener.cloud/secretbinding")
	h.eventually(first, "gardener")
	second := h.credentialsBinding("second", "gcp", s, q)
	third := h.secretBinding("third", "local", s, q)
	h.eventually(s, "by:credentialsbinding by:secretbinding for:aws for:gcp for:local gardener.cloud/credentialsbinding gardener.cloud/secretbinding")
	h.eventually(q, "by:credentialsbinding by:secretbinding")
	h.eventually(third, "gardener")

	h.delete(first)
	controllertest.Gone(t, h, first)
	h.eventually(s, "by:credentialsbinding by:secretbinding for:gcp for:local gardener.cloud/credentialsbinding gardener.cloud/secretbinding")
	h.eventually(q, "by:credentialsbinding by:secretbinding")
	h.delete(third)
	controllertest.Gone(t, h, third)
	h.eventually(s, "by:credentialsbinding for:gcp gardener.cloud/credentialsbinding")
	h.eventually(q, "by:credentialsbinding")
	h.delete(second)
	controllertest.Gone(t, h, second)
	h.eventually(s, "")
	h.eventually(q, "")
}

// TestABindingWaitsForItsShoots and goes with the last one.
func TestABindingWaitsForItsShoots(t *testing.T) {
	h := newHarness(t)
	s := h.secret("key")
	old := &gardencorev1beta1.CloudProfile{}
	if err := h.Get(t.Context(), client.ObjectKey{Name: "local"}, old); err != nil {
		t.Fatal(err)
	}
	// Newer clusters cannot have SecretBindings.
	old.ObjectMeta = metav1.ObjectMeta{Name: "old" + h.namespace[len("garden-"):]}
	old.Spec.Kubernetes.Versions = []gardencorev1beta1.ExpirableVersion{{Version: "1.33.4"}}
	controllertest.Create(t, h, old)
	for name, test := range map[string]struct {
		binding   client.Object
		use       func(*gardencorev1beta1.Shoot)
		eventType string
	}{
		"SecretBinding": {h.secretBinding("one", "local", s), func(s *gardencorev1beta1.Shoot) {
			s.Spec.SecretBindingName, s.Spec.Kubernetes.Version, s.Spec.CloudProfile.Name = ptr.To("one"), "1.33.4", old.Name
		}, corev1.EventTypeNormal},
		"CredentialsBinding": {h.credentialsBinding("two", "local", s), func(s *gardencorev1beta1.Shoot) {
			s.Spec.CredentialsBindingName = ptr.To("two")
		}, corev1.EventTypeWarning},
	} {
		t.Run(name, func(t *testing.T) {
			shoot := controllertest.NewShoot(t, h.namespace, func(s *gardencorev1beta1.Shoot) {
				s.Spec.Provider.Workers = controllertest.Shoot("", "").Spec.Provider.Workers
				test.use(s)
			})
			controllertest.Guarded(t, h, h.events, test.binding, shoot, "gardener", test.eventType)
		})
	}
	h.eventually(s, "")
}

// TestABindingThatWaitsKeepsItsSecret: a Shoot needs the credentials until its
// end, though its binding and all others are in deletion, and whatever else happens
// to the Secret.
func TestABindingThatWaitsKeepsItsSecret(t *testing.T) {
	h := newHarness(t)
	s := h.secret("key")
	waits, goes := h.credentialsBinding("waits", "local", s), h.credentialsBinding("goes", "gcp", s)
	const both = "by:credentialsbinding for:gcp for:local gardener.cloud/credentialsbinding"
	h.eventually(s, both)
	h.eventually(waits, "gardener")
	h.eventually(goes, "gardener")
	shoot := controllertest.NewShoot(t, h.namespace, func(s *gardencorev1beta1.Shoot) {
		s.Spec.Provider.Workers = controllertest.Shoot("", "").Spec.Provider.Workers
		s.Spec.CredentialsBindingName = &waits.Name
	})
	h.delete(waits)
	h.delete(goes)
	controllertest.Gone(t, h, goes)
	h.eventually(s, "by:credentialsbinding for:local gardener.cloud/credentialsbinding")
	controllertest.Change(t, h, s, func(s *corev1.Secret) { s.Labels = nil })
	h.eventually(s, "by:credentialsbinding for:local gardener.cloud/credentialsbinding")
	h.delete(shoot)
	controllertest.Gone(t, h, waits)
	h.eventually(s, "")
}

// TestBindingsOfOtherNamespacesCount for a Secret as well as for a Quota.
func TestBindingsOfOtherNamespacesCount(t *testing.T) {
	h := newHarness(t)
	s, q := h.secret("key"), h.quota("limits", "Project")
	here := h.secretBinding("one", "local", s, q)
	h.eventually(here, "gardener")
	home := h.namespace
	h.namespace = gardentest.Namespace(t)
	there := h.secretBinding("one", "local", s, q)
	h.namespace = home
	h.eventually(there, "gardener")
	h.eventually(s, "by:secretbinding for:local gardener.cloud/secretbinding")
	h.eventually(q, "by:secretbinding")
	h.delete(here)
	controllertest.Gone(t, h, here)
	h.eventually(s, "by:secretbinding for:local gardener.cloud/secretbinding")
	h.eventually(q, "by:secretbinding")
	h.delete(there)
	h.eventually(s, "")
	h.eventually(q, "")
}

// TestAMissingQuotaHoldsNothingUp: neither the other Quotas, nor the binding's
// end. When it comes it gets its label.
func TestAMissingQuotaHoldsNothingUp(t *testing.T) {
	h := newHarness(t)
	s, lost, there := h.secret("key"), h.quota("a-lost", "Project"), h.quota("there", "Secret")
	for _, b := range []client.Object{h.secretBinding("one", "local", s, lost, there), h.credentialsBinding("two", "local", s, lost, there)} {
		h.eventually(b, "gardener")
	}
	h.eventually(there, "by:credentialsbinding by:secretbinding")
	h.delete(lost)
	controllertest.Gone(t, h, lost)
	lost = h.quota("a-lost", "Project")
	h.eventually(lost, "by:credentialsbinding by:secretbinding")
	h.delete(lost)
	for _, b := range []client.Object{&gardencorev1beta1.SecretBinding{ObjectMeta: h.meta("one")}, &securityv1alpha1.CredentialsBinding{ObjectMeta: h.meta("two")}} {
		h.delete(b)
		controllertest.Gone(t, h, b)
	}
	h.eventually(there, "")
	h.eventually(s, "")
}

// TestWhatIsTakenOffByHandReturns, labels as well as finalizers, on Secrets and
// Quotas, without any event of the binding.
func TestWhatIsTakenOffByHandReturns(t *testing.T) {
	h := newHarness(t)
	s, q := h.secret("key"), h.quota("limits", "Project")
	h.secretBinding("one", "local", s, q)
	const want = "by:secretbinding for:local gardener.cloud/secretbinding"
	h.eventually(s, want)
	h.eventually(q, "by:secretbinding")
	for name, change := range map[string]func(*corev1.Secret){
		"the labels":    func(s *corev1.Secret) { s.Labels = nil },
		"the finalizer": func(s *corev1.Secret) { s.Finalizers = nil },
		"everything":    func(s *corev1.Secret) { s.Labels, s.Finalizers = nil, nil },
	} {
		t.Run(name, func(t *testing.T) {
			controllertest.Change(t, h, s, change)
			h.eventually(s, want)
		})
	}
	controllertest.Change(t, h, q, func(q *gardencorev1beta1.Quota) { q.Labels = nil })
	h.eventually(q, "by:secretbinding")
}

// TestCredentialsThatNobodyRefersToAnyMore are released, also if the binding came
// to refer to others while no controller ran.
func TestCredentialsThatNobodyRefersToAnyMore(t *testing.T) {
	h := newHarness(t)
	left := &corev1.Secret{ObjectMeta: h.meta("left")}
	left.Finalizers = []string{"gardener.cloud/credentialsbinding"}
	left.Labels = map[string]string{"reference.gardener.cloud/credentialsbinding": "true", "provider.shoot.gardener.cloud/local": "true"}
	controllertest.Create(t, h, left)
	h.credentialsBinding("one", "local", h.secret("latter"))
	h.eventually(left, "")
}

// TestOtherCredentials than Secrets; a WorkloadIdentity has no label of a type.
func TestOtherCredentials(t *testing.T) {
	h := newHarness(t)
	internal := &gardencorev1beta1.InternalSecret{ObjectMeta: h.meta("internal")}
	identity := &securityv1alpha1.WorkloadIdentity{
		ObjectMeta: h.meta("identity"),
		Spec: securityv1alpha1.WorkloadIdentitySpec{
			Audiences: []string{"somebody"}, TargetSystem: securityv1alpha1.TargetSystem{Type: "local"},
		},
	}
	identity.Labels = map[string]string{"provider.shoot.gardener.cloud/local": "true"}
	controllertest.Create(t, h, internal, identity)
	one, two := h.credentialsBinding("one", "local", internal), h.credentialsBinding("two", "local", identity)
	h.eventually(internal, "by:credentialsbinding for:local gardener.cloud/credentialsbinding")
	h.eventually(identity, "by:credentialsbinding gardener.cloud/credentialsbinding")
	h.delete(one)
	h.delete(two)
	h.eventually(internal, "")
	h.eventually(identity, "")
	controllertest.Gone(t, h, two)
}

// TestMissingSecret: an error while the binding lives, nothing to do when it goes.
func TestMissingSecret(t *testing.T) {
	c, _ := controllertest.Indexed(t, index.EnsureBindings, index.EnsureShootBindings)
	h := &harness{T: t, Client: c, namespace: gardentest.Namespace(t)}
	r := &secretbinding.Reconciler{Client: c, Recorder: events.NewFakeRecorder(10)}
	s := h.secret("key")
	b := h.secretBinding("one", "local", s)
	h.delete(s)
	request := reconcile.Request{NamespacedName: client.ObjectKeyFromObject(b)}
	if _, err := r.Reconcile(t.Context(), request); err == nil || !strings.Contains(err.Error(), "Secret "+h.namespace+"/key, which the binding refers to, is not there") {
		t.Errorf("got %v", err)
	}
	h.delete(b)
	if _, err := r.Reconcile(t.Context(), request); err != nil {
		t.Error(err)
	}
	controllertest.Gone(t, c, b)
}

// TestQuotasOfBindingsInDeletion: a binding in deletion counts for its Quotas until it is
// gone, and its label is taken off under a lock.
func TestQuotasOfBindingsInDeletion(t *testing.T) {
	inner, _ := controllertest.Indexed(t, index.EnsureBindings, index.EnsureShootBindings)
	var patches []string
	c := interceptor.NewClient(inner, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			if _, is := o.(*gardencorev1beta1.Quota); is {
				data, err := p.Data(o)
				if err != nil {
					return err
				}
				patches = append(patches, string(data))
			}
			return c.Patch(ctx, o, p, opts...)
		},
	})
	h := &harness{T: t, Client: c, namespace: gardentest.Namespace(t)}
	r := &secretbinding.Reconciler{Client: c, Recorder: events.NewFakeRecorder(10)}
	s, q := h.secret("key"), h.quota("limits", "Project")
	one, two := h.secretBinding("one", "local", s, q), h.secretBinding("two", "local", s, q)
	reconcileAll := func(bindings ...client.Object) {
		t.Helper()
		for _, b := range bindings {
			if _, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(b)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	reconcileAll(one, two)
	h.delete(one)
	h.delete(two)
	reconcileAll(one)
	controllertest.Gone(t, h, one)
	h.eventually(s, "") // nobody needs it any more
	h.eventually(q, "by:secretbinding")
	patches = nil
	reconcileAll(two)
	h.eventually(q, "")
	if len(patches) != 1 || !strings.Contains(patches[0], `"resourceVersion"`) {
		t.Errorf("patches of the quota: %v", patches)
	}
}

// TestRestart kills the controller before each of its writes, when a binding
// comes and when it goes.
func TestRestart(t *testing.T) {
	c, writes := controllertest.Indexed(t, index.EnsureBindings, index.EnsureShootBindings)
	r := &secretbinding.Reconciler{Client: c, Recorder: events.NewFakeRecorder(10)}
	var h *harness
	var b *gardencorev1beta1.SecretBinding
	var s *corev1.Secret
	var q *gardencorev1beta1.Quota
	fresh := func(t *testing.T) {
		h = &harness{T: t, Client: c, namespace: gardentest.Namespace(t)}
		s, q = h.secret("key", "gardener.cloud/gardener"), h.quota("limits", "Project")
		b = h.secretBinding("one", "aws,local", s, q)
	}
	run := func() error {
		_, err := r.Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(b)})
		return err
	}
	t.Run("comes", func(t *testing.T) {
		controllertest.Interrupted(t, writes, fresh, run, func(t *testing.T) {
			h.eventually(b, "gardener")
			h.eventually(s, "by:secretbinding for:aws for:local gardener.cloud/secretbinding")
			h.eventually(q, "by:secretbinding")
			writes.Fail(0)
			if err := run(); err != nil || writes.Count() > 0 {
				t.Errorf("a second look: %v, %d writes", err, writes.Count())
			}
		})
	})
	t.Run("goes", func(t *testing.T) {
		controllertest.Interrupted(t, writes, func(t *testing.T) {
			fresh(t)
			if err := run(); err != nil {
				t.Fatal(err)
			}
			h.delete(b)
		}, run, func(t *testing.T) {
			controllertest.Gone(t, c, b)
			h.eventually(s, "")
			h.eventually(q, "")
		})
	})
}
