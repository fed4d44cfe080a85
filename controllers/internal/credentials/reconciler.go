package credentials

import (
	"context"
	"fmt"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	securityv1alpha1 "github.com/gardener/gardener/pkg/apis/security/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/loam-cloud/loam/controllers/index"
	"github.com/loam-cloud/loam/controllers/internal/guard"
	"github.com/loam-cloud/loam/fault"
)

// Kind is one kind of bindings.
type Kind struct {
	// Name is that of its controller.
	Name string
	// Finalizer is on the credentials that bindings of the kind use.
	Finalizer string
	// Label is on those credentials and on their Quotas.
	Label string
	// EventType is that of the event of a deletion that waits.
	EventType string
	// Binding and List are empty; they are copied.
	Binding client.Object
	List    client.ObjectList
}

// Reconciler looks after the bindings of one kind.
type Reconciler struct {
	Kind
	Client   client.Client
	Recorder events.EventRecorder
}

// Reconcile looks after one binding.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	object, ok := r.Binding.DeepCopyObject().(client.Object)
	if !ok {
		return reconcile.Result{}, fmt.Errorf("a copy of %T is no object", r.Binding)
	}
	if err := r.Client.Get(ctx, request.NamespacedName, object); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	b, err := read(object)
	if err != nil {
		return reconcile.Result{}, err
	}
	g := guard.Guard{Client: r.Client, Recorder: r.Recorder, EventType: r.EventType}
	if b.deleting() {
		return reconcile.Result{}, r.release(ctx, g, b)
	}
	if err := g.Hold(ctx, object); err != nil {
		return reconcile.Result{}, err
	}
	found, err := r.sync(ctx, b.credentials)
	if err != nil {
		return reconcile.Result{}, err
	}
	if err := r.labelQuotas(ctx, b); err != nil {
		return reconcile.Result{}, err
	}
	if !found {
		return reconcile.Result{}, fault.New(fault.Missing, "%s, which the binding refers to, is not there", b.credentials)
	}
	return reconcile.Result{}, nil
}

// release lets a binding go that no Shoot uses, and what it refers to before it.
func (r *Reconciler) release(ctx context.Context, g guard.Guard, b binding) error {
	if !g.Holds(b.object) {
		return nil
	}
	blockers, err := shootsOf(ctx, r.Client, b)
	if err != nil || g.Blocked(ctx, b.object, blockers) {
		return err
	}
	if _, err := r.sync(ctx, b.credentials); err != nil {
		return err
	}
	if err := r.unlabelQuotas(ctx, b); err != nil {
		return err
	}
	return g.Release(ctx, b.object)
}

// sync brings credentials to what the bindings need that refer to them now. It
// answers whether they are there.
func (r *Reconciler) sync(ctx context.Context, ref Reference) (found bool, _ error) {
	object := metadata(ref.Kind)
	if object == nil {
		return false, fault.New(fault.Invalid, "credentials cannot be a %s, only Secret, InternalSecret or WorkloadIdentity", ref.Kind)
	}
	if err := r.Client.Get(ctx, ref.NamespacedName, object); err != nil {
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return false, fmt.Errorf("reading %s: %w", ref, err)
	}
	u, err := r.users(ctx, ref)
	if err != nil {
		return true, err
	}
	base := object.DeepCopy()
	apply(object, mark{r.Finalizer, r.Label}, u)
	if same(base, object) {
		return true, nil
	}
	log.FromContext(ctx).Info("Marking credentials by who uses them", "credentials", ref.String(), "bindings", len(u.mine))
	err = r.Client.Patch(ctx, object, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return true, fmt.Errorf("marking %s: %w", ref, err)
	}
	return true, nil
}

