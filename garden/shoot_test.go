package garden_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/garden/gardentest"
)

func patch(tb testing.TB, object client.Object, text string) {
	tb.Helper()
	if err := gardentest.Client(tb).Patch(context.Background(), object, client.RawPatch(types.MergePatchType, []byte(text))); err != nil {
		tb.Fatalf("patching with %s: %v", text, err)
	}
}

// report patches a Shoot's status, as its controllers do.
func report(tb testing.TB, shoot *v1beta1.Shoot, status string) {
	tb.Helper()
	if err := gardentest.Client(tb).Status().Patch(context.Background(), shoot, client.RawPatch(types.MergePatchType, []byte(`{"status":`+status+`}`))); err != nil {
		tb.Fatalf("reporting %s: %v", status, err)
	}
}

func TestShootGeneration(t *testing.T) {
	shoot := create(t, newShoot(gardentest.Namespace(t), "generation"))
	report(t, shoot, `{"lastOperation":{"type":"Create","state":"Succeeded","progress":100,"description":"","lastUpdateTime":"2026-01-01T00:00:00Z"}}`)
	operation := func(value string) string {
		return fmt.Sprintf(`{"metadata":{"annotations":{"gardener.cloud/operation":%q}}}`, value)
	}
	confine := `{"spec":{"maintenance":{"confineSpecUpdateRollout":true}}}`
	for _, step := range []struct {
		name, patch string
		raised      bool
		annotation  string
	}{
		{"a label", `{"metadata":{"labels":{"a":"b"}}}`, false, ""},
		{"the spec", `{"spec":{"purpose":"testing"}}`, true, ""},
		{"the same spec", `{"spec":{"purpose":"testing"}}`, false, ""},
		{"reconcile", operation("reconcile"), true, ""},
		{"retry", operation("retry"), true, ""},
		{"maintain, which is another's", operation("maintain"), false, "maintain"},
		{"reconcile beside maintain", operation("maintain;reconcile"), true, "maintain"},
		{"a rotation", operation("rotate-ssh-keypair"), true, ""},
		{"two rotations", operation("rotate-ca-start;rotate-observability-credentials"), true, ""},
		{"confining", confine, false, ""},
		{"the spec while confined", `{"spec":{"purpose":"evaluation"}}`, false, ""},
		{"hibernation while confined", `{"spec":{"hibernation":{"enabled":true}}}`, true, ""},
		{"reconcile while confined", operation("reconcile"), true, ""},
		{"no more confining", `{"spec":{"maintenance":{"confineSpecUpdateRollout":null}}}`, true, ""},
	} {
		before := shoot.Generation
		patch(t, shoot, step.patch)
		if raised := shoot.Generation == before+1; raised != step.raised || !raised && shoot.Generation != before {
			t.Errorf("%s: generation went from %d to %d", step.name, before, shoot.Generation)
		}
		if got := shoot.Annotations["gardener.cloud/operation"]; got != step.annotation {
			t.Errorf("%s: the operation left is %q, want %q", step.name, got, step.annotation)
		}
	}
	rotation := shoot.Status.Credentials.Rotation
	if rotation.SSHKeypair.LastInitiationTime == nil || rotation.Observability.LastInitiationTime == nil || rotation.CertificateAuthorities.Phase != v1beta1.RotationPreparing {
		t.Errorf("rotations that were asked for are forgotten: %+v", rotation)
	}

	patch(t, shoot, `{"metadata":{"finalizers":["example.org/held"]}}`)
	before := shoot.Generation
	for range 2 {
		if err := gardentest.Client(t).Delete(context.Background(), shoot); err != nil {
			t.Fatal(err)
		}
	}
	if err := gardentest.Client(t).Get(context.Background(), client.ObjectKeyFromObject(shoot), shoot); err != nil || shoot.Generation != before+1 {
		t.Errorf("two deletions: generation went from %d to %d (%v), want one more", before, shoot.Generation, err)
	}
	patch(t, shoot, `{"metadata":{"finalizers":null}}`)
}

// bind gives a Shoot a seed as a scheduler does, from what the caller last saw.
func bind(tb testing.TB, shoot *v1beta1.Shoot, seed string) {
	tb.Helper()
	shoot.Spec.SeedName = &seed
	if err := gardentest.Client(tb).SubResource("binding").Update(context.Background(), shoot); err != nil {
		tb.Fatalf("binding to seed %q: %v", seed, err)
	}
}

