package extensionclusterrole_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/controllerregistration/extensionclusterrole"
	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestMain(m *testing.M) { os.Exit(gardentest.Main(m)) }

const (
	marker   = "authorization.gardener.cloud/custom-extensions-permissions"
	selector = "authorization.gardener.cloud/extensions-serviceaccount-selector"
)

// harness has a role for the accounts with a label of this test's own.
type harness struct {
	*testing.T
	garden     client.Client
	writes     *controllertest.Writes
	recorder   *events.FakeRecorder
	role       *rbacv1.ClusterRole
	reconciler *extensionclusterrole.Reconciler
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	h := &harness{T: t, recorder: events.NewFakeRecorder(10)}
	h.garden, h.writes = controllertest.Client(t)
	name := "r" + rand.String(6)
	h.role = &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{
		Name: name, Labels: map[string]string{marker: "true"}, Annotations: map[string]string{selector: fmt.Sprintf(`{"matchLabels":{"app":%q}}`, name)},
	}}
	h.must(h.garden.Create(t.Context(), h.role))
	h.reconciler = &extensionclusterrole.Reconciler{Client: h.garden, Recorder: h.recorder}
	return h
}

func (h *harness) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *harness) account(namespace, name string) *corev1.ServiceAccount {
	h.Helper()
	h.must(client.IgnoreAlreadyExists(h.garden.Create(context.Background(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})))
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": h.role.Name}}}
	h.must(h.garden.Create(context.Background(), account))
	return account
}

func (h *harness) reconcile() {
	h.Helper()
	if result, err := h.reconciler.Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(h.role)}); err != nil || !result.IsZero() {
		h.Fatalf("got %+v, %v", result, err)
	}
}

// has compares the subjects of the binding; nil names mean that there is none.
func (h *harness) has(names ...string) error {
	binding := &rbacv1.ClusterRoleBinding{}
	err := h.garden.Get(context.Background(), client.ObjectKeyFromObject(h.role), binding)
	if apierrors.IsNotFound(err) && names == nil {
		return nil
	}
	if err != nil {
		return err
	}
	got := []string{}
	for _, s := range binding.Subjects {
		got = append(got, s.Namespace+"/"+s.Name)
	}
	if names == nil || !slices.Equal(got, names) {
		return fmt.Errorf("bound are %v, want %v", got, names)
	}
	return nil
}

func (h *harness) want(names ...string) {
	h.Helper()
	if err := h.has(names...); err != nil {
		h.Error(err)
	}
}

// TestSubjects has accounts that count and such that do not.
func TestSubjects(t *testing.T) {
	h := newHarness(t)
	id := h.role.Name
	for _, account := range [][2]string{
		{"seed-b" + id, "z"}, {"seed-a" + id, "b"}, {"seed-a" + id, "a"}, {"other-" + id, "extension-shoot--x"}, {"garden", "extension-shoot--" + id},
		{"garden", "plain-" + id}, {"garden-p" + id, "extension-shoot--x"}, {"garden-p" + id, "plain"},
	} {
		h.account(account[0], account[1])
	}
	unmatched := h.account("seed-a"+id, "unmatched")
	unmatched.Labels = nil
	h.must(h.garden.Update(t.Context(), unmatched))
	h.reconcile()
	h.want("garden/extension-shoot--"+id, "garden-p"+id+"/extension-shoot--x", "seed-a"+id+"/a", "seed-a"+id+"/b", "seed-b"+id+"/z")
	binding := &rbacv1.ClusterRoleBinding{}
	h.must(h.garden.Get(t.Context(), client.ObjectKeyFromObject(h.role), binding))
	if owner := metav1.GetControllerOf(binding); owner == nil || owner.UID != h.role.UID || owner.Kind != "ClusterRole" || owner.BlockOwnerDeletion == nil || *owner.BlockOwnerDeletion {
		t.Errorf("the owner is %+v", owner)
	}
	if binding.RoleRef != (rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: id}) {
		t.Errorf("the role is %+v", binding.RoleRef)
	}
	h.writes.Fail(0)
	h.reconcile()
	if h.writes.Count() > 0 {
		t.Errorf("%d writes though nothing has changed", h.writes.Count())
	}
}

