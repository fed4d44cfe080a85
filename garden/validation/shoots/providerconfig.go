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
	"github.com/loam-cloud/loam/garden/defaulting"
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
	for i, worker := range p.Workers {
		at := path.Child("workers").Index(i).Child("providerConfig")
		config, problems := provider.Worker(worker.ProviderConfig, int(worker.Minimum), at)
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

// validateProviderConfigChange refuses what a cluster that exists cannot take:
// a machine keeps its mounts, ports and configuration for its life. Pools come
// and go with theirs, and the garden itself listens on portMappings. A cluster that could not be made may change.
func validateProviderConfigChange(shoot, old *core.Shoot, spec *field.Path) field.ErrorList {
	last := old.Status.LastOperation
	made := last != nil && (last.Type != core.LastOperationTypeCreate || last.State == core.LastOperationStateSucceeded)
	if shoot.Spec.Provider.Type != defaulting.ProviderLocal || !made {
		return nil
	}
	path := spec.Child("provider")
	errs := unchanged(shoot.Spec.Provider.ControlPlaneConfig, old.Spec.Provider.ControlPlaneConfig, path.Child("controlPlaneConfig"), "portMappings")
	for i, worker := range shoot.Spec.Provider.Workers {
		at := slices.IndexFunc(old.Spec.Provider.Workers, func(w core.Worker) bool { return w.Name == worker.Name })
		if at >= 0 && old.Spec.Provider.Workers[at].Minimum > 0 {
			// The image goes along with the Kubernetes version.
			errs = append(errs, unchanged(worker.ProviderConfig, old.Spec.Provider.Workers[at].ProviderConfig, path.Child("workers").Index(i).Child("providerConfig"), "image")...)
			if was := old.Spec.Provider.Workers[at].Machine.Type; worker.Machine.Type != was {
				errs = append(errs, field.Invalid(path.Child("workers").Index(i).Child("machine", "type"), worker.Machine.Type,
					fmt.Sprintf("must stay %q while there are machines, which were made with it: add a pool of the other type, and take this one away", was)))
			}
		}
	}
	return append(errs, validateComponentChange(shoot, old, spec.Child("kubernetes"))...)
}

// unchanged names every field at the top of a configuration that differs.
func unchanged(now, was *runtime.RawExtension, path *field.Path, free ...string) field.ErrorList {
	fields, before := topLevel(now), topLevel(was)
	names := slices.Collect(maps.Keys(fields))
	for name := range before {
		if _, both := fields[name]; !both {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var errs field.ErrorList
	for _, name := range names {
		if slices.Contains([]string{"apiVersion", "kind"}, name) || slices.Contains(free, name) || reflect.DeepEqual(fields[name], before[name]) {
			continue
		}
		errs = append(errs, field.Forbidden(path.Child(name), "cannot be changed while there are machines: they were made with it"))
	}
	return errs
}

// topLevel reads an object; what is not one was refused before.
func topLevel(raw *runtime.RawExtension) map[string]any {
	var fields map[string]any
	if raw != nil {
		_ = json.Unmarshal(raw.Raw, &fields)
	}
	return fields
}

// validateComponentChange keeps what the programs of a cluster were started
// with: only an upgrade writes it anew.
func validateComponentChange(shoot, old *core.Shoot, path *field.Path) field.ErrorList {
	now, was := shoot.Spec.Kubernetes, old.Spec.Kubernetes
	if now.Version != was.Version {
		return nil
	}
	var errs field.ErrorList
	keep := func(at *field.Path, now, was map[string]bool) {
		if !maps.Equal(now, was) {
			errs = append(errs, field.Forbidden(at, "cannot be changed in a cluster that exists, but along with its Kubernetes version"))
		}
	}
	if mode := proxyMode(now.KubeProxy); mode != proxyMode(was.KubeProxy) {
		errs = append(errs, field.Forbidden(path.Child("kubeProxy", "mode"), "cannot be changed in a cluster that exists"))
	}
	gates, before := settings(now), settings(was)
	for _, name := range slices.Sorted(maps.Keys(gates)) {
		at := path
		for part := range strings.SplitSeq(name, ".") {
			at = at.Child(part)
		}
		keep(at, gates[name], before[name])
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

// settings are those that programs of a cluster are started with, by their paths.
func settings(k core.Kubernetes) map[string]map[string]bool {
	all := map[string]map[string]bool{
		"kubeAPIServer.featureGates": nil, "kubeAPIServer.runtimeConfig": nil, "kubeControllerManager.featureGates": nil,
		"kubeScheduler.featureGates": nil, "kubelet.featureGates": nil, "kubeProxy.featureGates": nil,
	}
	if s := k.KubeAPIServer; s != nil {
		all["kubeAPIServer.featureGates"], all["kubeAPIServer.runtimeConfig"] = s.FeatureGates, s.RuntimeConfig
	}
	if m := k.KubeControllerManager; m != nil {
		all["kubeControllerManager.featureGates"] = m.FeatureGates
	}
	if s := k.KubeScheduler; s != nil {
		all["kubeScheduler.featureGates"] = s.FeatureGates
	}
	if l := k.Kubelet; l != nil {
		all["kubelet.featureGates"] = l.FeatureGates
	}
	if p := k.KubeProxy; p != nil {
		all["kubeProxy.featureGates"] = p.FeatureGates
	}
	return all
}
