package nodeconfig

import (
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/nodeconfig/profile"
)

const (
	criSocket  = "unix:///run/containerd/containerd.sock"
	clientCA   = "/etc/kubernetes/pki/ca.crt"
	defaultDNS = "cluster.local"
	// apiServerPort is where each API server listens, kubeadm's default; the port
	// of the cluster's endpoint may be that of a balancer.
	apiServerPort = 6443
	// etcdPeerPort is where the members of etcd listen for each other, kubeadm's.
	etcdPeerPort = 2380
	// initTokenTTL is how long the token of kubeadm init lives. Nodes join with
	// tokens of their own; without one, kubeadm would make one for a day.
	initTokenTTL = "15m0s"
	// requests is how many a second the controller manager and the scheduler may
	// make. Their defaults, 20 and 50, are what the start of a cluster waits for.
	requests = "1000"
	// Modes of the files: the first holds a token.
	private fs.FileMode = 0o600
	public  fs.FileMode = 0o644
	program fs.FileMode = 0o755
)

// InitFiles renders what makes a control-plane node of a new cluster: the files lie in the machine before its first boot, and at that boot kubeadm makes
// all others from them before the kubelet starts. What kubeadm does to a running
// API server is left to the flow. The error names every field that is wrong.
func InitFiles(c Cluster, n Node, bootstrapToken string) ([]File, error) {
	problems := append(validateCluster(c), validateNode(n, c)...)
	problems = append(problems, validateToken("bootstrapToken", bootstrapToken)...)
	if n.Role == v1alpha1.RoleWorker {
		problems = append(problems, invalidRole(n.Role))
	}
	if len(problems) > 0 {
		return nil, problems.ToAggregate()
	}
	settings, err := resolve(c, n)
	if err != nil {
		return nil, err
	}
	config, err := renderPatched(c, n, initDocument(n, bootstrapToken), clusterDocument(c, settings.ControlPlane), kubeletDocument(c), kubeProxyDocument(c, n))
	if err != nil {
		return nil, err
	}
	patches, err := patchFiles(c, n, settings)
	if err != nil {
		return nil, err
	}
	if len(c.ControlPlanes) > 1 {
		etcd, err := render(etcdPatch(c.ControlPlanes))
		if err != nil {
			return nil, err
		}
		patches = append(patches, File{Path: PatchesPath + "/etcd+json.yaml", Content: etcd, Mode: public})
	}
	return slices.Concat([]File{{Path: KubeadmConfigPath, Content: config, Mode: private}}, patches, bootstrapFiles(n, len(c.ControlPlanes) == 1)), nil
}

// JoinFiles renders what kubeadm join needs on a further node of a cluster. The
// error names every field that is wrong.
func JoinFiles(c Cluster, n Node, j Join) ([]File, error) {
	problems := append(validateCluster(c), validateNode(n, c)...)
	problems = append(problems, validateJoin(j)...)
	if len(problems) > 0 {
		return nil, problems.ToAggregate()
	}
	config, err := renderPatched(c, n, joinDocument(n, j))
	if err != nil {
		return nil, err
	}
	discovery, err := render(discoveryDocument(c, j))
	if err != nil {
		return nil, err
	}
	settings, err := resolve(c, n)
	if err != nil {
		return nil, err
	}
	patches, err := patchFiles(c, n, settings)
	if err != nil {
		return nil, err
	}
	return append([]File{
		{Path: KubeadmConfigPath, Content: config, Mode: private},
		{Path: DiscoveryPath, Content: discovery, Mode: private},
	}, patches...), nil
}

func initDocument(n Node, token string) initConfiguration {
	return initConfiguration{
		typeMeta:         typeMeta{kubeadmGroup, "InitConfiguration"},
		BootstrapTokens:  []bootstrapToken{{Token: token, TTL: initTokenTTL}},
		LocalAPIEndpoint: localAPIEndpoint(n),
		NodeRegistration: registration(n),
		Patches:          patches{Directory: PatchesPath},
	}
}

