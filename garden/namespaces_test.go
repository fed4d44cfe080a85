package garden_test

import (
	"strings"
	"testing"

	corev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	kubev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/garden/gardentest"
)

// TestTheNamespaceOfAProjectCannotBeDeletedAlone keeps the credentials of all
// clusters of a project from one mistaken command.
func TestTheNamespaceOfAProjectCannotBeDeletedAlone(t *testing.T) {
	c, ctx := gardentest.Client(t), t.Context()
	name := gardentest.Namespace(t)
	secret := &kubev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "cloud"}}
	create(t, secret)
	refused := func(name, why string) {
		t.Helper()
		err := c.Delete(ctx, &kubev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), why) {
			t.Errorf("deleting namespace %q: %v, want a refusal with %q", name, err, why)
		}
	}
	refused("garden", "the garden itself lives")
	refused(name, "kubectl delete project "+strings.TrimPrefix(name, "garden-"))
	if err := c.Get(ctx, client.ObjectKeyFromObject(secret), secret); err != nil {
		t.Errorf("what was in the namespace: %v", err)
	}

	// A project on its way out waits for its clusters, and so does its namespace.
	project := &corev1beta1.Project{}
	if err := c.Get(ctx, client.ObjectKey{Name: strings.TrimPrefix(name, "garden-")}, project); err != nil {
		t.Fatal(err)
	}
	shoot := newShoot(name, "plant")
	create(t, shoot)
	project.Finalizers = []string{"test.loam.dev/hold"}
	metav1.SetMetaDataAnnotation(&project.ObjectMeta, "confirmation.gardener.cloud/deletion", "true")
	if err := c.Update(ctx, project); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(ctx, project); err != nil {
		t.Fatal(err)
	}
	refused(name, `1 clusters, for example "plant"`)
	if err := c.Delete(ctx, shoot); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(ctx, &kubev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		t.Errorf("deleting the namespace when all is gone: %v", err)
	}

	other := &kubev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "other-" + utilrand.String(6)}}
	create(t, other)
	if err := c.Delete(ctx, other); err != nil {
		t.Errorf("deleting a namespace of nobody: %v", err)
	}
}
