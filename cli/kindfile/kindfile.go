// Package kindfile reads a cluster file of kind (kind.x-k8s.io/v1alpha4) and
// says which Shoot it describes, so that a user of kind keeps their files. The
// command loam cluster create uses it.
//
// It must not drop anything silently: a field that is unknown, or known and not
// supported, is an error that names it.
package kindfile

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/fault"
)

// APIVersion and Kind are what a cluster file of kind starts with.
const (
	APIVersion = "kind.x-k8s.io/v1alpha4"
	Kind       = "Cluster"
)

// cluster has every field of v1alpha4. Those that are read as any are not
// supported and only named.
type cluster struct {
	APIVersion                      string          `json:"apiVersion"`
	Kind                            string          `json:"kind"`
	Name                            string          `json:"name,omitempty"`
	Nodes                           []node          `json:"nodes,omitempty"`
	Networking                      networking      `json:"networking,omitempty"`
	FeatureGates                    map[string]bool `json:"featureGates,omitempty"`
	RuntimeConfig                   any             `json:"runtimeConfig,omitempty"`
	KubeadmConfigPatches            any             `json:"kubeadmConfigPatches,omitempty"`
	KubeadmConfigPatchesJSON6902    any             `json:"kubeadmConfigPatchesJSON6902,omitempty"`
	ContainerdConfigPatches         any             `json:"containerdConfigPatches,omitempty"`
	ContainerdConfigPatchesJSON6902 any             `json:"containerdConfigPatchesJSON6902,omitempty"`
}

type node struct {
	Role                         string            `json:"role,omitempty"`
	Image                        string            `json:"image,omitempty"`
	Labels                       map[string]string `json:"labels,omitempty"`
	ExtraMounts                  any               `json:"extraMounts,omitempty"`
	ExtraPortMappings            any               `json:"extraPortMappings,omitempty"`
	KubeadmConfigPatches         any               `json:"kubeadmConfigPatches,omitempty"`
	KubeadmConfigPatchesJSON6902 any               `json:"kubeadmConfigPatchesJSON6902,omitempty"`
}

type networking struct {
	IPFamily          string `json:"ipFamily,omitempty"`
	APIServerPort     int32  `json:"apiServerPort,omitempty"`
	APIServerAddress  string `json:"apiServerAddress,omitempty"`
	PodSubnet         string `json:"podSubnet,omitempty"`
	ServiceSubnet     string `json:"serviceSubnet,omitempty"`
	DisableDefaultCNI bool   `json:"disableDefaultCNI,omitempty"`
	KubeProxyMode     string `json:"kubeProxyMode,omitempty"`
	DNSSearch         any    `json:"dnsSearch,omitempty"`
}

// Is tells whether a file claims to be one of kind's.
func Is(text []byte) bool {
	var head struct {
		APIVersion string `json:"apiVersion"`
	}
	return yaml.Unmarshal(text, &head) == nil && strings.HasPrefix(head.APIVersion, "kind.x-k8s.io/")
}

// defaultPodSubnet and defaultServiceSubnet are what kind uses when a file says
// nothing: the quick start of kind documents them.
const (
	defaultPodSubnet     = "10.244.0.0/16"
	defaultServiceSubnet = "10.96.0.0/16"
)

// Read fills a Shoot from a cluster file of kind: name, provider, networking
// and feature gates. What the file does not decide is left as it is. All
// problems come as one Invalid fault.
func Read(text []byte, shoot *gardencorev1beta1.Shoot) error {
	var c cluster
	if err := decode(text, &c); err != nil {
		return fault.New(fault.Invalid, "reading kind's cluster file: %w", err)
	}
	var problems field.ErrorList
	if c.APIVersion != APIVersion {
		problems = append(problems, field.NotSupported(field.NewPath("apiVersion"), c.APIVersion, []string{APIVersion}))
	}
	if c.Kind != Kind {
		problems = append(problems, field.NotSupported(field.NewPath("kind"), c.Kind, []string{Kind}))
	}
	for _, f := range []struct {
		name string
		set  any
	}{
		{"runtimeConfig", c.RuntimeConfig},
		{"kubeadmConfigPatches", c.KubeadmConfigPatches},
		{"kubeadmConfigPatchesJSON6902", c.KubeadmConfigPatchesJSON6902},
		{"containerdConfigPatches", c.ContainerdConfigPatches},
		{"containerdConfigPatchesJSON6902", c.ContainerdConfigPatchesJSON6902},
	} {
		problems = append(problems, unsupported(field.NewPath(f.name), f.set)...)
	}
	if len(c.FeatureGates) > 0 {
		problems = append(problems, unsupported(field.NewPath("featureGates"), c.FeatureGates)...)
	}
	problems = append(problems, c.Networking.read(shoot)...)
	problems = append(problems, readNodes(c.Nodes, shoot)...)
	if err := problems.ToAggregate(); err != nil {
		return fault.New(fault.Invalid, "kind's cluster file: %w", err)
	}
	if c.Name != "" {
		shoot.Name = c.Name
	}
	return nil
}

// decode reads YAML strictly and names every unknown field with its path.
func decode(text []byte, into *cluster) error {
	converted, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return err
	}
	unknown, err := json.UnmarshalStrict(converted, into)
	return errors.Join(append(unknown, err)...)
}

