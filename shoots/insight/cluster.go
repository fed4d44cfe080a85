package insight

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/shoots"
)

// answerLimit bounds one request: a cluster in trouble is what is looked at.
const answerLimit = 8 * time.Second

// Objects are what the cluster itself says. Problem is why it says nothing.
type Objects struct {
	Version  string
	Nodes    []corev1.Node
	Pods     []corev1.Pod
	Services []corev1.Service
	Problem  error
}

// endpoint finds the address at which this host reaches the API server.
func endpoint(all []machines.Description) (string, error) {
	for _, m := range all {
		if server, err := shoots.EndpointOf(m.Machine); err == nil {
			return server, nil
		}
	}
	return "", fault.New(fault.Missing, "no machine publishes a port for an API server")
}

// clientConfig is an administrator's own, from the kubeconfig that kubeadm left on
// the control plane, for the address at which this host reaches it.
func clientConfig(kubeconfig []byte, server string) (config *rest.Config, inside string, err error) {
	config, err = clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		return nil, "", fault.New(fault.Invalid, "reading %s: %w", adminKubeconfig, err)
	}
	inside = config.Host
	config.Host = server
	config.Timeout = answerLimit
	config.QPS, config.Burst = 100, 200
	return config, inside, nil
}

// ask lists what the page shows. A cluster that does not answer one question is
// not asked the next.
func ask(ctx context.Context, c kubernetes.Interface) (o Objects) {
	version, err := c.Discovery().ServerVersion()
	if err != nil {
		o.Problem = fmt.Errorf("asking for its version: %w", err)
		return o
	}
	o.Version = version.GitVersion
	nodes, err := c.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		o.Problem = fmt.Errorf("listing nodes: %w", err)
		return o
	}
	pods, err := c.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		o.Problem = fmt.Errorf("listing pods: %w", err)
		return o
	}
	services, err := c.CoreV1().Services("").List(ctx, metav1.ListOptions{})
	if err != nil {
		o.Problem = fmt.Errorf("listing services: %w", err)
		return o
	}
	o.Nodes, o.Pods, o.Services = nodes.Items, pods.Items, services.Items
	return o
}

// node is what the cluster says of a node; nil when it does not know it.
func (o Objects) node(name string) *Kubernetes {
	i := slices.IndexFunc(o.Nodes, func(n corev1.Node) bool { return n.Name == name })
	if i < 0 {
		return nil
	}
	n := &o.Nodes[i]
	k := &Kubernetes{
		Version: n.Status.NodeInfo.KubeletVersion, Runtime: n.Status.NodeInfo.ContainerRuntimeVersion, Cordoned: n.Spec.Unschedulable,
		AllocatableCPU: n.Status.Allocatable.Cpu().String(), AllocatableMemory: n.Status.Allocatable.Memory().String(),
	}
	k.Ready, k.Problem = NodeReady(n)
	for i := range o.Pods {
		if o.Pods[i].Spec.NodeName == name {
			k.Pods++
			if o.Pods[i].Status.Phase == corev1.PodRunning {
				k.RunningPods++
			}
		}
	}
	return k
}

// NodeReady tells whether a node is ready, and if not, why.
func NodeReady(n *corev1.Node) (bool, string) {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue, problemOf(c)
		}
	}
	return false, "it has not reported yet"
}

func problemOf(c corev1.NodeCondition) string {
	if c.Status == corev1.ConditionTrue {
		return ""
	}
	return strings.TrimSpace(c.Reason + ": " + c.Message)
}

// podState is how the container of a static pod is.
type podState struct {
	state    string
	restarts int
}

// staticPods are those of a node as the cluster sees them, by the name of their
// container, which is that of the program.
func (o Objects) staticPods(node string) map[string]podState {
	seen := map[string]podState{}
	for i := range o.Pods {
		p := &o.Pods[i]
		if _, mirror := p.Annotations[corev1.MirrorPodAnnotationKey]; !mirror || p.Spec.NodeName != node {
			continue
		}
		for _, s := range p.Status.ContainerStatuses {
			seen[s.Name] = podState{state: containerState(s), restarts: int(s.RestartCount)}
		}
	}
	return seen
}

func containerState(s corev1.ContainerStatus) string {
	switch {
	case s.State.Waiting != nil:
		return cmp.Or(s.State.Waiting.Reason, "waiting")
	case s.State.Terminated != nil:
		return cmp.Or(s.State.Terminated.Reason, "ended")
	case s.Ready:
		return "running, ready"
	}
	return "running, not ready"
}

// services are those of the cluster for the page.
func (o Objects) services() []Service {
	all := []Service{}
	for _, s := range o.Services {
		one := Service{Namespace: s.Namespace, Name: s.Name, Type: string(s.Spec.Type), Addresses: s.Spec.ClusterIPs, External: s.Spec.ExternalIPs}
		if s.Spec.ExternalName != "" {
			one.External = append(one.External, s.Spec.ExternalName)
		}
		for _, i := range s.Status.LoadBalancer.Ingress {
			one.External = append(one.External, cmp.Or(i.IP, i.Hostname))
		}
		one.Ports = []string{}
		for _, p := range s.Spec.Ports {
			text := strconv.Itoa(int(p.Port))
			if p.NodePort != 0 {
				text += ":" + strconv.Itoa(int(p.NodePort))
			}
			one.Ports = append(one.Ports, text+"/"+string(p.Protocol))
		}
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b Service) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// ports joins what the host publishes with what listens behind it: host port,
// node port, service. A node port that nobody publishes is listed once, at all
// nodes.
func ports(all []machines.Description, services []corev1.Service) []Port {
	type key struct {
		port     uint16
		protocol string
	}
	behind := map[key]string{{shoots.APIServerPort, string(machines.TCP)}: "the API server"}
	var order []key
	for _, s := range services {
		for _, p := range s.Spec.Ports {
			if p.NodePort == 0 {
				continue
			}
			k := key{uint16(p.NodePort), string(cmp.Or(p.Protocol, corev1.ProtocolTCP))}
			behind[k] = fmt.Sprintf("%s/%s:%d", s.Namespace, s.Name, p.Port)
			order = append(order, k)
		}
	}
	list := []Port{}
	published := map[key]bool{}
	for _, m := range all {
		for _, p := range m.Ports {
			k := key{p.MachinePort, string(cmp.Or(p.Protocol, machines.TCP))}
			published[k] = true
			list = append(list, Port{
				Host:     netip.AddrPortFrom(p.HostAddress, p.HostPort).String(),
				Node:     net.JoinHostPort(m.Hostname, strconv.Itoa(int(p.MachinePort))),
				Protocol: k.protocol, Service: behind[k],
			})
		}
	}
	for _, k := range order {
		if !published[k] {
			list = append(list, Port{Node: fmt.Sprintf("every node:%d", k.port), Protocol: k.protocol, Service: behind[k]})
		}
	}
	return list
}
