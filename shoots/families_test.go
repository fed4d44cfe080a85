package shoots_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/loam-cloud/loam/fault"
	driver "github.com/loam-cloud/loam/machines/fake"
)

// family changes a world before it is used.
func (w *world) family(pods, services string, ipv6 bool) {
	host := &driver.Host{}
	if ipv6 {
		host.Subnet6 = netip.MustParsePrefix("fd01::/64")
	}
	w.machines = host.Driver("loam")
	w.machines.Script = w.run
	w.cluster.PodCIDR, w.cluster.ServiceCIDR = pods, services
}

// TestFamilies looks at what is written into machines of clusters of each family.
func TestFamilies(t *testing.T) {
	for name, tc := range map[string]struct {
		pods, services string
		// wants are in the first control plane's file of that name.
		wants map[string][]string
		// never is in none.
		never  string
		ranges []string
	}{
		"IPv4": {
			"10.1.0.0/16", "10.2.0.0/16",
			map[string][]string{
				"/etc/loam/kubeadm.yaml":       {"advertiseAddress: 198.18.0.2\n", "value: 198.18.0.2\n", "controlPlaneEndpoint: 198.18.0.2:6443"},
				"/etc/loam/subnet.env":         {"FLANNEL_SUBNET=10.1.0.1/24\n"},
				"/etc/kubernetes/kubelet.conf": {"server: https://198.18.0.2:6443"},
			},
			"fd01", []string{"10.1.0.0/24"},
		},
		"IPv6": {
			"fd02::/56", "fd03::/112",
			map[string][]string{
				"/etc/loam/kubeadm.yaml":                            {"advertiseAddress: fd01::c612:2\n", "value: fd01::c612:2\n", "controlPlaneEndpoint: '[fd01::c612:2]:6443'", "- ::1\n"},
				"/etc/loam/subnet.env":                              {"FLANNEL_IPV6_SUBNET=fd02::1/64\n"},
				"/etc/loam/api-service":                             {"fd03::1 [fd01::c612:2]:6443"},
				"/etc/kubernetes/kubelet.conf":                      {"server: https://[fd01::c612:2]:6443"},
				"/etc/systemd/system/loam-resolver.service":         {"prepare fd01::c612:2"},
				"/etc/loam/patches/kubeletconfiguration+merge.yaml": {"resolvConf: /run/loam/resolv.conf"},
			},
			"198.18", []string{"fd02::/64"},
		},
		"both": {
			"10.1.0.0/16,fd02::/56", "10.2.0.0/16,fd03::/112",
			map[string][]string{
				"/etc/loam/kubeadm.yaml": {"advertiseAddress: 198.18.0.2\n", "value: 198.18.0.2,fd01::c612:2\n", "- fd01::c612:2\n", "podSubnet: 10.1.0.0/16,fd02::/56"},
				"/etc/loam/subnet.env":   {"FLANNEL_SUBNET=10.1.0.1/24\nFLANNEL_IPV6_SUBNET=fd02::1/64\n"},
				"/etc/loam/services":     {"10.2.0.0/16\nfd03::/112\n"},
			},
			"resolvConf", []string{"10.1.0.0/24", "fd02::/64"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 0)
				w.family(tc.pods, tc.services, true)
				if err := w.reconcile(t.Context()); err != nil {
					t.Fatal(err)
				}
				machine, err := w.machines.Guest(w.cluster.ID, "control-plane-0")
				if err != nil {
					t.Fatal(err)
				}
				for path, wants := range tc.wants {
					file, _ := machine.ReadFile(path)
					for _, want := range wants {
						if !strings.Contains(string(file.Content), want) {
							t.Errorf("%s does not hold %q:\n%s", path, want, file.Content)
						}
					}
					if strings.Contains(string(file.Content), tc.never) {
						t.Errorf("%s holds %q:\n%s", path, tc.never, file.Content)
					}
				}
				var node corev1.Node
				if err := w.inside.Get(t.Context(), client.ObjectKey{Name: "demo-control-plane-0"}, &node); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(node.Spec.PodCIDRs, tc.ranges) || node.Spec.PodCIDR != tc.ranges[0] {
					t.Errorf("its node has %s, %v for pods, want %v", node.Spec.PodCIDR, node.Spec.PodCIDRs, tc.ranges)
				}
			})
		})
	}
}

// TestThreeControlPlanesOfIPv6 has balancer and etcd reach members by IPv6.
func TestThreeControlPlanesOfIPv6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 0)
		w.family("fd02::/56", "fd03::/112", true)
		w.cluster.Pools[0].Count = 3
		if err := w.reconcile(t.Context()); err != nil {
			t.Fatal(err)
		}
		for name, files := range map[string]map[string]string{
			"balancer":        {"/etc/loam/haproxy.cfg": "demo-control-plane-1 [fd01::"},
			"control-plane-2": {"/etc/loam/patches/etcd+json.yaml": "demo-control-plane-1=https://[fd01::", "/etc/loam/subnet.env": "FLANNEL_IPV6_SUBNET=fd02:0:0:2::1/64\n"},
		} {
			machine, err := w.machines.Guest(w.cluster.ID, name)
			if err != nil {
				t.Fatal(err)
			}
			for path, want := range files {
				if file, _ := machine.ReadFile(path); !strings.Contains(string(file.Content), want) {
					t.Errorf("%s of %s does not hold %q:\n%s", path, name, want, file.Content)
				}
			}
		}
	})
}

// TestNoIPv6 is told once what is wrong, before anything is started.
func TestNoIPv6(t *testing.T) {
	w := newWorld(t, 0)
	w.family("10.1.0.0/16,fd02::/56", "10.2.0.0/16,fd03::/112", false)
	if err := w.reconcile(t.Context()); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "IPv6") {
		t.Errorf("got %v, want Invalid that says that there is no IPv6", err)
	}
	if all, err := w.machines.List(t.Context(), w.cluster.ID); err != nil || len(all) != 0 {
		t.Errorf("there are machines %v, %v", all, err)
	}
}
