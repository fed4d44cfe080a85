package container

import (
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/machines"
)

const (
	// NodeLabel is the label of images that Loam built, with value 1: they need
	// no privileged container.
	NodeLabel = "dev.loam.node"
	// VolumesLabel is the label of an image that lists, with commas, the folders
	// that are to be empty volumes.
	VolumesLabel = "dev.loam.volumes"
	// haltSignal makes systemd as the first process shut the machine down.
	haltSignal = "SIGRTMIN+3"
	// modules is where kernel modules are, on the host and in the machine.
	modules = "/lib/modules"
)

// nodeImage is what the driver needs to know of an image.
type nodeImage struct {
	// own says that Loam built it.
	own bool
	// volumes are the folders that are to be empty volumes.
	volumes []string
	// stopSignal is empty when the image names none.
	stopSignal string
}

// volume is a disk of a machine.
type volume struct {
	name, path string
	// fill copies what the image holds at the path into the new volume.
	fill bool
}

func (d *Driver) image(ctx context.Context, name string) (nodeImage, error) {
	result, err := d.client.ImageInspect(ctx, name)
	if errdefs.IsNotFound(err) {
		return nodeImage{}, fault.New(fault.Invalid,
			"image %q is not on this host: build it with `loam image build`, or fetch it with `docker pull %s`", name, name)
	}
	if err != nil {
		return nodeImage{}, fmt.Errorf("looking at image %q: %w", name, d.classify(err))
	}
	if result.Config == nil {
		return nodeImage{}, nil
	}
	image := nodeImage{own: result.Config.Labels[NodeLabel] == "1", stopSignal: result.Config.StopSignal}
	if list := result.Config.Labels[VolumesLabel]; list != "" {
		image.volumes = strings.Split(list, ",")
	}
	for _, folder := range image.volumes {
		if !path.IsAbs(folder) || path.Clean(folder) != folder || folder == "/" {
			return nodeImage{}, fault.New(fault.Invalid, "image %q: label %s lists %q, which is no absolute path of a folder", name, VolumesLabel, folder)
		}
	}
	return image, nil
}

func (d *Driver) containerName(cluster, name string) string {
	return d.instance + "-" + cluster + "-" + name
}

// volumes returns the disks of a machine. Container file systems cannot lie
// under containerd's, and what etcd and the kubelet write is not for a layered
// one: an image says which of its folders those are, and keeps them empty. One
// that does not say gets all of /var, filled, which takes seconds.
func (d *Driver) volumes(spec machines.Spec, image nodeImage) []volume {
	prefix := d.containerName(spec.Cluster, spec.Name)
	if len(image.volumes) == 0 {
		return []volume{{name: prefix + "-var", path: "/var", fill: true}}
	}
	var volumes []volume
	for _, folder := range image.volumes {
		volumes = append(volumes, volume{name: prefix + strings.ReplaceAll(folder, "/", "-"), path: folder})
	}
	return volumes
}

// createVolume makes a volume, and refuses one of the same name that is not
// this machine's: the daemon would give it out without a word.
func (d *Driver) createVolume(ctx context.Context, spec machines.Spec, place *placement, name string) error {
	labels, err := d.diskLabels(spec, place)
	if err != nil {
		return err
	}
	result, err := d.client.VolumeCreate(ctx, client.VolumeCreateOptions{Name: name, Labels: labels})
	if err != nil {
		return fmt.Errorf("making volume %q: %w", name, d.classify(err))
	}
	for key, value := range d.ownLabels(spec.Cluster, spec.Name) {
		if result.Volume.Labels[key] != value {
			return fault.New(fault.Invalid, "there is a volume %q that is not this machine's: remove it with `docker volume rm %s`", name, name)
		}
	}
	return nil
}

// shape says what the machine's container looks like, but for its labels.
func (d *Driver) shape(spec machines.Spec, image nodeImage, place *placement, missing []string) client.ContainerCreateOptions {
	stopSignal := image.stopSignal
	if stopSignal == "" {
		stopSignal = haltSignal
	}
	exposed, bindings := portBindings(place.ports)
	host := &container.HostConfig{
		NetworkMode:  container.NetworkMode(d.instance),
		PortBindings: bindings,
		// A machine that was switched off stays so; one that ran comes back with
		// the daemon.
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyUnlessStopped},
		LogConfig:     container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "10m", "max-file": "2"}},
		CgroupnsMode:  container.CgroupnsModePrivate,
		Tmpfs:         map[string]string{"/run": "exec,mode=755,size=20%", "/tmp": "exec,mode=1777,size=50%"},
		Mounts:        d.mounts(spec, image),
		Binds:         relabelled(spec.Mounts),
		DNSSearch:     searchDomains(spec.DNSSearch),
		Resources: container.Resources{
			NanoCPUs: int64(spec.CPUs * 1e9),
			Memory:   spec.MemoryBytes,
			// The bound is for memory and swap together: nodes do without swap.
			MemorySwap: spec.MemoryBytes,
		},
	}
	if place.address6.IsValid() {
		// Containers begin with IPv6 off, and pass nothing on.
		host.Sysctls = map[string]string{"net.ipv6.conf.all.disable_ipv6": "0", "net.ipv6.conf.all.forwarding": "1"}
	}
	grant(host, image, missing)
	return client.ContainerCreateOptions{
		Name: d.containerName(spec.Cluster, spec.Name),
		Config: &container.Config{
			Hostname:     spec.Hostname,
			Image:        spec.Image,
			Env:          environment(spec.Environment),
			ExposedPorts: exposed,
			StopSignal:   stopSignal,
			// systemd logs to the console, which is then the container's log.
			Tty: true,
		},
		HostConfig: host,
		NetworkingConfig: &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{
			d.instance: {IPAMConfig: place.endpoint()},
		}},
	}
}

