package target_test

import (
	"reflect"
	"testing"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/apimachinery/pkg/util/intstr"
	kubelet "k8s.io/kubelet/config/v1beta1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/controllers/shoot/internal/target"
)

// TestKubelet reads what a Shoot says of kubelets, and checks that the kubelet
// has a field for each of what comes out.
func TestKubelet(t *testing.T) {
	const everything = `
cpuCFSQuota: false
cpuManagerPolicy: static
podPidsLimit: 4096
maxPods: 50
seccompDefault: true
protectKernelDefaults: false
singleProcessOOMKill: true
containerLogMaxFiles: 4
containerLogMaxSize: 20Mi
streamingConnectionIdleTimeout: 5m
memorySwap: {swapBehavior: LimitedSwap}
kubeReserved: {cpu: 100m, memory: 64Mi, ephemeralStorage: 1Gi, pid: 100}
evictionHard: {memoryAvailable: 5%, imageFSAvailable: 1Gi, imageFSInodesFree: 5%, nodeFSAvailable: 1Gi, nodeFSInodesFree: 5%}
evictionSoft: {memoryAvailable: 10%}
evictionSoftGracePeriod: {memoryAvailable: 90s}
evictionMinimumReclaim: {nodeFSAvailable: 1Gi}
evictionMaxPodGracePeriod: 60
evictionPressureTransitionPeriod: 4m
imageGCHighThresholdPercent: 80
imageGCLowThresholdPercent: 70
imageMinimumGCAge: 1m
imageMaximumGCAge: 24h
registryPullQPS: 10
registryBurst: 20
maxParallelImagePulls: 3
imagePullCredentialsVerificationPolicy: NeverVerifyAllowlistedImages
preloadedImagesVerificationAllowlist: [registry.example.org/team/*]
`
	for name, test := range map[string]struct {
		shared, own, want string
		pods              int32
	}{
		"what the API fills in is nobody's word": {
			shared: "{failSwapOn: true, imageGCHighThresholdPercent: 50, imageGCLowThresholdPercent: 40, imageMinimumGCAge: 2m, imageMaximumGCAge: 0s, serializeImagePulls: true}",
			want:   "{}",
		},
		"the cluster's": {shared: "{podPidsLimit: 1000, maxPods: 30, featureGates: {A: true}}", want: "{podPidsLimit: 1000}", pods: 30},
		"the pool's stands instead": {
			shared: "{podPidsLimit: 1000, maxPods: 30, featureGates: {A: true, B: true}}", own: "{registryBurst: 3, featureGates: {B: false, C: true}}",
			want: "{registryBurst: 3, featureGates: {A: null, B: false, C: true}}",
		},
		"everything": {own: everything, pods: 50, want: `
cpuCFSQuota: false
cpuManagerPolicy: static
podPidsLimit: 4096
seccompDefault: true
protectKernelDefaults: false
singleProcessOOMKill: true
containerLogMaxFiles: 4
containerLogMaxSize: 20Mi
streamingConnectionIdleTimeout: 5m0s
memorySwap: {swapBehavior: LimitedSwap}
kubeReserved: {cpu: 100m, memory: 64Mi, ephemeral-storage: 1Gi, pid: "100"}
evictionHard: {memory.available: 5%, imagefs.available: 1Gi, imagefs.inodesFree: 5%, nodefs.available: 1Gi, nodefs.inodesFree: 5%}
evictionSoft: {memory.available: 10%}
evictionSoftGracePeriod: {memory.available: 1m30s}
evictionMinimumReclaim: {nodefs.available: 1Gi}
evictionMaxPodGracePeriod: 60
evictionPressureTransitionPeriod: 4m0s
imageGCHighThresholdPercent: 80
imageGCLowThresholdPercent: 70
imageMinimumGCAge: 1m0s
imageMaximumGCAge: 24h0m0s
registryPullQPS: 10
registryBurst: 20
maxParallelImagePulls: 3
imagePullCredentialsVerificationPolicy: NeverVerifyAllowlistedImages
preloadedImagesVerificationAllowlist: [registry.example.org/team/*]
`},
	} {
		t.Run(name, func(t *testing.T) {
			read := func(text string) *gardencorev1beta1.KubeletConfig {
				if text == "" {
					return nil
				}
				config := &gardencorev1beta1.KubeletConfig{}
				if err := yaml.UnmarshalStrict([]byte(text), config); err != nil {
					t.Fatal(err)
				}
				return config
			}
			cluster, err := target.Cluster(shoot(func(s *gardencorev1beta1.ShootSpec) {
				w := worker("w", 3)
				w.MaxUnavailable = ptr.To(intstr.FromString("67%"))
				if own := read(test.own); own != nil {
					w.Kubernetes = &gardencorev1beta1.WorkerKubernetes{Kubelet: own}
				}
				s.Kubernetes.Kubelet = read(test.shared)
				s.Provider.Workers = []gardencorev1beta1.Worker{w}
			}))
			if err != nil {
				t.Fatal(err)
			}
			pool := cluster.Pools[1]
			text, err := yaml.Marshal(pool.Kubelet)
			if err != nil {
				t.Fatal(err)
			}
			var got, want map[string]any
			if err := yaml.Unmarshal(text, &got); err != nil {
				t.Fatal(err)
			}
			if err := yaml.Unmarshal([]byte(test.want), &want); err != nil {
				t.Fatal(err)
			}
			if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) || pool.MaxPods != test.pods || pool.Together != 2 {
				t.Errorf("got %s%d pods, %d together, want %s%d pods", text, pool.MaxPods, pool.Together, test.want, test.pods)
			}
			if err := yaml.UnmarshalStrict(text, &kubelet.KubeletConfiguration{}); err != nil {
				t.Errorf("the kubelet does not know %s: %v", text, err)
			}
		})
	}
}
