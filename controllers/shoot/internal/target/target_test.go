package target_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	clientfake "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/controllers/shoot/internal/target"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/scheme"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/shoots"
)

func shoot(change func(*gardencorev1beta1.ShootSpec)) *gardencorev1beta1.Shoot {
	s := &gardencorev1beta1.Shoot{
		ObjectMeta: metav1.ObjectMeta{Namespace: "garden-local", Name: "demo"},
		Spec:       gardencorev1beta1.ShootSpec{Kubernetes: gardencorev1beta1.Kubernetes{Version: "1.36.3"}, Provider: gardencorev1beta1.Provider{Type: "local"}},
		Status:     gardencorev1beta1.ShootStatus{TechnicalID: "shoot--local--demo"},
	}
	if change != nil {
		change(&s.Spec)
	}
	return s
}

func worker(name string, n int32) gardencorev1beta1.Worker {
	return gardencorev1beta1.Worker{Name: name, Minimum: n, Maximum: n}
}

func controlPlane(name string, n int32) gardencorev1beta1.Worker {
	w := worker(name, n)
	w.ControlPlane = &gardencorev1beta1.WorkerControlPlane{}
	return w
}

func TestCluster(t *testing.T) {
	alone := shoots.Cluster{
		ID: "shoot--local--demo", Name: "demo", KubernetesVersion: "v1.36.3",
		PodCIDR: gardencorev1beta1.DefaultPodNetworkCIDR, ServiceCIDR: gardencorev1beta1.DefaultServiceNetworkCIDR, DefaultNetwork: true,
		APIServer: machines.Port{MachinePort: 6443, Protocol: machines.TCP},
		Pools:     []shoots.Pool{{Name: "control-plane", Role: v1alpha1.RoleControlPlane, Count: 1, Schedulable: true}},
	}
	taints := []corev1.Taint{{Key: "k", Effect: corev1.TaintEffectNoSchedule}}
	for name, tc := range map[string]struct {
		spec func(*gardencorev1beta1.ShootSpec)
		want func(*shoots.Cluster)
	}{
		"nothing said": {nil, func(*shoots.Cluster) {}},
		"a version with v": {
			func(s *gardencorev1beta1.ShootSpec) { s.Kubernetes.Version = "v1.36.3" },
			func(*shoots.Cluster) {},
		},
		"networks": {
			func(s *gardencorev1beta1.ShootSpec) {
				s.Networking = &gardencorev1beta1.Networking{Type: ptr.To("flannel"), Pods: ptr.To("10.1.0.0/16"), Services: ptr.To("10.2.0.0/16"), IPFamilies: []gardencorev1beta1.IPFamily{"IPv4"}}
			},
			func(c *shoots.Cluster) { c.PodCIDR, c.ServiceCIDR = "10.1.0.0/16", "10.2.0.0/16" },
		},
		"no network": {
			func(s *gardencorev1beta1.ShootSpec) {
				s.Networking = &gardencorev1beta1.Networking{Type: ptr.To("none")}
			},
			func(c *shoots.Cluster) { c.DefaultNetwork = false },
		},
		"proxy by iptables": {
			func(s *gardencorev1beta1.ShootSpec) {
				s.Kubernetes.KubeProxy = &gardencorev1beta1.KubeProxyConfig{Enabled: ptr.To(true), Mode: ptr.To(gardencorev1beta1.ProxyModeIPTables)}
			},
			func(c *shoots.Cluster) { c.KubeProxyMode = "iptables" },
		},
		"proxy by nftables": {
			func(s *gardencorev1beta1.ShootSpec) {
				s.Kubernetes.KubeProxy = &gardencorev1beta1.KubeProxyConfig{Mode: ptr.To(gardencorev1beta1.ProxyModeNFTables)}
			},
			func(c *shoots.Cluster) { c.KubeProxyMode = "nftables" },
		},
		"workers": {
			func(s *gardencorev1beta1.ShootSpec) {
				s.Kubernetes.Kubelet = &gardencorev1beta1.KubeletConfig{MaxPods: ptr.To[int32](50)}
				small := worker("small", 1)
				small.Kubernetes = &gardencorev1beta1.WorkerKubernetes{Version: ptr.To("1.36.3"), Kubelet: &gardencorev1beta1.KubeletConfig{MaxPods: ptr.To[int32](9)}}
				small.Labels, small.Taints = map[string]string{"a": "b"}, taints
				s.Provider.Workers = []gardencorev1beta1.Worker{worker("large", 2), small}
			},
			func(c *shoots.Cluster) {
				c.Pools = []shoots.Pool{
					{Name: "control-plane", Role: v1alpha1.RoleControlPlane, Count: 1, MaxPods: 50},
					{Name: "large", Role: v1alpha1.RoleWorker, Count: 2, MaxPods: 50},
					{Name: "small", Role: v1alpha1.RoleWorker, Count: 1, MaxPods: 9, Labels: map[string]string{"a": "b"}, Taints: taints},
				}
			},
		},
		"pools without machines": {
			func(s *gardencorev1beta1.ShootSpec) {
				s.Provider.Workers = []gardencorev1beta1.Worker{worker("none", 0)}
			},
			func(c *shoots.Cluster) {
				c.Pools = append(c.Pools, shoots.Pool{Name: "none", Role: v1alpha1.RoleWorker})
			},
		},
		"a pool for the control plane": {
			func(s *gardencorev1beta1.ShootSpec) {
				s.Provider.Workers = []gardencorev1beta1.Worker{worker("w", 1), controlPlane("control-plane", 1)}
			},
			func(c *shoots.Cluster) {
				c.Pools = []shoots.Pool{{Name: "control-plane", Role: v1alpha1.RoleControlPlane, Count: 1}, {Name: "w", Role: v1alpha1.RoleWorker, Count: 1}}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			want := alone
			want.Pools = append([]shoots.Pool(nil), alone.Pools...)
			tc.want(&want)
			got, err := target.Cluster(shoot(tc.spec))
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
			}
		})
	}
}