func joinDocument(n Node, j Join) joinConfiguration {
	document := joinConfiguration{
		typeMeta:         typeMeta{kubeadmGroup, "JoinConfiguration"},
		Discovery:        discovery{File: fileDiscovery{KubeConfigPath: DiscoveryPath}, TLSBootstrapToken: j.Token},
		NodeRegistration: registration(n),
		Patches:          patches{Directory: PatchesPath},
	}
	if n.Role == v1alpha1.RoleControlPlane {
		document.ControlPlane = &joinControlPlane{LocalAPIEndpoint: localAPIEndpoint(n)}
	}
	return document
}

func localAPIEndpoint(n Node) apiEndpoint {
	return apiEndpoint{AdvertiseAddress: n.Address.String(), BindPort: apiServerPort}
}

func registration(n Node) nodeRegistration {
	var labels []string
	for _, key := range slices.Sorted(maps.Keys(n.Labels)) {
		labels = append(labels, key+"="+n.Labels[key])
	}
	args := []arg{{"node-ip", n.addresses()}}
	if len(labels) > 0 {
		args = append(args, arg{"node-labels", strings.Join(labels, ",")})
	}
	return nodeRegistration{
		Name: n.Name, CRISocket: criSocket, ImagePullPolicy: corev1.PullIfNotPresent,
		KubeletExtraArgs: args, Taints: append([]corev1.Taint{}, n.Taints...),
	}
}

func clusterDocument(c Cluster, flags *v1alpha1.ControlPlaneArgs) clusterConfiguration {
	if flags == nil {
		flags = &v1alpha1.ControlPlaneArgs{}
	}
	domain := c.DNSDomain
	if domain == "" {
		domain = defaultDNS
	}
	args := []arg{{"kube-api-burst", requests}, {"kube-api-qps", requests}}
	if len(c.ControlPlanes) == 1 {
		args = append(args, arg{"leader-elect", "false"})
	}
	return clusterConfiguration{
		typeMeta:             typeMeta{kubeadmGroup, "ClusterConfiguration"},
		ClusterName:          c.Name,
		KubernetesVersion:    c.KubernetesVersion,
		ControlPlaneEndpoint: c.Endpoint,
		// Keys of RSA cost a second of CPU at the start.
		EncryptionAlgorithm: "ECDSA-P256",
		Networking:          networking{DNSDomain: domain, PodSubnet: c.PodCIDR, ServiceSubnet: c.ServiceCIDR},
		APIServer:           apiServer{CertSANs: c.CertSANs, ExtraArgs: c.apiServerArgs(flags.APIServer)},
		ControllerManager:   component{ExtraArgs: withGates(withFlags(args, flags.ControllerManager), c.FeatureGates.ControllerManager)},
		Scheduler:           component{ExtraArgs: withGates(withFlags(args, flags.Scheduler), c.FeatureGates.Scheduler)},
		Proxy:               c.proxyAddon(),
	}
}

// kubeletDocument is what all kubelets of a cluster share.
func kubeletDocument(c Cluster) kubeletConfiguration {
	return kubeletConfiguration{
		typeMeta: typeMeta{kubeletGroup, "KubeletConfiguration"},
		Authentication: kubeletAuthentication{
			Anonymous: enabled{false}, Webhook: enabled{true}, X509: kubeletX509{ClientCAFile: clientCA},
		},
		Authorization: kubeletAuthorization{Mode: "Webhook"},
		FeatureGates:  c.FeatureGates.Kubelet,
	}
}

func kubeProxyDocument(c Cluster, n Node) kubeProxyConfiguration {
	document := kubeProxyConfiguration{typeMeta: typeMeta{kubeProxyGroup, "KubeProxyConfiguration"}, FeatureGates: c.FeatureGates.KubeProxy, Mode: c.KubeProxyMode}
	if c.KubeProxyMode == proxyNone {
		document.Mode = ""
	}
	if !n.VirtualMachine {
		// Connection tracking is set for the whole kernel, which is the host's:
		// zero leaves each setting as it is.
		document.Conntrack = &conntrack{TCPCloseWaitTimeout: "0s", TCPEstablishedTimeout: "0s"}
	}
	return document
}