// newBackedSeed makes a seed between which and others control planes can move.
func newBackedSeed(tb testing.TB, namespace, prefix string) *v1beta1.Seed {
	tb.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "backup-"}}
	create(tb, secret)
	return create(tb, &v1beta1.Seed{
		ObjectMeta: metav1.ObjectMeta{GenerateName: prefix},
		Spec: v1beta1.SeedSpec{
			Provider: v1beta1.SeedProvider{Type: "local", Region: "local"},
			Networks: v1beta1.SeedNetworks{Pods: "10.6.0.0/16", Services: "10.7.0.0/16"},
			Backup: &v1beta1.Backup{Provider: "local", CredentialsRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "Secret", Namespace: namespace, Name: secret.Name,
			}},
		},
	})
}

// TestShootBinding wants the subresource to set the seed and nothing else, and
// nothing else to set the seed.
func TestShootBinding(t *testing.T) {
	ctx, c, namespace := context.Background(), gardentest.Client(t), gardentest.Namespace(t)
	first, second := newBackedSeed(t, namespace, "first-"), newBackedSeed(t, namespace, "second-")
	shoot := create(t, newShoot(namespace, "bound"))
	report(t, shoot, `{"technicalID":"kept"}`)
	stale := shoot.DeepCopy()
	patch(t, shoot, `{"metadata":{"labels":{"a":"b"}}}`)

	for name, text := range map[string]string{
		"an ordinary update":   `{"spec":{"seedName":"` + first.Name + `"}}`,
		"an unknown seed":      `{"spec":{"seedName":"nowhere"}}`,
		"another way for both": `{"spec":{"seedName":null,"region":"local","purpose":"testing","seedName":"local"}}`,
	} {
		if err := c.Patch(ctx, shoot.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(text))); !apierrors.IsInvalid(err) {
			t.Errorf("%s: got %v, want Invalid", name, err)
		}
	}
	stale.Spec.SeedName = &first.Name
	if err := c.SubResource("binding").Update(ctx, stale); !apierrors.IsConflict(err) {
		t.Errorf("from an old version: got %v, want Conflict", err)
	}

	greedy := shoot.DeepCopy()
	greedy.Spec.Region, greedy.Spec.Purpose, greedy.Status.TechnicalID = "elsewhere", ptr.To(v1beta1.ShootPurposeProduction), "stolen"
	greedy.Labels, greedy.Finalizers = map[string]string{"c": "d"}, []string{"example.org/held"}
	bind(t, greedy, first.Name)
	if got := *greedy.Spec.SeedName; got != first.Name || greedy.Generation != shoot.Generation+1 {
		t.Errorf("seed %q, generation %d after %d", got, greedy.Generation, shoot.Generation)
	}
	if greedy.Spec.Region != "local" || *greedy.Spec.Purpose != *shoot.Spec.Purpose || greedy.Status.TechnicalID != "kept" || greedy.Labels["a"] != "b" || greedy.Labels["c"] != "" || len(greedy.Finalizers) > 0 {
		t.Errorf("more than the seed was written: %+v", greedy)
	}

	unconditional := greedy.DeepCopy()
	unconditional.ResourceVersion = ""
	bind(t, unconditional, second.Name)
	for name, seed := range map[string]*string{"to a seed without backups": ptr.To("local"), "to a seed that is not there": ptr.To("nowhere"), "away from all": nil} {
		moved := unconditional.DeepCopy()
		moved.Spec.SeedName = seed
		if err := c.SubResource("binding").Update(ctx, moved); !apierrors.IsInvalid(err) {
			t.Errorf("moving %s: got %v, want Invalid", name, err)
		}
	}
}

// TestMaintenanceWindowStays replaces a Shoot by its manifest, which has no
// window, and expects neither the window nor the generation to move.
func TestMaintenanceWindowStays(t *testing.T) {
	namespace := gardentest.Namespace(t)
	windows := map[string]bool{}
	for i := range 12 {
		shoot := create(t, newShoot(namespace, fmt.Sprint("window-", i)))
		window := *shoot.Spec.Maintenance.TimeWindow
		windows[window.Begin] = true
		replacement := newShoot(namespace, shoot.Name)
		update(t, replacement)
		if *replacement.Spec.Maintenance.TimeWindow != window || replacement.Generation != 1 {
			t.Fatalf("a replace moved the window from %v to %v, generation %d", window, replacement.Spec.Maintenance.TimeWindow, replacement.Generation)
		}
	}
	if len(windows) < 2 {
		t.Errorf("twelve Shoots share the window %v: it should be drawn", windows)
	}
}

