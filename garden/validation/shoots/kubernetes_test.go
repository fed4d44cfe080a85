package shoots_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gardener/gardener/pkg/apis/core"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/loam-cloud/loam/garden/validation/shoots"
)

// TestComponents has a row per rule about spec.kubernetes.
func TestComponents(t *testing.T) {
	server := func(change func(*core.KubeAPIServerConfig)) func(*core.Shoot) {
		return func(s *core.Shoot) { change(s.Spec.Kubernetes.KubeAPIServer) }
	}
	kubelet := func(change func(*core.KubeletConfig)) func(*core.Shoot) {
		return func(s *core.Shoot) { change(s.Spec.Kubernetes.Kubelet) }
	}
	gates := func(kubernetes string, gates map[string]bool) func(*core.Shoot) {
		return func(s *core.Shoot) {
			s.Spec.Kubernetes.Version, s.Spec.Kubernetes.KubeAPIServer.FeatureGates = kubernetes, gates
		}
	}
	plugins := func(plugins ...core.AdmissionPlugin) func(*core.Shoot) {
		return server(func(c *core.KubeAPIServerConfig) { c.AdmissionPlugins = plugins })
	}
	scaler := func(c core.ClusterAutoscaler) func(*core.Shoot) {
		return func(s *core.Shoot) { s.Spec.Kubernetes.ClusterAutoscaler = &c }
	}
	vertical := func(c core.VerticalPodAutoscaler) func(*core.Shoot) {
		return func(s *core.Shoot) { s.Spec.Kubernetes.VerticalPodAutoscaler = &c }
	}
	manager := func(change func(*core.KubeControllerManagerConfig)) func(*core.Shoot) {
		return func(s *core.Shoot) { change(s.Spec.Kubernetes.KubeControllerManager) }
	}
	const api, node = "spec.kubernetes.kubeAPIServer", "spec.kubernetes.kubelet"
	for name, r := range map[string]row{
		"feature gate":                {change: gates("1.36.3", map[string]bool{"NodeSwap": true})},
		"feature gate unknown":        {change: gates("1.36.3", map[string]bool{"Teleportation": true}), want: []string{api + ".featureGates[Teleportation]: is no feature gate of Kubernetes 1.36"}},
		"feature gate of a former":    {change: gates("1.33.9", map[string]bool{"DevicePluginCDIDevices": true})},
		"feature gate that went":      {change: gates("1.34.2", map[string]bool{"DevicePluginCDIDevices": true}), want: []string{api + ".featureGates[DevicePluginCDIDevices]: is no feature gate of Kubernetes 1.34.2"}},
		"feature gate never heard of": {change: gates("1.33.9", map[string]bool{"Teleportation": true}), want: []string{api + ".featureGates[Teleportation]: is no feature gate of Kubernetes 1.33.9"}},
		"feature gate of a later":     {change: gates("1.34.2", map[string]bool{"WorkloadWithJob": true}), want: []string{api + ".featureGates[WorkloadWithJob]: from Kubernetes 1.36 on only"}},
		"feature gate that is fixed":  {change: gates("1.36.3", map[string]bool{"NodeSwap": false}), want: []string{api + ".featureGates[NodeSwap]: can only be true"}},
		"feature gate of the kubelet": {change: kubelet(func(c *core.KubeletConfig) { c.FeatureGates = map[string]bool{"X": true} }), want: []string{node + ".featureGates[X]: is no feature gate"}},
		"feature gate of a pool": {change: func(s *core.Shoot) {
			worker(s).Kubernetes = &core.WorkerKubernetes{Kubelet: &core.KubeletConfig{KubernetesConfig: core.KubernetesConfig{FeatureGates: map[string]bool{"X": true}}}}
		}, want: []string{pool + ".kubernetes.kubelet.featureGates[X]: is no feature gate"}},
		"admission plugin":           {change: plugins(core.AdmissionPlugin{Name: "PodNodeSelector"}, core.AdmissionPlugin{Name: "EventRateLimit", Disabled: new(true)})},
		"admission plugins":          {change: plugins(core.AdmissionPlugin{}, core.AdmissionPlugin{Name: "Bouncer"}, core.AdmissionPlugin{Name: "ServiceAccount", Disabled: new(true)}, core.AdmissionPlugin{Name: "AlwaysDeny"}), want: []string{api + ".admissionPlugins[0].name: Required", api + ".admissionPlugins[1].name: is no admission plugin", api + ".admissionPlugins[2].disabled: cannot work without", api + ".admissionPlugins[3].name: refuse every request"}},
		"admission plugin twice":     {change: plugins(core.AdmissionPlugin{Name: "PodNodeSelector"}, core.AdmissionPlugin{Name: "PodNodeSelector"}), want: []string{api + ".admissionPlugins[1].name: Duplicate"}},
		"anonymous access from 1.35": {change: server(func(c *core.KubeAPIServerConfig) { c.EnableAnonymousAuthentication = new(false) }), want: []string{api + ".enableAnonymousAuthentication: from Kubernetes 1.35 on"}},
		"runtime config": {change: server(func(c *core.KubeAPIServerConfig) {
			c.RuntimeConfig = map[string]bool{"batch/v1beta1": true, "api/alpha": true, "resource.k8s.io/v1alpha3/pools": false}
		})},
		"runtime config that is none": {change: server(func(c *core.KubeAPIServerConfig) { c.RuntimeConfig = map[string]bool{"batch": true, "v1": false} }), want: []string{api + ".runtimeConfig[batch]: must be an API", api + ".runtimeConfig[v1]: cannot work without"}},
		"service accounts": {change: server(func(c *core.KubeAPIServerConfig) {
			c.ServiceAccountConfig = &core.ServiceAccountConfig{Issuer: new("https://a"), AcceptedIssuers: []string{"https://a", ":", ""}, MaxTokenExpiration: span(time.Hour)}
		}), want: []string{api + ".serviceAccountConfig.acceptedIssuers[0]: Duplicate", api + ".serviceAccountConfig.acceptedIssuers[1]: a name, or a URL", api + ".serviceAccountConfig.acceptedIssuers[2]: Required", api + ".serviceAccountConfig.maxTokenExpiration: between 720h0m0s and 2160h0m0s"}},
		"requests": {change: server(func(c *core.KubeAPIServerConfig) {
			c.Requests = &core.APIServerRequests{MaxNonMutatingInflight: new(int32(-1)), MaxMutatingInflight: new(int32(-1))}
		}), want: []string{api + ".requests.maxNonMutatingInflight: 0 or more", api + ".requests.maxMutatingInflight: 0 or more"}},
		"events": {change: server(func(c *core.KubeAPIServerConfig) { c.EventTTL = span(169 * time.Hour) }), want: []string{api + ".eventTTL: between 0s and 168h0m0s"}},
		"verbosity": {change: server(func(c *core.KubeAPIServerConfig) {
			c.Logging = &core.APIServerLogging{Verbosity: new(int32(11)), HTTPAccessVerbosity: new(int32(-1))}
		}), want: []string{api + ".logging.verbosity: between 0 and 10", api + ".logging.httpAccessVerbosity: between 0 and 10"}},
		"tolerations of pods": {change: server(func(c *core.KubeAPIServerConfig) {
			c.DefaultNotReadyTolerationSeconds, c.DefaultUnreachableTolerationSeconds = new(int64(-1)), new(int64(-1))
		}), want: []string{api + ".defaultNotReadyTolerationSeconds: 0 or more", api + ".defaultUnreachableTolerationSeconds: 0 or more"}},
		"watch caches": {change: server(func(c *core.KubeAPIServerConfig) {
			c.WatchCacheSizes = &core.WatchCacheSizes{Default: new(int32(1)), Resources: []core.ResourceWatchCacheSize{{CacheSize: -1}}}
		}), want: []string{api + ".watchCacheSizes.default: from Kubernetes 1.35 on", api + ".watchCacheSizes.resources[0].resource: Required", api + ".watchCacheSizes.resources[0].size: 0 or more"}},
		"encryption config": {change: server(func(c *core.KubeAPIServerConfig) {
			c.EncryptionConfig = &core.EncryptionConfig{Resources: []string{"configmaps", "deployments.apps", "*.apps", "secrets", "Pods", "configmaps"}, Provider: core.EncryptionProvider{Type: new(core.EncryptionProviderType("rot13"))}}
		}), want: []string{api + ".encryptionConfig.resources[2]: wildcards", api + ".encryptionConfig.resources[3]: encrypted always", api + ".encryptionConfig.resources[4]: in plural", api + ".encryptionConfig.resources[5]: Duplicate", api + ".encryptionConfig.provider.type: Unsupported"}},
		"structured config": {change: server(func(c *core.KubeAPIServerConfig) {
			c.AuditConfig, c.StructuredAuthentication, c.StructuredAuthorization = &core.AuditConfig{AuditPolicy: &core.AuditPolicy{ConfigMapRef: &corev1.ObjectReference{}}}, &core.StructuredAuthentication{}, &core.StructuredAuthorization{Kubeconfigs: []core.AuthorizerKubeconfigReference{{}}}
		}), want: []string{api + ".auditConfig.auditPolicy.configMapRef.name: Required", api + ".structuredAuthentication.configMapName: Required", api + ".structuredAuthorization.configMapName: Required", api + ".structuredAuthorization.kubeconfigs[0].authorizerName: Required", api + ".structuredAuthorization.kubeconfigs[0].secretName: Required"}},
		"TLS": {change: server(func(c *core.KubeAPIServerConfig) { c.TLSMinVersion = new("VersionTLS10") }), want: []string{api + ".tlsMinVersion: Unsupported"}},
		"autoscaling of the API server": {change: server(func(c *core.KubeAPIServerConfig) {
			c.Autoscaling = &core.ControlPlaneAutoscaling{MinAllowed: corev1.ResourceList{"cpu": q("-1"), "gpu": q("1")}}
		}), want: []string{api + ".autoscaling.minAllowed[cpu]: 0 or more", api + ".autoscaling.minAllowed[gpu]: Unsupported"}},
		"eviction timeout from 1.33": {change: manager(func(c *core.KubeControllerManagerConfig) { c.PodEvictionTimeout = span(time.Minute) }), want: []string{"spec.kubernetes.kubeControllerManager.podEvictionTimeout: from Kubernetes 1.33 on"}},
		"grace period":               {change: manager(func(c *core.KubeControllerManagerConfig) { c.NodeMonitorGracePeriod = span(0) }), want: []string{"spec.kubernetes.kubeControllerManager.nodeMonitorGracePeriod: more than 0"}},
		"horizontal autoscaler": {change: manager(func(c *core.KubeControllerManagerConfig) {
			c.HorizontalPodAutoscalerConfig = &core.HorizontalPodAutoscalerConfig{SyncPeriod: span(-1), Tolerance: new(-1.0)}
		}), want: []string{"spec.kubernetes.kubeControllerManager.horizontalPodAutoscaler.syncPeriod: more than 0", "spec.kubernetes.kubeControllerManager.horizontalPodAutoscaler.tolerance: 0 or more"}},
		"scheduler": {change: func(s *core.Shoot) {
			s.Spec.Kubernetes.KubeScheduler = &core.KubeSchedulerConfig{KubeMaxPDVols: new("1"), Profile: new(core.SchedulingProfile("random"))}
		}, want: []string{"spec.kubernetes.kubeScheduler.kubeMaxPDVols: from Kubernetes 1.35 on", "spec.kubernetes.kubeScheduler.profile: Unsupported"}},
		"proxy": {change: func(s *core.Shoot) {
			s.Spec.Kubernetes.KubeProxy = &core.KubeProxyConfig{Mode: new(core.ProxyMode("userspace"))}
		}, want: []string{"spec.kubernetes.kubeProxy.mode: Unsupported"}},
		"cluster autoscaler":  {change: scaler(core.ClusterAutoscaler{ScaleDownUtilizationThreshold: new(1.5), ScanInterval: span(0), MaxEmptyBulkDelete: new(int32(1)), MaxDrainParallelism: new(int32(0)), Expander: new(core.ExpanderMode("random,fair")), StartupTaints: []string{"a b"}, InitialNodeGroupBackoffDuration: span(2 * time.Hour), MaxNodeGroupBackoffDuration: span(time.Hour)}), want: []string{"spec.kubernetes.clusterAutoscaler.scaleDownUtilizationThreshold: between 0 and 1", "spec.kubernetes.clusterAutoscaler.scanInterval: more than 0", "spec.kubernetes.clusterAutoscaler.maxEmptyBulkDelete: from Kubernetes 1.33 on", "spec.kubernetes.clusterAutoscaler.maxDrainParallelism: 1 or more", "spec.kubernetes.clusterAutoscaler.expander: Unsupported", "spec.kubernetes.clusterAutoscaler.startupTaints[0]: name part", "spec.kubernetes.clusterAutoscaler.initialNodeGroupBackoffDuration: must not be longer"}},
		"vertical autoscaler": {change: vertical(core.VerticalPodAutoscaler{UpdaterInterval: span(0), TargetCPUPercentile: new(0.4), RecommendationLowerBoundCPUPercentile: new(0.5), EvictionTolerance: new(2.0), EvictionRateBurst: new(int32(0)), MaxAllowed: corev1.ResourceList{"pods": q("1")}}), want: []string{"spec.kubernetes.verticalPodAutoscaler.updaterInterval: more than 0", "spec.kubernetes.verticalPodAutoscaler.recommendationLowerBoundCPUPercentile: must not be above", "spec.kubernetes.verticalPodAutoscaler.evictionTolerance: between 0 and 1", "spec.kubernetes.verticalPodAutoscaler.evictionRateBurst: 1 or more", "spec.kubernetes.verticalPodAutoscaler.maxAllowed[pods]: Unsupported"}},
		"etcd": {change: func(s *core.Shoot) {
			s.Spec.Kubernetes.ETCD = &core.ETCD{Events: &core.ETCDConfig{Autoscaling: &core.ControlPlaneAutoscaling{MinAllowed: corev1.ResourceList{"storage": q("1")}}}}
		}, want: []string{"spec.kubernetes.etcd.events.autoscaling.minAllowed[storage]: Unsupported"}},

		"kubelet numbers": {change: kubelet(func(c *core.KubeletConfig) {
			c.MaxPods, c.PodPIDsLimit, c.CPUManagerPolicy, c.ContainerLogMaxFiles, c.ContainerLogMaxSize = new(int32(0)), new(int64(99)), new("best"), new(int32(1)), new(q("0"))
		}), want: []string{node + ".maxPods: 1 or more", node + ".podPidsLimit: 100 or more", node + ".cpuManagerPolicy: Unsupported", node + ".containerLogMaxFiles: 2 or more", node + ".containerLogMaxSize: more than 0"}},
		"image thresholds": {change: kubelet(func(c *core.KubeletConfig) {
			c.ImageGCHighThresholdPercent, c.ImageGCLowThresholdPercent = new(int32(40)), new(int32(40))
		}), want: []string{node + ".imageGCLowThresholdPercent: less than imageGCHighThresholdPercent"}},
		"image ages": {change: kubelet(func(c *core.KubeletConfig) {
			c.ImageMinimumGCAge, c.ImageMaximumGCAge = span(time.Hour), span(time.Minute)
		}), want: []string{node + ".imageMaximumGCAge: at least imageMinimumGCAge"}},
		"parallel pulls": {change: kubelet(func(c *core.KubeletConfig) {
			c.MaxParallelImagePulls, c.RegistryPullQPS, c.RegistryBurst = new(int32(3)), new(int32(-1)), new(int32(-1))
		}), want: []string{node + ".maxParallelImagePulls: serializeImagePulls", node + ".registryPullQPS: 0 or more", node + ".registryBurst: 0 or more"}},
		"image credentials": {change: kubelet(func(c *core.KubeletConfig) {
			c.ImagePullCredentialsVerificationPolicy, c.PreloadedImagesVerificationAllowlist = new(core.NeverVerifyAllowlistedImages), []string{"registry.example.org:5000/team/*", "a:tag", "a@sha256:0"}
		}), want: []string{node + ".preloadedImagesVerificationAllowlist[1]: without tag", node + ".preloadedImagesVerificationAllowlist[2]: without tag"}},
		"image list unused": {change: kubelet(func(c *core.KubeletConfig) { c.PreloadedImagesVerificationAllowlist = []string{"a"} }), want: []string{node + ".preloadedImagesVerificationAllowlist: NeverVerifyAllowlistedImages only"}},
		"swap": {change: kubelet(func(c *core.KubeletConfig) {
			c.FailSwapOn, c.MemorySwap = new(false), &core.MemorySwapConfiguration{SwapBehavior: new(core.LimitedSwap)}
		})},
		"swap that fails": {change: kubelet(func(c *core.KubeletConfig) {
			c.MemorySwap = &core.MemorySwapConfiguration{SwapBehavior: new(core.SwapBehavior("All"))}
		}), want: []string{node + ".memorySwap: failSwapOn: false", node + ".memorySwap.swapBehavior: Unsupported"}},
		"reserved": {change: kubelet(func(c *core.KubeletConfig) {
			c.KubeReserved = &core.KubeletConfigReserved{CPU: new(q("-1")), PID: new(q("-1"))}
		}), want: []string{node + ".kubeReserved.cpu: 0 or more", node + ".kubeReserved.pid: 0 or more"}},
		"idle connections": {change: kubelet(func(c *core.KubeletConfig) { c.StreamingConnectionIdleTimeout = span(5 * time.Hour) }), want: []string{node + ".streamingConnectionIdleTimeout: between 30s and 4h0m0s"}},
		"eviction thresholds": {change: kubelet(func(c *core.KubeletConfig) {
			c.EvictionHard = &core.KubeletConfigEviction{MemoryAvailable: new("5%"), NodeFSAvailable: new("101%"), NodeFSInodesFree: new("few"), ImageFSAvailable: new("-1Gi")}
		}), want: []string{node + ".evictionHard.nodeFSAvailable: between 0% and 100%", node + ".evictionHard.nodeFSInodesFree: an amount such as", node + ".evictionHard.imageFSAvailable: 0 or more"}},
		"eviction grace": {change: kubelet(func(c *core.KubeletConfig) {
			c.EvictionSoftGracePeriod = &core.KubeletConfigEvictionSoftGracePeriod{MemoryAvailable: &metav1.Duration{}}
			c.EvictionMaxPodGracePeriod = new(int32(-1))
			c.EvictionMinimumReclaim = &core.KubeletConfigEvictionMinimumReclaim{MemoryAvailable: new(resource.MustParse("-1"))}
		}), want: []string{node + ".evictionSoftGracePeriod.memoryAvailable: more than 0", node + ".evictionMaxPodGracePeriod: 0 or more", node + ".evictionMinimumReclaim.memoryAvailable: 0 or more"}},
		"machines not in place": {change: func(s *core.Shoot) {
			worker(s).MachineControllerManagerSettings = &core.MachineControllerManagerSettings{DisableHealthTimeout: new(true), MachineInPlaceUpdateTimeout: span(time.Hour), MachineDrainTimeout: span(-1), AutoPreserveFailedMachineMax: new(int32(9)), NodeConditions: []string{"a", "a"}}
		}, want: []string{pool + ".machineControllerManagerSettings.disableHealthTimeout: in place only", pool + ".machineControllerManagerSettings.machineInPlaceUpdateTimeout: in place only", pool + ".machineControllerManagerSettings.machineDrainTimeout: 0 or more", pool + ".machineControllerManagerSettings.autoPreserveFailedMachineMax: pool's maximum", pool + ".machineControllerManagerSettings.nodeConditions[1]: Duplicate"}},
		"autoscaling of the pool": {change: func(s *core.Shoot) {
			worker(s).ClusterAutoscaler = &core.ClusterAutoscalerOptions{ScaleDownUtilizationThreshold: new(-0.1), MaxNodeProvisionTime: span(0)}
		}, want: []string{pool + ".clusterAutoscaler.scaleDownUtilizationThreshold: between 0 and 1", pool + ".clusterAutoscaler.maxNodeProvisionTime: more than 0"}},
	} {
		t.Run("garden-api: Validation/"+name, func(t *testing.T) {
			s, f := r.apply()
			r.check(t, s, nil, f)
		})
	}
}

