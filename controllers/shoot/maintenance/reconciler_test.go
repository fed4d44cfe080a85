package maintenance_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	securityv1alpha1 "github.com/gardener/gardener/pkg/apis/security/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/controllers/shoot/maintenance"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

type harness struct {
	*testing.T
	client.WithWatch
	writes     *controllertest.Writes
	clock      *clocktesting.FakeClock
	events     *recorder
	reconciler *maintenance.Reconciler
	namespace  string
	profile    *gardencorev1beta1.CloudProfile
	shoot      *gardencorev1beta1.Shoot
}

// newHarness has a cloud profile of its own with Kubernetes 1.34.1 to 1.36.3 and
// two versions of an image, and a Shoot on the oldest of both that is maintained
// at noon. Its clock stands at 11:00 on a day after the Shoot's creation.
func newHarness(t *testing.T) *harness {
	t.Helper()
	h := &harness{T: t, events: &recorder{}, namespace: gardentest.Namespace(t)}
	h.WithWatch, h.writes = controllertest.Client(t)
	h.clock = clocktesting.NewFakeClock(time.Now().UTC().Truncate(24 * time.Hour).Add(48*time.Hour + 11*time.Hour))
	h.reconciler = &maintenance.Reconciler{Client: h, Clock: h.clock, Recorder: h.events}
	controllermanagerconfigv1alpha1.SetDefaults_ShootMaintenanceControllerConfiguration(&h.reconciler.Config)
	local := &gardencorev1beta1.CloudProfile{}
	h.must(h.Get(t.Context(), client.ObjectKey{Name: "local"}, local))
	h.profile = &gardencorev1beta1.CloudProfile{ObjectMeta: metav1.ObjectMeta{Name: "profile-" + h.namespace}, Spec: *local.Spec.DeepCopy()}
	h.profile.Spec.Kubernetes.Versions = nil
	for _, v := range []string{"1.34.1", "1.34.2", "1.35.4", "1.36.3"} {
		h.profile.Spec.Kubernetes.Versions = append(h.profile.Spec.Kubernetes.Versions, offered(v))
	}
	image := &h.profile.Spec.MachineImages[0]
	image.Name = "linux"
	first := *image.Versions[0].DeepCopy()
	first.ExpirableVersion = offered("1.0.0")
	second := *first.DeepCopy()
	second.ExpirableVersion = offered("1.1.0")
	image.Versions = []gardencorev1beta1.MachineImageVersion{first, second}
	controllertest.Create(t, h, h.profile)
	h.fresh(nil)
	return h
}

func offered(version string) gardencorev1beta1.ExpirableVersion {
	return gardencorev1beta1.ExpirableVersion{Version: version, Lifecycle: []gardencorev1beta1.LifecycleStage{{Classification: gardencorev1beta1.ClassificationSupported}}}
}

// expire lets a version of Kubernetes end an hour before the clock.
func (h *harness) expire(versions ...string) {
	h.Helper()
	controllertest.Change(h.T, client.Client(h), h.profile, func(p *gardencorev1beta1.CloudProfile) {
		for i := range p.Spec.Kubernetes.Versions {
			for _, version := range versions {
				if p.Spec.Kubernetes.Versions[i].Version == version {
					p.Spec.Kubernetes.Versions[i].Lifecycle = []gardencorev1beta1.LifecycleStage{
						{Classification: gardencorev1beta1.ClassificationSupported},
						{Classification: gardencorev1beta1.ClassificationExpired, StartTime: &metav1.Time{Time: h.clock.Now().Add(-time.Hour)}},
					}
				}
			}
		}
	})
}

