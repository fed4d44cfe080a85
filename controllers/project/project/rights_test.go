package project_test

import (
	"fmt"
	"strings"
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/garden/gardentest"
)

// TestRights asks over HTTPS as people with each role: what they may, and that
// they may nothing else. Nobody sees anything of a Project without a role in it.
func TestRights(t *testing.T) {
	h := newHarness(t, func(p *gardencorev1beta1.Project) {
		p.Spec.Members = []gardencorev1beta1.ProjectMember{member("anna", "admin"), member("vera", "viewer"), member("una", "uam"), member("sam", "serviceaccountmanager")}
	})
	h.ready()
	namespace := *h.project.Spec.Namespace
	robot := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "robot"}}
	h.must(gardentest.Client(t).Create(t.Context(), robot))
	may := func(user string) string {
		c := gardentest.ClientFor(t, gardentest.User(t, user))
		var can []string
		for _, try := range []struct {
			name string
			do   func() error
		}{
			{"read the namespace", func() error { return c.Get(t.Context(), client.ObjectKey{Name: namespace}, &corev1.Namespace{}) }},
			{"read the project", func() error {
				return c.Get(t.Context(), client.ObjectKeyFromObject(h.project), &gardencorev1beta1.Project{})
			}},
			{"list clusters", func() error {
				return c.List(t.Context(), &gardencorev1beta1.ShootList{}, client.InNamespace(namespace))
			}},
			{"change the project", func() error {
				return c.Patch(t.Context(), &gardencorev1beta1.Project{ObjectMeta: metav1.ObjectMeta{Name: h.project.Name}},
					client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"by":"`+user+`"}}}`)))
			}},
			{"change its people", func() error {
				return c.Patch(t.Context(), &gardencorev1beta1.Project{ObjectMeta: metav1.ObjectMeta{Name: h.project.Name}},
					client.RawPatch("application/json-patch+json", []byte(`[{"op":"add","path":"/spec/members/-","value":{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"friend-of-`+user+`","role":"viewer"}}]`)))
			}},
			{"delete the project", func() error {
				// Not confirmed, which is told to who may delete it only.
				err := c.Delete(t.Context(), &gardencorev1beta1.Project{ObjectMeta: metav1.ObjectMeta{Name: h.project.Name}})
				if err != nil && strings.Contains(err.Error(), "has to be confirmed first") {
					return nil
				}
				return err
			}},
			{"read secrets", func() error { return c.List(t.Context(), &corev1.SecretList{}, client.InNamespace(namespace)) }},
			{"make a secret", func() error {
				return c.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "by-" + user}})
			}},
			{"read service accounts", func() error {
				return c.List(t.Context(), &corev1.ServiceAccountList{}, client.InNamespace(namespace))
			}},
			{"make a service account", func() error {
				return c.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "by-" + user}})
			}},
			{"get a token of one", func() error {
				return c.SubResource("token").Create(t.Context(), robot, &authenticationv1.TokenRequest{})
			}},
			{"delete service accounts", func() error {
				return c.DeleteAllOf(t.Context(), &corev1.ServiceAccount{}, client.InNamespace(namespace), client.MatchingLabels{"no": "such"})
			}},
			{"give a role", func() error {
				return c.Create(t.Context(), &rbacv1.RoleBinding{
					ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "by-" + user},
					RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "gardener.cloud:system:project-viewer"},
				})
			}},
		} {
			// Until all rights are there this is tried again, with what was made before.
			if err := try.do(); err == nil || apierrors.IsAlreadyExists(err) || apierrors.IsInvalid(err) && strings.Contains(err.Error(), "Duplicate value") {
				can = append(can, try.name)
			} else if !apierrors.IsForbidden(err) {
				t.Errorf("%s: %s: %v", user, try.name, err)
			}
		}
		return strings.Join(can, ", ")
	}
	for user, want := range map[string]string{
		"anna":    "read the namespace, read the project, list clusters, change the project, delete the project, read secrets, make a secret, read service accounts, give a role",
		"vera":    "read the namespace, read the project, list clusters, read service accounts",
		"una":     "read the namespace, read the project, change the project, change its people",
		"sam":     "read service accounts, make a service account, get a token of one, delete service accounts",
		"mallory": "",
	} {
		// Who may do what reaches the authorizer's memory a moment later.
		controllertest.Eventually(t, func() error {
			if got := may(user); got != want {
				return fmt.Errorf("%s may %q, want %q", user, got, want)
			}
			return nil
		})
	}
}
