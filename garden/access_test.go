package garden_test

import (
	"bytes"
	"crypto/tls"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	securityv1alpha1 "github.com/gardener/gardener/pkg/apis/security/v1alpha1"
	kubev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/garden/gardentest"
	"github.com/loam-cloud/loam/garden/operations"
)

// tenant is a project with one person who has a role in it.
type tenant struct {
	namespace, project string
	person             client.WithWatch
}

// newTenant does what the project controller does for a member.
func newTenant(t *testing.T, role string) tenant {
	t.Helper()
	namespace := gardentest.Namespace(t)
	name := "person-" + utilrand.String(6)
	subjects := []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}}
	create(t, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: role}, Subjects: subjects,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
	})
	create(t, &kubev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "cloud"}})
	create(t, &corev1beta1.InternalSecret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "plant.pki"}})
	person := gardentest.ClientFor(t, gardentest.User(t, name))
	eventually(t, "the role", func() error {
		return person.List(t.Context(), &corev1beta1.ShootList{}, client.InNamespace(namespace))
	})
	return tenant{namespace, strings.TrimPrefix(namespace, "garden-"), person}
}

const (
	memberRole = "gardener.cloud:system:project-member"
	viewerRole = "gardener.cloud:system:project-viewer"
)

// TestAMemberSeesTheirProjectOnly is "a project member cannot read another
// project", tried over HTTPS.
func TestAMemberSeesTheirProjectOnly(t *testing.T) {
	mine, theirs := newTenant(t, memberRole), newTenant(t, memberRole)
	ctx, person := t.Context(), mine.person
	allowed := map[string]func() error{
		"secrets": func() error { return person.List(ctx, &kubev1.SecretList{}, client.InNamespace(mine.namespace)) },
		"a secret": func() error {
			return person.Create(ctx, &kubev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: mine.namespace, Name: "new"}})
		},
		"cloud profiles": func() error { return person.List(ctx, &corev1beta1.CloudProfileList{}) },
		"seeds":          func() error { return person.List(ctx, &corev1beta1.SeedList{}) },
	}
	for name, do := range allowed {
		if err := do(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	forbidden := map[string]func() error{
		"their project": func() error { return person.Get(ctx, client.ObjectKey{Name: theirs.project}, &corev1beta1.Project{}) },
		"all projects":  func() error { return person.List(ctx, &corev1beta1.ProjectList{}) },
		"their namespace": func() error {
			return person.Get(ctx, client.ObjectKey{Name: theirs.namespace}, &kubev1.Namespace{})
		},
		"all at once": func() error { return person.DeleteAllOf(ctx, &kubev1.Secret{}, client.InNamespace(theirs.namespace)) },
		"their keys": func() error {
			return person.Get(ctx, client.ObjectKey{Namespace: theirs.namespace, Name: "plant.pki"}, &corev1beta1.InternalSecret{})
		},
		"own keys": func() error {
			return person.Get(ctx, client.ObjectKey{Namespace: mine.namespace, Name: "plant.pki"}, &corev1beta1.InternalSecret{})
		},
		"a seed": func() error {
			return person.Delete(ctx, &corev1beta1.Seed{ObjectMeta: metav1.ObjectMeta{Name: "local"}})
		},
		"a binding in their namespace": func() error {
			return person.Create(ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: theirs.namespace, Name: "mine"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: viewerRole}})
		},
		"more than it has": func() error {
			return person.Create(ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: mine.namespace, Name: "more"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"}})
		},
		"a role with more": func() error {
			return person.Create(ctx, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: mine.namespace, Name: "more"}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{"core.gardener.cloud"}, Resources: []string{"internalsecrets"}, Verbs: []string{"get"}}}})
		},
		"somebody else": func() error {
			config := gardentest.User(t, "person")
			config.Impersonate.UserName = "loam:admin"
			return gardentest.ClientFor(t, config).List(ctx, &kubev1.SecretList{})
		},
	}
	for name, list := range map[string]client.ObjectList{
		"secrets": &kubev1.SecretList{}, "shoots": &corev1beta1.ShootList{}, "bindings": &securityv1alpha1.CredentialsBindingList{},
		"config maps": &kubev1.ConfigMapList{}, "internal secrets": &corev1beta1.InternalSecretList{}, "roles": &rbacv1.RoleBindingList{},
	} {
		forbidden["their "+name] = func() error { return person.List(ctx, list, client.InNamespace(theirs.namespace)) }
		forbidden["all "+name] = func() error { return person.List(ctx, list) }
		forbidden["a watch of their "+name] = func() error {
			watcher, err := person.Watch(ctx, list, client.InNamespace(theirs.namespace))
			if err == nil {
				watcher.Stop()
			}
			return err
		}
		forbidden["one of all "+name] = func() error { return person.List(ctx, list, client.MatchingFields{"metadata.name": "cloud"}) }
	}
	for name, do := range forbidden {
		if err := do(); !apierrors.IsForbidden(err) {
			t.Errorf("%s: got %v, want a refusal", name, err)
		}
	}
}

