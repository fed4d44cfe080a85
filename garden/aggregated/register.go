package aggregated

import (
	"context"
	"encoding/base64"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/strategy"
)

const (
	// fieldOwner manages the fields of the APIServices.
	fieldOwner = "loam-apiserver"

	managedLabel = "app.kubernetes.io/managed-by"
	// servicePort is that of the Service in deploy/apiserver.
	servicePort = 443
)

// registration makes the cluster send requests for the garden's groups here.
type registration struct {
	client             dynamic.Interface
	namespace, service string
	takeOver           bool
	groups             []strategy.Group
}

// ensure registers every group and version. It refuses to replace what something
// else has registered, before anything is written.
func (r registration) ensure(ctx context.Context, authority []byte) error {
	services := r.client.Resource(apiregistrationv1.SchemeGroupVersion.WithResource("apiservices"))
	wanted := r.wanted(authority)
	for _, service := range wanted {
		existing, err := services.Get(ctx, service.GetName(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("reading APIService %q: %w", service.GetName(), err)
		}
		if existing.GetLabels()[managedLabel] != fieldOwner && !r.takeOver {
			return fault.New(fault.Invalid, "APIService %q is registered by something else (%s): remove it, or let it be replaced with --take-over", service.GetName(), servedBy(existing))
		}
	}
	for _, service := range wanted {
		if _, err := services.Apply(ctx, service.GetName(), service, metav1.ApplyOptions{FieldManager: fieldOwner, Force: true}); err != nil {
			return fmt.Errorf("registering APIService %q: %w", service.GetName(), err)
		}
	}
	return nil
}

func servedBy(service *unstructured.Unstructured) string {
	namespace, _, _ := unstructured.NestedString(service.Object, "spec", "service", "namespace")
	name, found, _ := unstructured.NestedString(service.Object, "spec", "service", "name")
	if !found {
		return "served by the cluster itself, as for custom resources"
	}
	return fmt.Sprintf("service %s/%s", namespace, name)
}

func (r registration) wanted(authority []byte) []*unstructured.Unstructured {
	var all []*unstructured.Unstructured
	for version, priority := range strategy.Priorities(r.groups) {
		all = append(all, r.apiService(version, priority, authority))
	}
	return all
}

func (r registration) apiService(version schema.GroupVersion, priority strategy.Priority, authority []byte) *unstructured.Unstructured {
	service := &unstructured.Unstructured{Object: map[string]any{
		"spec": map[string]any{
			"group":                version.Group,
			"version":              version.Version,
			"groupPriorityMinimum": int64(priority.Group),
			"versionPriority":      int64(priority.Version),
			"caBundle":             base64.StdEncoding.EncodeToString(authority),
			"service":              map[string]any{"namespace": r.namespace, "name": r.service, "port": int64(servicePort)},
		},
	}}
	service.SetGroupVersionKind(apiregistrationv1.SchemeGroupVersion.WithKind("APIService"))
	service.SetName(version.Version + "." + version.Group)
	service.SetLabels(map[string]string{managedLabel: fieldOwner})
	return service
}
