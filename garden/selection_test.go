package garden_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/gardener/gardener/pkg/apis/core/v1beta1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/garden/gardentest"
)

// TestFieldSelectors wants each selectable field to find the object that has the
// value, to leave out one that has not, and unknown fields to be refused.
func TestFieldSelectors(t *testing.T) {
	namespace, one := gardentest.Namespace(t), "sel-"+rand.String(5)
	newNamespace(t, "garden-"+one)
	shoot := newShoot(namespace, one)
	shoot.Spec.SeedName = ptr.To("local")
	create(t, shoot)
	commonObjects(t, server{}, "", "", nil)
	ref := map[string]any{"name": one, "namespace": namespace, "kind": "Shoot", "apiVersion": "core.gardener.cloud/v1beta1"}
	shootFields := map[string]string{"spec.shootRef.name": one, "spec.shootRef.namespace": namespace}
	for row, test := range map[string]struct {
		kind    string
		content map[string]any
		fields  map[string]string
		status  string
	}{
		"Shoot": {"Shoot", map[string]any{"seedName": "local"}, map[string]string{
			"spec.seedName": "local", "status.seedName": one, "spec.cloudProfileName": "local", "spec.cloudProfile.name": "local",
			"spec.cloudProfile.Name": "local", "spec.cloudProfile.Kind": "CloudProfile",
		}, `{"status":{"seedName":"` + one + `"}}`},
		"Project":                            {"Project", map[string]any{"namespace": "garden-" + one}, map[string]string{"spec.namespace": "garden-" + one}, ""},
		"NamespacedCloudProfile":             {"NamespacedCloudProfile", nil, map[string]string{"spec.parent.name": "local"}, ""},
		"BackupBucket of a seed":             {"BackupBucket", nil, map[string]string{"spec.seedName": "local"}, ""},
		"BackupBucket of a shoot":            {"BackupBucket", map[string]any{"seedName": nil, "shootRef": ref}, shootFields, ""},
		"BackupEntry of a seed":              {"BackupEntry", map[string]any{"seedName": "local"}, map[string]string{"spec.seedName": "local", "spec.bucketName": "sample"}, ""},
		"BackupEntry of a shoot":             {"BackupEntry", map[string]any{"shootRef": ref}, shootFields, ""},
		"ControllerInstallation on a seed":   {"ControllerInstallation", nil, map[string]string{"spec.registrationRef.name": "sample", "spec.seedRef.name": "local"}, ""},
		"ControllerInstallation for a shoot": {"ControllerInstallation", map[string]any{"seedRef": nil, "shootRef": ref}, shootFields, ""},
		"InternalSecret":                     {"InternalSecret", nil, map[string]string{"type": "Opaque"}, ""},
		"Bastion":                            {"Bastion", nil, map[string]string{"spec.seedName": "local", "spec.shootRef.name": "of-" + one}, ""},
		"ManagedSeed":                        {"ManagedSeed", nil, map[string]string{"spec.shoot.name": "of-" + one}, ""},
		"Machine":                            {"Machine", map[string]any{"shootName": one}, map[string]string{"spec.shootName": one}, ""},
	} {
		t.Run("garden-api: Served semantics/Field selectors/"+row, func(t *testing.T) {
			s := sampleOf(t, test.kind)
			ctx, c, name := context.Background(), s.client(t, namespace), one
			if test.kind == "Shoot" || strings.Contains(row, "shoot") {
				name += "-two"
			}
			object := s.object(t, namespace, name)
			for field, value := range test.content {
				setOrDrop(object.Object["spec"].(map[string]any), field, value)
			}
			if _, err := c.Create(ctx, object, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			if test.status != "" {
				if _, err := c.Patch(ctx, name, types.MergePatchType, []byte(test.status), metav1.PatchOptions{}, "status"); err != nil {
					t.Fatal(err)
				}
			}
			for field, value := range test.fields {
				both := "metadata.name=" + name + "," + field
				if list, err := c.List(ctx, metav1.ListOptions{FieldSelector: both + "=" + value}); err != nil || len(list.Items) != 1 {
					t.Errorf("%s=%s: got %v, %v; want one", field, value, list, err)
				}
				if list, err := c.List(ctx, metav1.ListOptions{FieldSelector: both + "!=" + value}); err != nil || len(list.Items) != 0 {
					t.Errorf("%s!=%s: got %v, %v; want none", field, value, list, err)
				}
			}
			if _, err := c.List(ctx, metav1.ListOptions{FieldSelector: "spec.unknown=x"}); !apierrors.IsBadRequest(err) {
				t.Errorf("an unknown field: got %v, want BadRequest", err)
			}
		})
	}
}

func setOrDrop(content map[string]any, field string, value any) {
	if value == nil {
		delete(content, field)
		return
	}
	content[field] = value
}

func sampleOf(tb testing.TB, kind string) sample {
	tb.Helper()
	for _, s := range samples() {
		if s.kind == kind {
			return s
		}
	}
	tb.Fatalf("no sample of %s", kind)
	return sample{}
}

// TestWatchBySeed follows a Shoot into and out of a selection, by the indexed
// field.
func TestWatchBySeed(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	namespace := gardentest.Namespace(t)
	seed, other := newBackedSeed(t, namespace, "watched-"), newBackedSeed(t, namespace, "unwatched-")
	watcher, err := sampleOf(t, "Shoot").client(t, "").Watch(ctx, metav1.ListOptions{FieldSelector: "spec.seedName=" + seed.Name})
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Stop()
	want := func(event watch.EventType) {
		t.Helper()
		select {
		case got := <-watcher.ResultChan():
			if got.Type != event {
				t.Fatalf("got %v %v, want %v", got.Type, got.Object, event)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("no %v", event)
		}
	}
	shoot := create(t, newShoot(namespace, "watched"))
	bind(t, shoot, seed.Name)
	want(watch.Added)
	patch(t, shoot, `{"spec":{"purpose":"testing"}}`)
	want(watch.Modified)
	list := &v1beta1.ShootList{}
	if err := gardentest.Client(t).List(ctx, list, client.MatchingFields{"spec.seedName": seed.Name}); err != nil || len(list.Items) != 1 {
		t.Errorf("list by seed: %d, %v", len(list.Items), err)
	}
	bind(t, shoot, other.Name)
	want(watch.Deleted)
}

func TestListInPages(t *testing.T) {
	ctx, namespace := context.Background(), gardentest.Namespace(t)
	for range 5 {
		shoot := newShoot(namespace, "")
		shoot.GenerateName = "page-"
		create(t, shoot)
	}
	c, seen := gardentest.Client(t), map[string]bool{}
	list := &v1beta1.ShootList{}
	for pages := 1; ; pages++ {
		if err := c.List(ctx, list, client.InNamespace(namespace), client.Limit(2), client.Continue(list.Continue)); err != nil {
			t.Fatal(err)
		}
		for _, shoot := range list.Items {
			seen[shoot.Name] = true
		}
		if list.Continue == "" {
			if pages != 3 || len(seen) != 5 {
				t.Errorf("%d pages, %d Shoots", pages, len(seen))
			}
			return
		}
	}
}

func TestImmutableInternalSecret(t *testing.T) {
	ctx, c := context.Background(), gardentest.Client(t)
	secret := create(t, &v1beta1.InternalSecret{
		ObjectMeta: metav1.ObjectMeta{Namespace: gardentest.Namespace(t), Name: "fixed"},
		StringData: map[string]string{"key": "value"}, Immutable: ptr.To(true),
	})
	if string(secret.Data["key"]) != "value" || secret.Type != "Opaque" {
		t.Errorf("got %v, %v", secret.Data, secret.Type)
	}
	for _, text := range []string{`{"data":{"key":"dw=="}}`, `{"immutable":false}`, `{"type":"other"}`} {
		if err := c.Patch(ctx, secret.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(text))); !apierrors.IsInvalid(err) {
			t.Errorf("%s: got %v, want Invalid", text, err)
		}
	}
	patch(t, secret, `{"metadata":{"labels":{"a":"b"}}}`)
}