func (h *harness) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// fresh makes another Shoot, changed before it is made.
func (h *harness) fresh(change func(*gardencorev1beta1.Shoot)) {
	h.Helper()
	h.shoot = controllertest.Shoot(h.namespace, fmt.Sprintf("s%d", time.Now().UnixNano()%1e9))
	h.shoot.Spec.CloudProfile.Name = h.profile.Name
	h.shoot.Spec.Kubernetes.Version = "1.34.1"
	h.shoot.Spec.Provider.Workers[0].Machine.Image = &gardencorev1beta1.ShootMachineImage{Name: "linux", Version: ptr.To("1.0.0")}
	h.shoot.Spec.Maintenance = &gardencorev1beta1.Maintenance{TimeWindow: &gardencorev1beta1.MaintenanceTimeWindow{Begin: "120000+0000", End: "140000+0000"}}
	if change != nil {
		change(h.shoot)
	}
	controllertest.Create(h.T, client.Client(h), h.shoot)
	controllertest.SetStatus(h.T, h, h.shoot, func(s *gardencorev1beta1.ShootStatus) {
		// Of a local cluster that is there the garden keeps the version.
		s.LastOperation = controllertest.LastOperation(gardencorev1beta1.LastOperationTypeCreate, gardencorev1beta1.LastOperationStateProcessing, time.Now())
	})
}

func (h *harness) ask() {
	h.Helper()
	controllertest.Change(h.T, client.Client(h), h.shoot, func(s *gardencorev1beta1.Shoot) {
		metav1.SetMetaDataAnnotation(&s.ObjectMeta, v1beta1constants.GardenerOperation, v1beta1constants.ShootOperationMaintain)
	})
}

func (h *harness) run() (reconcile.Result, error) {
	return h.reconciler.Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(h.shoot)})
}

// reconcile tells when the Shoot is looked at again.
func (h *harness) reconcile() time.Time {
	h.Helper()
	result, err := h.run()
	h.must(err)
	h.read()
	return h.clock.Now().Add(result.RequeueAfter)
}

func (h *harness) read() {
	h.Helper()
	h.must(h.Get(context.Background(), client.ObjectKeyFromObject(h.shoot), h.shoot))
}

// versions are the control plane's and the first pool's image's.
func (h *harness) versions() string {
	return h.shoot.Spec.Kubernetes.Version + " " + *h.shoot.Spec.Provider.Workers[0].Machine.Image.Version
}

// status is state, description and failure reason of the last maintenance.
func (h *harness) status() string {
	last := h.shoot.Status.LastMaintenance
	if last == nil {
		return "none"
	}
	return strings.TrimSuffix(fmt.Sprintf("%s | %s | %s", last.State, last.Description, ptr.Deref(last.FailureReason, "")), " | ")
}

const updated = `Succeeded | All maintenance operations successful. ` +
	`Worker pool "workers": Updated machine image "linux" from "1.0.0" to "1.1.0". Reason: the newest image is asked for (strategy major); ` +
	`Control Plane: Updated Kubernetes version from "1.34.1" to "1.34.2". Reason: the newest patch is asked for`

// TestWindow follows a Shoot through its window: not before its moment, once,
// and again the day after; a restart moves nothing.
func TestWindow(t *testing.T) {
	h := newHarness(t)
	noon := h.clock.Now().Add(time.Hour)
	h.writes.Fail(0)
	moment := h.reconcile()
	if moment.Before(noon) || moment.After(noon.Add(105*time.Minute)) || h.writes.Count() != 0 {
		t.Fatalf("outside of the window: looks again at %s after %d writes", moment, h.writes.Count())
	}
	if h.clock.SetTime(moment.Add(-time.Second)); !h.reconcile().Equal(moment) || h.versions() != "1.34.1 1.0.0" {
		t.Errorf("before its moment: %s", h.versions())
	}
	h.clock.SetTime(moment)
	generation := h.shoot.Generation
	tomorrow := h.reconcile()
	if h.versions() != "1.34.2 1.1.0" || h.status() != updated || !h.shoot.Status.LastMaintenance.TriggeredTime.Time.Equal(moment.Truncate(time.Second)) {
		t.Errorf("at its moment: %s\n%s", h.versions(), h.status())
	}
	if tomorrow.Before(noon.Add(24*time.Hour)) || tomorrow.After(noon.Add(24*time.Hour+105*time.Minute)) || tomorrow.Sub(moment) == 24*time.Hour {
		t.Errorf("looks again at %s", tomorrow)
	}
	annotations := h.shoot.Annotations
	if h.shoot.Generation != generation+1 || annotations[v1beta1constants.GardenerOperation] != "" ||
		annotations[v1beta1constants.ShootTasks] != "deployInfrastructure,deployDNSRecordInternal,deployDNSRecordExternal,deployDNSRecordIngress,restartControlPlanePods" {
		t.Errorf("generation %d after %d, annotations %v", h.shoot.Generation, generation, annotations)
	}
	for _, want := range []string{"Normal MachineImageVersionMaintenance Worker pool", "Normal KubernetesVersionMaintenance Control Plane: Updated Kubernetes version from \"1.34.1\" to \"1.34.2\". Reason: the newest patch is asked for."} {
		if event := h.events.next(); !strings.HasPrefix(event, want) {
			t.Errorf("event %q", event)
		}
	}
	h.clock.Step(time.Minute)
	h.writes.Fail(0)
	if h.reconcile(); h.writes.Count() != 0 {
		t.Errorf("%d writes in the same window after a restart", h.writes.Count())
	}
}