const (
	controlPlaneConfig = `{"apiVersion":"loam.dev/v1alpha1","kind":"ControlPlaneConfig"`
	workerConfig       = `{"apiVersion":"loam.dev/v1alpha1","kind":"WorkerConfig"`
)

func raw(text string) *runtime.RawExtension { return &runtime.RawExtension{Raw: []byte(text)} }

// TestLocalConfigStays has a row per part of a cluster that its machines were
// made with.
func TestLocalConfigStays(t *testing.T) {
	made := &core.LastOperation{Type: core.LastOperationTypeCreate, State: core.LastOperationStateSucceeded}
	failed := &core.LastOperation{Type: core.LastOperationTypeCreate, State: core.LastOperationStateFailed}
	for name, tc := range map[string]struct {
		last   *core.LastOperation
		change func(*core.Shoot)
		want   []string
	}{
		"nothing, in other words": {made, func(s *core.Shoot) {
			s.Spec.Provider.ControlPlaneConfig = raw(`{"dnsSearch": ["a"], "kind":"ControlPlaneConfig","apiVersion":"loam.dev/v1alpha1"}`)
		}, nil},
		"search domains": {made, func(s *core.Shoot) { s.Spec.Provider.ControlPlaneConfig = raw(controlPlaneConfig + `}`) }, []string{"spec.provider.controlPlaneConfig.dnsSearch: cannot be changed"}},
		"mounts and ports": {made, func(s *core.Shoot) {
			worker(s).ProviderConfig = raw(workerConfig + `,"extraMounts":[{"hostPath":"/a","containerPath":"/a"}],"extraPortMappings":[{"containerPort":81}]}`)
		}, []string{pool + ".providerConfig.extraMounts: cannot be changed", pool + ".providerConfig.extraPortMappings: cannot be changed"}},
		"ports that the garden listens on": {made, func(s *core.Shoot) {
			s.Spec.Provider.ControlPlaneConfig = raw(controlPlaneConfig + `,"dnsSearch":["a"],"portMappings":[{"containerPort":81}]}`)
		}, nil},
		"a new pool has its own": {made, func(s *core.Shoot) {
			second := worker(s).DeepCopy()
			second.Name, second.ProviderConfig = "second", raw(workerConfig+`,"extraMounts":[{"hostPath":"/a","containerPath":"/a"}]}`)
			s.Spec.Provider.Workers = append(s.Spec.Provider.Workers, *second)
		}, nil},
		"a second family of addresses":                    {made, func(s *core.Shoot) { s.Spec.Networking.IPFamilies = []core.IPFamily{"IPv4", "IPv6"} }, []string{"spec.networking.ipFamilies: must stay [IPv4] while there are machines"}},
		"a second family, of a cluster that is not there": {failed, func(s *core.Shoot) { s.Spec.Networking.IPFamilies = []core.IPFamily{"IPv4", "IPv6"} }, nil},
		"ranges of IPv6": {made, func(s *core.Shoot) {
			s.Spec.Provider.ControlPlaneConfig = raw(controlPlaneConfig + `,"dnsSearch":["a"],"ipv6":{"pods":"fd01::/56"}}`)
		}, []string{"spec.provider.controlPlaneConfig.ipv6: a cluster of IPv4", "spec.provider.controlPlaneConfig.ipv6: cannot be changed"}},
		"the image": {made, func(s *core.Shoot) {
			worker(s).ProviderConfig = raw(workerConfig + `,"image":"node:mine","extraPortMappings":[{"containerPort":80}]}`)
		}, []string{pool + ".providerConfig.image: cannot be changed"}},
		"gates, settings of kubelets and versions of the API change in place": {made, func(s *core.Shoot) {
			k := &s.Spec.Kubernetes
			k.Kubelet.FeatureGates, k.Kubelet.MaxPods = map[string]bool{"UserNamespacesSupport": true}, new(int32(50))
			k.KubeAPIServer.RuntimeConfig = map[string]bool{"api/alpha": true}
			worker(s).Kubernetes = &core.WorkerKubernetes{Kubelet: &core.KubeletConfig{PodPIDsLimit: new(int64(1000))}}
		}, nil},
		"patches of the kubelet's configuration do, too": {made, func(s *core.Shoot) {
			s.Spec.Provider.ControlPlaneConfig = raw(controlPlaneConfig + `,"dnsSearch":["a"],"kubeadmConfigPatches":["kind: KubeletConfiguration\nmaxPods: 9"]}`)
			worker(s).ProviderConfig = raw(workerConfig + `,"extraPortMappings":[{"containerPort":80}],"kubeadmConfigPatchesJSON6902":[` +
				`{"group":"kubelet.config.k8s.io","version":"v1beta1","kind":"KubeletConfiguration","patch":"[{op: add, path: /podsPerCore, value: 3}]"}]}`)
		}, nil},
		"other patches do not": {made, func(s *core.Shoot) {
			s.Spec.Provider.ControlPlaneConfig = raw(controlPlaneConfig + `,"dnsSearch":["a"],"kubeadmConfigPatches":["kind: ClusterConfiguration\napiServer: {timeoutForControlPlane: 1m}"]}`)
			worker(s).ProviderConfig = raw(workerConfig + `,"extraPortMappings":[{"containerPort":80}],"kubeadmConfigPatchesJSON6902":[` +
				`{"group":"kubeadm.k8s.io","version":"v1beta4","kind":"JoinConfiguration","patch":"[{op: remove, path: /a}]"}]}`)
		}, []string{"spec.provider.controlPlaneConfig.kubeadmConfigPatches: cannot be changed", pool + ".providerConfig.kubeadmConfigPatchesJSON6902: cannot be changed"}},
		"how processors are shared out": {made, func(s *core.Shoot) {
			s.Spec.Kubernetes.Kubelet.CPUManagerPolicy = new("static")
		}, []string{"spec.kubernetes.kubelet.cpuManagerPolicy: cannot be changed", pool + ".kubernetes.kubelet.cpuManagerPolicy: cannot be changed"}},
		"gates of kube-proxy": {made, func(s *core.Shoot) {
			s.Spec.Kubernetes.KubeProxy = &core.KubeProxyConfig{KubernetesConfig: core.KubernetesConfig{FeatureGates: map[string]bool{"UserNamespacesSupport": true}}}
		}, []string{"spec.kubernetes.kubeProxy.featureGates: cannot be changed"}},
		"proxy mode": {made, func(s *core.Shoot) {
			s.Spec.Kubernetes.KubeProxy = &core.KubeProxyConfig{Mode: new(core.ProxyModeNFTables)}
		}, []string{"spec.kubernetes.kubeProxy.mode: cannot be changed"}},
		// As is filled in when the first workers come.
		"kube-proxy's own default": {made, func(s *core.Shoot) {
			s.Spec.Kubernetes.KubeProxy = &core.KubeProxyConfig{Enabled: new(true), Mode: new(core.ProxyModeIPTables)}
		}, nil},
		"the machine type": {made, func(s *core.Shoot) { worker(s).Machine.Type = "old" },
			[]string{pool + `.machine.type: Unsupported value: "old"`, pool + `.machine.type: must stay "small" while there are machines`}},
		"what could not be made may change": {failed, func(s *core.Shoot) {
			s.Spec.Provider.ControlPlaneConfig, worker(s).ProviderConfig = nil, nil
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := row{change: func(s *core.Shoot) {
				s.Spec.Provider.Type, s.Spec.Networking.Type = "local", new("flannel")
				s.Spec.Kubernetes.KubeProxy, s.Status.LastOperation = nil, tc.last
				s.Spec.Provider.ControlPlaneConfig = raw(controlPlaneConfig + `,"dnsSearch":["a"]}`)
				worker(s).ProviderConfig = raw(workerConfig + `,"extraPortMappings":[{"containerPort":80}]}`)
			}, want: tc.want}
			old, f := r.apply()
			f.Profile.Type, f.Binding.ProviderTypes = "local", nil
			now := old.DeepCopy()
			tc.change(now)
			r.check(t, now, old, f)
		})
	}
}

