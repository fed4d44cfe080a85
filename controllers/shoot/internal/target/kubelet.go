package target

import (
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/shoots"
)

// What the API fills in where a user has said nothing (v1beta1's defaults). Nodes
// that are containers of this host have others: their disk is the host's.
const (
	defaultGCHigh, defaultGCLow = 50, 40
	defaultGCAge                = 2 * time.Minute
)

// kubelet is what a user wants of the kubelets of a pool. A configuration of the
// pool's own stands instead of the cluster's, not on top of it.
//
// Whether swap keeps a kubelet from starting is not asked: the swap is the host's.
func kubelet(pool *shoots.Pool, own, shared *gardencorev1beta1.KubeletConfig) {
	if own == nil {
		return
	}
	pool.MaxPods = ptr.Deref(own.MaxPods, 0)
	fields := document{}
	if own != shared {
		fields.gates(own, shared)
	}
	fields.limits(own)
	fields.evictions(own)
	fields.images(own)
	if len(fields) > 0 {
		pool.Kubelet = fields
	}
}

// document holds fields of a KubeletConfiguration as in JSON.
type document map[string]any

// set sets a field to what a pointer leads to.
func set[T any](d document, name string, value *T) {
	if value != nil {
		d[name] = *value
	}
}

// given are the fields that are set, nil when there is none.
func given(fields map[string]string) map[string]any {
	all := map[string]any{}
	for name, value := range fields {
		if value != "" {
			all[name] = value
		}
	}
	return all
}

func (d document) add(name string, fields map[string]string) {
	if all := given(fields); len(all) > 0 {
		d[name] = all
	}
}

// gates takes away those of the cluster that the pool does not have.
func (d document) gates(own, shared *gardencorev1beta1.KubeletConfig) {
	all := map[string]any{}
	if shared != nil {
		for name := range shared.FeatureGates {
			all[name] = nil
		}
	}
	for name, on := range own.FeatureGates {
		all[name] = on
	}
	if len(all) > 0 {
		d["featureGates"] = all
	}
}

func (d document) limits(k *gardencorev1beta1.KubeletConfig) {
	set(d, "cpuCFSQuota", k.CPUCFSQuota)
	set(d, "cpuManagerPolicy", k.CPUManagerPolicy)
	set(d, "podPidsLimit", k.PodPIDsLimit)
	set(d, "seccompDefault", k.SeccompDefault)
	set(d, "protectKernelDefaults", k.ProtectKernelDefaults)
	set(d, "singleProcessOOMKill", k.SingleProcessOOMKill)
	set(d, "containerLogMaxFiles", k.ContainerLogMaxFiles)
	if k.ContainerLogMaxSize != nil {
		d["containerLogMaxSize"] = k.ContainerLogMaxSize.String()
	}
	if k.StreamingConnectionIdleTimeout != nil {
		d["streamingConnectionIdleTimeout"] = k.StreamingConnectionIdleTimeout.Duration.String()
	}
	if k.MemorySwap != nil && k.MemorySwap.SwapBehavior != nil {
		d["memorySwap"] = map[string]any{"swapBehavior": string(*k.MemorySwap.SwapBehavior)}
	}
	if r := k.KubeReserved; r != nil {
		d.add("kubeReserved", map[string]string{
			"cpu": quantity(r.CPU), "memory": quantity(r.Memory), "ephemeral-storage": quantity(r.EphemeralStorage), "pid": quantity(r.PID),
		})
	}
}

func (d document) evictions(k *gardencorev1beta1.KubeletConfig) {
	thresholds := func(name string, e *gardencorev1beta1.KubeletConfigEviction) {
		if e != nil {
			d.add(name, signals(ptr.Deref(e.MemoryAvailable, ""), ptr.Deref(e.ImageFSAvailable, ""), ptr.Deref(e.ImageFSInodesFree, ""),
				ptr.Deref(e.NodeFSAvailable, ""), ptr.Deref(e.NodeFSInodesFree, "")))
		}
	}
	thresholds("evictionHard", k.EvictionHard)
	thresholds("evictionSoft", k.EvictionSoft)
	if g := k.EvictionSoftGracePeriod; g != nil {
		d.add("evictionSoftGracePeriod", signals(duration(g.MemoryAvailable), duration(g.ImageFSAvailable), duration(g.ImageFSInodesFree),
			duration(g.NodeFSAvailable), duration(g.NodeFSInodesFree)))
	}
	if m := k.EvictionMinimumReclaim; m != nil {
		d.add("evictionMinimumReclaim", signals(quantity(m.MemoryAvailable), quantity(m.ImageFSAvailable), quantity(m.ImageFSInodesFree),
			quantity(m.NodeFSAvailable), quantity(m.NodeFSInodesFree)))
	}
	set(d, "evictionMaxPodGracePeriod", k.EvictionMaxPodGracePeriod)
	if k.EvictionPressureTransitionPeriod != nil {
		d["evictionPressureTransitionPeriod"] = k.EvictionPressureTransitionPeriod.Duration.String()
	}
}

func signals(memory, image, imageInodes, node, nodeInodes string) map[string]string {
	return map[string]string{
		"memory.available": memory, "imagefs.available": image, "imagefs.inodesFree": imageInodes, "nodefs.available": node, "nodefs.inodesFree": nodeInodes,
	}
}

func (d document) images(k *gardencorev1beta1.KubeletConfig) {
	if high, low := k.ImageGCHighThresholdPercent, k.ImageGCLowThresholdPercent; ptr.Deref(high, defaultGCHigh) != defaultGCHigh || ptr.Deref(low, defaultGCLow) != defaultGCLow {
		set(d, "imageGCHighThresholdPercent", high)
		set(d, "imageGCLowThresholdPercent", low)
	}
	if age := k.ImageMinimumGCAge; age != nil && age.Duration != defaultGCAge {
		d["imageMinimumGCAge"] = age.Duration.String()
	}
	if age := k.ImageMaximumGCAge; age != nil && age.Duration != 0 {
		d["imageMaximumGCAge"] = age.Duration.String()
	}
	set(d, "registryPullQPS", k.RegistryPullQPS)
	set(d, "registryBurst", k.RegistryBurst)
	set(d, "maxParallelImagePulls", k.MaxParallelImagePulls)
	if policy := k.ImagePullCredentialsVerificationPolicy; policy != nil {
		d["imagePullCredentialsVerificationPolicy"] = string(*policy)
	}
	if list := k.PreloadedImagesVerificationAllowlist; len(list) > 0 {
		d["preloadedImagesVerificationAllowlist"] = list
	}
}

func quantity(q *resource.Quantity) string {
	if q == nil {
		return ""
	}
	return q.String()
}

func duration(d *metav1.Duration) string {
	if d == nil {
		return ""
	}
	return d.Duration.String()
}

// together is how many nodes of a pool may be changed at the same time: those that
// may be unavailable, but at least one.
func together(w gardencorev1beta1.Worker) int {
	if w.MaxUnavailable == nil {
		return 0
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(w.MaxUnavailable, int(w.Minimum), false)
	if err != nil {
		return 0
	}
	return max(n, 0)
}
