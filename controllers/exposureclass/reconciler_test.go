package exposureclass_test

import (
	"os"
	"testing"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/exposureclass"
	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

// TestReleasedWithTheLastShoot also has what is tried again wait for an hour: only
// the end of the Shoot itself can wake the controller.
func TestReleasedWithTheLastShoot(t *testing.T) {
	c, _ := controllertest.Client(t)
	recorder := events.NewFakeRecorder(100)
	controllertest.Run(t, &exposureclass.Reconciler{
		Recorder: recorder, RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](time.Hour, time.Hour),
	})
	class := &gardencorev1beta1.ExposureClass{ObjectMeta: metav1.ObjectMeta{Name: "e" + rand.String(5)}, Handler: "internet"}
	controllertest.Create(t, c, class)
	shoot := controllertest.NewShoot(t, gardentest.Namespace(t), func(s *gardencorev1beta1.Shoot) { s.Spec.ExposureClassName = &class.Name })
	controllertest.Guarded(t, c, recorder, class, shoot, "gardener", corev1.EventTypeNormal)
}
