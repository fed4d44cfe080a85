// Package tokens finds what a service account token may be bound to in a garden.
//
// The garden's server is its caller. It must not know how tokens are checked.
package tokens

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/kubernetes/pkg/serviceaccount"
)

// getter finds what a service account token may be bound to. A garden has
// neither pods nor nodes, so a token bound to one is never valid.
type getter struct {
	accounts corelisters.ServiceAccountLister
	secrets  corelisters.SecretLister
}

// NewGetter reads from factory's informers, which the caller starts.
func NewGetter(factory informers.SharedInformerFactory) serviceaccount.ServiceAccountTokenGetter {
	core := factory.Core().V1()
	return getter{core.ServiceAccounts().Lister(), core.Secrets().Lister()}
}

func (g getter) GetServiceAccount(_ context.Context, namespace, name string) (*corev1.ServiceAccount, error) {
	return g.accounts.ServiceAccounts(namespace).Get(name)
}

func (g getter) GetSecret(_ context.Context, namespace, name string) (*corev1.Secret, error) {
	return g.secrets.Secrets(namespace).Get(name)
}

func (g getter) GetPod(_ context.Context, _, name string) (*corev1.Pod, error) {
	return nil, apierrors.NewNotFound(corev1.Resource("pods"), name)
}

func (g getter) GetNode(_ context.Context, name string) (*corev1.Node, error) {
	return nil, apierrors.NewNotFound(corev1.Resource("nodes"), name)
}
