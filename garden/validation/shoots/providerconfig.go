package shoots

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/gardener/gardener/pkg/apis/core"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/nodeconfig/patching"
	"github.com/loam-cloud/loam/nodeconfig/provider"
)

// validateProviderConfigs checks what a cluster of provider type local holds in
// the words of loam.dev.
func validateProviderConfigs(shoot *core.Shoot, path *field.Path) field.ErrorList {
	p := shoot.Spec.Provider
	own, errs := provider.ControlPlane(p.ControlPlaneConfig, path.Child("controlPlaneConfig"))
	if p.InfrastructureConfig != nil {
		errs = append(errs, field.Forbidden(path.Child("infrastructureConfig"), "a cluster of provider type local has none: its machines are this host's"))
	}
	var taken []takenPort
	if len(errs) == 0 {
		taken = clusterPorts(own, path.Child("controlPlaneConfig"))
		errs = append(errs, twice(taken, nil)...)
	}
	shared := provider.Settings{Raw: own.Node, Path: path.Child("controlPlaneConfig", "node")}
	errs = append(errs, provider.Node(v1alpha1.RoleControlPlane, shoot.Spec.Kubernetes.Version, shared)...)
	for i, worker := range p.Workers {
		at := path.Child("workers").Index(i).Child("providerConfig")
		config, problems := provider.Worker(worker.ProviderConfig, int(worker.Minimum), at)
		if config.Node != nil && len(problems) == 0 {
			problems = provider.Node(roleOf(worker), shoot.Spec.Kubernetes.Version, shared, provider.Settings{Raw: config.Node, Path: at.Child("node")})
		}
		errs = append(errs, problems...)
		if len(problems) > 0 {
			continue
		}
		if version := tagged(config.Image); version != "" && version != shoot.Spec.Kubernetes.Version {
			errs = append(errs, field.Invalid(at.Child("image"), config.Image, "must be of Kubernetes "+shoot.Spec.Kubernetes.Version+", the cluster's version"))
		}
		ports, _ := provider.Ports(config.ExtraPortMappings, at.Child("extraPortMappings"))
		var pool []takenPort
		for _, port := range ports {
			pool = append(pool, takenPort{port, fmt.Sprintf("pool %q", worker.Name)})
		}
		errs = append(errs, twice(pool, taken)...)
		taken = append(taken, pool...)
	}
	return errs
}

// roleOf is the role of a pool's machines.
func roleOf(worker core.Worker) v1alpha1.MachineRole {
	if worker.ControlPlane != nil {
		return v1alpha1.RoleControlPlane
	}
	return v1alpha1.RoleWorker
}

// takenPort is a port of the host and who has it.
type takenPort struct {
	provider.Port
	holder string
}

// clusterPorts are the ports of the host that are asked for beside the pools.
func clusterPorts(own v1alpha1.ControlPlaneConfig, path *field.Path) []takenPort {
	var all []takenPort
	if s := own.APIServer; s != nil {
		address, _ := netip.ParseAddr(s.Address) // it was looked at; empty is loopback
		all = append(all, takenPort{provider.Port{Address: address, Host: uint16(s.Port), Protocol: "TCP", Path: path.Child("apiServer", "port")}, "the API server"})
	}
	ports, _ := provider.Ports(own.PortMappings, path.Child("portMappings")) // they were looked at
	for _, port := range ports {
		all = append(all, takenPort{port, "controlPlaneConfig.portMappings"})
	}
	return all
}

// twice names ports that another of the cluster has; those of one list among
// themselves were looked at where it was read.
func twice(ports, taken []takenPort) field.ErrorList {
	var errs field.ErrorList
	for i, port := range ports {
		for _, other := range append(slices.Clone(taken), ports[:i]...) {
			if port.holder != other.holder && port.Overlaps(other.Port) {
				errs = append(errs, field.Invalid(port.Path, port.Host, other.holder+" has this port of the host"))
				break
			}
		}
	}
	return errs
}

// tagged is the Kubernetes version that an image's tag names, empty if it names
// none.
func tagged(image string) string {
	name, _, _ := strings.Cut(image, "@")
	_, tag, _ := strings.Cut(name[strings.LastIndex(name, "/")+1:], ":")
	parts := strings.Split(tag, ".")
	if !strings.HasPrefix(tag, "v") || len(parts) != 3 {
		return ""
	}
	return tag[1:]
}

// What to do where a field cannot change.
const (
	otherCluster = "create another cluster with it"
	otherPool    = "add another pool with it, and remove this one"
)

