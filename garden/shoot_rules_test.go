package garden_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/gardener/gardener/pkg/apis/core/v1beta1"
	securityv1alpha1 "github.com/gardener/gardener/pkg/apis/security/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/garden/gardentest"
	"github.com/loam-cloud/loam/garden/scheme"
)

// as is a client of another user, who may do everything with Shoots in a
// namespace and nothing else.
func as(tb testing.TB, user, namespace string) client.Client {
	tb.Helper()
	create(tb, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: user}, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{"core.gardener.cloud"}, Resources: []string{"shoots"}, Verbs: []string{"*"},
	}}})
	create(tb, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: user},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: user},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
	})
	config := rest.CopyConfig(gardentest.Start(tb).RESTConfig())
	config.Impersonate.UserName = user
	c, err := client.New(config, client.Options{Scheme: scheme.Client()})
	if err != nil {
		tb.Fatal(err)
	}
	// A role reaches the authorizer's memory a moment later.
	eventually(tb, "the role of "+user, func() error { return c.List(context.Background(), &v1beta1.ShootList{}, client.InNamespace(namespace)) })
	return c
}

func wantText(t *testing.T, err error, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v, want %q", err, text)
		}
	}
}

// TestShootDefaults writes as little as possible, and applies it again.
func TestShootDefaults(t *testing.T) {
	namespace := gardentest.Namespace(t)
	written := func() *v1beta1.Shoot {
		shoot := newShoot(namespace, "little")
		shoot.Spec.Kubernetes.Version = "1"
		return shoot
	}
	shoot := create(t, written())
	worker := shoot.Spec.Provider.Workers[0]
	if shoot.Spec.Kubernetes.Version != "1.36.3" || worker.Machine.Image == nil || *worker.Machine.Image.Version != "12.0.0" || worker.Machine.Architecture == nil {
		t.Errorf("got version %q, machine %+v", shoot.Spec.Kubernetes.Version, worker.Machine)
	}
	if n := shoot.Spec.Networking; *n.Type != "flannel" || *n.Pods != "100.96.0.0/11" || *n.Services != "100.64.0.0/13" {
		t.Errorf("got networks %+v", n)
	}
	if shoot.Labels["provider.extensions.gardener.cloud/local"] != "true" || shoot.Labels["networking.extensions.gardener.cloud/flannel"] != "true" {
		t.Errorf("got labels %v", shoot.Labels)
	}
	again := written()
	update(t, again)
	if again.Generation != 1 || !apiequality.Semantic.DeepEqual(again.Spec, shoot.Spec) || !apiequality.Semantic.DeepEqual(again.Labels, shoot.Labels) {
		t.Errorf("the manifest again changed something: generation %d, %+v", again.Generation, again.Spec)
	}
	patch(t, shoot, `{"metadata":{"labels":{"networking.extensions.gardener.cloud/flannel":null,"networking.extensions.gardener.cloud/calico":"true"}}}`)
	if shoot.Labels["networking.extensions.gardener.cloud/flannel"] != "true" || shoot.Labels["networking.extensions.gardener.cloud/calico"] != "" {
		t.Errorf("labels of extensions can be changed: %v", shoot.Labels)
	}
}

// TestShootReferences wants a user to name only what is there and they may read.
func TestShootReferences(t *testing.T) {
	ctx, namespace := context.Background(), gardentest.Namespace(t)
	for _, name := range []string{"open", "closed"} {
		create(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}})
		create(t, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}})
	}
	user := as(t, "reader-"+namespace, namespace)
	create(t, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "open"}, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{""}, Resources: []string{"secrets", "configmaps"}, ResourceNames: []string{"open", "gone"}, Verbs: []string{"get"},
	}}})
	create(t, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "open"},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "open"},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "reader-" + namespace}},
	})
	eventually(t, "the role", func() error {
		return user.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "open"}, &corev1.Secret{})
	})
	naming := func(name string) *v1beta1.Shoot {
		shoot := newShoot(namespace, "naming")
		shoot.Spec.Resources = []v1beta1.NamedResourceReference{{Name: "r"}}
		shoot.Spec.Resources[0].ResourceRef.APIVersion, shoot.Spec.Resources[0].ResourceRef.Kind, shoot.Spec.Resources[0].ResourceRef.Name = "v1", "Secret", name
		shoot.Spec.Kubernetes.KubeAPIServer = &v1beta1.KubeAPIServerConfig{StructuredAuthentication: &v1beta1.StructuredAuthentication{ConfigMapName: name}}
		return shoot
	}
	const secret, config = "spec.resources[0].resourceRef.name", "spec.kubernetes.kubeAPIServer.structuredAuthentication.configMapName"
	for _, name := range []string{"closed", "never"} {
		// Whether it is there must not show.
		err := user.Create(ctx, naming(name))
		wantText(t, err, secret+": Forbidden", config+": Forbidden", "may not get secrets")
	}
	wantText(t, user.Create(ctx, naming("gone")), secret+": Not found", config+": Not found")
	shoot := naming("open")
	if err := user.Create(ctx, shoot); err != nil {
		t.Fatal(err)
	}

	owned := newShoot(namespace, "owned")
	owned.Spec.Resources = naming("closed").Spec.Resources
	create(t, owned)
	owned.Spec.Purpose = ptr.To(v1beta1.ShootPurposeTesting)
	if err := user.Update(ctx, owned); err != nil {
		t.Errorf("what an administrator named bars the user: %v", err)
	}
}

