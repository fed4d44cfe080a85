package forecast_test

import (
	"fmt"
	"slices"
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/controllers/shoot/forecast"
	"github.com/loam-cloud/loam/fault"
)

func TestSteps(t *testing.T) {
	shoot := &gardencorev1beta1.Shoot{ObjectMeta: metav1.ObjectMeta{Name: "demo"}, Status: gardencorev1beta1.ShootStatus{TechnicalID: "shoot--local--demo"}}
	shoot.Spec.Kubernetes.Version, shoot.Spec.Provider.Type = "1.36.2", "local"
	shoot.Spec.Provider.Workers = []gardencorev1beta1.Worker{{Name: "worker", Minimum: 1, Maximum: 1, Labels: map[string]string{"a": "b"}}}
	machine := func(name, pool string, role v1alpha1.MachineRole) v1alpha1.Machine {
		return v1alpha1.Machine{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.MachineSpec{Pool: pool, Role: role},
			Status: v1alpha1.MachineStatus{NodeName: name, State: "Running"},
		}
	}
	machines := []v1alpha1.Machine{machine("demo-control-plane-0", "control-plane", v1alpha1.RoleControlPlane), machine("demo-worker-0", "worker", v1alpha1.RoleWorker)}
	for name, test := range map[string]struct {
		change func(*gardencorev1beta1.ShootSpec)
		want   []string
	}{
		"nothing": {func(*gardencorev1beta1.ShootSpec) {}, nil},
		"settings": {
			func(s *gardencorev1beta1.ShootSpec) {
				s.Kubernetes.Kubelet = &gardencorev1beta1.KubeletConfig{MaxPods: ptr.To[int32](50), PodPIDsLimit: ptr.To[int64](1000)}
				s.Kubernetes.KubeAPIServer = &gardencorev1beta1.KubeAPIServerConfig{RuntimeConfig: map[string]bool{"api/alpha": true}}
			},
			[]string{
				"Configure demo-control-plane-0 [{kubeAPIServer.runtimeConfig.api/alpha  true} {kubelet.maxPods  50} {kubelet.podPidsLimit  1000}]",
				"Configure demo-worker-0 [{kubelet.maxPods  50} {kubelet.podPidsLimit  1000}]",
			},
		},
		"pools": {
			func(s *gardencorev1beta1.ShootSpec) {
				w := &s.Provider.Workers[0]
				w.Labels, w.Taints = map[string]string{"a": "c"}, []corev1.Taint{{Key: "k", Value: "v", Effect: corev1.TaintEffectNoSchedule}}
				s.Provider.Workers = append(s.Provider.Workers, gardencorev1beta1.Worker{Name: "new", Minimum: 1, Maximum: 1})
			},
			[]string{"Create demo-new-0 []", "Mark demo-worker-0 [{label a a=b a=c} {taint k:NoSchedule  k=v:NoSchedule}]"},
		},
		"the last worker goes": {
			func(s *gardencorev1beta1.ShootSpec) { s.Provider.Workers = nil },
			[]string{"Remove demo-worker-0 []"},
		},
		"a version": {
			func(s *gardencorev1beta1.ShootSpec) { s.Kubernetes.Version = "1.36.3" },
			[]string{"Upgrade demo-control-plane-0 []", "Upgrade demo-worker-0 []"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			after := shoot.DeepCopy()
			test.change(&after.Spec)
			steps, err := forecast.Steps(shoot, after, machines)
			var got []string
			for _, s := range steps {
				got = append(got, fmt.Sprintf("%s %s %v", s.Action, s.Node, s.Changes))
			}
			if err != nil || !slices.Equal(got, test.want) {
				t.Errorf("got %q, %v\nwant %q", got, err, test.want)
			}
		})
	}
	other := shoot.DeepCopy()
	other.Spec.Provider.Type = "aws"
	if _, err := forecast.Steps(shoot, other, machines); fault.KindOf(err) != fault.Invalid {
		t.Errorf("got %v, want Invalid", err)
	}
}
