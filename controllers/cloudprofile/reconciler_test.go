package cloudprofile_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/tools/events"
	testclock "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/cloudprofile"
	"github.com/loam-cloud/loam/controllers/index"
	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

// newProfile makes one like the local profile.
func newProfile(t *testing.T, c client.Client) *gardencorev1beta1.CloudProfile {
	t.Helper()
	profile := &gardencorev1beta1.CloudProfile{}
	if err := c.Get(t.Context(), client.ObjectKey{Name: "local"}, profile); err != nil {
		t.Fatal(err)
	}
	profile.ObjectMeta = metav1.ObjectMeta{Name: "c" + rand.String(5)}
	controllertest.Create(t, c, profile)
	return profile
}

// TestReleasedWithTheLastReferrer for each form of a reference.
func TestReleasedWithTheLastReferrer(t *testing.T) {
	c, _ := controllertest.Client(t)
	recorder := events.NewFakeRecorder(1000)
	controllertest.Run(t, &cloudprofile.Reconciler{Recorder: recorder})
	for name, newReferrer := range map[string]func(t *testing.T, profile string) client.Object{
		"a NamespacedCloudProfile": func(t *testing.T, profile string) client.Object {
			own := &gardencorev1beta1.NamespacedCloudProfile{
				ObjectMeta: metav1.ObjectMeta{Namespace: gardentest.Namespace(t), Name: "own"},
				Spec:       gardencorev1beta1.NamespacedCloudProfileSpec{Parent: gardencorev1beta1.CloudProfileReference{Kind: "CloudProfile", Name: profile}},
			}
			controllertest.Create(t, c, own)
			return own
		},
		"a Shoot by the reference": func(t *testing.T, profile string) client.Object {
			return controllertest.NewShoot(t, gardentest.Namespace(t), func(s *gardencorev1beta1.Shoot) { s.Spec.CloudProfile.Name = profile })
		},
		"a Shoot by the older name": func(t *testing.T, profile string) client.Object {
			return controllertest.NewShoot(t, gardentest.Namespace(t), func(s *gardencorev1beta1.Shoot) {
				s.Spec.CloudProfile, s.Spec.CloudProfileName = nil, &profile
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			profile := newProfile(t, c)
			controllertest.Guarded(t, c, recorder, profile, newReferrer(t, profile.Name), "gardener", corev1.EventTypeNormal)
		})
	}
}

// TestNamespacedProfilesAreNamedFirst, for they have to go before the Shoots.
func TestNamespacedProfilesAreNamedFirst(t *testing.T) {
	c, _ := controllertest.Indexed(t, index.EnsureShootProfile)
	recorder := events.NewFakeRecorder(10)
	r := &cloudprofile.Reconciler{Client: c, Recorder: recorder, Clock: testclock.NewFakeClock(time.Now())}
	profile := newProfile(t, c)
	reconcileNow := func() {
		t.Helper()
		if result, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(profile)}); err != nil || !result.IsZero() {
			t.Fatalf("%+v, %v", result, err)
		}
	}
	reconcileNow()
	namespace := gardentest.Namespace(t)
	own := &gardencorev1beta1.NamespacedCloudProfile{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "own"},
		Spec:       gardencorev1beta1.NamespacedCloudProfileSpec{Parent: gardencorev1beta1.CloudProfileReference{Kind: "CloudProfile", Name: profile.Name}},
	}
	controllertest.Create(t, c, own)
	for range 4 {
		controllertest.NewShoot(t, namespace, func(s *gardencorev1beta1.Shoot) { s.Spec.CloudProfile.Name = profile.Name })
	}
	if err := c.Delete(t.Context(), profile); err != nil {
		t.Fatal(err)
	}
	reconcileNow()
	if said := <-recorder.Events; !strings.Contains(said, "1 NamespacedCloudProfile: "+namespace+"/own") {
		t.Errorf("with both: %q", said)
	}
	if err := c.Delete(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	reconcileNow()
	if said := <-recorder.Events; !strings.Contains(said, "4 Shoots: "+namespace+"/") || !strings.HasSuffix(said, ", ...") {
		t.Errorf("with Shoots: %q", said)
	}
}

