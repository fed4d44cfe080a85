// Package credentials protects and labels what bindings refer to: the
// credentials of an infrastructure, and Quotas.
//
//	binding there   -> finalizer and labels on its credentials, label on its quotas
//	Shoots use it   -> its deletion waits
//	binding deleted -> what no other binding of its kind needs is taken off again
//	credentials changed or left behind -> put right, whatever bindings did meanwhile
//
// The controllers of both kinds of bindings are this with other names. It must not
// know what is in credentials.
package credentials

import (
	"context"
	"fmt"
	"strings"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	securityv1alpha1 "github.com/gardener/gardener/pkg/apis/security/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/controllers/index"
	"github.com/loam-cloud/loam/controllers/internal/guard"
)

// Kinds of credentials.
const (
	secret           = "Secret"
	internalSecret   = "InternalSecret"
	workloadIdentity = "WorkloadIdentity"
)

// groupVersions are where each kind of credentials is served.
func groupVersions() map[string]schema.GroupVersion {
	return map[string]schema.GroupVersion{
		secret:           corev1.SchemeGroupVersion,
		internalSecret:   gardencorev1beta1.SchemeGroupVersion,
		workloadIdentity: securityv1alpha1.SchemeGroupVersion,
	}
}

// Reference names credentials.
type Reference struct {
	Kind string
	types.NamespacedName
}

// String is like "Secret garden-dev/key".
func (r Reference) String() string { return r.Kind + " " + r.NamespacedName.String() }

// metadata is an empty object to read the metadata of credentials into; nil for a
// kind that is none.
func metadata(kind string) *metav1.PartialObjectMetadata {
	version, known := groupVersions()[kind]
	if !known {
		return nil
	}
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(version.WithKind(kind))
	return object
}

// binding is what there is to know of a binding of either kind.
type binding struct {
	object      client.Object
	credentials Reference
	quotas      []types.NamespacedName
	// types are those of the providers that it is for.
	types []string
}

func (b binding) deleting() bool { return b.object.GetDeletionTimestamp() != nil }

// read takes a binding of either kind apart.
func read(object client.Object) (binding, error) {
	b := binding{object: object}
	switch typed := object.(type) {
	case *gardencorev1beta1.SecretBinding:
		b.credentials = Reference{secret, types.NamespacedName{Namespace: typed.SecretRef.Namespace, Name: typed.SecretRef.Name}}
		b.quotas = names(typed.Quotas)
		if typed.Provider != nil {
			b.types = providerTypes(typed.Provider.Type)
		}
	case *securityv1alpha1.CredentialsBinding:
		ref := typed.CredentialsRef
		b.credentials = Reference{ref.Kind, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}}
		b.quotas = names(typed.Quotas)
		b.types = providerTypes(typed.Provider.Type)
	default:
		return b, fmt.Errorf("a %T is no binding", object)
	}
	return b, nil
}

// providerTypes takes apart what may be several, joined by commas.
func providerTypes(text string) []string {
	var all []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	return all
}

func names(refs []corev1.ObjectReference) []types.NamespacedName {
	var all []types.NamespacedName
	for _, ref := range refs {
		all = append(all, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name})
	}
	return all
}

// list reads the bindings of a kind that an index finds. They are the cache's own
// and must not be changed.
func list(ctx context.Context, c client.Reader, of client.ObjectList, by client.MatchingFields) ([]binding, error) {
	if err := c.List(ctx, of, by, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing bindings: %w", err)
	}
	var all []binding
	err := meta.EachListItem(of, func(item runtime.Object) error {
		object, ok := item.(client.Object)
		if !ok {
			return fmt.Errorf("a %T is no object", item)
		}
		b, err := read(object)
		all = append(all, b)
		return err
	})
	return all, err
}

// shootsOf lists the Shoots that use a binding.
func shootsOf(ctx context.Context, c client.Reader, b binding) (guard.Blockers, error) {
	by := index.ShootCredentialsBinding
	if _, is := b.object.(*gardencorev1beta1.SecretBinding); is {
		by = index.ShootSecretBinding
	}
	return guard.List(ctx, c, "Shoot", &gardencorev1beta1.ShootList{}, client.InNamespace(b.object.GetNamespace()), client.MatchingFields{by: b.object.GetName()})
}

// byCredentials finds the bindings that refer to credentials.
func byCredentials(ref Reference) client.MatchingFields {
	return client.MatchingFields{index.BindingCredentials: index.CredentialsKey(ref.Kind, ref.NamespacedName)}
}