// TestNothingToDo asks to reconcile once in a window, which leaves no trace in
// status.lastMaintenance, and not again once the agent has done so.
func TestNothingToDo(t *testing.T) {
	h := newHarness(t)
	controllertest.Change(t, client.Client(h), h.shoot, func(s *gardencorev1beta1.Shoot) {
		s.Spec.Maintenance.AutoUpdate = &gardencorev1beta1.MaintenanceAutoUpdate{MachineImageVersion: ptr.To(false)}
	})
	h.clock.SetTime(h.reconcile())
	generation := h.shoot.Generation
	if h.reconcile(); h.status() != "none" || h.shoot.Generation != generation+1 || h.versions() != "1.34.1 1.0.0" {
		t.Errorf("%s, generation %d after %d", h.status(), h.shoot.Generation, generation)
	}
	controllertest.SetStatus(t, h, h.shoot, func(s *gardencorev1beta1.ShootStatus) {
		s.LastOperation.LastUpdateTime = metav1.NewTime(h.clock.Now().Add(time.Minute))
	})
	h.clock.Step(2 * time.Minute)
	h.writes.Fail(0)
	if h.reconcile(); h.writes.Count() != 0 {
		t.Errorf("%d writes", h.writes.Count())
	}
}

// TestAsked maintains outside of the window when asked to, and takes the
// annotation away.
func TestAsked(t *testing.T) {
	h := newHarness(t)
	h.ask()
	h.reconcile()
	if h.status() != updated || h.shoot.Annotations[v1beta1constants.GardenerOperation] != "" {
		t.Errorf("%s\n%v", h.status(), h.shoot.Annotations)
	}
}

// TestForced updates what has expired whatever the Shoot says, and takes out
// what the new version does not have.
func TestForced(t *testing.T) {
	h := newHarness(t)
	h.fresh(func(s *gardencorev1beta1.Shoot) {
		s.Spec.Maintenance.AutoUpdate = &gardencorev1beta1.MaintenanceAutoUpdate{MachineImageVersion: ptr.To(false)}
		s.Spec.Kubernetes.KubeAPIServer = &gardencorev1beta1.KubeAPIServerConfig{
			EnableAnonymousAuthentication: ptr.To(true),
			KubernetesConfig:              gardencorev1beta1.KubernetesConfig{FeatureGates: map[string]bool{"APIResponseCompression": false, "APIServerTracing": true}},
		}
		s.Spec.Kubernetes.KubeScheduler = &gardencorev1beta1.KubeSchedulerConfig{KubeMaxPDVols: ptr.To("3")}
	})
	h.expire("1.34.1", "1.34.2")
	h.ask()
	h.reconcile()
	if h.versions() != "1.35.4 1.0.0" {
		t.Errorf("versions %s: %s", h.versions(), h.status())
	}
	if server := h.shoot.Spec.Kubernetes.KubeAPIServer; server.EnableAnonymousAuthentication != nil || h.shoot.Spec.Kubernetes.KubeScheduler.KubeMaxPDVols != nil {
		t.Errorf("left: %+v", server)
	}
	for _, want := range []string{`Control Plane: Updated Kubernetes version from "1.34.1" to "1.35.4". Reason: the version has expired`, "Control Plane: Removed spec.kubernetes.kubeAPIServer.enableAnonymousAuthentication"} {
		if !strings.Contains(h.status(), want) {
			t.Errorf("%s does not say %s", h.status(), want)
		}
	}
}

