package seeds_test

import (
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestAnAgentHasANamespace is "its namespace seed-<name>": an agent reads what the
// garden puts there for its seed, keeps leases there, and changes nothing else.
func TestAnAgentHasANamespace(t *testing.T) {
	admin, mine, _ := landscape(t)
	namespace := fillNamespace(t, admin, mine)
	agent := inNamespace{t, mine.agent, namespace}
	wantAllowed(t, agent.reads(secret(namespace, "domain"), &corev1.SecretList{}))
	wantAllowed(t, agent.reads(&corev1.ConfigMap{ObjectMeta: at(namespace, "facts")}, &corev1.ConfigMapList{}))
	wantAllowed(t, agent.reads(&coordinationv1.Lease{ObjectMeta: at(namespace, "leader")}, &coordinationv1.LeaseList{}))
	wantAllowed(t, agent.writes(&coordinationv1.Lease{ObjectMeta: at(namespace, "leader")}))
	wantAllowed(t, []attempt{
		{"a lease of its own", func() error {
			return mine.agent.Create(t.Context(), &coordinationv1.Lease{ObjectMeta: at(namespace, "own")})
		}},
		{"the namespace", func() error {
			return mine.agent.Get(t.Context(), client.ObjectKey{Name: namespace}, &corev1.Namespace{})
		}},
	})
	for _, object := range []client.Object{
		secret(namespace, "domain"), secret(namespace, "plant.kubeconfig"),
		&corev1.ConfigMap{ObjectMeta: at(namespace, "facts")}, &corev1.ConfigMap{ObjectMeta: at(namespace, "plant.ca-cluster")},
	} {
		wantForbidden(t, agent.writes(object))
	}
	wantForbidden(t, []attempt{
		{"a secret of its own", func() error { return mine.agent.Create(t.Context(), secret(namespace, "own")) }},
		{"a secret as for a cluster", func() error { return mine.agent.Create(t.Context(), secret(namespace, "weed.kubeconfig")) }},
		{"all secrets at once", func() error {
			return mine.agent.DeleteAllOf(t.Context(), &corev1.Secret{}, client.InNamespace(namespace))
		}},
	})
}

// TestAnAgentHasNoOthersNamespace refuses it everything in seed-<other>.
func TestAnAgentHasNoOthersNamespace(t *testing.T) {
	admin, mine, theirs := landscape(t)
	namespace := fillNamespace(t, admin, theirs)
	agent := inNamespace{t, mine.agent, namespace}
	for _, kind := range []struct {
		object client.Object
		list   client.ObjectList
	}{
		{secret(namespace, "domain"), &corev1.SecretList{}},
		{secret(namespace, "plant.kubeconfig"), &corev1.SecretList{}},
		{&corev1.ConfigMap{ObjectMeta: at(namespace, "facts")}, &corev1.ConfigMapList{}},
		{&coordinationv1.Lease{ObjectMeta: at(namespace, "leader")}, &coordinationv1.LeaseList{}},
	} {
		wantForbidden(t, agent.reads(kind.object, kind.list))
		wantForbidden(t, agent.writes(kind.object))
	}
	for _, object := range []client.Object{
		secret(namespace, "own"), secret(namespace, "weed.kubeconfig"),
		&coordinationv1.Lease{ObjectMeta: at(namespace, "own")}, &coordinationv1.Lease{ObjectMeta: at(namespace, mine.seed)},
		&corev1.Event{ObjectMeta: at(namespace, "event"), InvolvedObject: corev1.ObjectReference{Namespace: namespace, Name: "domain", Kind: "Secret"}},
	} {
		wantForbidden(t, []attempt{{"create " + object.GetName(), func() error { return mine.agent.Create(t.Context(), object) }}})
	}
	wantForbidden(t, []attempt{
		{"all leases at once", func() error {
			return mine.agent.DeleteAllOf(t.Context(), &coordinationv1.Lease{}, client.InNamespace(namespace))
		}},
		{"the namespace", func() error {
			return mine.agent.Get(t.Context(), client.ObjectKey{Name: namespace}, &corev1.Namespace{})
		}},
	})
}

// fillNamespace makes seed-<name> with something in it of each kind.
func fillNamespace(t *testing.T, admin client.Client, s side) string {
	t.Helper()
	namespace := "seed-" + s.seed
	for _, object := range []client.Object{
		&corev1.Namespace{ObjectMeta: at("", namespace)},
		secret(namespace, "domain"), secret(namespace, "plant.kubeconfig"),
		&corev1.ConfigMap{ObjectMeta: at(namespace, "facts")}, &corev1.ConfigMap{ObjectMeta: at(namespace, "plant.ca-cluster")},
		&coordinationv1.Lease{ObjectMeta: at(namespace, "leader")},
	} {
		create(t, admin, object)
	}
	return namespace
}

// inNamespace is an agent that tries things in a seed's namespace.
type inNamespace struct {
	t         *testing.T
	agent     client.WithWatch
	namespace string
}

func (n inNamespace) reads(object client.Object, list client.ObjectList) []attempt {
	ctx, in, name := n.t.Context(), client.InNamespace(n.namespace), object.GetName()
	return []attempt{
		{"get " + name, func() error { return n.agent.Get(ctx, client.ObjectKeyFromObject(object), object) }},
		{"list " + name, func() error { return n.agent.List(ctx, list, in) }},
		{"watch " + name, func() error {
			watcher, err := n.agent.Watch(ctx, list, in)
			if err == nil {
				watcher.Stop()
			}
			return err
		}},
	}
}

func (n inNamespace) writes(object client.Object) []attempt {
	ctx, name := n.t.Context(), object.GetName()
	patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"mine":"yes"}}}`))
	return []attempt{
		{"patch " + name, func() error { return n.agent.Patch(ctx, object, patch) }},
		{"delete " + name, func() error { return n.agent.Delete(ctx, object) }},
	}
}
