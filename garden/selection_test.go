package garden_test

import (
	"context"
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
	ctx, namespace, one := context.Background(), gardentest.Namespace(t), "sel-"+rand.String(5)
	ref := map[string]any{"name": one, "namespace": one}
	for kind, test := range map[string]struct {
		fields map[string]string
		change string
		status string
	}{
		"Shoot": {map[string]string{
			"spec.seedName": "local", "status.seedName": one, "spec.cloudProfileName": "local", "spec.cloudProfile.name": "local",
			"spec.cloudProfile.Name": "local", "spec.cloudProfile.Kind": "CloudProfile",
		}, `{"spec":{"seedName":"local"}}`, `{"status":{"seedName":"` + one + `"}}`},
		"Project":                {map[string]string{"spec.namespace": "garden-" + one}, `{"spec":{"namespace":"garden-` + one + `"}}`, ""},
		"NamespacedCloudProfile": {map[string]string{"spec.parent.name": one}, `{"spec":{"parent":{"name":"` + one + `"}}}`, ""},
		"BackupBucket": {map[string]string{"spec.seedName": one, "spec.shootRef.name": one, "spec.shootRef.namespace": one},
			string(marshal(t, spec(map[string]any{"seedName": one, "shootRef": ref}))), ""},
		"BackupEntry": {map[string]string{"spec.seedName": one, "spec.bucketName": one, "spec.shootRef.name": one, "spec.shootRef.namespace": one},
			string(marshal(t, spec(map[string]any{"seedName": one, "bucketName": one, "shootRef": ref}))), ""},
		"ControllerInstallation": {map[string]string{"spec.registrationRef.name": one, "spec.seedRef.name": one},
			string(marshal(t, spec(map[string]any{"registrationRef": ref, "seedRef": ref}))), ""},
		"InternalSecret": {map[string]string{"type": "Opaque"}, `{}`, ""},
		"Bastion":        {map[string]string{"spec.seedName": one, "spec.shootRef.name": one}, string(marshal(t, spec(map[string]any{"seedName": one, "shootRef": ref}))), ""},
		"ManagedSeed":    {map[string]string{"spec.shoot.name": one}, string(marshal(t, spec(map[string]any{"shoot": ref}))), ""},
		"Machine":        {map[string]string{"spec.shootName": one}, `{"spec":{"shootName":"` + one + `"}}`, ""},
	} {
		t.Run(kind, func(t *testing.T) {
			s := sampleOf(t, kind)
			c := s.client(t, namespace)
			if _, err := c.Create(ctx, s.object(namespace, one), metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Patch(ctx, one, types.MergePatchType, []byte(test.change), metav1.PatchOptions{}); err != nil {
				t.Fatal(err)
			}
			if test.status != "" {
				if _, err := c.Patch(ctx, one, types.MergePatchType, []byte(test.status), metav1.PatchOptions{}, "status"); err != nil {
					t.Fatal(err)
				}
			}
			for field, value := range test.fields {
				both := "metadata.name=" + one + "," + field
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
	seed := create(t, &v1beta1.Seed{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "watched-"},
		Spec:       v1beta1.SeedSpec{Provider: v1beta1.SeedProvider{Type: "local", Region: "local"}, Networks: v1beta1.SeedNetworks{Pods: "10.6.0.0/16", Services: "10.7.0.0/16"}},
	})
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
	patch(t, shoot, `{"spec":{"seedName":"`+seed.Name+`"}}`)
	want(watch.Added)
	patch(t, shoot, `{"spec":{"purpose":"testing"}}`)
	want(watch.Modified)
	list := &v1beta1.ShootList{}
	if err := gardentest.Client(t).List(ctx, list, client.MatchingFields{"spec.seedName": seed.Name}); err != nil || len(list.Items) != 1 {
		t.Errorf("list by seed: %d, %v", len(list.Items), err)
	}
	patch(t, shoot, `{"spec":{"seedName":"local"}}`)
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
