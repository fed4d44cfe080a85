package kindfile

import (
	"encoding/json"
	"strings"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/nodeconfig/provider"
)

// defaultPodSubnet and defaultServiceSubnet are what kind uses for IPv4 when a file
// says nothing: the quick start of kind documents them.
const (
	defaultPodSubnet     = "10.244.0.0/16"
	defaultServiceSubnet = "10.96.0.0/16"
)

// read returns the ranges for which a Shoot has no word.
func (n networking) read(shoot *gardencorev1beta1.Shoot) (*v1alpha1.Ranges, field.ErrorList) {
	path := field.NewPath("networking")
	if shoot.Spec.Networking == nil {
		shoot.Spec.Networking = &gardencorev1beta1.Networking{}
	}
	to := shoot.Spec.Networking
	ranges, problems := n.families(to)
	if n.DisableDefaultCNI {
		to.Type = ptr.To("none")
	}
	mode := func(m gardencorev1beta1.ProxyMode) {
		shoot.Spec.Kubernetes.KubeProxy = &gardencorev1beta1.KubeProxyConfig{Mode: &m}
	}
	switch n.KubeProxyMode {
	case "":
	case "iptables":
		mode(gardencorev1beta1.ProxyModeIPTables)
	case "nftables":
		mode(gardencorev1beta1.ProxyModeNFTables)
	case "ipvs":
		mode(gardencorev1beta1.ProxyModeIPVS)
	case "none":
		shoot.Spec.Kubernetes.KubeProxy = &gardencorev1beta1.KubeProxyConfig{Enabled: ptr.To(false)}
	default:
		problems = append(problems, field.NotSupported(path.Child("kubeProxyMode"), n.KubeProxyMode, []string{"iptables", "nftables", "ipvs", "none"}))
	}
	return ranges, problems
}

// controlPlaneConfig is what a Shoot has no word for and all nodes share.
func (c cluster) controlPlaneConfig(shoot *gardencorev1beta1.Shoot, ranges *v1alpha1.Ranges) field.ErrorList {
	config := v1alpha1.ControlPlaneConfig{
		IPv6: ranges, DNSSearch: c.Networking.DNSSearch, KubeadmPatches: c.KubeadmPatches,
		ContainerdConfigPatches: c.ContainerdConfigPatches, ContainerdConfigPatchesJSON6902: c.ContainerdConfigPatchesJSON6902,
	}
	if n := c.Networking; n.APIServerAddress != "" || n.APIServerPort != 0 {
		// kind takes -1 for a port that the container engine picks.
		config.APIServer = &v1alpha1.Listener{Address: n.APIServerAddress, Port: max(n.APIServerPort, 0)}
	}
	if equality.Semantic.DeepEqual(config, v1alpha1.ControlPlaneConfig{}) {
		return nil
	}
	config.APIVersion, config.Kind = v1alpha1.SchemeGroupVersion.String(), provider.KindControlPlaneConfig
	raw, problems := extension(config)
	if problems == nil {
		at := field.NewPath("config")
		_, problems = provider.ControlPlane(raw, at)
		problems = raised(problems, at.String(), "")
	}
	for _, p := range problems {
		p.Field = strings.NewReplacer("apiServer.address", "networking.apiServerAddress", "apiServer.port", "networking.apiServerPort", "dnsSearch", "networking.dnsSearch").Replace(p.Field)
	}
	shoot.Spec.Provider.ControlPlaneConfig = raw
	return problems
}

func extension(config any) (*runtime.RawExtension, field.ErrorList) {
	text, err := json.Marshal(config)
	if err != nil {
		return nil, field.ErrorList{field.InternalError(nil, err)}
	}
	return &runtime.RawExtension{Raw: text}, nil
}
