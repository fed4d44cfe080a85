package doctor

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/shoots/insight"
)

// Cluster is what is known of a cluster.
type Cluster struct {
	View *insight.View
	// Hibernated says that its machines are off because somebody wants it so.
	Hibernated bool
	// FromNodes says for each node that was asked whether it reaches the API server:
	// an empty text, or why not.
	FromNodes map[string]string
	// Ports are those of the host that it publishes.
	Ports []Port
}

const (
	// manyRestarts of a part of the control plane are more than a start that had to
	// wait for another part.
	manyRestarts = 5
	// cannotWait are reasons of waiting containers that do not pass by themselves.
	cannotWait = "CrashLoopBackOff ImagePullBackOff ErrImagePull ErrImageNeverPull InvalidImageName CreateContainerConfigError CreateContainerError RunContainerError"
)

// ForCluster judges a cluster.
func ForCluster(k Cluster) []Finding {
	c := &checks{}
	if k.Hibernated {
		c.add(Note, "machines", "the cluster sleeps", "it is hibernated, and nothing of it runs",
			fmt.Sprintf(`kubectl -n garden-%s patch shoot %s --type=merge -p '{"spec":{"hibernation":{"enabled":false}}}'`, k.View.Page.Project, k.View.Page.Name))
	}
	for _, n := range k.View.Page.Nodes {
		c.machine(k, n)
		c.certificates(n)
	}
	c.api(k)
	if k.View.Page.API.Ready {
		for i := range k.View.Objects.Nodes {
			c.node(k, &k.View.Objects.Nodes[i])
		}
		c.pods(k.View.Objects.Pods)
	}
	for _, p := range k.Ports {
		if !p.Ours {
			c.port(p)
		}
	}
	return c.found
}

func (c *checks) machine(k Cluster, n insight.Node) {
	check := "machine " + n.Name
	if n.OutOfMemory {
		c.add(Warning, check, "the kernel has ended programs of it for their memory", "what it had asked for did not fit into "+memoryBound(n),
			"give its pool a bigger machine type, or its pods limits")
	}
	if !k.runs(n) {
		if !k.Hibernated {
			c.add(Problem, check, fmt.Sprintf("its container is %s, with exit code %d", n.State, n.ExitCode), "nothing runs on it", "docker start "+n.Container)
		}
		return
	}
	sound := true
	for _, p := range n.Processes {
		if s, what := process(p); s != OK {
			sound = false
			c.add(s, check, what, "without it the node runs no pods, or the cluster has no control plane", logOf(n, p))
		}
	}
	if sound {
		c.ok(check, "its container runs, and so do its %d programs", len(n.Processes))
	}
}

// runs tells whether the machine of a node is switched on.
func (k Cluster) runs(n insight.Node) bool {
	return slices.ContainsFunc(k.View.Machines, func(m machines.Description) bool { return m.Name == n.Machine && m.State == machines.StateRunning })
}

func memoryBound(n insight.Node) string {
	if n.MemoryBytes == 0 {
		return "this host's memory"
	}
	return bytesText(uint64(n.MemoryBytes))
}

// process judges a program of a node.
func process(p insight.Process) (Severity, string) {
	restarts := 0
	if p.Restarts != nil {
		restarts = *p.Restarts
	}
	down := p.PID == 0 || p.Kind == "unit" && !strings.HasPrefix(p.State, "active ")
	switch {
	case down:
		return Problem, fmt.Sprintf("%s does not run: %s, %d restarts", p.Name, p.State, restarts)
	case restarts >= manyRestarts:
		return Warning, fmt.Sprintf("%s runs, after %d restarts", p.Name, restarts)
	}
	return OK, ""
}

// logOf is the command that shows why a program does not run.
func logOf(n insight.Node, p insight.Process) string {
	if p.Kind == "unit" {
		return fmt.Sprintf("docker exec %s journalctl -u %s --no-pager -n 50", n.Container, p.Name)
	}
	return fmt.Sprintf("docker exec %s sh -c 'tail -n 50 /var/log/pods/*_%s-*/*/*.log'", n.Container, p.Name)
}

func (c *checks) certificates(n insight.Node) {
	check := "certificates of " + n.Name
	var near, expired, authorities, own []string
	for _, one := range n.Certificates {
		if one.State == insight.CertificateValid {
			continue
		}
		text := fmt.Sprintf("%s (%d days)", one.File, one.DaysLeft)
		if one.State == insight.CertificateExpired {
			expired = append(expired, text)
		} else {
			near = append(near, text)
		}
		switch {
		case one.Authority:
			authorities = append(authorities, one.File)
		case strings.HasPrefix(one.File, "/var/lib/kubelet/"):
			own = append(own, one.File)
		}
	}
	if len(near)+len(expired) == 0 {
		if len(n.Certificates) > 0 {
			c.ok(check, "%d, none of which ends soon", len(n.Certificates))
		}
		return
	}
	fix := fmt.Sprintf("docker exec %s kubeadm certs renew all, then docker restart %s; an upgrade renews them too", n.Container, n.Container)
	switch {
	case len(authorities) > 0:
		fix = "an authority cannot be renewed alone: create a new cluster, and move there"
	case len(own) == len(near)+len(expired):
		fix = fmt.Sprintf("docker exec %s systemctl restart kubelet, which asks for a new one", n.Container)
	}
	s, what := Warning, "end soon: "+strings.Join(near, ", ")
	if len(expired) > 0 {
		s, what = Problem, "have expired: "+strings.Join(append(expired, near...), ", ")
	}
	c.add(s, check, what, "who shows or is shown one that has expired is refused", fix)
}

