package profile

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/api/v1alpha1"
	"github.com/loam-cloud/loam/nodeconfig/patching"
)

// Paths of what is rendered.
const (
	// ContainerdPath is containerd's configuration, ContainerdPartPath what that of a
	// node image takes in beside its own.
	ContainerdPath     = "/etc/containerd/config.toml"
	ContainerdPartPath = "/etc/containerd/conf.d/05-profile.toml"
	// KubeletPatchPath is a patch that kubeadm makes to the kubelet's configuration.
	KubeletPatchPath = "/etc/loam/patches/kubeletconfiguration+merge.yaml"
	// ClusterPath holds what kubeadm init is told of the control plane's flags.
	ClusterPath = "/etc/loam/cluster.yaml"
	// LogindPath sorts after unattended-upgrades-logind-maxdelay.conf, which says 30 s.
	LogindPath = "/etc/systemd/logind.conf.d/zz-loam.conf"
	// KubeletUnitPath is part of the kubelet's service.
	KubeletUnitPath = "/etc/systemd/system/kubelet.service.d/20-loam.conf"
	SysctlPath      = "/etc/sysctl.d/90-loam.conf"
	ModulesPath     = "/etc/modules-load.d/loam.conf"
	TimePath        = "/etc/systemd/timesyncd.conf.d/90-loam.conf"
	// ApplyPath puts files in force that were written anew.
	ApplyPath = "/usr/local/lib/loam/apply-profile"

	certsPath = "/etc/containerd/certs.d"
	unitsPath = "/etc/systemd/system/"
	// hostsPath are lines for /etc/hosts.
	hostsPath = "/etc/loam/hosts"
)

// rendered begins files that have comments.
const rendered = "# Written by Loam from the node profile: loam node explain says why.\n"

// Rendered is what makes a machine a node.
type Rendered struct {
	// Files are in the order of their paths.
	Files []File
	// UserData, VendorData and NetworkConfig are for cloud-init; nil for a container,
	// which is given the files.
	UserData, VendorData, NetworkConfig []byte
}

// Render makes files of a profile. The error names every value that cannot be.
func (p *Profile) Render(in Input) (*Rendered, error) {
	r, err := p.Resolve(in)
	if err != nil {
		return nil, err
	}
	files, err := r.files(in)
	if err != nil {
		return nil, err
	}
	out := &Rendered{}
	if !in.Container {
		files[ApplyPath] = File{Path: ApplyPath, Content: r.applyScript(files), Mode: program}
	}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		out.Files = append(out.Files, files[path])
	}
	if in.Container {
		return out, nil
	}
	if out.UserData, err = userData(in, out.Files); err != nil {
		return nil, err
	}
	if out.VendorData, err = r.vendorData(); err != nil {
		return nil, err
	}
	out.NetworkConfig, err = networkConfig(in.Networks)
	return out, err
}

// files are those of the profile, and the node's own instead of them.
func (r *Resolved) files(in Input) (map[string]File, error) {
	all := map[string]File{}
	add := func(files ...File) {
		for _, f := range files {
			all[f.Path] = f
		}
	}
	containerd, err := r.ContainerdFiles(in)
	if err != nil {
		return nil, err
	}
	mirrors, err := mirrorFiles(in.Mirrors)
	if err != nil {
		return nil, err
	}
	cluster, err := r.clusterFiles(in)
	if err != nil {
		return nil, err
	}
	add(slices.Concat(containerd, mirrors, cluster)...)
	add(r.systemFiles()...)
	for _, path := range slices.Sorted(maps.Keys(r.Files)) {
		f := r.Files[path]
		bits, err := mode(f.Mode)
		if err != nil {
			return nil, err
		}
		add(File{Path: path, Content: []byte(f.Content), Mode: fs.FileMode(bits), Restart: f.Restart})
	}
	for _, name := range slices.Sorted(maps.Keys(r.Units)) {
		f := File{Path: unitsPath + name, Content: []byte(r.Units[name]), Mode: public}
		if serviceName.MatchString(name) {
			f.Restart = []string{name}
		}
		add(f)
	}
	add(in.Files...)
	return all, nil
}

// clusterFiles are what kubeadm is told.
func (r *Resolved) clusterFiles(in Input) ([]File, error) {
	var files []File
	if len(r.Kubelet) > 0 {
		document := maps.Clone(r.Kubelet)
		document["apiVersion"], document["kind"] = patching.KubeletGroup, patching.KubeletConfiguration
		text, err := yaml.Marshal(document)
		if err != nil {
			return nil, fmt.Errorf("writing the kubelet's configuration: %w", err)
		}
		files = append(files, File{Path: KubeletPatchPath, Content: append([]byte(rendered), text...), Mode: public})
	}
	if r.ControlPlane == nil || in.Role != v1alpha1.RoleControlPlane {
		return files, nil
	}
	document := map[string]any{"apiVersion": patching.KubeadmGroup, "kind": "ClusterConfiguration", "kubernetesVersion": in.KubernetesVersion}
	for name, args := range map[string]map[string]string{
		"apiServer": r.ControlPlane.APIServer, "controllerManager": r.ControlPlane.ControllerManager, "scheduler": r.ControlPlane.Scheduler,
	} {
		var list []map[string]string
		for _, flag := range slices.Sorted(maps.Keys(args)) {
			list = append(list, map[string]string{"name": flag, "value": args[flag]})
		}
		if len(list) > 0 {
			document[name] = map[string]any{"extraArgs": list}
		}
	}
	text, err := yaml.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("writing kubeadm's configuration: %w", err)
	}
	return append(files, File{Path: ClusterPath, Content: append([]byte(rendered), text...), Mode: public}), nil
}

// systemFiles are those of systemd and the kernel.
func (r *Resolved) systemFiles() []File {
	var files []File
	add := func(path, text string, restart ...string) {
		files = append(files, File{Path: path, Content: []byte(rendered + text), Mode: public, Restart: restart})
	}
	if d := r.inhibitDelay(); d > 0 {
		add(LogindPath, "[Login]\nInhibitDelayMaxSec="+seconds(d)+"\n", "systemd-logind.service")
	}
	if s := r.KubeletService; s != nil && s.StopTimeout != nil {
		// systemd takes it in without a restart of the kubelet.
		add(KubeletUnitPath, "[Service]\nTimeoutStopSec="+seconds(s.StopTimeout.Duration)+"\n")
	}
	if len(r.Modules) > 0 {
		add(ModulesPath, strings.Join(r.Modules, "\n")+"\n", "systemd-modules-load.service")
	}
	if len(r.Sysctls) > 0 {
		var text strings.Builder
		for _, name := range slices.Sorted(maps.Keys(r.Sysctls)) {
			fmt.Fprintf(&text, "%s = %s\n", name, r.Sysctls[name])
		}
		add(SysctlPath, text.String(), "systemd-sysctl.service")
	}
	if t := r.Time; t != nil && len(t.Servers) > 0 {
		add(TimePath, "[Time]\nNTP="+strings.Join(t.Servers, " ")+"\n", "systemd-timesyncd.service")
	}
	return files
}

// restartOrder has modules before the settings that they bring, and those before all
// services.
func restartOrder(a, b string) int {
	rank := func(unit string) int {
		return cmp.Or(map[string]int{"systemd-modules-load.service": 1, "systemd-sysctl.service": 2}[unit], 3)
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(a, b))
}