func TestAViewerWritesNothing(t *testing.T) {
	mine := newTenant(t, viewerRole)
	ctx, person := t.Context(), mine.person
	for name, do := range map[string]func() error{
		"secrets": func() error { return person.List(ctx, &kubev1.SecretList{}, client.InNamespace(mine.namespace)) },
		"a secret": func() error {
			return person.Create(ctx, &kubev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: mine.namespace, Name: "new"}})
		},
		"a config map": func() error {
			return person.Create(ctx, &kubev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: mine.namespace, Name: "new"}})
		},
		"a shoot": func() error {
			return person.Create(ctx, &corev1beta1.Shoot{ObjectMeta: metav1.ObjectMeta{Namespace: mine.namespace, Name: "new"}})
		},
	} {
		if err := do(); !apierrors.IsForbidden(err) {
			t.Errorf("%s: got %v, want a refusal", name, err)
		}
	}
}

// TestAnAdminMakesNoAdmins: who may change a project may not therefore change
// who its people are.
func TestAnAdminMakesNoAdmins(t *testing.T) {
	ctx := t.Context()
	project := strings.TrimPrefix(gardentest.Namespace(t), "garden-")
	person := gardentest.ClientFor(t, gardentest.User(t, "anna-"+project))
	grant := func(name string, verbs ...string) {
		create(t, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{"core.gardener.cloud"}, Resources: []string{"projects"}, ResourceNames: []string{project}, Verbs: verbs,
		}}})
		create(t, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "anna-" + project}},
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}})
	}
	patch := func(text string) error {
		return person.Patch(ctx, &corev1beta1.Project{ObjectMeta: metav1.ObjectMeta{Name: project}}, client.RawPatch("application/merge-patch+json", []byte(text)))
	}
	const (
		members = `{"spec":{"members":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"mallory","role":"admin"}]}}`
		owner   = `{"spec":{"owner":{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"mallory"}}}`
	)
	grant("admin-"+project, "get", "update", "patch")
	eventually(t, "the role", func() error { return patch(`{"spec":{"description":"Mine"}}`) })
	for name, text := range map[string]string{"members": members, "the owner": owner} {
		if err := patch(text); !apierrors.IsForbidden(err) {
			t.Errorf("%s: got %v, want a refusal", name, err)
		}
	}
	grant("uam-"+project, "manage-members")
	eventually(t, "the right to manage members", func() error { return patch(members) })
}

func TestRequestsAreWrittenDown(t *testing.T) {
	path := filepath.Join(filepath.Dir(gardentest.Start(t).KubeconfigPath()), "audit.log")
	namespace := newNamespace(t, "audit-"+utilrand.String(5)).Name
	person := gardentest.ClientFor(t, gardentest.User(t, "auditee", "system:masters"))
	secret := &kubev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "s"}, StringData: map[string]string{"key": "hush-hush"}}
	if err := person.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(strings.Split(string(text), "\n"), func(line string) bool {
		return strings.Contains(line, `"username":"auditee"`) && strings.Contains(line, "/namespaces/"+namespace+"/secrets") && strings.Contains(line, `"code":201`)
	}) {
		t.Error("the request is not in the log")
	}
	if bytes.Contains(text, []byte("hush-hush")) || bytes.Contains(text, []byte("aHVzaC1odXNo")) {
		t.Error("the log holds a secret")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the log is %v, %v", info, err)
	}
	if line := strings.Index(string(text), `"verb":"watch"`); line >= 0 && strings.Contains(string(text), `"verb":"watch","user":{"username":"system:apiserver"`) {
		t.Error("the log tells what the garden reads from itself")
	}
}

// TestCertificatesAreTakenUp replaces the files of a running garden by a
// certificate for one name more.
func TestCertificatesAreTakenUp(t *testing.T) {
	g := gardentest.Start(t)
	served := func() string {
		connection, err := tls.Dial("tcp", g.Address(), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // only looked at
		if err != nil {
			t.Fatal(err)
		}
		defer connection.Close()
		return connection.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	before := served()
	config, err := clientcmd.BuildConfigFromFlags("", g.KubeconfigPath())
	if err != nil {
		t.Fatal(err)
	}
	if err := operations.RotateCertificates(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	renewed, err := clientcmd.BuildConfigFromFlags("", g.KubeconfigPath())
	if err != nil || bytes.Equal(renewed.CertData, config.CertData) || bytes.Equal(renewed.KeyData, config.KeyData) {
		t.Errorf("the administrator has the former certificate, %v", err)
	}
	for end := time.Now().Add(90 * time.Second); served() == before; time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the former certificate is still served")
		}
	}
	if _, err := whoAmI(t, outside(t)); !apierrors.IsUnauthorized(err) {
		t.Errorf("nobody is %v", err)
	}
	if err := gardentest.Client(t).List(t.Context(), &corev1beta1.SeedList{}); err != nil {
		t.Errorf("clients of before: %v", err)
	}
}