// grant gives the container the rights of a host of its own. An image that is
// not Loam's counts on a privileged container; where the daemon lacks
// capabilities it could not start one.
func grant(host *container.HostConfig, image nodeImage, missing []string) {
	host.SecurityOpt = []string{"seccomp=unconfined", "apparmor=unconfined", "label=disable"}
	if !image.own && len(missing) == 0 {
		host.Privileged = true
		return
	}
	host.CapAdd = []string{"ALL"}
	host.CapDrop = missing
	host.DeviceCgroupRules = []string{"a *:* rwm"}
	// Empty, not nil: nil means the daemon's own lists.
	host.MaskedPaths = []string{}
	host.ReadonlyPaths = []string{}
}

func (d *Driver) mounts(spec machines.Spec, image nodeImage) []mount.Mount {
	var mounts []mount.Mount
	for _, v := range d.volumes(spec, image) {
		mounts = append(mounts, mount.Mount{
			Type: mount.TypeVolume, Source: v.name, Target: v.path,
			VolumeOptions: &mount.VolumeOptions{NoCopy: !v.fill, Labels: d.ownLabels(spec.Cluster, spec.Name)},
		})
	}
	if d.hasModules() && !slices.ContainsFunc(spec.Mounts, func(m machines.Mount) bool { return m.MachinePath == modules }) {
		mounts = append(mounts, mount.Mount{Type: mount.TypeBind, Source: modules, Target: modules, ReadOnly: true})
	}
	for _, m := range spec.Mounts {
		if m.SELinuxRelabel {
			continue
		}
		mounts = append(mounts, mount.Mount{
			Type: mount.TypeBind, Source: m.HostPath, Target: m.MachinePath, ReadOnly: m.ReadOnly,
			BindOptions: &mount.BindOptions{Propagation: propagation(m.Propagation)},
		})
	}
	return mounts
}

// relabelled are the mounts that are to get a label of SELinux: only this form of
// a mount can ask for one.
func relabelled(all []machines.Mount) []string {
	var binds []string
	for _, m := range all {
		if !m.SELinuxRelabel {
			continue
		}
		options := []string{"Z", string(propagation(m.Propagation))}
		if m.ReadOnly {
			options = append(options, "ro")
		}
		binds = append(binds, m.HostPath+":"+m.MachinePath+":"+strings.Join(options, ","))
	}
	return binds
}

// searchDomains has the daemon's way to say none, which is the root.
func searchDomains(wanted []string) []string {
	if wanted != nil && len(wanted) == 0 {
		return []string{"."}
	}
	return wanted
}

// hasModules tells whether the host is known to have kernel modules to load.
func (d *Driver) hasModules() bool {
	if d.localSocket() == "" {
		return false
	}
	info, err := os.Stat(modules)
	return err == nil && info.IsDir()
}

func propagation(name string) mount.Propagation {
	switch name {
	case "HostToContainer":
		return mount.PropagationRSlave
	case "Bidirectional":
		return mount.PropagationRShared
	}
	return mount.PropagationRPrivate
}

func portBindings(ports []machines.Port) (network.PortSet, network.PortMap) {
	exposed, bindings := network.PortSet{}, network.PortMap{}
	for _, port := range ports {
		key, _ := network.PortFrom(port.MachinePort, networkProtocol(port.Protocol))
		exposed[key] = struct{}{}
		bindings[key] = append(bindings[key], network.PortBinding{
			HostIP: port.HostAddress, HostPort: strconv.Itoa(int(port.HostPort)),
		})
	}
	return exposed, bindings
}

func networkProtocol(protocol machines.Protocol) network.IPProtocol {
	switch protocol {
	case machines.UDP:
		return network.UDP
	case machines.SCTP:
		return network.SCTP
	}
	return network.TCP
}

func environment(variables map[string]string) []string {
	var list []string
	for name, value := range variables {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return list
}
