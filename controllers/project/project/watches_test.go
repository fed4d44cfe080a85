package project_test

import (
	"context"
	"testing"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/loam-cloud/loam/controllers/project/project"
	"github.com/loam-cloud/loam/garden/gardentest"
	"github.com/loam-cloud/loam/garden/scheme"
)

// TestWatches has a manager make a Project, mend its binding, and end it once its
// last Shoot has gone.
func TestWatches(t *testing.T) {
	h := newHarness(t, nil)
	mgr, err := manager.New(gardentest.Start(t).RESTConfig(), manager.Options{
		Scheme: scheme.Client(), Metrics: server.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
		Controller: config.Controller{SkipNameValidation: ptr.To(true)},
	})
	h.must(err)
	h.must((&project.Reconciler{}).AddToManager(mgr))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		h.must(<-ended)
	})
	eventually := func(what string, ask func() bool) {
		t.Helper()
		for end := time.Now().Add(patience); !ask(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("after %s still not: %s", patience, what)
			}
		}
	}
	get := func() error { return h.garden.Get(ctx, client.ObjectKeyFromObject(h.project), h.project) }
	eventually("the project is ready", func() bool { h.must(get()); return h.project.Status.Phase == gardencorev1beta1.ProjectReady })

	const name = "gardener.cloud:system:project-member"
	namespace := *h.project.Spec.Namespace
	h.must(h.garden.Delete(ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}))
	eventually("a deleted binding returns", func() bool { return h.subjects(name) == "olga" })
	binding := &rbacv1.RoleBinding{}
	h.must(h.garden.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, binding))
	binding.Subjects = append(binding.Subjects, *user("mallory"))
	h.must(h.garden.Update(ctx, binding))
	eventually("a changed binding is put right", func() bool { return h.subjects(name) == "olga" })

	shoot := &gardencorev1beta1.Shoot{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "plant", Annotations: map[string]string{"confirmation.gardener.cloud/deletion": "true"}},
		Spec: gardencorev1beta1.ShootSpec{
			CloudProfile: &gardencorev1beta1.CloudProfileReference{Kind: "CloudProfile", Name: "local"}, Region: "local",
			Kubernetes: gardencorev1beta1.Kubernetes{Version: "1.36.3"}, Provider: gardencorev1beta1.Provider{Type: "local"},
		},
	}
	h.must(h.garden.Create(ctx, shoot))
	time.Sleep(100 * time.Millisecond) // for the shoot to be known
	h.delete()
	eventually("the project waits for its shoot", func() bool { h.must(get()); return h.project.Status.Phase == gardencorev1beta1.ProjectTerminating })
	h.must(h.garden.Delete(ctx, shoot))
	eventually("the namespace goes with the last shoot", func() bool {
		found := &metav1.PartialObjectMetadata{}
		found.SetGroupVersionKind(rbacv1.SchemeGroupVersion.WithKind("RoleBinding"))
		return apierrors.IsNotFound(h.garden.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, found))
	})
}