func TestClusterNamesEveryProblem(t *testing.T) {
	for name, tc := range map[string]struct {
		spec func(*gardencorev1beta1.ShootSpec)
		want []string
	}{
		"another provider": {
			func(s *gardencorev1beta1.ShootSpec) { s.Provider.Type = "aws" },
			[]string{`spec.provider.type: Unsupported value: "aws": supported values: "local"`},
		},
		"no proxy": {
			func(s *gardencorev1beta1.ShootSpec) {
				s.Kubernetes.KubeProxy = &gardencorev1beta1.KubeProxyConfig{Enabled: ptr.To(false)}
			},
			[]string{"spec.kubernetes.kubeProxy.enabled"},
		},
		"a worker takes the control plane's name": {
			func(s *gardencorev1beta1.ShootSpec) {
				s.Provider.Workers = []gardencorev1beta1.Worker{worker("control-plane", 1)}
			},
			[]string{`spec.provider.workers: Invalid value: "control-plane"`},
		},
		"everything at once": {
			func(s *gardencorev1beta1.ShootSpec) {
				s.Provider.Type = "aws"
				s.Networking = &gardencorev1beta1.Networking{Type: ptr.To("calico"), IPFamilies: []gardencorev1beta1.IPFamily{"IPv4", "IPv6"}}
				s.Kubernetes.KubeProxy = &gardencorev1beta1.KubeProxyConfig{Mode: ptr.To(gardencorev1beta1.ProxyModeIPVS)}
				other := worker("w", 1)
				other.Kubernetes = &gardencorev1beta1.WorkerKubernetes{Version: ptr.To("1.35.4")}
				s.Provider.Workers = []gardencorev1beta1.Worker{worker("w", -1), other, controlPlane("a", 3), controlPlane("b", 1)}
			},
			[]string{
				"spec.provider.type", "spec.networking.type", "spec.networking.ipFamilies[1]", "spec.kubernetes.kubeProxy.mode",
				"spec.provider.workers[0].minimum", "spec.provider.workers[1].name: Duplicate", "spec.provider.workers[1].kubernetes.version",
				"spec.provider.workers[2].minimum", "spec.provider.workers: Too many",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := target.Cluster(shoot(tc.spec))
			if fault.KindOf(err) != fault.Invalid {
				t.Fatalf("got %v, want Invalid", err)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in %v", want, err)
				}
			}
		})
	}
}

func TestAuthorities(t *testing.T) {
	keys := &gardencorev1beta1.InternalSecret{ObjectMeta: metav1.ObjectMeta{Namespace: "garden-local", Name: "demo.pki"}, Data: map[string][]byte{"ca.crt": []byte("x")}}
	broken := interceptor.Funcs{Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
		return errors.New("the connection was cut")
	}}
	for name, tc := range map[string]struct {
		client client.Client
		want   fault.Kind
	}{
		"there":     {clientfake.NewClientBuilder().WithScheme(scheme.Client()).WithObjects(keys).Build(), ""},
		"none yet":  {clientfake.NewClientBuilder().WithScheme(scheme.Client()).Build(), fault.Missing},
		"no answer": {clientfake.NewClientBuilder().WithScheme(scheme.Client()).WithInterceptorFuncs(broken).Build(), fault.Transient},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := target.Authorities(t.Context(), tc.client, shoot(nil))
			if fault.KindOf(err) != tc.want || (err == nil) != (string(got["ca.crt"]) == "x") {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}
