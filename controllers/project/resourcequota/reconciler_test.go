package resourcequota_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/controllers/project/resourcequota"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

func newQuota(namespace, secrets string) *corev1.ResourceQuota {
	return &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "limits"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/secrets": resource.MustParse(secrets)}},
	}
}

// TestLimitsOfProjects are raised, also when somebody lowers them before they are
// noted; those of other namespaces stay.
func TestLimitsOfProjects(t *testing.T) {
	c, _ := controllertest.Client(t)
	controllertest.Run(t, controllertest.Func(func(mgr manager.Manager) error {
		return (&resourcequota.Reconciler{}).AddToManager(context.Background(), mgr)
	}))
	outside := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "n" + rand.String(5)}}
	controllertest.Create(t, c, outside)
	namespace := gardentest.Namespace(t)
	for range 3 {
		controllertest.NewShoot(t, namespace)
	}
	other, mine := newQuota(outside.Name, "1"), newQuota(namespace, "1")
	controllertest.Create(t, c, other, mine)
	is := func(want string) {
		t.Helper()
		controllertest.Eventually(t, func() error {
			limit := controllertest.Refresh(t, mine).Spec.Hard["count/secrets"]
			if got := limit.String() + " for " + mine.Annotations["quota.gardener.cloud/secrets-per-shoot"]; got != want {
				return fmt.Errorf("the limit is %s, want %s", got, want)
			}
			return nil
		})
	}
	is("12 for 4")
	controllertest.Change(t, c, mine, func(q *corev1.ResourceQuota) {
		q.Annotations = nil
		q.Spec.Hard["count/secrets"] = resource.MustParse("5")
	})
	is("12 for 4")
	if limit := controllertest.Refresh(t, other).Spec.Hard["count/secrets"]; limit.String() != "1" || len(other.Annotations) > 0 {
		t.Errorf("a namespace of no project has limit %s, annotations %v", limit.String(), other.Annotations)
	}
}
