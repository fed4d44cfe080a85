package stale

import (
	"context"
	"fmt"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	securityv1alpha1 "github.com/gardener/gardener/pkg/apis/security/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/controllers/index"
)

// use says by what the Project of a namespace is used; empty if by nothing. The
// questions are in the order of how likely they settle it.
func (r *Reconciler) use(ctx context.Context, namespace string) (string, error) {
	for _, ask := range []func(context.Context, string) (string, error){
		func(ctx context.Context, namespace string) (string, error) {
			return r.live(ctx, namespace, "Shoot", &gardencorev1beta1.ShootList{})
		},
		func(ctx context.Context, namespace string) (string, error) {
			return r.live(ctx, namespace, "BackupEntry", &gardencorev1beta1.BackupEntryList{})
		},
		r.credentials,
		r.quotas,
	} {
		if reason, err := ask(ctx, namespace); reason != "" || err != nil {
			return reason, err
		}
	}
	return "", nil
}

// live looks for objects that are there to stay. One in deletion is no use: it may
// take its time, and a BackupEntry is kept for days after its Shoot.
func (r *Reconciler) live(ctx context.Context, namespace, kind string, list client.ObjectList) (string, error) {
	reason := ""
	err := r.each(ctx, list, func(object client.Object) (bool, error) {
		if object.GetDeletionTimestamp() == nil {
			reason = fmt.Sprintf("%s %q", kind, object.GetName())
		}
		return reason != "", nil
	}, client.InNamespace(namespace))
	return reason, err
}

// credentials looks for those in the namespace that a Shoot of any project uses
// through a binding.
func (r *Reconciler) credentials(ctx context.Context, namespace string) (string, error) {
	reason := ""
	for _, kind := range credentialKinds() {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
		if err := r.each(ctx, list, func(object client.Object) (bool, error) {
			name := client.ObjectKeyFromObject(object)
			used, err := r.boundAndUsed(ctx, client.MatchingFields{index.BindingCredentials: index.CredentialsKey(kind.Kind, name)})
			if used {
				reason = fmt.Sprintf("%s %q, with which a Shoot works", kind.Kind, name.Name)
			}
			return used, err
		}, client.InNamespace(namespace)); reason != "" || err != nil {
			return reason, err
		}
	}
	return "", nil
}

func credentialKinds() []schema.GroupVersionKind {
	return []schema.GroupVersionKind{
		corev1.SchemeGroupVersion.WithKind("Secret"),
		gardencorev1beta1.SchemeGroupVersion.WithKind("InternalSecret"),
		securityv1alpha1.SchemeGroupVersion.WithKind("WorkloadIdentity"),
	}
}

// quotas looks for those in the namespace that bound a Shoot of any project.
func (r *Reconciler) quotas(ctx context.Context, namespace string) (string, error) {
	reason := ""
	err := r.each(ctx, &gardencorev1beta1.QuotaList{}, func(object client.Object) (bool, error) {
		name := client.ObjectKeyFromObject(object)
		used, err := r.boundAndUsed(ctx, client.MatchingFields{index.BindingQuota: name.String()})
		if used {
			reason = fmt.Sprintf("Quota %q, which bounds a Shoot", name.Name)
		}
		return used, err
	}, client.InNamespace(namespace))
	return reason, err
}

// boundAndUsed tells whether a Shoot uses one of the bindings that an index finds.
func (r *Reconciler) boundAndUsed(ctx context.Context, by client.MatchingFields) (used bool, _ error) {
	for _, kind := range []struct {
		list  client.ObjectList
		shoot string
	}{
		{&gardencorev1beta1.SecretBindingList{}, index.ShootSecretBinding},
		{&securityv1alpha1.CredentialsBindingList{}, index.ShootCredentialsBinding},
	} {
		if err := r.each(ctx, kind.list, func(binding client.Object) (bool, error) {
			err := r.each(ctx, &gardencorev1beta1.ShootList{}, func(client.Object) (bool, error) {
				used = true
				return true, nil
			}, client.InNamespace(binding.GetNamespace()), client.MatchingFields{kind.shoot: binding.GetName()})
			return used, err
		}, by); used || err != nil {
			return used, err
		}
	}
	return false, nil
}

// each calls visit for the objects that a list finds, until it says that it is
// done. The objects are the cache's own.
func (r *Reconciler) each(ctx context.Context, list client.ObjectList, visit func(client.Object) (done bool, _ error), opts ...client.ListOption) error {
	if err := r.Client.List(ctx, list, append(opts, client.UnsafeDisableDeepCopy)...); err != nil {
		return fmt.Errorf("looking for use: %w", err)
	}
	items, err := meta.ExtractList(list)
	if err != nil {
		return fmt.Errorf("reading what was found: %w", err)
	}
	for _, item := range items {
		object, ok := item.(client.Object)
		if !ok {
			return fmt.Errorf("a %T is no object", item)
		}
		if done, err := visit(object); done || err != nil {
			return err
		}
	}
	return nil
}