// TestNginxGate wants the addon switched off by a maintenance of a garden whose
// operator has it no more, and nothing said the next time.
func TestNginxGate(t *testing.T) {
	h := newHarness(t)
	h.reconciler.DisableNginxIngress = true
	h.fresh(func(s *gardencorev1beta1.Shoot) {
		purpose := gardencorev1beta1.ShootPurposeEvaluation
		s.Spec.Purpose = &purpose
		s.Spec.Addons = &gardencorev1beta1.Addons{NginxIngress: &gardencorev1beta1.NginxIngress{Addon: gardencorev1beta1.Addon{Enabled: true}}}
		s.Spec.Maintenance.AutoUpdate = &gardencorev1beta1.MaintenanceAutoUpdate{MachineImageVersion: ptr.To(false)}
	})
	h.ask()
	h.reconcile()
	const done = "Succeeded | All maintenance operations successful. Control Plane: Disabled spec.addons.nginxIngress. Reason: the feature gate DisableNginxIngressInShoot is on"
	if h.shoot.Spec.Addons.NginxIngress.Enabled || h.status() != done {
		t.Errorf("%+v: %s", h.shoot.Spec.Addons.NginxIngress, h.status())
	}
	h.ask()
	if h.reconcile(); h.status() != done {
		t.Errorf("the next time: %s", h.status())
	}
}

// TestPartlyFailed counts what succeeded and says why the rest did not.
func TestPartlyFailed(t *testing.T) {
	h := newHarness(t)
	h.fresh(func(s *gardencorev1beta1.Shoot) { s.Spec.Provider.Workers[0].Machine.Image.Version = ptr.To("1.1.0") })
	controllertest.Change(t, client.Client(h), h.profile, func(p *gardencorev1beta1.CloudProfile) {
		p.Spec.MachineImages[0].Versions[1].Lifecycle = []gardencorev1beta1.LifecycleStage{
			{Classification: gardencorev1beta1.ClassificationSupported}, {Classification: gardencorev1beta1.ClassificationExpired, StartTime: &metav1.Time{Time: h.clock.Now().Add(-time.Hour)}},
		}
	})
	h.ask()
	h.reconcile()
	for _, want := range []string{
		`Failed | (1/2) maintenance operations successful. Worker pool "workers": Left machine image "linux" as it is. It was due because the image version has expired`,
		`Control Plane: Updated Kubernetes version from "1.34.1" to "1.34.2"`, ` | Worker pool "workers": the cloud profile offers no version of machine image "linux" above 1.1.0`,
	} {
		if !strings.Contains(h.status(), want) {
			t.Errorf("%s does not say %s", h.status(), want)
		}
	}
	if h.versions() != "1.34.2 1.1.0" {
		t.Errorf("versions %s", h.versions())
	}
}

// TestRefused wants nothing changed when the dry run is refused, the reason in
// the status, the annotation gone, and the failure to clear once it is over.
func TestRefused(t *testing.T) {
	h := newHarness(t)
	h.ask()
	broken := &maintenance.Reconciler{Client: refusing{h.WithWatch}, Clock: h.clock, Recorder: h.events, Config: h.reconciler.Config}
	if _, err := broken.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(h.shoot)}); err != nil {
		t.Fatal(err)
	}
	h.read()
	if got := h.status(); !strings.HasPrefix(got, "Failed | Maintenance failed | Updates to the Shoot failed to be applied: ") || h.versions() != "1.34.1 1.0.0" {
		t.Errorf("%s %s", h.versions(), got)
	}
	if h.shoot.Annotations[v1beta1constants.GardenerOperation] != "" {
		t.Errorf("annotations %v", h.shoot.Annotations)
	}
	if event := h.events.next(); !strings.HasPrefix(event, "Warning MaintenanceFailed Updates to the Shoot failed") {
		t.Errorf("event %q", event)
	}
	controllertest.Change(t, client.Client(h), h.shoot, func(s *gardencorev1beta1.Shoot) {
		s.Spec.Maintenance.AutoUpdate = &gardencorev1beta1.MaintenanceAutoUpdate{MachineImageVersion: ptr.To(false)}
	})
	h.ask()
	if h.reconcile(); h.status() != "Succeeded | Maintenance succeeded" {
		t.Errorf("afterwards: %s", h.status())
	}
}

