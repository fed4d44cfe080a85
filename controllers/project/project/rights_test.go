package project_test

import (
	"fmt"
	"strings"
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/garden/gardentest"
)

// TestRights asks as people: a member reads its namespace and works in it, a
// viewer writes nothing, others see nothing.
func TestRights(t *testing.T) {
	h := newHarness(t, func(p *gardencorev1beta1.Project) {
		p.Spec.Members = []gardencorev1beta1.ProjectMember{member("anna", "admin"), member("vera", "viewer")}
	})
	h.ready()
	namespace := *h.project.Spec.Namespace
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
			{"make a secret", func() error {
				return c.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "by-" + user}})
			}},
			{"give a role", func() error {
				return c.Create(t.Context(), &rbacv1.RoleBinding{
					ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "by-" + user},
					RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "gardener.cloud:system:project-viewer"},
				})
			}},
		} {
			if err := try.do(); err == nil {
				can = append(can, try.name)
			} else if !apierrors.IsForbidden(err) {
				t.Errorf("%s: %s: %v", user, try.name, err)
			}
		}
		return strings.Join(can, ", ")
	}
	for user, want := range map[string]string{
		"anna":    "read the namespace, read the project, list clusters, change the project, make a secret, give a role",
		"vera":    "read the namespace, read the project, list clusters",
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
