package migration_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/controllers/condition"
	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/controllers/shoot/migration"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

// TestMove follows a Shoot from one seed to another: the destination is not
// ready, becomes ready, and when the Shoot is there nothing is left to say, even
// if that happened while nobody looked.
func TestMove(t *testing.T) {
	c, writes := controllertest.Client(t)
	namespace := gardentest.Namespace(t)
	from, to := controllertest.Movable("from-"+namespace), controllertest.Movable("to-"+namespace)
	shoot := controllertest.Shoot(namespace, "demo")
	shoot.Spec.SeedName = &from.Name
	controllertest.Create(t, c, from, to, shoot)
	ready := func(seed *gardencorev1beta1.Seed, status gardencorev1beta1.ConditionStatus) {
		t.Helper()
		base := seed.DeepCopy()
		seed.Status.Gardener = &gardencorev1beta1.Gardener{Version: "v1"}
		seed.Status.ObservedGeneration = seed.Generation
		seed.Status.Conditions = condition.Merge(nil, time.Now(), condition.New(gardencorev1beta1.GardenletReady, status, "R", "M"))
		if err := c.Status().Patch(t.Context(), seed, client.MergeFrom(base)); err != nil {
			t.Fatal(err)
		}
	}
	ready(from, gardencorev1beta1.ConditionTrue)
	ready(to, gardencorev1beta1.ConditionUnknown)
	controllertest.SetStatus(t, c, shoot, func(s *gardencorev1beta1.ShootStatus) { s.SeedName = &from.Name })

	end := controllertest.Run(t, &migration.Reconciler{Client: c})
	says := func(want string) {
		t.Helper()
		controllertest.Eventually(t, func() error {
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(shoot), shoot); err != nil {
				return err
			}
			got := ""
			for _, constraint := range shoot.Status.Constraints {
				got += string(constraint.Type) + " " + string(constraint.Status) + " " + constraint.Reason
			}
			if got != want {
				return fmt.Errorf("it says %q, want %q", got, want)
			}
			return nil
		})
	}
	controllertest.Bind(t, c, shoot, to.Name)
	says("ReadyForMigration False DestinationSeedUnready")
	// Nobody watches seeds: a look every 5 s finds it.
	ready(to, gardencorev1beta1.ConditionTrue)
	says("ReadyForMigration True DestinationSeedReady")
	end()

	writes.Fail(0)
	end = controllertest.Run(t, &migration.Reconciler{Client: c})
	time.Sleep(300 * time.Millisecond)
	end()
	if n := writes.Count(); n != 0 {
		t.Errorf("%d writes at a start with nothing to do", n)
	}
	controllertest.SetStatus(t, c, shoot, func(s *gardencorev1beta1.ShootStatus) { s.SeedName = ptr.To(to.Name) })
	controllertest.Run(t, &migration.Reconciler{})
	says("")
}
