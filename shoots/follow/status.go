package follow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/loam-cloud/loam/shoots/ports"
)

// tell writes into services of type LoadBalancer where they are.
func (s *state) tell(ctx context.Context, services []*corev1.Service, lines []ports.Line) error {
	byService := map[types.NamespacedName][]ports.Line{}
	for _, l := range lines {
		if l.Kind == ports.KindService {
			key := types.NamespacedName{Namespace: l.Namespace, Name: l.Name}
			byService[key] = append(byService[key], l)
		}
	}
	var problems []error
	for _, service := range services {
		if !ports.Ours(service) {
			continue
		}
		want := ports.Ingress(byService[types.NamespacedName{Namespace: service.Namespace, Name: service.Name}], s.Advertise)
		if equality.Semantic.DeepEqual(want, service.Status.LoadBalancer.Ingress) {
			continue
		}
		patch, err := json.Marshal(map[string]any{"status": map[string]any{"loadBalancer": map[string]any{"ingress": want}}})
		if err != nil {
			return err
		}
		_, err = s.client.CoreV1().Services(service.Namespace).Patch(ctx, service.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "loam-ports"}, "status")
		if err != nil && !apierrors.IsNotFound(err) {
			problems = append(problems, fmt.Errorf("telling service %s/%s its address: %w", service.Namespace, service.Name, err))
		}
	}
	return errors.Join(problems...)
}