// TestLocal has a row per limit of clusters whose nodes are containers.
func TestLocal(t *testing.T) {
	tiny := func(f *shoots.Facts) {
		f.Profile.MachineTypes = append(slices.Clone(f.Profile.MachineTypes), core.MachineType{Name: "tiny", CPU: q("1"), GPU: q("0"), Memory: q("64Mi"), Architecture: new("amd64")},
			core.MachineType{Name: "gib", CPU: q("1"), GPU: q("0"), Memory: q("1Gi"), Architecture: new("amd64")})
	}
	local := func(change func(*core.Shoot)) func(*core.Shoot) {
		return func(s *core.Shoot) {
			s.Spec.Provider.Type, s.Spec.Networking.Type = "local", new("flannel")
			change(s)
		}
	}
	for name, r := range map[string]row{
		"right": {change: local(func(*core.Shoot) {})},
		"a worker too small": {change: local(func(s *core.Shoot) { worker(s).Machine.Type = "tiny" }), facts: tiny,
			want: []string{pool + `.machine.type: has 1 CPUs and 64Mi of memory: a worker needs at least 500m and 512Mi`}},
		"a control plane too small": {change: local(func(s *core.Shoot) {
			s.Spec.Provider.Workers = append(s.Spec.Provider.Workers, core.Worker{Name: "cp", Minimum: 1, Maximum: 1, ControlPlane: &core.WorkerControlPlane{}, Machine: core.Machine{Type: "gib", Image: worker(s).Machine.Image}})
		}), facts: tiny, want: []string{`spec.provider.workers[1].machine.type: has 1 CPUs and 1Gi of memory: a control plane needs at least 500m and 1700M`}},
		"asleep without pools": {change: local(func(s *core.Shoot) { s.Spec.Provider.Workers = nil; sleepNow(s) })},
		"network":              {change: local(func(s *core.Shoot) { s.Spec.Networking.Type = new("calico") }), want: []string{"spec.networking.type: Unsupported"}},
		"both families":        {change: local(func(s *core.Shoot) { s.Spec.Networking.IPFamilies = []core.IPFamily{"IPv4", "IPv6"} })},
		"both families, and ranges of IPv6": {change: local(func(s *core.Shoot) {
			s.Spec.Networking.IPFamilies = []core.IPFamily{"IPv4", "IPv6"}
			s.Spec.Provider.ControlPlaneConfig = raw(controlPlaneConfig + `,"ipv6":{"pods":"fd01::/48","services":"fd02::/108"}}`)
		})},
		"IPv6": {change: local(func(s *core.Shoot) {
			s.Spec.Kubernetes.KubeControllerManager = nil
			s.Spec.Networking = &core.Networking{Type: new("flannel"), IPFamilies: []core.IPFamily{"IPv6"}, Pods: new("fd01::/56"), Services: new("fd02::/112")}
			s.Spec.Kubernetes.Kubelet = &core.KubeletConfig{MaxPods: new(int32(500))}
		})},
		"IPv6, and ranges that kubeadm refuses": {change: local(func(s *core.Shoot) {
			s.Spec.Kubernetes.KubeControllerManager = nil
			s.Spec.Networking = &core.Networking{Type: new("flannel"), IPFamilies: []core.IPFamily{"IPv6"}, Pods: new("fd01::/40"), Services: new("fd02::/64")}
			s.Spec.Provider.ControlPlaneConfig = raw(controlPlaneConfig + `,"ipv6":{}}`)
		}), want: []string{
			"spec.networking.pods: from /48 to /64", "spec.networking.services: from /108 to /124", "spec.provider.controlPlaneConfig.ipv6: one of IPv6 alone",
		}},
		"IPv6, and too few subnets": {change: local(func(s *core.Shoot) {
			s.Spec.Kubernetes.KubeControllerManager = nil
			s.Spec.Networking = &core.Networking{Type: new("flannel"), IPFamilies: []core.IPFamily{"IPv6"}, Pods: new("fd01::/64"), Services: new("fd02::/112")}
		}), want: []string{"spec.networking.pods: is too small"}},
		"both families, the wrong way round": {change: local(func(s *core.Shoot) {
			s.Spec.Networking.IPFamilies, s.Spec.Networking.Pods, s.Spec.Networking.Nodes = []core.IPFamily{"IPv4", "IPv6"}, new("fd01::/56"), nil
			s.Spec.Provider.ControlPlaneConfig = raw(controlPlaneConfig + `,"ipv6":{"pods":"10.0.0.0/16","services":"fd02::1/112"}}`)
		}), want: []string{
			"spec.networking.pods: must be a range of IPv4", "spec.provider.controlPlaneConfig.ipv6.pods: must be a range of IPv6", "spec.provider.controlPlaneConfig.ipv6.services: must be fd02::/112",
		}},
		"both families, ranges that overlap": {change: local(func(s *core.Shoot) {
			s.Spec.Networking.IPFamilies = []core.IPFamily{"IPv4", "IPv6"}
			s.Spec.Provider.ControlPlaneConfig = raw(controlPlaneConfig + `,"ipv6":{"pods":"fd00:10::/48","services":"fd00:10::/112"}}`)
		}), want: []string{"spec.provider.controlPlaneConfig.ipv6.services: must not overlap"}},
		"ranges of IPv6 in a cluster of IPv4": {change: local(func(s *core.Shoot) {
			s.Spec.Provider.ControlPlaneConfig = raw(controlPlaneConfig + `,"ipv6":{"pods":"fd01::/48"}}`)
		}), want: []string{"spec.provider.controlPlaneConfig.ipv6: a cluster of IPv4"}},
		"proxy": {change: local(func(s *core.Shoot) {
			s.Spec.Kubernetes.KubeProxy = &core.KubeProxyConfig{Enabled: new(false), Mode: new(core.ProxyMode("Magic"))}
		}), want: []string{"spec.kubernetes.kubeProxy.mode: Unsupported"}},
		"infrastructure": {change: local(func(s *core.Shoot) { s.Spec.Provider.InfrastructureConfig = raw("{}") }), want: []string{"spec.provider.infrastructureConfig: has none"}},
		"control plane config": {change: local(func(s *core.Shoot) {
			s.Spec.Provider.ControlPlaneConfig = raw(controlPlaneConfig + `,"colour":"red","proxy":{"httpProxy":"http://me:hush@p"}}`)
		}), want: []string{"spec.provider.controlPlaneConfig.colour: unknown field"}},
		"node settings": {change: local(func(s *core.Shoot) {
			s.Spec.Provider.ControlPlaneConfig = raw(controlPlaneConfig + `,"node":{"kubelet":{"evictionSoft":{"memory.available":"1Gi"},"evictionSoftGracePeriod":{"memory.available":"30s"}},"controlPlane":{"scheduler":{"v":"4"}}}}`)
			worker(s).ProviderConfig = raw(workerConfig + `,"node":{"kubelet":{"evictionSoft":{"memory.available":"200Mi"},"maxParallelImagePulls":null},"containerd":{"maxConcurrentDownloads":5}}}`)
		})},
		"node settings that there are not": {change: local(func(s *core.Shoot) {
			s.Spec.Provider.ControlPlaneConfig = raw(controlPlaneConfig + `,"node":{"kubelet":{"colour":"red"}}}`)
			worker(s).ProviderConfig = raw(workerConfig + `,"node":{"modules":["a/b"]}}`)
		}), want: []string{"spec.provider.controlPlaneConfig.node.kubelet.colour: no such field"}},
		"node settings of a pool that there are not": {change: local(func(s *core.Shoot) {
			worker(s).ProviderConfig = raw(workerConfig + `,"node":{"modules":["a/b"],"colour":"red"}}`)
		}), want: []string{pool + ".providerConfig.node.colour: no such field", pool + ".providerConfig.node.modules[0]: name of a kernel module"}},
		"node settings of a pool against those of the cluster": {change: local(func(s *core.Shoot) {
			s.Spec.Provider.ControlPlaneConfig = raw(controlPlaneConfig + `,"node":{"kubelet":{"serializeImagePulls":true,"maxParallelImagePulls":1}}}`)
			worker(s).ProviderConfig = raw(workerConfig + `,"node":{"kubelet":{"maxParallelImagePulls":9}}}`)
		}), want: []string{pool + ".providerConfig.node: kubelet.maxParallelImagePulls: Invalid value: 9: cannot stand with kubelet.serializeImagePulls, which is true"}},
		"worker config": {change: local(func(s *core.Shoot) {
			worker(s).ProviderConfig = raw(workerConfig + `,"image":"node:v1.35.4","extraMounts":[{"hostPath":"a","containerPath":"/b"}]}`)
		}), want: []string{pool + ".providerConfig.extraMounts[0].hostPath: absolute"}},
		"image of another version": {change: local(func(s *core.Shoot) {
			worker(s).ProviderConfig = raw(workerConfig + `,"image":"r:5000/node:v1.35.4@sha256:00"}`)
		}), want: []string{pool + ".providerConfig.image: must be of Kubernetes 1.36.3"}},
		"a port of the host for two pools": {change: local(func(s *core.Shoot) {
			worker(s).Minimum, worker(s).ProviderConfig = 1, raw(workerConfig+`,"extraPortMappings":[{"containerPort":80,"hostPort":8080}]}`)
			second := worker(s).DeepCopy()
			second.Name = "second"
			s.Spec.Provider.Workers = append(s.Spec.Provider.Workers, *second)
		}), want: []string{"spec.provider.workers[1].providerConfig.extraPortMappings[0].hostPort: has this port"}},
		"ports of the host that the API server and mappings have": {change: local(func(s *core.Shoot) {
			s.Spec.Provider.ControlPlaneConfig = raw(controlPlaneConfig + `,"apiServer":{"port":8080},"portMappings":[{"hostPortRange":"8079-8080","containerPortRange":"1-2"},{"containerPort":3,"hostPort":9090}]}`)
			worker(s).Minimum, worker(s).ProviderConfig = 1, raw(workerConfig+`,"extraPortMappings":[{"containerPort":80,"hostPort":9090,"listenAddress":"0.0.0.0"}]}`)
		}), want: []string{
			"spec.provider.controlPlaneConfig.portMappings[0].hostPortRange: the API server has this port",
			pool + ".providerConfig.extraPortMappings[0].hostPort: portMappings has this port",
		}},
		"pool with that name":   {change: local(func(s *core.Shoot) { worker(s).Name = "control-plane" }), want: []string{pool + ".name: has to hold the control plane"}},
		"three control planes":  {change: local(func(s *core.Shoot) { hold(worker(s)); worker(s).Minimum, worker(s).Maximum = 3, 3 })},
		"seven control planes":  {change: local(func(s *core.Shoot) { hold(worker(s)); worker(s).Minimum, worker(s).Maximum = 7, 7 }), want: []string{pool + ".minimum: 5 machines at most"}},
		"high availability":     {change: local(func(s *core.Shoot) { tolerate(s, core.FailureToleranceTypeNode) }), want: []string{"spec.controlPlane.highAvailability: minimum: 3"}},
		"pool of older version": {change: local(func(s *core.Shoot) { worker(s).Kubernetes = &core.WorkerKubernetes{Version: new("1.35.4")} }), want: []string{pool + ".kubernetes.version: must be 1.36.3, the cluster's version"}},
		"range for no node": {change: local(func(s *core.Shoot) {
			s.Spec.Networking.Pods, s.Spec.Kubernetes.KubeControllerManager = new("10.20.0.0/26"), nil
		}), want: []string{"spec.networking.pods: too small"}},
		"range for one node": {change: local(func(s *core.Shoot) {
			s.Spec.Networking.Pods, s.Spec.Kubernetes.KubeControllerManager = new("10.20.0.0/24"), nil
		}), want: []string{"spec.networking.pods: for 1 nodes"}},
		"pods without address": {change: local(func(s *core.Shoot) {
			s.Spec.Kubernetes.Kubelet.MaxPods, s.Spec.Kubernetes.KubeControllerManager = new(int32(255)), nil
		}), want: []string{"spec.kubernetes.kubelet.maxPods: addresses for 254 pods"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, f := r.apply()
			f.Profile.Type, f.Binding.ProviderTypes = "local", nil
			r.check(t, s, nil, f)
		})
	}
}