func (c *checks) api(k Cluster) {
	const check = "API server"
	page := k.View.Page
	if page.API.Ready {
		c.ok(check, "answers this host at %s", page.API.Address)
	} else if !k.Hibernated {
		fix := "start its control plane, see above"
		if i := slices.IndexFunc(page.Nodes, func(n insight.Node) bool {
			return n.Role == string(v1alpha1.RoleControlPlane) && k.runs(n)
		}); i >= 0 {
			fix = logOf(page.Nodes[i], insight.Process{Name: "kube-apiserver"}) + " says why"
		}
		c.add(Problem, check, "does not answer this host: "+page.API.Problem, "nothing in the cluster can be seen or changed", fix)
	}
	for _, n := range page.Nodes {
		problem, asked := k.FromNodes[n.Name]
		switch {
		case !asked:
		case problem != "":
			c.add(Problem, check, fmt.Sprintf("does not answer node %s: %s", n.Name, problem), "its kubelet learns of no pods, and the node will be called not ready",
				fmt.Sprintf("docker exec %s kubectl --kubeconfig=/etc/kubernetes/kubelet.conf get --raw /readyz?verbose", n.Container))
		default:
			c.ok(check, "answers node %s", n.Name)
		}
	}
}

func (c *checks) node(k Cluster, n *corev1.Node) {
	check := "node " + n.Name
	container := n.Name
	if i := slices.IndexFunc(k.View.Page.Nodes, func(one insight.Node) bool { return one.Name == n.Name }); i >= 0 {
		container = k.View.Page.Nodes[i].Container
	}
	sound := true
	if ready, why := insight.NodeReady(n); !ready {
		sound = false
		fix := fmt.Sprintf("docker exec %s journalctl -u kubelet --no-pager -n 50", container)
		if strings.Contains(why, "cni") || strings.Contains(why, "NetworkPluginNotReady") {
			fix = "kubectl get pods -A -o wide shows whether the network's pods run; a cluster without a network of its own waits for yours"
		}
		c.add(Problem, check, "is not ready: "+why, "no new pods are put there, and after five minutes those on it are made elsewhere", fix)
	}
	for _, one := range n.Status.Conditions {
		if one.Type != corev1.NodeReady && one.Status == corev1.ConditionTrue {
			sound = false
			c.add(Warning, check, fmt.Sprintf("%s: %s", one.Type, one.Message), "the kubelet takes no new pods, and ends some", "loam cluster doctor names what this host lacks")
		}
	}
	if n.Spec.Unschedulable {
		sound = false
		c.add(Note, check, "is cordoned", "no new pods are put there", "kubectl uncordon "+n.Name)
	}
	if sound {
		c.ok(check, "is ready")
	}
}

// pods tells of those that will not come up by themselves.
func (c *checks) pods(all []corev1.Pod) {
	const check = "pods"
	running, bad := 0, 0
	for i := range all {
		p := &all[i]
		if p.Status.Phase == corev1.PodRunning {
			running++
		}
		name := p.Namespace + "/" + p.Name
		for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
			if s.State.Waiting == nil || s.State.Waiting.Reason == "" || !slices.Contains(strings.Fields(cannotWait), s.State.Waiting.Reason) {
				continue
			}
			bad++
			fix := fmt.Sprintf("kubectl -n %s describe pod %s", p.Namespace, p.Name)
			if s.RestartCount > 0 {
				fix = fmt.Sprintf("kubectl -n %s logs %s -c %s --previous", p.Namespace, p.Name, s.Name)
			}
			c.add(Warning, check, fmt.Sprintf("%s, container %s: %s after %d restarts: %s", name, s.Name, s.State.Waiting.Reason, s.RestartCount, lastWords(s)),
				"it is tried again and again, and does not come up", fix)
		}
		for _, condition := range p.Status.Conditions {
			if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse && condition.Reason == corev1.PodReasonUnschedulable {
				bad++
				c.add(Warning, check, name+" is put on no node: "+condition.Message, "it waits for a node that takes it", fmt.Sprintf("kubectl -n %s describe pod %s", p.Namespace, p.Name))
			}
		}
	}
	if bad == 0 {
		c.ok(check, "%d of %d run, and none is in trouble", running, len(all))
	}
}

// lastWords is why a container ended the last time.
func lastWords(s corev1.ContainerStatus) string {
	if t := s.LastTerminationState.Terminated; t != nil {
		return strings.TrimSpace(fmt.Sprintf("%s with exit code %d %s", t.Reason, t.ExitCode, t.Message))
	}
	return s.State.Waiting.Message
}
