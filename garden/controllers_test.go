package garden_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gardener/gardener/pkg/apis/core/v1beta1"
	kubev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/garden/gardentest"
)

// patience is how long a controller may take; the slowest discover new kinds
// every 30 s.
const patience = 60 * time.Second

var errNotYet = errors.New("not yet")

// eventually repeats check until it has no error.
func eventually(tb testing.TB, what string, check func() error) {
	tb.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	tb.Fatalf("waiting for %s: %v", what, err)
}

func wantGone(tb testing.TB, object client.Object) {
	tb.Helper()
	eventually(tb, fmt.Sprintf("%T %q to be gone", object, object.GetName()), func() error {
		err := gardentest.Client(tb).Get(context.Background(), client.ObjectKeyFromObject(object), object)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errNotYet, err)
	})
}

func TestGarbageCollection(t *testing.T) {
	namespace := gardentest.Namespace(t)
	owner := create(t, newShoot(namespace, "owner"))
	reference := *metav1.NewControllerRef(owner, v1beta1.SchemeGroupVersion.WithKind("Shoot"))
	meta := metav1.ObjectMeta{Namespace: namespace, Name: "dependent", OwnerReferences: []metav1.OwnerReference{reference}}
	secret := create(t, &kubev1.Secret{ObjectMeta: meta})
	internal := create(t, &v1beta1.InternalSecret{ObjectMeta: meta})
	bystander := create(t, &kubev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "bystander"}})
	if err := gardentest.Client(t).Delete(context.Background(), owner); err != nil {
		t.Fatal(err)
	}
	wantGone(t, secret)
	wantGone(t, internal)
	if err := gardentest.Client(t).Get(context.Background(), client.ObjectKeyFromObject(bystander), bystander); err != nil {
		t.Errorf("a secret without owner: %v", err)
	}
}

func TestNamespaceDeletion(t *testing.T) {
	t.Parallel() // it waits for a controller that backs off
	ctx, c, namespace := context.Background(), gardentest.Client(t), gardentest.Namespace(t)
	var objects []client.Object
	for _, s := range samples() {
		if s.namespaced && s.home == "" {
			objects = append(objects, create(t, s.object(t, namespace, "gone")))
		}
	}
	held := newShoot(namespace, "held")
	held.Finalizers = []string{"example.org/held"}
	create(t, held)
	// As long as there is a project its namespace stays.
	project := &v1beta1.Project{ObjectMeta: metav1.ObjectMeta{Name: strings.TrimPrefix(namespace, "garden-")}}
	patch(t, project, `{"metadata":{"annotations":{"confirmation.gardener.cloud/deletion":"true"}}}`)
	if err := c.Delete(ctx, project); err != nil {
		t.Fatal(err)
	}
	space := &kubev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if err := c.Delete(ctx, space); err != nil {
		t.Fatal(err)
	}
	for _, object := range objects {
		wantGone(t, object)
	}
	if err := c.Get(ctx, client.ObjectKeyFromObject(space), space); err != nil {
		t.Fatalf("the namespace went before the Shoot in it: %v", err)
	}
	if err := c.Create(ctx, newShoot(namespace, "late")); !apierrors.IsForbidden(err) {
		t.Errorf("a Shoot in a namespace that ends: %v", err)
	}
	if err := c.Patch(ctx, held, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))); err != nil {
		t.Fatal(err)
	}
	wantGone(t, space)
}

func TestResourceQuota(t *testing.T) {
	ctx, c, namespace := context.Background(), gardentest.Client(t), gardentest.Namespace(t)
	const counted kubev1.ResourceName = "count/shoots.core.gardener.cloud"
	quota := create(t, &kubev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "two"},
		Spec:       kubev1.ResourceQuotaSpec{Hard: kubev1.ResourceList{counted: resource.MustParse("2")}},
	})
	eventually(t, "the quota to count", func() error {
		if err := c.Get(ctx, client.ObjectKeyFromObject(quota), quota); err != nil {
			return err
		}
		if _, counts := quota.Status.Used[counted]; !counts {
			return errNotYet
		}
		return nil
	})
	one := create(t, newShoot(namespace, "one"))
	create(t, newShoot(namespace, "two"))
	if err := c.Create(ctx, newShoot(namespace, "three")); !apierrors.IsForbidden(err) {
		t.Fatalf("the third of two: got %v, want Forbidden", err)
	}
	if err := c.Delete(ctx, one); err != nil {
		t.Fatal(err)
	}
	eventually(t, "room for another", func() error { return c.Create(ctx, newShoot(namespace, "three")) })
}

func TestClusterRoleAggregation(t *testing.T) {
	ctx, c := context.Background(), gardentest.Client(t)
	label := map[string]string{"example.org/part": rand.String(8)}
	whole := create(t, &rbacv1.ClusterRole{
		ObjectMeta:      metav1.ObjectMeta{Name: "whole-" + rand.String(5)},
		AggregationRule: &rbacv1.AggregationRule{ClusterRoleSelectors: []metav1.LabelSelector{{MatchLabels: label}}},
	})
	create(t, &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "part-" + rand.String(5), Labels: label},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{"core.gardener.cloud"}, Resources: []string{"shoots"}, Verbs: []string{"get"}}},
	})
	eventually(t, "the rule of the part", func() error {
		if err := c.Get(ctx, client.ObjectKeyFromObject(whole), whole); err != nil {
			return err
		}
		if len(whole.Rules) != 1 {
			return errNotYet
		}
		return nil
	})
}