func unsupported(path *field.Path, value any) field.ErrorList {
	if value == nil {
		return nil
	}
	return field.ErrorList{field.Forbidden(path, "this field of kind's is not supported yet")}
}

func (n networking) read(shoot *gardencorev1beta1.Shoot) field.ErrorList {
	path := field.NewPath("networking")
	var problems field.ErrorList
	if n.IPFamily != "" && n.IPFamily != "ipv4" {
		problems = append(problems, field.NotSupported(path.Child("ipFamily"), n.IPFamily, []string{"ipv4"}))
	}
	if n.APIServerPort != 0 {
		problems = append(problems, unsupported(path.Child("apiServerPort"), n.APIServerPort)...)
	}
	if n.APIServerAddress != "" && n.APIServerAddress != "127.0.0.1" {
		problems = append(problems, field.NotSupported(path.Child("apiServerAddress"), n.APIServerAddress, []string{"127.0.0.1"}))
	}
	problems = append(problems, unsupported(path.Child("dnsSearch"), n.DNSSearch)...)
	if shoot.Spec.Networking == nil {
		shoot.Spec.Networking = &gardencorev1beta1.Networking{}
	}
	to := shoot.Spec.Networking
	to.Pods, to.Services = ptr.To(defaultPodSubnet), ptr.To(defaultServiceSubnet)
	if n.PodSubnet != "" {
		to.Pods = ptr.To(n.PodSubnet)
	}
	if n.ServiceSubnet != "" {
		to.Services = ptr.To(n.ServiceSubnet)
	}
	if n.DisableDefaultCNI {
		to.Type = ptr.To("none")
	}
	switch n.KubeProxyMode {
	case "":
	case "iptables":
		shoot.Spec.Kubernetes.KubeProxy = &gardencorev1beta1.KubeProxyConfig{Mode: ptr.To(gardencorev1beta1.ProxyModeIPTables)}
	case "nftables":
		shoot.Spec.Kubernetes.KubeProxy = &gardencorev1beta1.KubeProxyConfig{Mode: ptr.To(gardencorev1beta1.ProxyModeNFTables)}
	default:
		problems = append(problems, field.NotSupported(path.Child("kubeProxyMode"), n.KubeProxyMode, []string{"iptables", "nftables"}))
	}
	return problems
}

const (
	roleControlPlane = "control-plane"
	roleWorker       = "worker"
)

// readNodes makes a pool of each run of nodes that are alike.
func readNodes(nodes []node, shoot *gardencorev1beta1.Shoot) field.ErrorList {
	if len(nodes) == 0 {
		nodes = []node{{Role: roleControlPlane}}
	}
	var problems field.ErrorList
	var workers []gardencorev1beta1.Worker
	controlPlanes := 0
	for i, n := range nodes {
		path := field.NewPath("nodes").Index(i)
		problems = append(problems, n.unsupported(path)...)
		switch n.Role {
		case roleControlPlane, "":
			controlPlanes++
			if controlPlanes > 1 {
				problems = append(problems, field.Forbidden(path.Child("role"), "more than one control plane is not supported yet"))
				continue
			}
			w := pool(roleControlPlane, n.Labels)
			w.ControlPlane = &gardencorev1beta1.WorkerControlPlane{}
			workers = append(workers, w)
		case roleWorker:
			workers = addWorker(workers, n)
		default:
			problems = append(problems, field.NotSupported(path.Child("role"), n.Role, []string{roleControlPlane, roleWorker}))
		}
	}
	if controlPlanes == 0 {
		problems = append(problems, field.Required(field.NewPath("nodes"), "one node has to be of role control-plane"))
	}
	shoot.Spec.Provider.Workers = workers
	return problems
}

func (n node) unsupported(path *field.Path) field.ErrorList {
	var problems field.ErrorList
	if n.Image != "" {
		problems = append(problems, field.Forbidden(path.Child("image"), "not supported yet: choose with --kubernetes-version"))
	}
	problems = append(problems, unsupported(path.Child("extraMounts"), n.ExtraMounts)...)
	problems = append(problems, unsupported(path.Child("extraPortMappings"), n.ExtraPortMappings)...)
	problems = append(problems, unsupported(path.Child("kubeadmConfigPatches"), n.KubeadmConfigPatches)...)
	return append(problems, unsupported(path.Child("kubeadmConfigPatchesJSON6902"), n.KubeadmConfigPatchesJSON6902)...)
}

func addWorker(workers []gardencorev1beta1.Worker, n node) []gardencorev1beta1.Worker {
	pools := 0
	for i := range workers {
		w := &workers[i]
		if w.ControlPlane != nil {
			continue
		}
		pools++
		if maps.Equal(w.Labels, n.Labels) {
			w.Minimum++
			w.Maximum++
			return workers
		}
	}
	name := roleWorker
	if pools > 0 {
		name = fmt.Sprintf("%s%d", roleWorker, pools+1)
	}
	return append(workers, pool(name, n.Labels))
}

func pool(name string, labels map[string]string) gardencorev1beta1.Worker {
	return gardencorev1beta1.Worker{Name: name, Minimum: 1, Maximum: 1, Labels: labels, Machine: gardencorev1beta1.Machine{Type: "local"}}
}
