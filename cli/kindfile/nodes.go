package kindfile

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/nodeconfig/provider"
)

const (
	roleControlPlane = "control-plane"
	roleWorker       = "worker"
)

// readNodes makes a pool of all workers that are alike.
func readNodes(nodes []node, folder, family string, shoot *gardencorev1beta1.Shoot) field.ErrorList {
	if len(nodes) == 0 {
		nodes = []node{{Role: roleControlPlane}}
	}
	r := reader{folder: folder, everywhere: "0.0.0.0", taken: map[string]string{}}
	if family == FamilyIPv6 {
		// What comes in by IPv4 would go to nodes by IPv4.
		r.everywhere = "::"
	}
	var workers []gardencorev1beta1.Worker
	for i, n := range nodes {
		path := field.NewPath("nodes").Index(i)
		w := r.worker(n, path)
		switch n.Role {
		case roleControlPlane, "":
			w.Name, w.ControlPlane = roleControlPlane, &gardencorev1beta1.WorkerControlPlane{}
			workers = r.addControlPlane(workers, w, path)
		case roleWorker:
			workers = addWorker(workers, w)
		default:
			r.problems = append(r.problems, field.NotSupported(path.Child("role"), n.Role, []string{roleControlPlane, roleWorker}))
		}
	}
	switch i := slices.IndexFunc(workers, holdsControlPlane); {
	case i < 0:
		r.problems = append(r.problems, field.Required(field.NewPath("nodes"), "one node has to be of role control-plane"))
	case workers[i].Minimum%2 == 0:
		r.problems = append(r.problems, field.Invalid(field.NewPath("nodes"), workers[i].Minimum, "an odd number of nodes has to be of role control-plane, so that a majority can be told"))
	}
	if r.version != "" && shoot.Spec.Kubernetes.Version == "" {
		shoot.Spec.Kubernetes.Version = r.version
	}
	shoot.Spec.Provider.Workers = workers
	return r.problems
}

// reader reads nodes one after the other.
type reader struct {
	folder string
	// everywhere is all addresses of the host.
	everywhere string
	// taken has the ports of the host that nodes before have, and where that is
	// said.
	taken map[string]string
	// version is the one that the images are of.
	version  string
	problems field.ErrorList
}

func (r *reader) worker(n node, path *field.Path) gardencorev1beta1.Worker {
	w := gardencorev1beta1.Worker{Minimum: 1, Maximum: 1, Labels: n.Labels, Machine: gardencorev1beta1.Machine{Type: "local"}}
	r.image(n.Image, path.Child("image"))
	config := v1alpha1.WorkerConfig{Image: n.Image, KubeadmPatches: n.KubeadmPatches}
	for _, m := range n.ExtraMounts {
		host := m.HostPath
		if host != "" && !filepath.IsAbs(host) {
			host = filepath.Join(r.folder, host)
		}
		config.ExtraMounts = append(config.ExtraMounts, v1alpha1.Mount{
			HostPath: host, ContainerPath: m.ContainerPath, ReadOnly: m.ReadOnly, SELinuxRelabel: m.SelinuxRelabel, Propagation: m.Propagation,
		})
	}
	for _, p := range n.ExtraPortMappings {
		config.ExtraPortMappings = append(config.ExtraPortMappings, p.converted(r.everywhere))
	}
	if equality.Semantic.DeepEqual(config, v1alpha1.WorkerConfig{}) {
		return w
	}
	config.APIVersion, config.Kind = v1alpha1.SchemeGroupVersion.String(), provider.KindWorkerConfig
	raw, problems := extension(config)
	if problems == nil {
		at := field.NewPath("config")
		_, problems = provider.Worker(raw, 1, at)
		problems = raised(problems, at.String(), path.String())
		if len(problems) == 0 {
			r.take(config.ExtraPortMappings, path.Child("extraPortMappings"))
		}
	}
	r.problems = append(r.problems, problems...)
	w.ProviderConfig = raw
	return w
}

// converted has kind's defaults: without an address a port is published on all
// of the host's, and both 0 and -1 stand for a free port.
func (p portMapping) converted(everywhere string) v1alpha1.PortMapping {
	m := v1alpha1.PortMapping(p)
	if m.ListenAddress == "" {
		m.ListenAddress = everywhere
	}
	if m.HostPort == -1 {
		m.HostPort = 0
	}
	return m
}

// take gives ports of the host to a node, and says which other has them.
func (r *reader) take(mappings []v1alpha1.PortMapping, path *field.Path) {
	ports, _ := provider.Ports(mappings, path) // they were looked at
	for _, p := range ports {
		if p.Host == 0 {
			continue
		}
		key := fmt.Sprintf("%s:%d/%s", p.Address, p.Host, p.Protocol)
		if other, twice := r.taken[key]; twice {
			r.problems = append(r.problems, field.Invalid(p.Path, p.Host, other+" has this port of the host"))
			continue
		}
		r.taken[key] = p.Path.String()
	}
}

// image learns of which version a node image is, if its tag says so.
func (r *reader) image(image string, path *field.Path) {
	name, _, _ := strings.Cut(image, "@")
	_, tag, _ := strings.Cut(name[strings.LastIndex(name, "/")+1:], ":")
	version, isVersion := strings.CutPrefix(tag, "v")
	if !isVersion || strings.Count(version, ".") != 2 {
		return
	}
	if r.version != "" && r.version != version {
		r.problems = append(r.problems, field.Invalid(path, image, "the nodes of a cluster have one version, and others have "+r.version))
	}
	r.version = version
}

func holdsControlPlane(w gardencorev1beta1.Worker) bool { return w.ControlPlane != nil }

// alike tells whether nodes can be of one pool.
func alike(a, b gardencorev1beta1.Worker) bool {
	return equality.Semantic.DeepEqual(a.Labels, b.Labels) && equality.Semantic.DeepEqual(a.ProviderConfig, b.ProviderConfig)
}

// addControlPlane makes the pool of the control plane one larger. All its machines
// are alike.
func (r *reader) addControlPlane(workers []gardencorev1beta1.Worker, w gardencorev1beta1.Worker, path *field.Path) []gardencorev1beta1.Worker {
	i := slices.IndexFunc(workers, holdsControlPlane)
	if i < 0 {
		return append(workers, w)
	}
	pool := &workers[i]
	if !alike(*pool, w) {
		r.problems = append(r.problems, field.Forbidden(path, "nodes of role control-plane have to be alike"))
	}
	pool.Minimum++
	pool.Maximum++
	return workers
}

// addWorker puts a worker into the pool of its like.
func addWorker(workers []gardencorev1beta1.Worker, w gardencorev1beta1.Worker) []gardencorev1beta1.Worker {
	pools := 0
	for i := range workers {
		pool := &workers[i]
		if holdsControlPlane(*pool) {
			continue
		}
		pools++
		if alike(*pool, w) {
			pool.Minimum++
			pool.Maximum++
			return workers
		}
	}
	w.Name = roleWorker
	if pools > 0 {
		w.Name = fmt.Sprintf("%s%d", roleWorker, pools+1)
	}
	return append(workers, w)
}