// TestFailedShoot is maintained, but asked to try again only if that is wished for.
func TestFailedShoot(t *testing.T) {
	for wish, raised := range map[string]int64{"": 1, "true": 1} {
		h := newHarness(t)
		controllertest.SetStatus(t, h, h.shoot, func(s *gardencorev1beta1.ShootStatus) {
			s.LastOperation.State = gardencorev1beta1.LastOperationStateFailed
		})
		controllertest.Change(t, client.Client(h), h.shoot, func(s *gardencorev1beta1.Shoot) {
			if wish != "" {
				metav1.SetMetaDataAnnotation(&s.ObjectMeta, v1beta1constants.FailedShootNeedsRetryOperation, wish)
			}
			metav1.SetMetaDataAnnotation(&s.ObjectMeta, v1beta1constants.GardenerMaintenanceOperation, "rotate-ssh-keypair")
		})
		h.ask()
		generation := h.shoot.Generation
		h.reconcile()
		annotations := h.shoot.Annotations
		if h.versions() != "1.34.2 1.1.0" || h.shoot.Generation != generation+raised || annotations[v1beta1constants.FailedShootNeedsRetryOperation] != "" ||
			annotations[v1beta1constants.GardenerMaintenanceOperation] != "rotate-ssh-keypair" || annotations[v1beta1constants.GardenerOperation] != "" {
			t.Errorf("wish %q: %s, generation %d after %d, %v", wish, h.versions(), h.shoot.Generation, generation, annotations)
		}
	}
}

// TestGenerationDoesNotRise has an API server that leaves the operation where it
// is: that is an error, which is tried again, for nobody would begin.
func TestGenerationDoesNotRise(t *testing.T) {
	h := newHarness(t)
	h.ask()
	deaf := &maintenance.Reconciler{Client: deaf{h.WithWatch}, Clock: h.clock, Recorder: h.events, Config: h.reconciler.Config}
	_, err := deaf.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(h.shoot)})
	if err == nil || !strings.Contains(err.Error(), `has not taken up operation "reconcile"`) {
		t.Errorf("got %v", err)
	}
	if h.read(); !strings.HasPrefix(h.status(), "Processing | ") {
		t.Errorf("it is said to be over: %s", h.status())
	}
	if h.reconcile(); !strings.HasPrefix(h.status(), "Succeeded | ") || h.versions() != "1.34.2 1.1.0" {
		t.Errorf("with one that takes it: %s, %s", h.versions(), h.status())
	}
}

