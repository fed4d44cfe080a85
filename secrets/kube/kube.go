// Package kube reads secrets from Secrets of a Kubernetes API, at the moment they are
// used. The wiring hands functions of it to whoever needs a secret, as it does with
// those of package vault beside it.
//
// It keeps no secret and logs none. It must not know what a secret is for.
package kube

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/fault"
)

// Reference names a key of a Secret.
type Reference struct{ Namespace, Name, Key string }

// Value reads a key. The reader should be one without a cache: that would keep every
// Secret that it is allowed to see in memory. Faults: Missing, Denied, Transient.
func Value(ctx context.Context, reader client.Reader, r Reference) ([]byte, error) {
	var secret corev1.Secret
	what := fmt.Sprintf("reading Secret %s/%s", r.Namespace, r.Name)
	err := reader.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: r.Name}, &secret)
	switch {
	case apierrors.IsNotFound(err):
		return nil, fault.New(fault.Missing, "%s: it does not exist", what)
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return nil, fault.New(fault.Denied, "%s: %w", what, err)
	case err != nil:
		return nil, fault.New(fault.Transient, "%s: %w", what, err)
	}
	value, ok := secret.Data[r.Key]
	if !ok {
		return nil, fault.New(fault.Missing, "%s: it has no key %q; its keys: %s", what, r.Key, strings.Join(slices.Sorted(maps.Keys(secret.Data)), ", "))
	}
	return value, nil
}