// TestVersionOfALocalClusterTakesOneStepAtATime wants the next minor version
// refused while a cluster could not take the step to it.
func TestVersionOfALocalClusterTakesOneStepAtATime(t *testing.T) {
	const asleep, moving = "wake it first", "is on its way to"
	done := &core.LastOperation{Type: core.LastOperationTypeReconcile, State: core.LastOperationStateSucceeded}
	busy := &core.LastOperation{Type: core.LastOperationTypeReconcile, State: core.LastOperationStateProcessing}
	for name, test := range map[string]struct {
		provider, from string
		last           *core.LastOperation
		change         func(shoot, old *core.Shoot)
		want           string
	}{
		"made":              {"local", "1.35.4", &core.LastOperation{Type: core.LastOperationTypeCreate, State: core.LastOperationStateSucceeded}, nil, ""},
		"reconciled":        {"local", "1.35.4", done, nil, ""},
		"under way":         {"local", "1.35.4", busy, nil, moving},
		"failed":            {"local", "1.35.4", &core.LastOperation{Type: core.LastOperationTypeReconcile, State: core.LastOperationStateError}, nil, moving},
		"patch, under way":  {"local", "1.36.2", busy, nil, ""},
		"asleep":            {"local", "1.35.4", done, func(_, old *core.Shoot) { old.Status.IsHibernated = true }, asleep},
		"going to sleep":    {"local", "1.35.4", done, func(s, _ *core.Shoot) { s.Spec.Hibernation = &core.Hibernation{Enabled: new(true)} }, asleep},
		"patch, asleep":     {"local", "1.36.2", done, func(_, old *core.Shoot) { old.Status.IsHibernated = true }, ""},
		"not begun":         {"local", "1.35.4", nil, nil, ""},
		"could not be made": {"local", "1.35.4", &core.LastOperation{Type: core.LastOperationTypeCreate, State: core.LastOperationStateFailed}, nil, ""},
		"another provider":  {"metal", "1.35.4", busy, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, old := shoot(), shoot()
			for _, one := range []*core.Shoot{s, old} {
				one.Spec.Provider.Type, one.Status.LastOperation = test.provider, test.last
			}
			old.Spec.Kubernetes.Version = test.from
			if test.change != nil {
				test.change(s, old)
			}
			var got string
			for _, e := range shoots.Validate(s, old, facts()) {
				if e.Field == "spec.kubernetes.version" {
					got += e.Detail
				}
			}
			if test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("said %q, want %q", got, test.want)
			}
		})
	}
}