// users finds the bindings of both kinds that need credentials.
func (r *Reconciler) users(ctx context.Context, ref Reference) (users, error) {
	ofSecrets, err := r.needing(ctx, &gardencorev1beta1.SecretBindingList{}, ref)
	if err != nil {
		return users{}, err
	}
	ofCredentials, err := r.needing(ctx, &securityv1alpha1.CredentialsBindingList{}, ref)
	if err != nil {
		return users{}, err
	}
	if r.isOfSecrets() {
		return users{mine: ofSecrets, others: ofCredentials}, nil
	}
	return users{mine: ofCredentials, others: ofSecrets}, nil
}

// needing finds the bindings of one kind that refer to credentials and are not in
// deletion, or are but have to wait for Shoots, which need the credentials to end.
func (r *Reconciler) needing(ctx context.Context, of client.ObjectList, ref Reference) ([]binding, error) {
	all, err := list(ctx, r.Client, of, byCredentials(ref))
	if err != nil {
		return nil, err
	}
	var needing []binding
	for _, b := range all {
		if b.deleting() {
			shoots, err := shootsOf(ctx, r.Client, b)
			if err != nil {
				return nil, err
			}
			if len(shoots.Names) == 0 {
				continue
			}
		}
		needing = append(needing, b)
	}
	return needing, nil
}

// labelQuotas marks the Quotas of a binding. One that is not there holds nothing
// up: when it comes, its event wakes the binding.
func (r *Reconciler) labelQuotas(ctx context.Context, b binding) error {
	for _, name := range b.quotas {
		quota, err := r.quota(ctx, name)
		if err != nil {
			return err
		}
		if quota == nil {
			log.FromContext(ctx).Info("The binding refers to a Quota that is not there", "quota", name.String())
			continue
		}
		if quota.Labels[r.Label] == yes {
			continue
		}
		base := quota.DeepCopy()
		if quota.Labels == nil {
			quota.Labels = map[string]string{}
		}
		quota.Labels[r.Label] = yes
		if err := r.patchQuota(ctx, quota, base); err != nil {
			return err
		}
	}
	return nil
}

// unlabelQuotas takes the mark off those Quotas that no other binding of the kind
// refers to. One in deletion counts until it is gone: a Shoot may still use it.
func (r *Reconciler) unlabelQuotas(ctx context.Context, b binding) error {
	for _, name := range b.quotas {
		quota, err := r.quota(ctx, name)
		if err != nil {
			return err
		}
		if quota == nil {
			continue
		}
		if _, marked := quota.Labels[r.Label]; !marked {
			continue
		}
		users, err := list(ctx, r.Client, r.emptyList(), byQuota(name))
		if err != nil {
			return err
		}
		if usedByAnother(users, b) {
			continue
		}
		base := quota.DeepCopy()
		delete(quota.Labels, r.Label)
		if err := r.patchQuota(ctx, quota, base); err != nil {
			return err
		}
	}
	return nil
}

func usedByAnother(users []binding, b binding) bool {
	for _, user := range users {
		if user.object.GetUID() != b.object.GetUID() {
			return true
		}
	}
	return false
}

// quota reads one; nil if it is not there.
func (r *Reconciler) quota(ctx context.Context, name types.NamespacedName) (*gardencorev1beta1.Quota, error) {
	quota := &gardencorev1beta1.Quota{}
	if err := r.Client.Get(ctx, name, quota); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("reading quota %q: %w", name, err)
	}
	return quota, nil
}

func (r *Reconciler) patchQuota(ctx context.Context, quota, base *gardencorev1beta1.Quota) error {
	if err := client.IgnoreNotFound(r.Client.Patch(ctx, quota, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))); err != nil {
		return fmt.Errorf("labelling quota %q: %w", client.ObjectKeyFromObject(quota), err)
	}
	return nil
}

func (r *Reconciler) emptyList() client.ObjectList {
	of, _ := r.List.DeepCopyObject().(client.ObjectList) // a list's copy is one
	return of
}

func byQuota(name types.NamespacedName) client.MatchingFields {
	return client.MatchingFields{index.BindingQuota: name.String()}
}