func TestShootSpellings(t *testing.T) {
	namespace := gardentest.Namespace(t)
	shoot := newShoot(namespace, "spelling")
	shoot.Spec.CloudProfile, shoot.Spec.CloudProfileName = nil, ptr.To("local")
	shoot.Spec.Kubernetes.Version = "v1.35.4"
	create(t, shoot)
	if shoot.Spec.CloudProfileName != nil || shoot.Spec.CloudProfile.Name != "local" || shoot.Spec.CloudProfile.Kind != "CloudProfile" || shoot.Spec.Kubernetes.Version != "1.35.4" {
		t.Errorf("got %v, %v, %q", shoot.Spec.CloudProfileName, shoot.Spec.CloudProfile, shoot.Spec.Kubernetes.Version)
	}
}

// TestShootCreator wants who asked to be noted, whatever the request says.
func TestShootCreator(t *testing.T) {
	const annotation = "gardener.cloud/created-by"
	ctx, rose := context.Background(), "rose-"+rand.String(5)
	c := gardentest.ClientFor(t, gardentest.User(t, rose, "system:masters"))
	shoot := newShoot(gardentest.Namespace(t), "created")
	shoot.Annotations[annotation] = "mallory"
	if err := c.Create(ctx, shoot); err != nil {
		t.Fatal(err)
	}
	if creator := shoot.Annotations[annotation]; creator != rose {
		t.Errorf("created by %q, want %q", creator, rose)
	}
	for _, text := range []string{
		`{"metadata":{"annotations":{"gardener.cloud/created-by":"mallory"}}}`, `{"metadata":{"annotations":{"gardener.cloud/created-by":null}}}`, `{"metadata":{"annotations":null}}`,
	} {
		// Somebody else changes it, whose name must not come in either.
		patch(t, shoot, text)
		if creator := shoot.Annotations[annotation]; creator != rose {
			t.Errorf("after %s: created by %q, want %q", text, creator, rose)
		}
	}
}

// TestShootsThatAreRefused wants every problem in one answer.
func TestShootsThatAreRefused(t *testing.T) {
	namespace := gardentest.Namespace(t)
	project := strings.TrimPrefix(namespace, "garden-")
	fits := strings.Repeat("n", 63-len("shoot--")-len(project)-len("--"))
	create(t, newShoot(namespace, fits))
	for name, test := range map[string]struct {
		change func(*v1beta1.Shoot)
		want   []string
	}{
		"empty": {func(s *v1beta1.Shoot) { s.Spec = v1beta1.ShootSpec{} }, []string{
			"spec.cloudProfile.name: Required", "spec.region: Required", "spec.provider.type: Required", "spec.kubernetes.version: Required",
		}},
		"nothing referred to exists": {func(s *v1beta1.Shoot) {
			s.Namespace = "default"
			s.Spec.SeedName = ptr.To("nowhere")
			s.Spec.CloudProfile.Name = "nothing"
		}, []string{
			`metadata.namespace: Invalid value: "default": belongs to no project`, `spec.seedName: Not found: "nowhere"`, `spec.cloudProfile.name: Not found: "nothing"`,
		}},
		"version without image": {func(s *v1beta1.Shoot) { s.Spec.Kubernetes.Version = "1.36.0" }, []string{
			`spec.kubernetes.version: Invalid value: "1.36.0"`, `offers 1.36.3, 1.35.4`,
		}},
		"version that is none":    {func(s *v1beta1.Shoot) { s.Spec.Kubernetes.Version = "newest" }, []string{"must be a full version, for example 1.36.3"}},
		"minor without version":   {func(s *v1beta1.Shoot) { s.Spec.Kubernetes.Version = "1.34" }, []string{`spec.kubernetes.version: Invalid value: "1.34": cloud profile "local" offers 1.36.3, 1.35.4`}},
		"other provider":          {func(s *v1beta1.Shoot) { s.Spec.Provider.Type = "proxmox" }, []string{`spec.provider.type: Invalid value: "proxmox": must be "local"`}},
		"name too long":           {func(s *v1beta1.Shoot) { s.Name = fits + "n" }, []string{"metadata.name: Invalid value", fmt.Sprintf("at most %d characters", len(fits))}},
		"name with two dashes":    {func(s *v1beta1.Shoot) { s.Name = "a--b" }, []string{`must not contain "--"`}},
		"name with a dot":         {func(s *v1beta1.Shoot) { s.Name = "a.b" }, []string{"metadata.name: Invalid value"}},
		"label that is none":      {func(s *v1beta1.Shoot) { s.Labels = map[string]string{"a b": ""}; s.Spec.Region = "" }, []string{"metadata.labels: Invalid value", "spec.region: Required"}},
		"unknown kind of profile": {func(s *v1beta1.Shoot) { s.Spec.CloudProfile.Kind = "Profile" }, []string{"spec.cloudProfile.kind: Unsupported value"}},
		"workers": {func(s *v1beta1.Shoot) {
			s.Spec.Provider.Workers = []v1beta1.Worker{
				{Name: "a", Minimum: -1, Maximum: -2, ControlPlane: &v1beta1.WorkerControlPlane{}},
				{Name: "a", ControlPlane: &v1beta1.WorkerControlPlane{}, Kubernetes: &v1beta1.WorkerKubernetes{Version: ptr.To("new")}},
				{Name: "A_"},
			}
		}, []string{
			"workers[0].minimum: Invalid value: -1", "workers[0].maximum: Invalid value: -2", "workers[0].machine.type: Required",
			`workers[1].name: Duplicate value: "a"`, "workers[1].controlPlane: Forbidden", "workers[1].kubernetes.version: Invalid", "workers[2].name: Invalid",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			shoot := newShoot(namespace, "refused")
			test.change(shoot)
			err := gardentest.Client(t).Create(context.Background(), shoot)
			if !apierrors.IsInvalid(err) {
				t.Fatalf("got %v, want Invalid", err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is missing in:\n%v", want, err)
				}
			}
		})
	}
}

