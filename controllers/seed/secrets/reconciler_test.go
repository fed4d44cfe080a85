package secrets_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/controllers/seed/secrets"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

type harness struct {
	*testing.T
	garden     client.Client
	writes     *controllertest.Writes
	seed       *gardencorev1beta1.Seed
	namespace  string // of the garden, as far as the reconciler knows
	reconciler *secrets.Reconciler
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	h := &harness{T: t, seed: controllertest.NewSeed(t)}
	h.garden, h.writes = controllertest.Client(t)
	h.namespace = "g" + rand.String(6)
	h.must(h.garden.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: h.namespace}}))
	h.reconciler = &secrets.Reconciler{Client: h.garden, GardenNamespace: h.namespace}
	return h
}

func (h *harness) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *harness) reconcile() error {
	_, err := h.reconciler.Reconcile(h.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(h.seed)})
	return err
}

func (h *harness) secret(name, role string, change ...func(*corev1.Secret)) *corev1.Secret {
	h.Helper()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: name, Labels: map[string]string{"a": "b"}, Annotations: map[string]string{"c": "d"}},
		Data:       map[string][]byte{"key": []byte("value")}, Type: "example.org/kind",
	}
	if role != "" {
		secret.Labels[v1beta1constants.GardenRole] = role
	}
	for _, c := range change {
		c(secret)
	}
	h.must(h.garden.Create(h.Context(), secret))
	return secret
}

func (h *harness) copies() map[string]corev1.Secret {
	h.Helper()
	list := &corev1.SecretList{}
	h.must(h.garden.List(h.Context(), list, client.InNamespace("seed-"+h.seed.Name)))
	found := map[string]corev1.Secret{}
	for _, secret := range list.Items {
		found[secret.Name] = secret
	}
	return found
}

func TestNamespace(t *testing.T) {
	h := newHarness(t)
	h.must(h.reconcile())
	namespace := &corev1.Namespace{}
	h.must(h.garden.Get(t.Context(), client.ObjectKey{Name: "seed-" + h.seed.Name}, namespace))
	if !metav1.IsControlledBy(namespace, h.seed) || namespace.Labels[v1beta1constants.GardenRole] != "seed" {
		t.Errorf("got %+v", namespace.ObjectMeta)
	}
	namespace.Labels[v1beta1constants.GardenRole] = "other"
	h.must(h.garden.Update(t.Context(), namespace))
	h.must(h.reconcile())
	if controllertest.Refresh(t, namespace).Labels[v1beta1constants.GardenRole] != "seed" {
		t.Error("the label is not put right")
	}
}

func TestNamespaceOfSomebodyElse(t *testing.T) {
	h := newHarness(t)
	h.must(h.garden.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "seed-" + h.seed.Name}}))
	h.secret("shared", "internal-domain")
	if err := h.reconcile(); !errors.Is(err, fault.Invalid) {
		t.Errorf("got %v", err)
	}
	if copies := h.copies(); len(copies) != 0 {
		t.Errorf("something was copied: %v", slices.Collect(maps.Keys(copies)))
	}
}

// TestCopies follows the life of Secrets.
func TestCopies(t *testing.T) {
	h := newHarness(t)
	domain := h.secret("domain", v1beta1constants.GardenRoleInternalDomain)
	for i, role := range append(slices.Clone(v1beta1constants.ControlPlaneSecretRoles), v1beta1constants.GardenRoleHelmPullSecret,
		v1beta1constants.GardenRoleOCICABundle, v1beta1constants.GardenRoleResourceReference, "") {
		h.secret(fmt.Sprint("private-", i), role)
	}
	h.must(h.reconcile())
	copies := h.copies()
	got, found := copies["domain"]
	if len(copies) != 1 || !found {
		t.Fatalf("copied %v", slices.Collect(maps.Keys(copies)))
	}
	if !maps.Equal(got.Labels, domain.Labels) || !maps.Equal(got.Annotations, domain.Annotations) || got.Type != domain.Type || string(got.Data["key"]) != "value" {
		t.Errorf("got %+v", got)
	}

	domain.Data = map[string][]byte{"other": []byte("data")}
	domain.Labels["new"], domain.Annotations = "label", map[string]string{"new": "annotation"}
	h.must(h.garden.Update(t.Context(), domain))
	own := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "seed-" + h.seed.Name, Name: "own"}}
	h.must(h.garden.Create(t.Context(), own))
	h.must(h.reconcile())
	got = h.copies()["domain"]
	if !maps.Equal(got.Labels, domain.Labels) || !maps.Equal(got.Annotations, domain.Annotations) || len(got.Data) != 1 || string(got.Data["other"]) != "data" {
		t.Errorf("after a change: %+v", got)
	}

	before := h.writes.Count()
	h.must(h.reconcile())
	if n := h.writes.Count() - before; n != 0 {
		t.Errorf("%d writes though nothing has changed", n)
	}

	// A type cannot be changed: the copy is replaced.
	h.must(h.garden.Delete(t.Context(), domain))
	h.secret("domain", v1beta1constants.GardenRoleInternalDomain, func(s *corev1.Secret) { s.Type = "example.org/other" })
	h.must(h.reconcile())
	if got := h.copies()["domain"]; got.Type != "example.org/other" {
		t.Errorf("after another type: %+v", got)
	}

	h.must(h.garden.Delete(t.Context(), domain))
	h.must(h.reconcile())
	if copies := h.copies(); len(copies) != 1 || copies["own"].Name != "own" {
		t.Errorf("left are %v, want what is not a copy", slices.Collect(maps.Keys(copies)))
	}
}

