package insight

import (
	"path"
	"slices"
	"strings"
	"time"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/machines"
	"github.com/loam-cloud/loam/nodeconfig"
	"github.com/loam-cloud/loam/shoots"
)

// node puts together what was seen of one machine.
func (v *View) node(m machines.Description, found *inside, sizes map[string]int64) Node {
	n := Node{
		Name: m.Hostname, Machine: m.Name, Role: m.Labels[shoots.LabelRole], Pool: m.Labels[shoots.LabelPool],
		Container: m.ProviderName, ContainerID: m.ID, Image: m.Image, ImageID: m.ImageID,
		State: m.Condition, Started: moment(m.Started), Stopped: moment(m.Stopped),
		OutOfMemory: m.OutOfMemory, Restarts: m.Restarts, CPUs: m.CPUs, MemoryBytes: m.MemoryBytes,
		Kubernetes: v.Objects.node(m.Hostname), Certificates: found.certificates, Addresses: []string{}, Disks: []Disk{},
	}
	if m.State == machines.StateRunning {
		n.Stopped = nil
	} else {
		n.ExitCode = m.ExitCode
	}
	for _, a := range m.Addresses {
		n.Addresses = append(n.Addresses, a.String())
	}
	for _, d := range m.Disks {
		disk := Disk{Path: d.MachinePath, Volume: d.Name, HostPath: d.HostPath}
		if size, known := sizes[d.Name]; known {
			disk.Bytes = &size
		}
		n.Disks = append(n.Disks, disk)
	}
	slices.SortFunc(n.Disks, func(a, b Disk) int { return strings.Compare(a.Path, b.Path) })
	for _, one := range m.Mounts {
		n.Mounts = append(n.Mounts, Mount{Path: one.MachinePath, HostPath: one.HostPath, ReadOnly: one.ReadOnly})
	}
	if found.probe != nil {
		n.Processes = found.probe.list(found.static, v.Objects.staticPods(m.Hostname))
	}
	n.Files = locations(n, found)
	return n
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// place is where nodes have something that people look for.
type place struct {
	what, path string
	// role is of those that have it; empty means all nodes.
	role v1alpha1.MachineRole
}

// places are those of kubeadm, the kubelet and Loam's node image.
func places() []place {
	return []place{
		{"load balancer's configuration", nodeconfig.BalancerPath, v1alpha1.RoleBalancer},
		{"static pod manifests", manifestsFolder, v1alpha1.RoleControlPlane},
		{"certificates and keys", kubernetesFolder + "/pki", ""},
		{"kubelet's certificates", kubeletFolder, ""},
		{"kubelet's configuration", "/var/lib/kubelet/config.yaml", ""},
		{"kubelet's flags", "/var/lib/kubelet/kubeadm-flags.env", ""},
		{"containerd's configuration", "/etc/containerd/config.toml", ""},
		{"network configuration", "/etc/cni/net.d", ""},
		{"etcd's data", "/var/lib/etcd", v1alpha1.RoleControlPlane},
		{"containers and images", "/var/lib/containerd", ""},
		{"logs of pods", "/var/log/pods", ""},
		{"logs of kubeadm", "/var/log/loam", ""},
		{"journal, by journalctl", "/run/log/journal", ""},
		{"journal, by journalctl", "/var/log/journal", ""},
	}
}

func paths() []string {
	var all []string
	for _, p := range places() {
		all = append(all, p.path)
	}
	return all
}

// locations are the places of a node. Of one that is off all are listed that it
// may have; what lies in memory is gone.
func locations(n Node, found *inside) []Location {
	all := []Location{}
	add := func(what, file string) {
		all = append(all, Location{What: what, Path: file, HostPath: n.onHost(file)})
	}
	slices.Sort(found.kubeconfigs)
	for _, file := range found.kubeconfigs {
		add("kubeconfig", file)
	}
	for _, p := range places() {
		switch {
		case p.role != "" && n.Role != string(p.role), p.role == "" && n.Role == balancer:
		case found.probe != nil && !slices.Contains(found.probe.paths, p.path):
		case found.probe == nil && strings.HasPrefix(p.path, "/run/"):
		default:
			add(p.what, p.path)
		}
	}
	return all
}

// onHost is where the host has a file that lies on a disk or mount of the node;
// empty when it lies on neither.
func (n Node) onHost(file string) string {
	best, at := "", ""
	consider := func(inside, outside string) {
		if (file == inside || strings.HasPrefix(file, inside+"/")) && len(inside) > len(best) {
			best, at = inside, outside
		}
	}
	for _, d := range n.Disks {
		consider(d.Path, d.HostPath)
	}
	for _, m := range n.Mounts {
		consider(m.Path, m.HostPath)
	}
	if best == "" {
		return ""
	}
	return path.Join(at, strings.TrimPrefix(file, best))
}