// TestShootOfABinding wants who names a binding to be allowed to read it, whether
// it is there or not (garden-api: references must be usable by the user).
func TestShootOfABinding(t *testing.T) {
	ctx, namespace := context.Background(), gardentest.Namespace(t)
	create(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "cloud"}})
	for _, name := range []string{"open", "closed"} {
		create(t, &securityv1alpha1.CredentialsBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Provider: securityv1alpha1.CredentialsBindingProvider{Type: "local"},
			CredentialsRef: corev1.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: namespace, Name: "cloud"},
		})
	}
	user := as(t, "binder-"+namespace, namespace)
	create(t, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "open"}, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{"security.gardener.cloud"}, Resources: []string{"credentialsbindings"}, ResourceNames: []string{"open"}, Verbs: []string{"get"},
	}}})
	create(t, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "open"},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "open"},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "binder-" + namespace}},
	})
	eventually(t, "the role", func() error {
		return user.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "open"}, &securityv1alpha1.CredentialsBinding{})
	})
	bound := func(shoot, binding string) *v1beta1.Shoot {
		s := newShoot(namespace, shoot)
		s.Spec.CredentialsBindingName = ptr.To(binding)
		return s
	}
	for _, binding := range []string{"closed", "never"} {
		wantText(t, user.Create(ctx, bound("theirs", binding)), "spec.credentialsBindingName: Forbidden", "may not get credentialsbindings")
	}
	if err := user.Create(ctx, bound("own", "open")); err != nil {
		t.Error(err)
	}
}