// TestCopyWithoutItsLabels is one that somebody has changed so that it is not
// found by its role.
func TestCopyWithoutItsLabels(t *testing.T) {
	h := newHarness(t)
	h.secret("domain", v1beta1constants.GardenRoleInternalDomain)
	h.must(h.reconcile())
	stripped := h.copies()["domain"]
	stripped.Labels = nil
	h.must(h.garden.Update(t.Context(), &stripped))
	h.must(h.reconcile())
	if got := h.copies()["domain"]; got.Labels[v1beta1constants.GardenRole] != v1beta1constants.GardenRoleInternalDomain {
		t.Errorf("got %+v", got)
	}
}

func TestInterrupted(t *testing.T) {
	var h *harness
	garden, writes := controllertest.Client(t)
	controllertest.Interrupted(t, writes, func(t *testing.T) {
		h = newHarness(t)
		h.garden, h.reconciler.Client = garden, garden
		h.must(garden.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
			Name: "seed-" + h.seed.Name, OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(h.seed, gardencorev1beta1.SchemeGroupVersion.WithKind("Seed"))},
		}}))
		h.secret("one", "internal-domain")
		h.secret("two", "default-domain")
		h.must(garden.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "seed-" + h.seed.Name, Name: "old", Labels: map[string]string{v1beta1constants.GardenRole: "default-domain"}}}))
	}, func() error { return h.reconcile() }, func(t *testing.T) {
		if got := slices.Sorted(maps.Keys(h.copies())); !slices.Equal(got, []string{"one", "two"}) {
			t.Errorf("got %v", got)
		}
	})
}

// TestWatches has a manager follow what happens in the garden.
func TestWatches(t *testing.T) {
	h := newHarness(t)
	domain := h.secret("domain", v1beta1constants.GardenRoleInternalDomain)
	controllertest.Run(t, &secrets.Reconciler{GardenNamespace: h.namespace})
	wait := func(want ...string) {
		t.Helper()
		controllertest.Eventually(t, func() error {
			if got := slices.Sorted(maps.Keys(h.copies())); !slices.Equal(got, want) {
				return fmt.Errorf("copies are %v, want %v", got, want)
			}
			return nil
		})
	}
	wait("domain")
	h.secret("more", v1beta1constants.GardenRoleDefaultDomain)
	wait("domain", "more")
	removed := h.copies()["more"]
	h.must(h.garden.Delete(t.Context(), &removed))
	wait("domain", "more")
	delete(domain.Labels, v1beta1constants.GardenRole)
	h.must(h.garden.Update(t.Context(), domain))
	wait("more")
	h.must(h.garden.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "seed-" + h.seed.Name}}))
	controllertest.Eventually(t, func() error {
		again := &corev1.Namespace{}
		if err := h.garden.Get(t.Context(), client.ObjectKey{Name: "seed-" + h.seed.Name}, again); err != nil {
			return err
		}
		if again.DeletionTimestamp != nil || !metav1.IsControlledBy(again, h.seed) {
			return fmt.Errorf("the namespace was not made anew: %+v", again.ObjectMeta)
		}
		return nil
	})
	wait("more")
	h.seed = controllertest.NewSeed(t)
	wait("more")
}
