package credentials_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	securityv1alpha1 "github.com/gardener/gardener/pkg/apis/security/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/controllers/credentialsbinding"
	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/controllers/secretbinding"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

type harness struct {
	*testing.T
	client.Client
	namespace string
	events    *events.FakeRecorder
}

// newHarness runs the controllers of both kinds, as they are tested here
// together: they share credentials and Quotas.
func newHarness(t *testing.T) *harness {
	c, _ := controllertest.Client(t)
	h := &harness{T: t, Client: c, namespace: gardentest.Namespace(t), events: events.NewFakeRecorder(1000)}
	controllertest.Run(t, &secretbinding.Reconciler{Recorder: h.events}, &credentialsbinding.Reconciler{Recorder: h.events})
	return h
}

func (h *harness) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: h.namespace, Name: name}
}

func (h *harness) secret(name string, finalizers ...string) *corev1.Secret {
	h.Helper()
	s := &corev1.Secret{ObjectMeta: h.meta(name)}
	s.Finalizers = finalizers
	controllertest.Create(h.T, h, s)
	return s
}

func (h *harness) quota(name, scope string) *gardencorev1beta1.Quota {
	h.Helper()
	q := &gardencorev1beta1.Quota{
		ObjectMeta: h.meta(name),
		Spec:       gardencorev1beta1.QuotaSpec{Scope: corev1.ObjectReference{APIVersion: "core.gardener.cloud/v1beta1", Kind: scope}},
	}
	if scope == "Secret" {
		q.Spec.Scope.APIVersion = "v1"
	}
	controllertest.Create(h.T, h, q)
	return q
}

func quotaRefs(quotas []*gardencorev1beta1.Quota) (refs []corev1.ObjectReference) {
	for _, q := range quotas {
		refs = append(refs, corev1.ObjectReference{Namespace: q.Namespace, Name: q.Name})
	}
	return refs
}

func (h *harness) secretBinding(name, types string, secret *corev1.Secret, quotas ...*gardencorev1beta1.Quota) *gardencorev1beta1.SecretBinding {
	h.Helper()
	b := &gardencorev1beta1.SecretBinding{
		ObjectMeta: h.meta(name), Provider: &gardencorev1beta1.SecretBindingProvider{Type: types},
		SecretRef: corev1.SecretReference{Namespace: secret.Namespace, Name: secret.Name}, Quotas: quotaRefs(quotas),
	}
	controllertest.Create(h.T, h, b)
	return b
}

func (h *harness) credentialsBinding(name, provider string, to client.Object, quotas ...*gardencorev1beta1.Quota) *securityv1alpha1.CredentialsBinding {
	h.Helper()
	ref := corev1.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: to.GetNamespace(), Name: to.GetName()}
	switch to.(type) {
	case *gardencorev1beta1.InternalSecret:
		ref.APIVersion, ref.Kind = "core.gardener.cloud/v1beta1", "InternalSecret"
	case *securityv1alpha1.WorkloadIdentity:
		ref.APIVersion, ref.Kind = "security.gardener.cloud/v1alpha1", "WorkloadIdentity"
	}
	b := &securityv1alpha1.CredentialsBinding{
		ObjectMeta: h.meta(name), Provider: securityv1alpha1.CredentialsBindingProvider{Type: provider},
		CredentialsRef: ref, Quotas: quotaRefs(quotas),
	}
	controllertest.Create(h.T, h, b)
	return b
}

// marks are what an object carries: finalizers, and what follows the last "/" or
// the first "." of labels that begin with reference or provider.
func marks(object client.Object) string {
	all := slices.Clone(object.GetFinalizers())
	for label := range maps.Keys(object.GetLabels()) {
		if strings.HasPrefix(label, "reference.gardener.cloud/") || strings.HasPrefix(label, "provider.shoot.gardener.cloud/") {
			all = append(all, strings.Replace(strings.Replace(label, "reference.gardener.cloud/", "by:", 1), "provider.shoot.gardener.cloud/", "for:", 1))
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// eventually wants an object to be marked so.
func (h *harness) eventually(object client.Object, want string) {
	h.Helper()
	controllertest.Eventually(h.T, func() error {
		if got := marks(controllertest.Refresh(h.T, object)); got != want {
			return fmt.Errorf("%T %q has %q, want %q", object, object.GetName(), got, want)
		}
		return nil
	})
}

func (h *harness) delete(object client.Object) {
	h.Helper()
	if err := h.Delete(h.Context(), object); err != nil {
		h.Fatal(err)
	}
}