// validateProviderConfigChange refuses what a cluster that exists cannot take:
// a machine keeps its mounts, ports and configuration for its life, but for that of
// its kubelet. Pools come and go with theirs, and the garden itself listens on
// portMappings. A cluster that could not be made may change.
func validateProviderConfigChange(shoot, old *core.Shoot, spec *field.Path) field.ErrorList {
	if !madeLocal(shoot, old) {
		return nil
	}
	path := spec.Child("provider")
	errs := unchanged(shoot.Spec.Provider.ControlPlaneConfig, old.Spec.Provider.ControlPlaneConfig, otherCluster, path.Child("controlPlaneConfig"), "portMappings")
	var free []string
	if shoot.Spec.Kubernetes.Version != old.Spec.Kubernetes.Version {
		// It goes along with the Kubernetes version.
		free = []string{"image"}
	}
	for i, worker := range shoot.Spec.Provider.Workers {
		at := slices.IndexFunc(old.Spec.Provider.Workers, func(w core.Worker) bool { return w.Name == worker.Name })
		if at < 0 || old.Spec.Provider.Workers[at].Minimum == 0 {
			continue
		}
		was, instead := old.Spec.Provider.Workers[at], otherPool
		if worker.ControlPlane != nil {
			instead = otherCluster
		}
		errs = append(errs, unchanged(worker.ProviderConfig, was.ProviderConfig, instead, path.Child("workers").Index(i).Child("providerConfig"), free...)...)
		if was := was.Machine.Type; worker.Machine.Type != was {
			errs = append(errs, field.Invalid(path.Child("workers").Index(i).Child("machine", "type"), worker.Machine.Type,
				fmt.Sprintf("must stay %q while there are machines, which were made with it: add a pool of the other type, and take this one away", was)))
		}
		errs = append(errs, keepProcessors(kubeletOf(shoot, worker), kubeletOf(old, was), instead, path.Child("workers").Index(i).Child("kubernetes", "kubelet"))...)
	}
	if !slices.ContainsFunc(shoot.Spec.Provider.Workers, holdsControlPlane) {
		errs = append(errs, keepProcessors(kubeletOf(shoot, core.Worker{}), kubeletOf(old, core.Worker{}), otherCluster, spec.Child("kubernetes", "kubelet"))...)
	}
	return append(errs, validateProxyChange(shoot, old, spec.Child("kubernetes", "kubeProxy"))...)
}

// keepProcessors keeps how kubelets share out processors: one that finds pods which
// have some by another policy does not start.
func keepProcessors(now, was core.KubeletConfig, instead string, path *field.Path) field.ErrorList {
	if reflect.DeepEqual(now.CPUManagerPolicy, was.CPUManagerPolicy) {
		return nil
	}
	return field.ErrorList{field.Forbidden(path.Child("cpuManagerPolicy"), "cannot be changed while there are machines, whose pods have processors by the former one: "+instead)}
}

// kubeletOf is what kubelets of a pool are configured with.
func kubeletOf(shoot *core.Shoot, worker core.Worker) core.KubeletConfig {
	switch {
	case worker.Kubernetes != nil && worker.Kubernetes.Kubelet != nil:
		return *worker.Kubernetes.Kubelet
	case shoot.Spec.Kubernetes.Kubelet != nil:
		return *shoot.Spec.Kubernetes.Kubelet
	}
	return core.KubeletConfig{}
}

// unchanged names every field at the top of a configuration that differs. Patches of
// a kubelet's configuration may.
func unchanged(now, was *runtime.RawExtension, instead string, path *field.Path, free ...string) field.ErrorList {
	fields, before := topLevel(now), topLevel(was)
	names := slices.Collect(maps.Keys(fields))
	for name := range before {
		if _, both := fields[name]; !both {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	patches, patchesBefore := patchesOf(now), patchesOf(was)
	var errs field.ErrorList
	for _, name := range names {
		same := reflect.DeepEqual(fields[name], before[name])
		switch name {
		case "apiVersion", "kind":
			same = true
		case "kubeadmConfigPatches":
			same = slices.Equal(patches.KubeadmConfigPatches, patchesBefore.KubeadmConfigPatches)
		case "kubeadmConfigPatchesJSON6902":
			same = slices.Equal(patches.KubeadmConfigPatchesJSON6902, patchesBefore.KubeadmConfigPatchesJSON6902)
		}
		if same || slices.Contains(free, name) {
			continue
		}
		problem := "cannot be changed while there are machines: they were made with it; " + instead
		if strings.HasPrefix(name, "kubeadmConfigPatches") {
			problem = "cannot be changed while there are machines, but for patches of KubeletConfiguration: they were made with it; " + instead
		}
		errs = append(errs, field.Forbidden(path.Child(name), problem))
	}
	return errs
}

// patchesOf are the patches in a configuration but those for the kubelet.
func patchesOf(raw *runtime.RawExtension) v1alpha1.KubeadmPatches {
	var patches v1alpha1.KubeadmPatches
	if raw != nil {
		_ = json.Unmarshal(raw.Raw, &patches) // what cannot be read was refused before
	}
	return patching.Without(patches, patching.KubeletConfiguration)
}

// topLevel reads an object; what is not one was refused before.
func topLevel(raw *runtime.RawExtension) map[string]any {
	var fields map[string]any
	if raw != nil {
		_ = json.Unmarshal(raw.Raw, &fields)
	}
	return fields
}

// validateProxyChange keeps how kube-proxy was configured: what runs on all nodes is
// its users' to change once it is there.
func validateProxyChange(shoot, old *core.Shoot, path *field.Path) field.ErrorList {
	now, was := shoot.Spec.Kubernetes.KubeProxy, old.Spec.Kubernetes.KubeProxy
	const instead = "cannot be changed in a cluster that exists: change the ConfigMap kube-proxy in it, or create another cluster with it"
	var errs field.ErrorList
	if mode := proxyMode(now); mode != proxyMode(was) {
		errs = append(errs, field.Invalid(path.Child("mode"), mode, instead))
	}
	if gates := proxyGates(now); !maps.Equal(gates, proxyGates(was)) && shoot.Spec.Kubernetes.Version == old.Spec.Kubernetes.Version {
		errs = append(errs, field.Invalid(path.Child("featureGates"), gates, instead))
	}
	return errs
}

// proxyMode is what brings services to pods, in a word. A cluster without workers
// says nothing of it until it gets some, and has kube-proxy's own default.
func proxyMode(p *core.KubeProxyConfig) core.ProxyMode {
	switch {
	case p != nil && p.Enabled != nil && !*p.Enabled:
		return "none"
	case p == nil || p.Mode == nil:
		return core.ProxyModeIPTables
	}
	return *p.Mode
}

func proxyGates(p *core.KubeProxyConfig) map[string]bool {
	if p == nil {
		return nil
	}
	return p.FeatureGates
}
