package controllerdeployment_test

import (
	"os"
	"testing"
	"time"

	gardencorev1 "github.com/gardener/gardener/pkg/apis/core/v1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/controllerdeployment/controllerdeployment"
	"github.com/loam-cloud/loam/controllers/index"
	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

func TestReleasedWithTheLastRegistration(t *testing.T) {
	c, _ := controllertest.Client(t)
	recorder := events.NewFakeRecorder(100)
	controllertest.Run(t, &controllerdeployment.Reconciler{
		Recorder: recorder, RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](time.Hour, time.Hour),
	})
	deployment := &gardencorev1.ControllerDeployment{
		ObjectMeta: metav1.ObjectMeta{Name: "d" + rand.String(5)},
		Helm:       &gardencorev1.HelmControllerDeployment{RawChart: []byte("chart")},
	}
	registration := &gardencorev1beta1.ControllerRegistration{
		ObjectMeta: metav1.ObjectMeta{Name: deployment.Name},
		Spec: gardencorev1beta1.ControllerRegistrationSpec{
			Deployment: &gardencorev1beta1.ControllerRegistrationDeployment{DeploymentRefs: []gardencorev1beta1.DeploymentRef{{Name: deployment.Name}}},
		},
	}
	controllertest.Create(t, c, deployment, registration)
	controllertest.Guarded(t, c, recorder, deployment, registration, "core.gardener.cloud/controllerdeployment", corev1.EventTypeNormal)
}

// TestEveryReferenceCounts, whichever is the first.
func TestEveryReferenceCounts(t *testing.T) {
	registration := &gardencorev1beta1.ControllerRegistration{Spec: gardencorev1beta1.ControllerRegistrationSpec{
		Deployment: &gardencorev1beta1.ControllerRegistrationDeployment{DeploymentRefs: []gardencorev1beta1.DeploymentRef{{Name: "one"}, {Name: "two"}}},
	}}
	if got := index.DeploymentsOf(registration); len(got) != 2 || got[1] != "two" {
		t.Errorf("found %v", got)
	}
	if got := index.DeploymentsOf(&gardencorev1beta1.ControllerRegistration{}); got != nil {
		t.Errorf("without a deployment: %v", got)
	}
}