// TestOldNameCounts where the server does not fill in the reference.
func TestOldNameCounts(t *testing.T) {
	for want, spec := range map[string]gardencorev1beta1.ShootSpec{
		"[CloudProfile/a]":                          {CloudProfileName: ptr.To("a")},
		"[CloudProfile/b]":                          {CloudProfile: &gardencorev1beta1.CloudProfileReference{Kind: "CloudProfile", Name: "b"}, CloudProfileName: ptr.To("b")},
		"[NamespacedCloudProfile/c]":                {CloudProfile: &gardencorev1beta1.CloudProfileReference{Kind: "NamespacedCloudProfile", Name: "c"}},
		"[NamespacedCloudProfile/d CloudProfile/e]": {CloudProfile: &gardencorev1beta1.CloudProfileReference{Kind: "NamespacedCloudProfile", Name: "d"}, CloudProfileName: ptr.To("e")},
		"[]": {},
	} {
		if got := fmt.Sprint(index.ProfilesOf(&gardencorev1beta1.Shoot{Spec: spec})); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func classes(profile *gardencorev1beta1.CloudProfile) string {
	var all []string
	if profile.Status.Kubernetes != nil {
		for _, version := range profile.Status.Kubernetes.Versions {
			all = append(all, version.Version+"="+string(version.Classification))
		}
	}
	return strings.Join(all, " ")
}

// TestStatusFollowsTheInjectedClock: what is classified and when to look again
// come from one clock, and a version that is taken out leaves the status.
func TestStatusFollowsTheInjectedClock(t *testing.T) {
	c, writes := controllertest.Indexed(t, index.EnsureShootProfile)
	profile := newProfile(t, c)
	clock := testclock.NewFakeClock(time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC))
	r := &cloudprofile.Reconciler{Client: c, Recorder: events.NewFakeRecorder(10), Clock: clock}
	controllertest.Change(t, c, profile, func(p *gardencorev1beta1.CloudProfile) {
		p.Spec.Kubernetes.Versions = []gardencorev1beta1.ExpirableVersion{
			{Version: "1.36.3", ExpirationDate: ptr.To(metav1.NewTime(clock.Now().Add(time.Hour)))}, {Version: "1.35.4"},
		}
	})
	look := func(want string, next time.Duration) {
		t.Helper()
		result, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(profile)})
		if err != nil || result.RequeueAfter != next {
			t.Errorf("got %+v, %v, want %s", result, err, next)
		}
		if got := classes(controllertest.Refresh(t, profile)); got != want {
			t.Errorf("status is %q, want %q", got, want)
		}
	}
	look("1.36.3=supported 1.35.4=supported", time.Hour)
	if images := profile.Status.MachineImages; len(images) != len(profile.Spec.MachineImages) || len(images) == 0 || len(images[0].Versions) != len(profile.Spec.MachineImages[0].Versions) {
		t.Errorf("images are %+v", images)
	}
	writes.Fail(0)
	look("1.36.3=supported 1.35.4=supported", time.Hour)
	if writes.Count() > 0 {
		t.Error("a second look wrote something")
	}
	clock.Step(time.Hour)
	look("1.36.3=expired 1.35.4=supported", 0)
	controllertest.Change(t, c, profile, func(p *gardencorev1beta1.CloudProfile) { p.Spec.Kubernetes.Versions = p.Spec.Kubernetes.Versions[1:] })
	look("1.35.4=supported", 0)
}

// TestRestart kills the controller before each of its writes.
func TestRestart(t *testing.T) {
	c, writes := controllertest.Indexed(t, index.EnsureShootProfile)
	var profile *gardencorev1beta1.CloudProfile
	r := &cloudprofile.Reconciler{Client: c, Recorder: events.NewFakeRecorder(10), Clock: testclock.NewFakeClock(time.Now())}
	controllertest.Interrupted(t, writes,
		func(t *testing.T) { profile = newProfile(t, c) },
		func() error {
			_, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(profile)})
			return err
		},
		func(t *testing.T) {
			controllertest.Refresh(t, profile)
			if !slices.Contains(profile.Finalizers, "gardener") || classes(profile) != "1.36.3=supported 1.35.4=supported" {
				t.Errorf("finalizers %v, status %q", profile.Finalizers, classes(profile))
			}
		})
}
