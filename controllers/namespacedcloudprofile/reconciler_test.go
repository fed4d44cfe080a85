package namespacedcloudprofile_test

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/index"
	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/controllers/namespacedcloudprofile"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

// newParent is a profile like the local one, with an end of its second version
// and a part for its provider.
func newParent(t *testing.T, c client.Client) *gardencorev1beta1.CloudProfile {
	t.Helper()
	parent := &gardencorev1beta1.CloudProfile{}
	if err := c.Get(t.Context(), client.ObjectKey{Name: "local"}, parent); err != nil {
		t.Fatal(err)
	}
	parent.ObjectMeta = metav1.ObjectMeta{Name: "c" + rand.String(5)}
	parent.Spec.Kubernetes.Versions[1] = gardencorev1beta1.ExpirableVersion{Version: "1.35.4", ExpirationDate: ptr.To(metav1.NewTime(time.Now().Add(-time.Hour)))}
	parent.Spec.ProviderConfig = &runtime.RawExtension{Raw: []byte(`{"kind": "Config",  "apiVersion": "example.org/v1", "empty": []}`)}
	controllertest.Create(t, c, parent)
	return parent
}

func newProfile(t *testing.T, c client.Client, parent string) *gardencorev1beta1.NamespacedCloudProfile {
	t.Helper()
	profile := &gardencorev1beta1.NamespacedCloudProfile{
		ObjectMeta: metav1.ObjectMeta{Namespace: gardentest.Namespace(t), Name: "own"},
		Spec: gardencorev1beta1.NamespacedCloudProfileSpec{
			Parent: gardencorev1beta1.CloudProfileReference{Kind: "CloudProfile", Name: parent},
			Kubernetes: &gardencorev1beta1.KubernetesSettings{Versions: []gardencorev1beta1.ExpirableVersion{
				{Version: "1.35.4", ExpirationDate: ptr.To(metav1.NewTime(time.Now().Add(1000 * time.Hour)))},
			}},
		},
	}
	controllertest.Create(t, c, profile)
	return profile
}

// onTheProfile makes a Shoot of the version that only the namespaced profile
// still offers.
func onTheProfile(t *testing.T, profile *gardencorev1beta1.NamespacedCloudProfile) *gardencorev1beta1.Shoot {
	t.Helper()
	return controllertest.NewShoot(t, profile.Namespace, func(s *gardencorev1beta1.Shoot) {
		s.Spec.CloudProfile = &gardencorev1beta1.CloudProfileReference{Kind: "NamespacedCloudProfile", Name: profile.Name}
		s.Spec.Kubernetes.Version = "1.35.4"
	})
}

func observed(t *testing.T, profile *gardencorev1beta1.NamespacedCloudProfile, when func(gardencorev1beta1.CloudProfileSpec) bool) {
	t.Helper()
	controllertest.Eventually(t, func() error {
		status := controllertest.Refresh(t, profile).Status
		if status.ObservedGeneration != profile.Generation || !when(status.CloudProfileSpec) {
			return fmt.Errorf("status is %+v at generation %d", status, profile.Generation)
		}
		return nil
	})
}

// TestAShootCanUseIt once the controller has run, and keeps it.
func TestAShootCanUseIt(t *testing.T) {
	c, _ := controllertest.Client(t)
	recorder := events.NewFakeRecorder(100)
	controllertest.Run(t, &namespacedcloudprofile.Reconciler{Recorder: recorder})
	profile := newProfile(t, c, newParent(t, c).Name)
	observed(t, profile, func(s gardencorev1beta1.CloudProfileSpec) bool { return s.Type == "local" })
	shoot := onTheProfile(t, profile)
	controllertest.Guarded(t, c, recorder, profile, shoot, "gardener", corev1.EventTypeNormal)
}

// TestFollowsItsParent also when only that changes.
func TestFollowsItsParent(t *testing.T) {
	c, _ := controllertest.Client(t)
	controllertest.Run(t, &namespacedcloudprofile.Reconciler{})
	parent := newParent(t, c)
	profile := newProfile(t, c, parent.Name)
	observed(t, profile, func(s gardencorev1beta1.CloudProfileSpec) bool { return s.Limits == nil })
	controllertest.Change(t, c, parent, func(p *gardencorev1beta1.CloudProfile) {
		p.Spec.Limits = &gardencorev1beta1.Limits{MaxNodesTotal: ptr.To(int32(7))}
	})
	observed(t, profile, func(s gardencorev1beta1.CloudProfileSpec) bool {
		return s.Limits != nil && *s.Limits.MaxNodesTotal == 7
	})
	controllertest.Change(t, c, profile, func(p *gardencorev1beta1.NamespacedCloudProfile) {
		p.Spec.Limits = &gardencorev1beta1.Limits{MaxNodesTotal: ptr.To(int32(9))}
	})
	observed(t, profile, func(s gardencorev1beta1.CloudProfileSpec) bool {
		return s.Limits != nil && *s.Limits.MaxNodesTotal == 9
	})
}

// TestReconcile looks without a parent, twice, and for one that is not there.
func TestReconcile(t *testing.T) {
	c, writes := controllertest.Indexed(t, index.EnsureShootProfile)
	r := &namespacedcloudprofile.Reconciler{Client: c, Recorder: events.NewFakeRecorder(10)}
	parent := newParent(t, c)
	profile := newProfile(t, c, parent.Name)
	look := func(name string) {
		t.Helper()
		result, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKey{Namespace: profile.Namespace, Name: name}})
		if err != nil || !result.IsZero() {
			t.Fatalf("%+v, %v", result, err)
		}
	}
	look("nobody")
	look(profile.Name)
	writes.Fail(0)
	look(profile.Name)
	if writes.Count() > 0 {
		t.Error("a second look wrote something")
	}
	if err := c.Delete(t.Context(), parent); err != nil {
		t.Fatal(err)
	}
	before := controllertest.Refresh(t, profile).ResourceVersion
	look(profile.Name)
	if controllertest.Refresh(t, profile).ResourceVersion != before {
		t.Error("without a parent something was written")
	}
	if err := c.Delete(t.Context(), profile); err != nil {
		t.Fatal(err)
	}
	look(profile.Name)
	controllertest.Gone(t, c, profile)
}

// TestRestart kills the controller before each of its writes.
func TestRestart(t *testing.T) {
	c, writes := controllertest.Indexed(t, index.EnsureShootProfile)
	parent := newParent(t, c)
	var profile *gardencorev1beta1.NamespacedCloudProfile
	r := &namespacedcloudprofile.Reconciler{Client: c, Recorder: events.NewFakeRecorder(10)}
	controllertest.Interrupted(t, writes,
		func(t *testing.T) { profile = newProfile(t, c, parent.Name) },
		func() error {
			_, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(profile)})
			return err
		},
		func(t *testing.T) {
			controllertest.Refresh(t, profile)
			if !slices.Contains(profile.Finalizers, "gardener") || profile.Status.ObservedGeneration != profile.Generation || len(profile.Status.CloudProfileSpec.Kubernetes.Versions) != 2 {
				t.Errorf("finalizers %v, status %+v", profile.Finalizers, profile.Status)
			}
		})
}
