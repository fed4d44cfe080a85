package conditions_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	seedmanagementv1alpha1 "github.com/gardener/gardener/pkg/apis/seedmanagement/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/controllers/condition"
	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/controllers/shoot/conditions"
	"github.com/loam-cloud/loam/garden/bootstrap"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

// gardenlet is the least configuration that makes a managed seed.
const gardenlet = `{"apiVersion":"gardenlet.config.gardener.cloud/v1alpha1","kind":"GardenletConfiguration",
	"seedConfig":{"spec":{"provider":{"type":"local","region":"local"},"networks":{"pods":"10.1.0.0/16","services":"10.2.0.0/16"}}}}`

// TestConditions follows a Shoot that becomes a seed, whose seed changes, goes
// and comes back, until it is none any more; and wants no write at a second start.
func TestConditions(t *testing.T) {
	c := gardentest.Client(t)
	name := "soil-" + rand.String(5)
	shoot := controllertest.Shoot("garden", name)
	controllertest.GardenProject(t)
	controllertest.Create(t, c, shoot)
	report := func(kind gardencorev1beta1.ConditionType, status gardencorev1beta1.ConditionStatus) gardencorev1beta1.Condition {
		return condition.New(kind, status, "Reason", "Message.")
	}
	controllertest.SetStatus(t, c, shoot, func(s *gardencorev1beta1.ShootStatus) {
		s.Conditions = condition.Merge(nil, time.Now(), report(gardencorev1beta1.ShootEveryNodeReady, gardencorev1beta1.ConditionTrue), report("Former", gardencorev1beta1.ConditionTrue))
	})

	end := controllertest.Run(t, &conditions.Reconciler{})
	shows := func(want string) {
		t.Helper()
		controllertest.Eventually(t, func() error {
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(shoot), shoot); err != nil {
				return err
			}
			var got []string
			for _, condition := range shoot.Status.Conditions {
				got = append(got, string(condition.Type)+"="+string(condition.Status))
			}
			if joined := strings.Join(got, " "); joined != want {
				return fmt.Errorf("it shows %s, want %s", joined, want)
			}
			return nil
		})
	}
	shows("EveryNodeReady=True")

	seed := bootstrap.LocalSeed(name, "local")
	reportSeed := func(status gardencorev1beta1.ConditionStatus) {
		t.Helper()
		base := seed.DeepCopy()
		seed.Status.Conditions = condition.Merge(seed.Status.Conditions, time.Now(), report(gardencorev1beta1.GardenletReady, status))
		if err := c.Status().Patch(t.Context(), seed, client.MergeFrom(base)); err != nil {
			t.Fatal(err)
		}
	}
	controllertest.Create(t, c, seed)
	reportSeed(gardencorev1beta1.ConditionTrue)
	managed := &seedmanagementv1alpha1.ManagedSeed{
		ObjectMeta: metav1.ObjectMeta{Namespace: "garden", Name: name},
		Spec: seedmanagementv1alpha1.ManagedSeedSpec{
			Shoot:     &seedmanagementv1alpha1.Shoot{Name: name},
			Gardenlet: seedmanagementv1alpha1.GardenletConfig{Config: runtime.RawExtension{Raw: []byte(gardenlet)}},
		},
	}
	controllertest.Create(t, c, managed)
	shows("EveryNodeReady=True GardenletReady=True")
	reportSeed(gardencorev1beta1.ConditionUnknown)
	shows("EveryNodeReady=True GardenletReady=Unknown")

	end()
	version := shoot.ResourceVersion
	controllertest.Run(t, &conditions.Reconciler{})
	time.Sleep(500 * time.Millisecond)
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(shoot), shoot); err != nil || shoot.ResourceVersion != version {
		t.Errorf("written at a start with nothing to do: %s after %s, %v", shoot.ResourceVersion, version, err)
	}

	controllertest.Change(t, c, managed, func(m *seedmanagementv1alpha1.ManagedSeed) {
		metav1.SetMetaDataAnnotation(&m.ObjectMeta, "confirmation.gardener.cloud/deletion", "true")
	})
	if err := c.Delete(t.Context(), managed); err != nil {
		t.Fatal(err)
	}
	shows("EveryNodeReady=True")
}