// TestShootOutlivesWhatItRefersTo keeps a cluster manageable when its version,
// its profile and its project are gone.
func TestShootOutlivesWhatItRefersTo(t *testing.T) {
	ctx, c, namespace := context.Background(), gardentest.Client(t), gardentest.Namespace(t)
	local := &v1beta1.CloudProfile{}
	if err := c.Get(ctx, client.ObjectKey{Name: "local"}, local); err != nil {
		t.Fatal(err)
	}
	profile := &v1beta1.CloudProfile{ObjectMeta: metav1.ObjectMeta{GenerateName: "passing-"}, Spec: local.Spec}
	profile.Spec.Kubernetes.Versions = []v1beta1.ExpirableVersion{{Version: "1.36.3"}, {Version: "1.36.2", ExpirationDate: ptr.To(metav1.Unix(1, 0))}}
	create(t, profile)
	shoot := newShoot(namespace, "alone")
	shoot.Spec.CloudProfile.Name = profile.Name
	expired := shoot.DeepCopy()
	expired.Spec.Kubernetes.Version = "1.36.2"
	if err := c.Create(ctx, expired); !apierrors.IsInvalid(err) {
		t.Errorf("an expired version: %v", err)
	}
	// The profile was made a moment ago: memory may not have it yet, the store has.
	create(t, shoot)
	if err := c.Delete(ctx, profile); err != nil {
		t.Fatal(err)
	}
	project := &v1beta1.Project{ObjectMeta: metav1.ObjectMeta{Name: strings.TrimPrefix(namespace, "garden-")}}
	patch(t, project, `{"metadata":{"annotations":{"confirmation.gardener.cloud/deletion":"true"}}}`)
	if err := c.Delete(ctx, project); err != nil {
		t.Fatal(err)
	}
	patch(t, shoot, `{"spec":{"hibernation":{"enabled":true}}}`)
	patch(t, shoot, `{"metadata":{"finalizers":["example.org/held"]}}`)
	if err := c.Patch(ctx, shoot.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(`{"spec":{"kubernetes":{"version":"1.36.4"}}}`))); !apierrors.IsInvalid(err) {
		t.Errorf("a new version without a profile: %v", err)
	}
	if err := c.Delete(ctx, shoot); err != nil {
		t.Fatal(err)
	}
	patch(t, shoot, `{"metadata":{"finalizers":null}}`)
	wantGone(t, shoot)
}