// TestNamespacedProfile takes versions from the cloud profile of the Shoot's
// project: those that are expired there, and here the parent's else.
func TestNamespacedProfile(t *testing.T) {
	h := newHarness(t)
	profile := &gardencorev1beta1.NamespacedCloudProfile{
		ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "own"},
		Spec:       gardencorev1beta1.NamespacedCloudProfileSpec{Parent: gardencorev1beta1.CloudProfileReference{Kind: "CloudProfile", Name: h.profile.Name}},
	}
	controllertest.Create(t, client.Client(h), profile)
	base := profile.DeepCopy()
	// As the controller of these profiles merges it, without the newest patch.
	profile.Status.CloudProfileSpec = *h.profile.Spec.DeepCopy()
	profile.Status.CloudProfileSpec.Kubernetes.Versions = []gardencorev1beta1.ExpirableVersion{offered("1.34.1"), offered("1.35.4")}
	h.must(h.Status().Patch(t.Context(), profile, client.MergeFrom(base)))
	h.fresh(func(s *gardencorev1beta1.Shoot) {
		s.Spec.CloudProfile = &gardencorev1beta1.CloudProfileReference{Kind: "NamespacedCloudProfile", Name: profile.Name}
	})
	h.ask()
	if h.reconcile(); h.versions() != "1.34.1 1.1.0" {
		t.Errorf("%s: %s", h.versions(), h.status())
	}
	base = profile.DeepCopy()
	profile.Status.CloudProfileSpec.Kubernetes.Versions[0].Lifecycle = []gardencorev1beta1.LifecycleStage{
		{Classification: gardencorev1beta1.ClassificationSupported}, {Classification: gardencorev1beta1.ClassificationExpired, StartTime: &metav1.Time{Time: h.clock.Now().Add(-time.Hour)}},
	}
	h.must(h.Status().Patch(t.Context(), profile, client.MergeFrom(base)))
	h.ask()
	if h.reconcile(); h.versions() != "1.35.4 1.1.0" || !strings.Contains(h.status(), "the version has expired") {
		t.Errorf("expired there: %s: %s", h.versions(), h.status())
	}
}

// TestBindingIsCreated replaces the secret binding of a Shoot that comes to a
// version without them, for real: the garden takes both, and what it made is
// found again by the next Shoot with the same binding.
func TestBindingIsCreated(t *testing.T) {
	h := newHarness(t)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "key"}}
	old := &gardencorev1beta1.SecretBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "old"}, Provider: &gardencorev1beta1.SecretBindingProvider{Type: "local"},
		SecretRef: corev1.SecretReference{Namespace: h.namespace, Name: secret.Name},
	}
	controllertest.Create(t, client.Client(h), secret, old)
	controllertest.Change(t, client.Client(h), h.profile, func(p *gardencorev1beta1.CloudProfile) {
		p.Spec.Kubernetes.Versions = append(p.Spec.Kubernetes.Versions, offered("1.33.1"))
	})
	h.expire("1.33.1")
	for range 2 {
		h.fresh(func(s *gardencorev1beta1.Shoot) {
			s.Spec.Kubernetes.Version, s.Spec.SecretBindingName = "1.33.1", &old.Name
		})
		h.ask()
		h.reconcile()
		if got := h.shoot.Spec; got.SecretBindingName != nil || ptr.Deref(got.CredentialsBindingName, "") != "force-migrated-old" || !strings.HasPrefix(got.Kubernetes.Version, "1.34.") {
			t.Errorf("version %s, bindings %v and %v: %s", got.Kubernetes.Version, got.SecretBindingName, got.CredentialsBindingName, h.status())
		}
	}
	made := &securityv1alpha1.CredentialsBindingList{}
	h.must(h.List(t.Context(), made, client.InNamespace(h.namespace)))
	if len(made.Items) != 1 {
		t.Fatalf("%d bindings were made", len(made.Items))
	}
	if b := made.Items[0]; b.CredentialsRef != (corev1.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: h.namespace, Name: "key"}) ||
		b.Provider.Type != "local" || b.Labels["credentialsbinding.gardener.cloud/status"] != "force-migrated" {
		t.Errorf("made: %+v", b)
	}
}

// TestMissingProfile says what is missing, and does not try for ever.
func TestMissingProfile(t *testing.T) {
	h := newHarness(t)
	h.ask()
	lost := &maintenance.Reconciler{Client: without{h.WithWatch}, Clock: h.clock, Recorder: h.events}
	if _, err := lost.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(h.shoot)}); err != nil {
		t.Fatal(err)
	}
	if h.read(); !strings.Contains(h.status(), "there is no cloud profile") || h.shoot.Annotations[v1beta1constants.GardenerOperation] != "" {
		t.Errorf("%s %v", h.status(), h.shoot.Annotations)
	}
}

