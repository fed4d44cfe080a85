// Package memory says what controllers keep in memory: what they watch, of
// Secrets and ConfigMaps no more than metadata.
//
// app and the controllers' tests make their managers with it. It must not know
// who reads what.
package memory

import (
	"context"
	"fmt"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/api/v1alpha1"
)

// Uncached are the kinds whose content is read from the API each time.
func Uncached() []client.Object {
	return []client.Object{
		&corev1.Secret{}, &corev1.ConfigMap{}, &corev1.Namespace{}, &gardencorev1beta1.InternalSecret{},
		// An agent may read its own, not list them.
		&coordinationv1.Lease{},
		&v1alpha1.Machine{},
	}
}

// Compact returns a configuration whose clients ask for protobuf where a server
// has it, unless the configuration says otherwise. Clients know by themselves only
// that Kubernetes' own types have it; the garden's have it too, and reading them as
// JSON is a quarter of what controllers compute.
func Compact(config *rest.Config) *rest.Config {
	compact := rest.CopyConfig(config)
	if compact.ContentType == "" && compact.AcceptContentTypes == "" {
		compact.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	}
	return compact
}

// NewClient is a client.NewClientFunc. What it makes reads metadata from memory
// for every kind: controller-runtime would take Uncached to mean it as well.
func NewClient(config *rest.Config, options client.Options) (client.Client, error) {
	c, err := client.New(config, options)
	if err != nil {
		return nil, fmt.Errorf("making the controllers' client: %w", err)
	}
	return &remembering{c, options.Cache.Reader}, nil
}

type remembering struct {
	client.Client
	memory client.Reader
}

// Get implements client.Reader.
func (r *remembering) Get(ctx context.Context, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
	if _, ok := object.(*metav1.PartialObjectMetadata); ok {
		return r.memory.Get(ctx, key, object, opts...)
	}
	return r.Client.Get(ctx, key, object, opts...)
}

// List implements client.Reader.
func (r *remembering) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	if _, ok := list.(*metav1.PartialObjectMetadataList); ok {
		return r.memory.List(ctx, list, opts...)
	}
	return r.Client.List(ctx, list, opts...)
}
