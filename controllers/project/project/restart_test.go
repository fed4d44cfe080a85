package project_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/internal/controllertest"
	"github.com/loam-cloud/loam/garden/gardentest"
)

// limited gives every project a ResourceQuota.
func limited() controllermanagerconfigv1alpha1.ProjectControllerConfiguration {
	return controllermanagerconfigv1alpha1.ProjectControllerConfiguration{Quotas: []controllermanagerconfigv1alpha1.QuotaConfiguration{{
		Config: corev1.ResourceQuota{Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/secrets": resource.MustParse("10")}}},
	}}}
}

// TestRestart kills the controller before each of its writes, when a Project comes
// and when it goes: there is one namespace in the end, or none.
func TestRestart(t *testing.T) {
	c, writes := controllertest.Client(t)
	var h *harness
	fresh := func(t *testing.T) {
		h = newHarness(t, func(p *gardencorev1beta1.Project) {
			p.Spec.Members = []gardencorev1beta1.ProjectMember{member("anna", "admin"), member("emil", "viewer", "extension:tuner")}
		})
		h.reconciler.Client, h.reconciler.Config = c, limited()
	}
	run := func() error {
		_, err := h.reconciler.Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(h.project)})
		return err
	}
	t.Run("comes", func(t *testing.T) {
		controllertest.Interrupted(t, writes, fresh, run, func(t *testing.T) {
			h.ready()
			namespaces := &corev1.NamespaceList{}
			h.must(c.List(t.Context(), namespaces, client.MatchingLabels{"project.gardener.cloud/name": h.project.Name}))
			if len(namespaces.Items) != 1 || namespaces.Items[0].Name != *h.project.Spec.Namespace {
				t.Errorf("%d namespaces, the project's is %q", len(namespaces.Items), *h.project.Spec.Namespace)
			}
			if got := h.subjects("gardener.cloud:extension:project:" + h.project.Name + ":tuner"); got != "emil" {
				t.Errorf("the extension role has %q", got)
			}
			writes.Fail(0)
			if err := run(); err != nil || writes.Count() > 0 {
				t.Errorf("a second look: %v, %d writes", err, writes.Count())
			}
		})
	})
	t.Run("goes", func(t *testing.T) {
		controllertest.Interrupted(t, writes, func(t *testing.T) {
			fresh(t)
			h.must(run())
			h.delete()
		}, run, func(t *testing.T) {
			controllertest.Eventually(t, func() error {
				if err := run(); err != nil {
					return err
				}
				err := c.Get(t.Context(), client.ObjectKeyFromObject(h.project), &gardencorev1beta1.Project{})
				if apierrors.IsNotFound(err) {
					return nil
				}
				return fmt.Errorf("the project is still there: %w", err)
			})
		})
	})
}

// TestOrder wants each part written when what it needs is there.
func TestOrder(t *testing.T) {
	var order []string
	note := func(object client.Object, more string) {
		kind := strings.TrimPrefix(fmt.Sprintf("%T", object), "*") + more
		if !slices.Contains(order, kind) || more != "" || strings.HasPrefix(kind, "v1beta1.Project") {
			order = append(order, kind)
		}
	}
	c, err := client.NewWithWatch(gardentest.Start(t).RESTConfig(), client.Options{Scheme: gardentest.Client(t).Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	recording := interceptor.NewClient(c, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			note(o, "")
			return c.Create(ctx, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			note(o, "")
			return c.Patch(ctx, o, p, opts...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			note(o, " deleted")
			return c.Delete(ctx, o, opts...)
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, name string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			data, err := p.Data(o)
			if err != nil {
				return err
			}
			note(o, " "+string(data))
			return c.SubResource(name).Patch(ctx, o, p, opts...)
		},
	})
	h := newHarness(t, nil)
	h.reconciler.Client, h.reconciler.Config = recording, limited()
	h.ready()
	want := `v1beta1.Project
v1beta1.Project {"status":{"observedGeneration":1,"phase":"Pending"}}
v1.Namespace
v1beta1.Project
v1.ResourceQuota
v1.ClusterRole
v1.ClusterRoleBinding
v1.RoleBinding
v1beta1.Project {"status":{"observedGeneration":2,"phase":"Ready"}}`
	if got := strings.Join(order, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	h.change(func(p *gardencorev1beta1.Project) {
		p.Spec.Members = []gardencorev1beta1.ProjectMember{member("emil", "viewer", "extension:tuner")}
	})
	h.ready()
	h.change(func(p *gardencorev1beta1.Project) { p.Spec.Members = nil })
	order = nil
	h.ready()
	if len(order) < 3 || order[len(order)-2] != "v1.ClusterRole deleted" || !strings.Contains(order[len(order)-1], `"observedGeneration":4`) {
		t.Errorf("stale roles go before the project is ready: %v", order)
	}
}
