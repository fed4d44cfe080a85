package quota_test

import (
	"os"
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	securityv1alpha1 "github.com/gardener/gardener/pkg/apis/security/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/controllers/quota"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

// TestReleasedWithTheLastBinding has bindings of both kinds in other namespaces
// than the Quota.
func TestReleasedWithTheLastBinding(t *testing.T) {
	c, _ := controllertest.Client(t)
	recorder := events.NewFakeRecorder(100)
	controllertest.Run(t, &quota.Reconciler{Recorder: recorder})
	for name, newBinding := range map[string]func(meta metav1.ObjectMeta, secret, quota corev1.ObjectReference) client.Object{
		"SecretBinding": func(meta metav1.ObjectMeta, secret, quota corev1.ObjectReference) client.Object {
			return &gardencorev1beta1.SecretBinding{
				ObjectMeta: meta, Provider: &gardencorev1beta1.SecretBindingProvider{Type: "local"},
				SecretRef: corev1.SecretReference{Namespace: secret.Namespace, Name: secret.Name}, Quotas: []corev1.ObjectReference{quota},
			}
		},
		"CredentialsBinding": func(meta metav1.ObjectMeta, secret, quota corev1.ObjectReference) client.Object {
			return &securityv1alpha1.CredentialsBinding{
				ObjectMeta: meta, Provider: securityv1alpha1.CredentialsBindingProvider{Type: "local"},
				CredentialsRef: secret, Quotas: []corev1.ObjectReference{quota},
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			meta := metav1.ObjectMeta{Namespace: gardentest.Namespace(t), Name: "b" + rand.String(5)}
			secret := &corev1.Secret{ObjectMeta: meta}
			limits := &gardencorev1beta1.Quota{
				ObjectMeta: metav1.ObjectMeta{Namespace: gardentest.Namespace(t), Name: "q"},
				Spec:       gardencorev1beta1.QuotaSpec{Scope: corev1.ObjectReference{APIVersion: "core.gardener.cloud/v1beta1", Kind: "Project"}},
			}
			controllertest.Create(t, c, secret, limits)
			binding := newBinding(meta, corev1.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: secret.Namespace, Name: secret.Name},
				corev1.ObjectReference{Namespace: limits.Namespace, Name: limits.Name})
			controllertest.Create(t, c, binding)
			controllertest.Guarded(t, c, recorder, limits, binding, "gardener", corev1.EventTypeNormal)
		})
	}
}