// TestShootWithASeed wants who chooses the seed of a new Shoot to have the right
// of the subresource by which it is chosen afterwards.
func TestShootWithASeed(t *testing.T) {
	ctx, namespace := context.Background(), gardentest.Namespace(t)
	user := as(t, "owner-"+namespace, namespace)
	chosen := func(name, seed string) *v1beta1.Shoot {
		shoot := newShoot(namespace, name)
		shoot.Spec.SeedName = &seed
		return shoot
	}
	wantText(t, user.Create(ctx, chosen("theirs", "local")), "spec.seedName: Forbidden", "may not update shoots/binding", namespace+"/theirs")
	wantText(t, user.Create(ctx, chosen("theirs", "nowhere")), `spec.seedName: Not found: "nowhere"`, "spec.seedName: Forbidden")
	if err := user.Create(ctx, newShoot(namespace, "free")); err != nil {
		t.Errorf("without a seed: %v", err)
	}
	for _, verb := range []string{"patch", "update"} {
		name := verb + "-" + namespace
		user := as(t, name, namespace)
		create(t, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: verb}, Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{"core.gardener.cloud"}, Resources: []string{"shoots/binding"}, Verbs: []string{verb},
		}}})
		create(t, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: verb},
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: verb},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: name}},
		})
		eventually(t, "the right to choose by "+verb, func() error { return user.Create(ctx, chosen(verb, "local")) })
	}
	// What chose it is looked at once: afterwards its owner changes it as any other.
	own := chosen("patch", "local")
	if err := user.Patch(ctx, own, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"purpose":"testing"}}`))); err != nil {
		t.Error(err)
	}
}

// TestShootDeletion wants a deletion to be confirmed, and by another user where
// the project says so.
func TestShootDeletion(t *testing.T) {
	ctx, namespace := context.Background(), gardentest.Namespace(t)
	shoot := newShoot(namespace, "precious")
	shoot.Annotations = nil
	create(t, shoot)
	one, two := as(t, "one-"+namespace, namespace), as(t, "two-"+namespace, namespace)
	err := one.Delete(ctx, shoot)
	if !apierrors.IsForbidden(err) {
		t.Errorf("got %v, want Forbidden", err)
	}
	wantText(t, err, "confirmation.gardener.cloud/deletion=true")
	wantText(t, one.DeleteAllOf(ctx, &v1beta1.Shoot{}, client.InNamespace(namespace)), "has to be confirmed first")

	project := &v1beta1.Project{ObjectMeta: metav1.ObjectMeta{Name: strings.TrimPrefix(namespace, "garden-")}}
	patch(t, project, `{"spec":{"dualApprovalForDeletion":[{"resource":"shoots","selector":{"matchLabels":{"precious":"yes"}}}]}}`)
	patch(t, shoot, `{"metadata":{"labels":{"precious":"yes"}}}`)
	confirm := func(c client.Client, value, by string) {
		t.Helper()
		text := fmt.Sprintf(`{"metadata":{"annotations":{"confirmation.gardener.cloud/deletion":%q,"deletion.gardener.cloud/confirmed-by":%q}}}`, value, by)
		if err := c.Patch(ctx, shoot, client.RawPatch("application/merge-patch+json", []byte(text))); err != nil {
			t.Fatal(err)
		}
	}
	confirm(one, "true", "two-"+namespace)
	if by := shoot.Annotations["deletion.gardener.cloud/confirmed-by"]; by != "one-"+namespace {
		t.Errorf("confirmed by %q", by)
	}
	confirm(one, "true", "two-"+namespace)
	wantText(t, one.Delete(ctx, shoot), "another has to delete")
	confirm(two, "false", "")
	if by := shoot.Annotations["deletion.gardener.cloud/confirmed-by"]; by != "" {
		t.Errorf("taken back, and still confirmed by %q", by)
	}
	confirm(one, "true", "")
	if err := two.Delete(ctx, shoot); err != nil {
		t.Error(err)
	}
	wantGone(t, shoot)
}

// TestShootQuota fills a quota that a credentials binding brings.
func TestShootQuota(t *testing.T) {
	ctx, c, namespace := context.Background(), gardentest.Client(t), gardentest.Namespace(t)
	create(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "cloud"}})
	create(t, &v1beta1.Quota{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "team"}, Spec: v1beta1.QuotaSpec{
		Scope: corev1.ObjectReference{APIVersion: "core.gardener.cloud/v1beta1", Kind: "Project"}, Metrics: corev1.ResourceList{"cpu": resource.MustParse("3")},
	}})
	create(t, &securityv1alpha1.CredentialsBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "cloud"}, Provider: securityv1alpha1.CredentialsBindingProvider{Type: "local"},
		CredentialsRef: corev1.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: namespace, Name: "cloud"},
		Quotas:         []corev1.ObjectReference{{Namespace: namespace, Name: "team"}},
	})
	limited := func(name string, machines int32) *v1beta1.Shoot {
		shoot := newShoot(namespace, name)
		shoot.Spec.CredentialsBindingName = ptr.To("cloud")
		shoot.Spec.Provider.Workers[0].Minimum, shoot.Spec.Provider.Workers[0].Maximum = machines, machines
		return shoot
	}
	first := create(t, limited("first", 2))
	wantText(t, c.Create(ctx, limited("second", 2)), "spec.provider.workers: Forbidden", "allows 3 of cpu, of which others have 2")
	second := create(t, limited("second", 1))
	second.Spec.Provider.Workers[0].Maximum = 2
	wantText(t, c.Update(ctx, second), "this cluster may take 2")
	patch(t, first, `{"spec":{"purpose":"testing"}}`)

	other := newShoot(namespace, "other")
	other.Spec.CredentialsBindingName = ptr.To("nothing")
	wantText(t, c.Create(ctx, other), `spec.credentialsBindingName: Not found: "nothing"`)
}

// warnings remembers what a server warned of.
type warnings struct {
	sync.Mutex
	texts []string
}

func (w *warnings) HandleWarningHeader(_ int, _ string, text string) {
	w.Lock()
	defer w.Unlock()
	w.texts = append(w.texts, text)
}

func TestShootWarnings(t *testing.T) {
	heard := &warnings{}
	config := rest.CopyConfig(gardentest.Start(t).RESTConfig())
	config.WarningHandler = heard
	c, err := client.New(config, client.Options{Scheme: scheme.Client()})
	if err != nil {
		t.Fatal(err)
	}
	shoot := newShoot(gardentest.Namespace(t), "former")
	shoot.Spec.CloudProfile, shoot.Spec.CloudProfileName = nil, ptr.To("local")
	if err := c.Create(context.Background(), shoot); err != nil {
		t.Fatal(err)
	}
	all := strings.Join(heard.texts, "\n")
	if want := "spec.cloudProfileName: is a former field"; !strings.Contains(all, want) {
		t.Errorf("%q is missing in %q", want, all)
	}
}
