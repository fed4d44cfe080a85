package target_test

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	clientfake "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/controllers/shoot/internal/target"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/scheme"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/nodeconfig"
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
		"IPv6": {
			func(s *gardencorev1beta1.ShootSpec) {
				s.Networking = &gardencorev1beta1.Networking{IPFamilies: []gardencorev1beta1.IPFamily{"IPv6"}, Services: ptr.To("fd01::/112")}
			},
			func(c *shoots.Cluster) { c.PodCIDR, c.ServiceCIDR = "fd00:10:244::/56", "fd01::/112" },
		},
		"ports of IPv6": {
			func(s *gardencorev1beta1.ShootSpec) {
				s.Networking = &gardencorev1beta1.Networking{IPFamilies: []gardencorev1beta1.IPFamily{"IPv6"}}
				cp := controlPlane("control-plane", 1)
				cp.ProviderConfig = &runtime.RawExtension{Raw: []byte(`{"apiVersion":"loam.dev/v1alpha1","kind":"WorkerConfig","extraPortMappings":[{"containerPort":1},{"containerPort":2,"listenAddress":"127.0.0.1"}]}`)}
				s.Provider.Workers = []gardencorev1beta1.Worker{cp}
			},
			func(c *shoots.Cluster) {
				c.PodCIDR, c.ServiceCIDR = "fd00:10:244::/56", "fd00:10:96::/112"
				c.Pools[0].Ports = []machines.Port{
					{HostAddress: netip.IPv6Loopback(), MachinePort: 1, Protocol: machines.TCP},
					{HostAddress: netip.MustParseAddr("127.0.0.1"), MachinePort: 2, Protocol: machines.TCP},
				}
			},
		},
		"both families": {
			func(s *gardencorev1beta1.ShootSpec) {
				s.Networking = &gardencorev1beta1.Networking{Pods: ptr.To("10.1.0.0/16"), IPFamilies: []gardencorev1beta1.IPFamily{"IPv4", "IPv6"}}
				s.Provider.ControlPlaneConfig = &runtime.RawExtension{Raw: []byte(`{"apiVersion":"loam.dev/v1alpha1","kind":"ControlPlaneConfig","ipv6":{"pods":"fd01::/56"}}`)}
			},
			func(c *shoots.Cluster) {
				c.PodCIDR, c.ServiceCIDR = "10.1.0.0/16,fd01::/56", c.ServiceCIDR+",fd00:10:96::/112"
			},
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
		"no proxy": {
			func(s *gardencorev1beta1.ShootSpec) {
				s.Kubernetes.KubeProxy = &gardencorev1beta1.KubeProxyConfig{Enabled: ptr.To(false)}
			},
			func(c *shoots.Cluster) { c.KubeProxyMode = "none" },
		},
		"gates and versions of the API": {
			func(s *gardencorev1beta1.ShootSpec) {
				gates := gardencorev1beta1.KubernetesConfig{FeatureGates: map[string]bool{"A": true}}
				s.Kubernetes.KubeAPIServer = &gardencorev1beta1.KubeAPIServerConfig{KubernetesConfig: gates, RuntimeConfig: map[string]bool{"api/all": true}}
				s.Kubernetes.KubeControllerManager = &gardencorev1beta1.KubeControllerManagerConfig{KubernetesConfig: gates}
				s.Kubernetes.KubeScheduler = &gardencorev1beta1.KubeSchedulerConfig{KubernetesConfig: gates}
				s.Kubernetes.Kubelet = &gardencorev1beta1.KubeletConfig{KubernetesConfig: gates}
				s.Kubernetes.KubeProxy = &gardencorev1beta1.KubeProxyConfig{KubernetesConfig: gates, Mode: ptr.To(gardencorev1beta1.ProxyModeIPVS)}
			},
			func(c *shoots.Cluster) {
				gates := map[string]bool{"A": true}
				c.FeatureGates = nodeconfig.FeatureGates{APIServer: gates, ControllerManager: gates, Scheduler: gates, Kubelet: gates, KubeProxy: gates}
				c.RuntimeConfig, c.KubeProxyMode = map[string]bool{"api/all": true}, "ipvs"
			},
		},
		"provider configs": {
			func(s *gardencorev1beta1.ShootSpec) {
				s.Provider.ControlPlaneConfig = &runtime.RawExtension{Raw: []byte(`{"apiVersion":"loam.dev/v1alpha1","kind":"ControlPlaneConfig",
					"apiServer":{"address":"0.0.0.0","port":7443},"dnsSearch":[],"proxy":{"httpProxy":"http://p"},"containerdConfigPatches":["a = 1"],"node":{"modules":["a"]}}`)}
				w := worker("w", 1)
				w.ProviderConfig = &runtime.RawExtension{Raw: []byte(`{"apiVersion":"loam.dev/v1alpha1","kind":"WorkerConfig","image":"mine",
					"extraMounts":[{"hostPath":"/h","containerPath":"/m","readOnly":true,"selinuxRelabel":true,"propagation":"HostToContainer"}],
					"extraPortMappings":[{"containerPortRange":"1-2","hostPortRange":"11-12","protocol":"UDP","listenAddress":"10.0.0.1"}],
					"kubeadmConfigPatches":["kind: JoinConfiguration"],"node":{"modules":["b"]}}`)}
				s.Provider.Workers = []gardencorev1beta1.Worker{w}
			},
			func(c *shoots.Cluster) {
				c.APIServer.HostAddress, c.APIServer.HostPort = netip.IPv4Unspecified(), 7443
				c.DNSSearch, c.Proxy.HTTPProxy, c.ContainerdPatches = []string{}, "http://p", []string{"a = 1"}
				c.NodeSettings = []byte(`{"modules":["a"]}`)
				c.Pools[0].Schedulable = false
				at := netip.MustParseAddr("10.0.0.1")
				c.Pools = append(c.Pools, shoots.Pool{
					Name: "w", Role: v1alpha1.RoleWorker, Count: 1, Image: "mine",
					Mounts:  []machines.Mount{{HostPath: "/h", MachinePath: "/m", ReadOnly: true, SELinuxRelabel: true, Propagation: "HostToContainer"}},
					Ports:   []machines.Port{{HostAddress: at, HostPort: 11, MachinePort: 1, Protocol: machines.UDP}, {HostAddress: at, HostPort: 12, MachinePort: 2, Protocol: machines.UDP}},
					Patches: v1alpha1.KubeadmPatches{KubeadmConfigPatches: []string{"kind: JoinConfiguration"}}, NodeSettings: []byte(`{"modules":["b"]}`),
				})
			},
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
		"provider configs": {
			func(s *gardencorev1beta1.ShootSpec) {
				s.Provider.ControlPlaneConfig = &runtime.RawExtension{Raw: []byte(`{"a":1}`)}
				w := worker("w", 1)
				w.ProviderConfig = &runtime.RawExtension{Raw: []byte(`{"b":1}`)}
				s.Provider.Workers = []gardencorev1beta1.Worker{w}
			},
			[]string{"spec.provider.controlPlaneConfig.a", "spec.provider.workers[0].providerConfig.b"},
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
				s.Networking = &gardencorev1beta1.Networking{Type: ptr.To("calico"), IPFamilies: []gardencorev1beta1.IPFamily{"IPv6", "IPv4"}}
				s.Kubernetes.KubeProxy = &gardencorev1beta1.KubeProxyConfig{Mode: ptr.To(gardencorev1beta1.ProxyMode("Magic"))}
				other := worker("w", 1)
				other.Kubernetes = &gardencorev1beta1.WorkerKubernetes{Version: ptr.To("1.35.4")}
				s.Provider.Workers = []gardencorev1beta1.Worker{worker("w", -1), other, controlPlane("a", 2), controlPlane("b", 1)}
			},
			[]string{
				"spec.provider.type", "spec.networking.type", "spec.networking.ipFamilies: Invalid value: [\"IPv6\",\"IPv4\"]", "spec.kubernetes.kubeProxy.mode",
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