// kubeletDocumentPatch is what is one node's own. kubeadm hands the cluster's
// document to every node, and this on top of it.
func kubeletDocumentPatch(c Cluster, n Node, settings *profile.Resolved) map[string]any {
	patch := map[string]any{}
	if period := restartPeriod(c, n); period != "" {
		patch["crashLoopBackOff"] = map[string]any{"maxContainerRestartPeriod": period}
	}
	overlay(patch, settings.Kubelet)
	if n.MaxPods != 0 {
		patch["maxPods"] = n.MaxPods
	}
	if cpu := n.systemReserved(); cpu != nil {
		reserved := map[string]any{}
		if of, is := patch["systemReserved"].(map[string]any); is {
			maps.Copy(reserved, of)
		}
		overlay(reserved, cpu)
		patch["systemReserved"] = reserved
	}
	if !n.VirtualMachine && n.withoutIPv4() {
		patch["resolvConf"] = resolvPath
	}
	overlay(patch, n.Kubelet)
	return patch
}

// restartPeriod bounds the pause before a control plane's container is started again:
// etcds that find each other late, after the host had to start them all at once, have
// API servers end, which would then stay away for up to five minutes. Empty where the
// kubelet's own bound stays.
func restartPeriod(c Cluster, n Node) string {
	const gate, since = "KubeletCrashLoopBackOffMax", "v1.35.0" // on by default from there (KEP-4603)
	on, set := c.FeatureGates.Kubelet[gate]
	if n.Role != v1alpha1.RoleControlPlane || set && !on || !version.MustParseSemantic(c.KubernetesVersion).AtLeast(version.MustParseSemantic(since)) {
		return ""
	}
	return "20s"
}

func patchFiles(c Cluster, n Node, settings *profile.Resolved) ([]File, error) {
	kubelet, err := render(kubeletDocumentPatch(c, n, settings))
	if err != nil {
		return nil, err
	}
	files := []File{
		{Path: PatchesPath + "/kubeletconfiguration+merge.yaml", Content: kubelet, Mode: public},
		{Path: servicesPath, Content: []byte(strings.ReplaceAll(c.ServiceCIDR, ",", "\n") + "\n"), Mode: public},
	}
	if line := apiService(c); line != "" {
		files = append(files, File{Path: apiServicePath, Content: []byte(line), Mode: public})
	}
	own, err := kubeletPatchFiles(c, n)
	if err != nil {
		return nil, err
	}
	files = append(append(files, own...), boundFiles(n)...)
	// kubeadm before 1.32 knows no patches of this deployment.
	if !version.MustParseSemantic(c.KubernetesVersion).AtLeast(version.MustParseSemantic("v1.32.0")) {
		return files, nil
	}
	dns, err := render(dnsPatch())
	if err != nil {
		return nil, err
	}
	return append(files, File{Path: PatchesPath + "/corednsdeployment+strategic.yaml", Content: dns, Mode: public}), nil
}

// apiService says where the service of the API server leads: the first address of
// the services' first range, which every API server takes for itself, and where
// nodes reach one. Empty where that has a name instead of an address.
func apiService(c Cluster) string {
	first, _, _ := strings.Cut(c.ServiceCIDR, ",")
	services, err := netip.ParsePrefix(first)
	server, other := netip.ParseAddrPort(c.Endpoint)
	if err != nil || other != nil || services.Addr().Is4() != server.Addr().Is4() {
		return ""
	}
	return services.Masked().Addr().Next().String() + " " + server.String() + "\n"
}

// dnsPatch has the readiness of CoreDNS looked at every second instead of every
// ten: a new cluster waits for it.
func dnsPatch() any {
	return map[string]any{"spec": map[string]any{"template": map[string]any{"spec": map[string]any{
		"containers": []any{map[string]any{"name": "coredns", "readinessProbe": map[string]any{"periodSeconds": 1}}},
	}}}}
}

// discoveryDocument names a user, which kubeadm demands, and leaves it without
// credentials: those are the token in the kubeadm configuration.
func discoveryDocument(c Cluster, j Join) kubeconfig {
	const user = "joining-node"
	return kubeconfig{
		typeMeta:       typeMeta{"v1", "Config"},
		Clusters:       []namedCluster{{c.Name, kubeconfigCluster{Server: j.Server, CertificateAuthorityData: j.CA}}},
		Contexts:       []namedContext{{c.Name, kubeconfigContext{Cluster: c.Name, User: user}}},
		CurrentContext: c.Name,
		Users:          []namedUser{{Name: user}},
	}
}