// TestInterrupted lets every write fail once, and wants the same versions and
// the same report in the end; and not two steps where one was planned.
func TestInterrupted(t *testing.T) {
	h := newHarness(t)
	h.expire("1.34.1", "1.34.2", "1.35.4")
	controllertest.Interrupted(t, h.writes, func(*testing.T) { h.fresh(nil); h.ask() }, func() error { _, err := h.run(); return err }, func(t *testing.T) {
		h.read()
		if h.versions() != "1.35.4 1.1.0" || !strings.HasPrefix(h.status(), "Succeeded | All maintenance operations successful. Worker pool") || h.shoot.Annotations[v1beta1constants.GardenerOperation] != "" {
			t.Errorf("%s: %s, %v", h.versions(), h.status(), h.shoot.Annotations)
		}
	})
}

// TestController wants the controller to act on the annotation, and on nothing at
// a start outside of windows.
func TestController(t *testing.T) {
	h := newHarness(t)
	h.writes.Fail(0)
	controllertest.Run(t, &maintenance.Reconciler{Client: h, Clock: h.clock, Config: h.reconciler.Config})
	time.Sleep(300 * time.Millisecond)
	if n := h.writes.Count(); n != 0 {
		t.Errorf("%d writes at the start", n)
	}
	h.read()
	h.ask()
	controllertest.Eventually(t, func() error {
		if h.read(); h.status() != updated {
			return fmt.Errorf("%s", h.status())
		}
		return nil
	})
}

// TestStartInWindow spreads the maintenance of Shoots whose moment passed while
// nobody ran.
func TestStartInWindow(t *testing.T) {
	h := newHarness(t)
	// Half an hour before the end: nearly all moments have passed.
	h.clock.Step(2*time.Hour + 30*time.Minute)
	h.writes.Fail(0)
	controllertest.Run(t, &maintenance.Reconciler{Client: h, Clock: h.clock, Config: h.reconciler.Config})
	time.Sleep(300 * time.Millisecond)
	if h.read(); h.versions() != "1.34.1 1.0.0" {
		t.Error("maintained right at the start")
	}
}

// refusing is a client of an API that refuses every dry run.
type refusing struct{ client.WithWatch }

func (r refusing) Patch(ctx context.Context, object client.Object, patch client.Patch, options ...client.PatchOption) error {
	o := &client.PatchOptions{}
	o.ApplyOptions(options)
	if len(o.DryRun) > 0 {
		return apierrors.NewInvalid(schema.GroupKind{Kind: "Shoot"}, object.GetName(), nil)
	}
	return r.WithWatch.Patch(ctx, object, patch, options...)
}

// without is a client of an API that has no cloud profiles.
type without struct{ client.WithWatch }

func (w without) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	if _, is := object.(*gardencorev1beta1.CloudProfile); is {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "cloudprofiles"}, key.Name)
	}
	return w.WithWatch.Get(ctx, key, object, options...)
}

// deaf is a client of an API that takes operations for annotations like any other.
type deaf struct{ client.WithWatch }

func (d deaf) Patch(ctx context.Context, object client.Object, patch client.Patch, options ...client.PatchOption) error {
	if o := (&client.PatchOptions{}).ApplyOptions(options); len(o.DryRun) > 0 {
		return d.WithWatch.Patch(ctx, object, patch, options...)
	}
	return nil // with the generation and the annotation that it was sent with
}

// recorder keeps events, of which no test has to take any: one that waited for
// that would never end.
type recorder struct {
	lock  sync.Mutex
	texts []string
}

// Eventf implements events.EventRecorder.
func (r *recorder) Eventf(_, _ runtime.Object, kind, reason, _, note string, args ...any) {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.texts = append(r.texts, kind+" "+reason+" "+fmt.Sprintf(note, args...))
}

// next is the oldest event that was not looked at; empty if there is none.
func (r *recorder) next() string {
	r.lock.Lock()
	defer r.lock.Unlock()
	if len(r.texts) == 0 {
		return ""
	}
	text := r.texts[0]
	r.texts = r.texts[1:]
	return text
}
