// Package kindfile reads a cluster file of kind (kind.x-k8s.io/v1alpha4) and
// says which Shoot it describes, so that a user of kind keeps their files. The
// command loam cluster create uses it.
//
// It must not drop anything silently: a field that is unknown, or known and not
// possible, is an error that names it.
package kindfile

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/fault"
)

// APIVersion and Kind are what a cluster file of kind starts with.
const (
	APIVersion = "kind.x-k8s.io/v1alpha4"
	Kind       = "Cluster"
)

// cluster has every field of v1alpha4.
type cluster struct {
	APIVersion    string            `json:"apiVersion"`
	Kind          string            `json:"kind"`
	Name          string            `json:"name,omitempty"`
	Nodes         []node            `json:"nodes,omitempty"`
	Networking    networking        `json:"networking,omitempty"`
	FeatureGates  map[string]bool   `json:"featureGates,omitempty"`
	RuntimeConfig map[string]string `json:"runtimeConfig,omitempty"`

	v1alpha1.KubeadmPatches         `json:",inline"`
	ContainerdConfigPatches         []string `json:"containerdConfigPatches,omitempty"`
	ContainerdConfigPatchesJSON6902 []string `json:"containerdConfigPatchesJSON6902,omitempty"`
}

type node struct {
	Role              string            `json:"role,omitempty"`
	Image             string            `json:"image,omitempty"`
	Labels            map[string]string `json:"labels,omitempty"`
	ExtraMounts       []mount           `json:"extraMounts,omitempty"`
	ExtraPortMappings []portMapping     `json:"extraPortMappings,omitempty"`

	v1alpha1.KubeadmPatches `json:",inline"`
}

// mount differs from Loam's in how one word is written.
type mount struct {
	HostPath       string `json:"hostPath,omitempty"`
	ContainerPath  string `json:"containerPath,omitempty"`
	ReadOnly       bool   `json:"readOnly,omitempty"`
	SelinuxRelabel bool   `json:"selinuxRelabel,omitempty"`
	Propagation    string `json:"propagation,omitempty"`
}

// portMapping has two fields more than kind's: ranges.
type portMapping struct {
	ContainerPort      int32  `json:"containerPort,omitempty"`
	HostPort           int32  `json:"hostPort,omitempty"`
	ContainerPortRange string `json:"containerPortRange,omitempty"`
	HostPortRange      string `json:"hostPortRange,omitempty"`
	ListenAddress      string `json:"listenAddress,omitempty"`
	Protocol           string `json:"protocol,omitempty"`
}

type networking struct {
	IPFamily          string    `json:"ipFamily,omitempty"`
	APIServerPort     int32     `json:"apiServerPort,omitempty"`
	APIServerAddress  string    `json:"apiServerAddress,omitempty"`
	PodSubnet         string    `json:"podSubnet,omitempty"`
	ServiceSubnet     string    `json:"serviceSubnet,omitempty"`
	DisableDefaultCNI bool      `json:"disableDefaultCNI,omitempty"`
	KubeProxyMode     string    `json:"kubeProxyMode,omitempty"`
	DNSSearch         *[]string `json:"dnsSearch,omitempty"`
}

// Is tells whether a file claims to be one of kind's.
func Is(text []byte) bool {
	var head struct {
		APIVersion string `json:"apiVersion"`
	}
	return yaml.Unmarshal(text, &head) == nil && strings.HasPrefix(head.APIVersion, "kind.x-k8s.io/")
}

// Read fills a Shoot from a cluster file of kind. Host paths that are relative
// begin at the folder. What the file does not decide is left as it is. All
// problems come as one Invalid fault.
func Read(text []byte, folder string, shoot *gardencorev1beta1.Shoot) error {
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
	ranges, wrong := c.Networking.read(shoot)
	problems = append(problems, wrong...)
	problems = append(problems, c.components(shoot)...)
	problems = append(problems, c.controlPlaneConfig(shoot, ranges)...)
	problems = append(problems, readNodes(c.Nodes, folder, c.Networking.IPFamily, shoot)...)
	if len(problems) > 0 {
		slices.SortStableFunc(problems, func(a, b *field.Error) int { return strings.Compare(a.Field, b.Field) })
		return fault.New(fault.Invalid, "kind's cluster file: %w", problems.ToAggregate())
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

// components gives feature gates to all of Kubernetes' programs, as kind does.
func (c cluster) components(shoot *gardencorev1beta1.Shoot) field.ErrorList {
	k := &shoot.Spec.Kubernetes
	if len(c.FeatureGates) > 0 {
		gates := gardencorev1beta1.KubernetesConfig{FeatureGates: c.FeatureGates}
		k.KubeAPIServer = &gardencorev1beta1.KubeAPIServerConfig{KubernetesConfig: gates}
		k.KubeControllerManager = &gardencorev1beta1.KubeControllerManagerConfig{KubernetesConfig: gates}
		k.KubeScheduler = &gardencorev1beta1.KubeSchedulerConfig{KubernetesConfig: gates}
		k.Kubelet = &gardencorev1beta1.KubeletConfig{KubernetesConfig: gates}
		if k.KubeProxy == nil {
			k.KubeProxy = &gardencorev1beta1.KubeProxyConfig{}
		}
		k.KubeProxy.KubernetesConfig = gates
	}
	var problems field.ErrorList
	for _, name := range sorted(c.RuntimeConfig) {
		value := c.RuntimeConfig[name]
		if value != "true" && value != "false" {
			problems = append(problems, field.NotSupported(field.NewPath("runtimeConfig").Key(name), value, []string{"true", "false"}))
			continue
		}
		if k.KubeAPIServer == nil {
			k.KubeAPIServer = &gardencorev1beta1.KubeAPIServerConfig{}
		}
		if k.KubeAPIServer.RuntimeConfig == nil {
			k.KubeAPIServer.RuntimeConfig = map[string]bool{}
		}
		k.KubeAPIServer.RuntimeConfig[name] = value == "true"
	}
	return problems
}

func sorted(m map[string]string) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// raised puts the problems that a part of a Shoot has where they are in the file.
func raised(problems field.ErrorList, from, to string) field.ErrorList {
	for _, p := range problems {
		p.Field = strings.TrimPrefix(strings.TrimPrefix(p.Field, from), ".")
		if to != "" {
			p.Field = fmt.Sprintf("%s.%s", to, p.Field)
		}
	}
	return problems
}
