package credentials

import (
	"context"
	"fmt"
	"maps"
	"slices"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/declaration"
	"github.com/loam-cloud/loam/controllers/index"
	"github.com/loam-cloud/loam/controllers/internal/guard"
	"github.com/loam-cloud/loam/controllers/internal/observe"
)

// suffix is behind the name of the controller that looks after credentials
// themselves.
const suffix = ".credentials"

// Declare says what the controller of a kind reads and writes.
func (r *Reconciler) Declare() declaration.Declaration {
	d := declaration.Declaration{
		Controller: r.Name,
		Reads: []declaration.Read{
			{Resource: "secretbindings.core.gardener.cloud"}, {Resource: "credentialsbindings.security.gardener.cloud"},
			{Resource: "quotas.core.gardener.cloud"}, {Resource: "shoots.core.gardener.cloud"},
		},
		Writes: []declaration.Write{
			{Resource: r.resource(), Verbs: []string{"patch"}, Fields: []string{"metadata.finalizers"}},
			{Resource: "quotas.core.gardener.cloud", Verbs: []string{"patch"}, Fields: []string{"metadata.labels"}},
			declaration.Events(),
		},
	}
	for _, kind := range r.kinds() {
		resource := map[string]string{
			secret: "secrets", internalSecret: "internalsecrets.core.gardener.cloud", workloadIdentity: "workloadidentities.security.gardener.cloud",
		}[kind]
		d.Reads = append(d.Reads, declaration.Read{Resource: resource, MetadataOnly: true})
		d.Writes = append(d.Writes, declaration.Write{Resource: resource, Verbs: []string{"patch"}, Fields: []string{"metadata.finalizers", "metadata.labels"}})
	}
	return d
}

// isOfSecrets tells SecretBindings from CredentialsBindings.
func (r *Reconciler) isOfSecrets() bool {
	_, is := r.Binding.(*gardencorev1beta1.SecretBinding)
	return is
}

func (r *Reconciler) resource() string {
	if r.isOfSecrets() {
		return "secretbindings.core.gardener.cloud"
	}
	return "credentialsbindings.security.gardener.cloud"
}

// kinds are those of the credentials that the bindings can refer to.
func (r *Reconciler) kinds() []string {
	if r.isOfSecrets() {
		return []string{secret}
	}
	return []string{secret, internalSecret, workloadIdentity}
}

// AddToManager adds two controllers: that of the bindings, and one that puts
// credentials right when somebody changed them, or when a binding that referred
// to them refers to others or has gone without being asked.
func (r *Reconciler) AddToManager(mgr manager.Manager, syncs int) error {
	for _, ensure := range []func(context.Context, client.FieldIndexer) error{index.EnsureBindings, index.EnsureShootBindings} {
		if err := ensure(context.Background(), mgr.GetFieldIndexer()); err != nil {
			return err
		}
	}
	if err := builder.ControllerManagedBy(mgr).
		Named(r.Name).
		For(r.Binding).
		Watches(&gardencorev1beta1.Shoot{}, guard.Referrers(r.bindingOf)).
		Watches(&gardencorev1beta1.Quota{}, handler.EnqueueRequestsFromMapFunc(r.ofQuota)).
		WithOptions(controller.Options{MaxConcurrentReconciles: syncs}).
		Complete(observe.Reconciler(r.Name, r)); err != nil {
		return fmt.Errorf("adding controller %s: %w", r.Name, err)
	}
	b := builder.TypedControllerManagedBy[Reference](mgr).
		Named(r.Name+suffix).
		Watches(r.Binding, forsaken()).
		WithOptions(controller.TypedOptions[Reference]{MaxConcurrentReconciles: syncs})
	for _, kind := range r.kinds() {
		b = b.Watches(metadata(kind), handler.TypedEnqueueRequestsFromMapFunc(r.ofCredentials(kind)), builder.WithPredicates(markChanged()))
	}
	if err := b.Complete(observe.Reconciler(r.Name+suffix, reconcile.TypedFunc[Reference](r.reconcileCredentials))); err != nil {
		return fmt.Errorf("adding controller %s: %w", r.Name+suffix, err)
	}
	return nil
}

func (r *Reconciler) reconcileCredentials(ctx context.Context, ref Reference) (reconcile.Result, error) {
	_, err := r.sync(ctx, ref)
	return reconcile.Result{}, err
}

func (r *Reconciler) bindingOf(shoot *gardencorev1beta1.Shoot) []types.NamespacedName {
	name := shoot.Spec.CredentialsBindingName
	if r.isOfSecrets() {
		name = shoot.Spec.SecretBindingName
	}
	if ptr.Deref(name, "") == "" {
		return nil
	}
	return []types.NamespacedName{{Namespace: shoot.Namespace, Name: *name}}
}

// ofQuota wakes the bindings of a Quota that lacks its label: it came later than
// they, or somebody took the label off.
func (r *Reconciler) ofQuota(ctx context.Context, quota client.Object) []reconcile.Request {
	if quota.GetLabels()[r.Label] == yes {
		return nil
	}
	users, err := list(ctx, r.Client, r.emptyList(), byQuota(client.ObjectKeyFromObject(quota)))
	if err != nil {
		log.FromContext(ctx).Error(err, "Looking for the bindings of a quota", "quota", client.ObjectKeyFromObject(quota).String())
	}
	var requests []reconcile.Request
	for _, user := range users {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(user.object)})
	}
	return requests
}

// ofCredentials lets credentials through that are marked or that a binding refers
// to: most Secrets are neither.
func (r *Reconciler) ofCredentials(kind string) handler.TypedMapFunc[client.Object, Reference] {
	return func(ctx context.Context, object client.Object) []Reference {
		ref := Reference{kind, client.ObjectKeyFromObject(object)}
		if _, marked := object.GetLabels()[r.Label]; marked || slices.Contains(object.GetFinalizers(), r.Finalizer) {
			return []Reference{ref}
		}
		users, err := list(ctx, r.Client, r.emptyList(), byCredentials(ref))
		if err != nil {
			log.FromContext(ctx).Error(err, "Looking for the bindings of credentials", "credentials", ref.String())
		}
		if len(users) == 0 {
			return nil
		}
		return []Reference{ref}
	}
}

// markChanged lets credentials through that are new, or whose labels or
// finalizers somebody changed.
func markChanged() predicate.Predicate {
	return predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool {
			return !maps.Equal(e.ObjectOld.GetLabels(), e.ObjectNew.GetLabels()) || !slices.Equal(e.ObjectOld.GetFinalizers(), e.ObjectNew.GetFinalizers())
		},
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// forsaken wakes credentials that a binding no longer refers to.
func forsaken() handler.TypedEventHandler[client.Object, Reference] {
	return handler.TypedFuncs[client.Object, Reference]{
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, queue workqueue.TypedRateLimitingInterface[Reference]) {
			before, err := read(e.ObjectOld)
			after, also := read(e.ObjectNew)
			if err == nil && also == nil && before.credentials != after.credentials && metadata(before.credentials.Kind) != nil {
				queue.Add(before.credentials)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, queue workqueue.TypedRateLimitingInterface[Reference]) {
			if b, err := read(e.Object); err == nil && metadata(b.credentials.Kind) != nil {
				queue.Add(b.credentials)
			}
		},
	}
}

// same tells whether credentials have the labels and finalizers that they had.
func same(a, b *metav1.PartialObjectMetadata) bool {
	return maps.Equal(a.Labels, b.Labels) && slices.Equal(a.Finalizers, b.Finalizers)
}