// TestNoAccounts wants an empty binding, and none once the role is for others.
func TestNoAccounts(t *testing.T) {
	h := newHarness(t)
	h.reconcile()
	h.want([]string{}...)
	h.role.Labels = nil
	h.must(h.garden.Update(t.Context(), h.role))
	h.reconcile()
	h.want()
	h.reconcile()
}

// TestSelectorInvalid is told, and tried again when it changes.
func TestSelectorInvalid(t *testing.T) {
	for name, text := range map[string]string{"no JSON": "app=x", "no selector": `{"matchExpressions":[{"key":"a","operator":"Perhaps"}]}`, "missing": ""} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			if h.role.Annotations[selector] = text; text == "" {
				h.role.Annotations = nil
			}
			h.must(h.garden.Update(t.Context(), h.role))
			h.reconcile()
			if said := <-h.recorder.Events; !strings.Contains(said, "Warning SelectorInvalid") || !strings.Contains(said, selector) || !strings.Contains(said, text) {
				t.Errorf("the event is %q", said)
			}
			h.want()
		})
	}
}

// TestOthersBinding is left alone if somebody controls it, and replaced if it
// leads elsewhere.
func TestOthersBinding(t *testing.T) {
	h := newHarness(t)
	owner := controllertest.NewSeed(t)
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: h.role.Name, OwnerReferences: []metav1.OwnerReference{{APIVersion: "core.gardener.cloud/v1beta1", Kind: "Seed", Name: owner.Name, UID: owner.UID, Controller: new(bool)}}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
	}
	*binding.OwnerReferences[0].Controller = true
	h.must(h.garden.Create(t.Context(), binding))
	h.writes.Fail(0)
	h.reconcile() // what only a user can mend is not tried again
	if h.writes.Count() > 0 {
		t.Error("somebody else's binding was changed")
	}
	binding.OwnerReferences = nil
	h.must(h.garden.Update(t.Context(), binding))
	h.reconcile()
	h.must(h.garden.Get(t.Context(), client.ObjectKeyFromObject(h.role), binding))
	if binding.RoleRef.Name != h.role.Name {
		t.Errorf("it leads to %q", binding.RoleRef.Name)
	}
}

// TestWatches has a manager follow roles, accounts and the binding.
func TestWatches(t *testing.T) {
	h := newHarness(t)
	controllertest.Run(t, &extensionclusterrole.Reconciler{})
	namespace := "seed-" + h.role.Name
	eventually := func(names ...string) {
		t.Helper()
		controllertest.Eventually(t, func() error { return h.has(names...) })
	}
	a := h.account(namespace, "a")
	eventually(namespace + "/a")
	b := h.account(namespace, "b")
	eventually(namespace+"/a", namespace+"/b")
	h.must(h.garden.Delete(t.Context(), b))
	eventually(namespace + "/a")

	// An account whose label stops matching loses the role at once.
	a.Labels = map[string]string{"app": "other"}
	h.must(h.garden.Update(t.Context(), a))
	eventually([]string{}...)
	a.Labels["app"] = h.role.Name
	h.must(h.garden.Update(t.Context(), a))
	eventually(namespace + "/a")

	binding := &rbacv1.ClusterRoleBinding{}
	h.must(h.garden.Get(t.Context(), client.ObjectKeyFromObject(h.role), binding))
	binding.Subjects = append(binding.Subjects, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: "User", Name: "mallory"})
	h.must(h.garden.Update(t.Context(), binding))
	eventually(namespace + "/a")
	h.must(h.garden.Delete(t.Context(), binding))
	eventually(namespace + "/a")
	h.role.Annotations[selector] = `{"matchLabels":{"app":"other"}}`
	h.must(h.garden.Update(t.Context(), h.role))
	eventually([]string{}...)
	h.role.Labels = nil
	h.must(h.garden.Update(t.Context(), h.role))
	eventually()
}
