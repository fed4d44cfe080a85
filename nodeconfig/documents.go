package nodeconfig

import (
	"bytes"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/nodeconfig/patching"
)

// The documents below hold those fields of Kubernetes' own types that Loam
// sets: kubeadm.k8s.io/v1beta4, kubelet.config.k8s.io/v1beta1 and
// kubeproxy.config.k8s.io/v1alpha1. The original types write a zero for each
// field that is not set, which a node of another version may not know. A test
// reads what is rendered into the original types, strictly.

const (
	kubeadmGroup   = patching.KubeadmGroup
	kubeletGroup   = patching.KubeletGroup
	kubeProxyGroup = patching.KubeProxyGroup
)

type typeMeta struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
}

type initConfiguration struct {
	typeMeta         `json:",inline"`
	BootstrapTokens  []bootstrapToken `json:"bootstrapTokens"`
	LocalAPIEndpoint apiEndpoint      `json:"localAPIEndpoint"`
	NodeRegistration nodeRegistration `json:"nodeRegistration"`
	Patches          patches          `json:"patches"`
}

type joinConfiguration struct {
	typeMeta         `json:",inline"`
	Discovery        discovery         `json:"discovery"`
	ControlPlane     *joinControlPlane `json:"controlPlane,omitempty"`
	NodeRegistration nodeRegistration  `json:"nodeRegistration"`
	Patches          patches           `json:"patches"`
}

type bootstrapToken struct {
	Token string `json:"token"`
	TTL   string `json:"ttl"`
}

type apiEndpoint struct {
	AdvertiseAddress string `json:"advertiseAddress"`
	BindPort         int    `json:"bindPort"`
}

type joinControlPlane struct {
	LocalAPIEndpoint apiEndpoint `json:"localAPIEndpoint"`
}

type discovery struct {
	File              fileDiscovery `json:"file"`
	TLSBootstrapToken string        `json:"tlsBootstrapToken"`
}

type fileDiscovery struct {
	KubeConfigPath string `json:"kubeConfigPath"`
}

type nodeRegistration struct {
	Name             string            `json:"name"`
	CRISocket        string            `json:"criSocket"`
	ImagePullPolicy  corev1.PullPolicy `json:"imagePullPolicy"`
	KubeletExtraArgs []arg             `json:"kubeletExtraArgs"`
	// Taints are never left out: an empty list means none, a missing one means
	// kubeadm's own.
	Taints []corev1.Taint `json:"taints"`
}

type arg struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type patches struct {
	Directory string `json:"directory"`
}

type clusterConfiguration struct {
	typeMeta             `json:",inline"`
	ClusterName          string     `json:"clusterName"`
	KubernetesVersion    string     `json:"kubernetesVersion"`
	ControlPlaneEndpoint string     `json:"controlPlaneEndpoint"`
	EncryptionAlgorithm  string     `json:"encryptionAlgorithm"`
	Networking           networking `json:"networking"`
	APIServer            apiServer  `json:"apiServer"`
	ControllerManager    component  `json:"controllerManager"`
	Scheduler            component  `json:"scheduler"`
	Proxy                *addon     `json:"proxy,omitempty"`
}

type addon struct {
	Disabled bool `json:"disabled"`
}

type networking struct {
	DNSDomain     string `json:"dnsDomain"`
	PodSubnet     string `json:"podSubnet"`
	ServiceSubnet string `json:"serviceSubnet"`
}

type apiServer struct {
	CertSANs  []string `json:"certSANs,omitempty"`
	ExtraArgs []arg    `json:"extraArgs,omitempty"`
}

type component struct {
	ExtraArgs []arg `json:"extraArgs,omitempty"`
}

type kubeletConfiguration struct {
	typeMeta       `json:",inline"`
	Authentication kubeletAuthentication `json:"authentication"`
	Authorization  kubeletAuthorization  `json:"authorization"`
	FeatureGates   map[string]bool       `json:"featureGates,omitempty"`
}

type kubeletAuthentication struct {
	Anonymous enabled     `json:"anonymous"`
	Webhook   enabled     `json:"webhook"`
	X509      kubeletX509 `json:"x509"`
}

type enabled struct {
	Enabled bool `json:"enabled"`
}

type kubeletX509 struct {
	ClientCAFile string `json:"clientCAFile"`
}

type kubeletAuthorization struct {
	Mode string `json:"mode"`
}

type kubeProxyConfiguration struct {
	typeMeta     `json:",inline"`
	FeatureGates map[string]bool `json:"featureGates,omitempty"`
	Mode         string          `json:"mode,omitempty"`
	Conntrack    *conntrack      `json:"conntrack,omitempty"`
}

type conntrack struct {
	MaxPerCore            int32  `json:"maxPerCore"`
	TCPCloseWaitTimeout   string `json:"tcpCloseWaitTimeout"`
	TCPEstablishedTimeout string `json:"tcpEstablishedTimeout"`
}

// kubeconfig is a client configuration of one cluster and a user without
// credentials.
type kubeconfig struct {
	typeMeta       `json:",inline"`
	Clusters       []namedCluster `json:"clusters"`
	Contexts       []namedContext `json:"contexts"`
	CurrentContext string         `json:"current-context"`
	Users          []namedUser    `json:"users"`
}

type namedCluster struct {
	Name    string            `json:"name"`
	Cluster kubeconfigCluster `json:"cluster"`
}

type kubeconfigCluster struct {
	Server                   string `json:"server"`
	CertificateAuthorityData []byte `json:"certificate-authority-data"`
}

type namedContext struct {
	Name    string            `json:"name"`
	Context kubeconfigContext `json:"context"`
}

type kubeconfigContext struct {
	Cluster string `json:"cluster"`
	User    string `json:"user"`
}

type namedUser struct {
	Name string   `json:"name"`
	User struct{} `json:"user"`
}

// render writes documents as one YAML file, with keys in order.
func render(documents ...any) ([]byte, error) {
	var file bytes.Buffer
	for i, document := range documents {
		if i > 0 {
			file.WriteString("---\n")
		}
		text, err := yaml.Marshal(document)
		if err != nil {
			return nil, fmt.Errorf("writing %T: %w", document, err)
		}
		file.Write(text)
	}
	return file.Bytes(), nil
}
