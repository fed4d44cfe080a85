package exposureclass_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
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

// TestEventsSayWhoWaits reads the event of a deletion that waits as users do.
func TestEventsSayWhoWaits(t *testing.T) {
	c, _ := controllertest.Client(t)
	controllertest.Run(t, &exposureclass.Reconciler{})
	class := &gardencorev1beta1.ExposureClass{ObjectMeta: metav1.ObjectMeta{Name: "e" + rand.String(5), Finalizers: []string{"gardener"}}, Handler: "internet"}
	controllertest.Create(t, c, class)
	shoot := controllertest.NewShoot(t, gardentest.Namespace(t), func(s *gardencorev1beta1.Shoot) { s.Spec.ExposureClassName = &class.Name })
	if err := c.Delete(t.Context(), class); err != nil {
		t.Fatal(err)
	}
	controllertest.Eventually(t, func() error {
		list := &eventsv1.EventList{}
		if err := c.List(t.Context(), list); err != nil {
			return err
		}
		for _, e := range list.Items {
			if e.Regarding.Kind != "ExposureClass" || e.Regarding.Name != class.Name {
				continue
			}
			if e.ReportingController != "exposureclass-controller" || e.Action != "Delete" || e.Reason != "ResourceReferenced" || !strings.HasSuffix(e.Note, "1 Shoot: "+shoot.Namespace+"/"+shoot.Name) {
				t.Errorf("the event is %+v", e)
			}
			return nil
		}
		return errors.New("there is no event")
	})
}
