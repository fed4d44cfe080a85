package profile

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/version"
	kubelet "k8s.io/kubelet/config/v1beta1"

	"github.com/loam-cloud/loam/api/v1alpha1"
)

// Input is what a profile is rendered for: one node, or like ones.
type Input struct {
	// Role is empty where the profile knows no roles.
	Role v1alpha1.MachineRole
	// KubernetesVersion and ContainerdVersion are full versions: v1.36.3, 2.2.1.
	KubernetesVersion, ContainerdVersion string
	// Container is for a node that is a container of Loam's node image.
	Container bool
	// CgroupVersion is 1 or 2; 0 where it is not known, as of a container.
	CgroupVersion int
	// Disk is what the machine's disk is capped at.
	Disk Disk
	// CPUs and MemoryBytes are the machine's; 0 where they are not known.
	CPUs        float64
	MemoryBytes int64
	// HypervisorShutdown is how long the hypervisor waits for a machine that it has told
	// to end; 0 where it is not known.
	HypervisorShutdown time.Duration
	// Mirrors are where containerd asks for images before their registry.
	Mirrors []Mirror
	// Name is the host's, with its domain or without.
	Name string
	// SSHKeys are public keys of the image's own user.
	SSHKeys []string
	// Networks are the machine's; with none, each card asks for its address.
	Networks []Network
	// Files are this node's own. One replaces a file of the profile at the same path.
	Files []File
}

// Disk is what a disk may do; 0 is no cap.
type Disk struct {
	// ReadMBps and WriteMBps are megabytes a second.
	ReadMBps, WriteMBps float64
	ReadIOPS, WriteIOPS float64
}

// Resolved are the values of a profile for one node.
type Resolved struct {
	v1alpha1.NodeSettings
	// Kubelet are fields of a KubeletConfiguration as in JSON.
	Kubelet map[string]any
	// typed are the kubelet's fields once more.
	typed   kubelet.KubeletConfiguration
	values  map[string]any
	origins map[string]origin
}

// Resolve lays the layers of a profile over each other, as they are for one node. The
// error names every value that cannot be, and both of two that contradict each other.
func (p *Profile) Resolve(in Input) (*Resolved, error) {
	if problems := checkInput(in); len(problems) > 0 {
		return nil, problems.ToAggregate()
	}
	values, origins := map[string]any{}, map[string]origin{}
	take := func(overrides bool) {
		for i := range p.layers {
			if l := &p.layers[i]; l.overrides == overrides {
				merge(values, l.values, origins, l, "", "")
			}
		}
	}
	take(false)
	for i := range p.layers {
		if l := &p.layers[i]; in.Container {
			merge(values, l.inContainer, origins, l, "", inContainerField)
		}
	}
	derive(values, origins, in)
	take(true)
	if in.Role != v1alpha1.RoleControlPlane {
		delete(values, "controlPlane")
	}
	r := &Resolved{values: values, origins: origins}
	if err := r.read(values); err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	if problems := r.contradictions(in); len(problems) > 0 {
		return nil, fmt.Errorf("%s: %w", p.Name, problems.ToAggregate())
	}
	return r, nil
}

// read gives values their types.
func (r *Resolved) read(values map[string]any) error {
	encoded, err := json.Marshal(values)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(encoded, &r.NodeSettings); err != nil {
		return err
	}
	r.Kubelet, _ = values["kubelet"].(map[string]any)
	if r.NodeSettings.Kubelet == nil {
		return nil
	}
	return json.Unmarshal(r.NodeSettings.Kubelet.Raw, &r.typed)
}

// What one stream of a pull is worth: one that gets less than this only takes from the
// others.
const (
	streamMBps = 5
	streamIOPS = 50
)

// derive bounds what depends on the machine.
func derive(values map[string]any, origins map[string]origin, in Input) {
	if streams, cap := in.Disk.streams(); cap != "" {
		from := &layer{source: "derived from the disk's cap"}
		side := max(1, int(math.Sqrt(float64(streams))))
		lower(values, origins, from, "containerd", "maxConcurrentDownloads", side,
			fmt.Sprintf("%s is enough for %d layers at once, of a few images each: more would only slow each other down", cap, streams))
		lower(values, origins, from, "kubelet", "maxParallelImagePulls", max(1, streams/side),
			fmt.Sprintf("%s is enough for %d layers at once: this many images with %d layers each", cap, streams, side))
	}
	if endsAbove(in.KubernetesVersion) {
		lower(values, origins, &layer{source: "derived from the Kubernetes version"}, "kubelet", "maxParallelImagePulls", safePulls,
			"Kubelets of 1.35 and 1.36 end at the first pull with more (kubernetes/kubernetes#138935)")
	}
	if kubelet, _ := values["kubelet"].(map[string]any); kubelet != nil && in.CgroupVersion == 1 && !in.Container {
		from := &layer{source: "derived from the version of control groups"}
		for name, value := range map[string]any{"cgroupDriver": "cgroupfs", "failCgroupV1": false} {
			kubelet[name] = value
			origins[below("kubelet", name)] = origin{layer: from, reason: "The machine has version 1, which the kubelet refuses unless told, and which systemd is not to manage alone"}
		}
	}
}

// safePulls is the size of a list in kubelets of 1.35 and 1.36 that they look at beyond
// its end where there may be more pulls at once.
const safePulls = 31

// endsAbove tells whether a kubelet ends when it may pull more images at once than
// safePulls.
func endsAbove(version string) bool {
	return version != "" && atLeast(version, "1.35.0-0") && !atLeast(version, "1.37.0-0")
}

// streams is how many layers a disk can take in at once, and the cap that says so;
// empty where there is none.
func (d Disk) streams() (int, string) {
	least, cap := math.Inf(1), ""
	for _, c := range []struct {
		value, worth float64
		what         string
	}{
		{d.WriteMBps, streamMBps, "MB/s of writes"}, {d.WriteIOPS, streamIOPS, "writes a second"},
		{d.ReadMBps, streamMBps, "MB/s of reads"}, {d.ReadIOPS, streamIOPS, "reads a second"},
	} {
		if n := c.value / c.worth; c.value > 0 && n < least {
			least, cap = n, fmt.Sprintf("A disk with %g %s", c.value, c.what)
		}
	}
	return int(max(1, min(least, 1e6))), cap
}

// lower sets a number that is larger than a bound.
func lower(values map[string]any, origins map[string]origin, from *layer, section, name string, bound int, reason string) {
	fields, _ := values[section].(map[string]any)
	if have, is := fields[name].(float64); is && have > float64(bound) {
		fields[name] = float64(bound)
		origins[below(section, name)] = origin{layer: from, reason: reason}
	}
}

// oldest are the first versions that a profile is rendered for: kubeadm reads v1beta4,
// and containerd mirrors by folder.
const (
	oldestKubernetes = "v1.31.0"
	oldestContainerd = "1.6.0"
)

func checkInput(in Input) field.ErrorList {
	var errs field.ErrorList
	if roles := []v1alpha1.MachineRole{"", v1alpha1.RoleControlPlane, v1alpha1.RoleWorker}; !slices.Contains(roles, in.Role) {
		errs = append(errs, field.NotSupported(field.NewPath("role"), in.Role, roles[1:]))
	}
	errs = append(errs, checkVersion(field.NewPath("kubernetesVersion"), in.KubernetesVersion, oldestKubernetes, "v1.36.3")...)
	errs = append(errs, checkVersion(field.NewPath("containerdVersion"), in.ContainerdVersion, oldestContainerd, "2.2.1")...)
	if in.CgroupVersion < 0 || in.CgroupVersion > 2 {
		errs = append(errs, field.Invalid(field.NewPath("cgroupVersion"), in.CgroupVersion, "must be 1 or 2"))
	}
	for name, value := range map[string]float64{
		"readMBps": in.Disk.ReadMBps, "writeMBps": in.Disk.WriteMBps, "readIOPS": in.Disk.ReadIOPS, "writeIOPS": in.Disk.WriteIOPS,
	} {
		if !(value >= 0) || math.IsInf(value, 0) {
			errs = append(errs, field.Invalid(field.NewPath("disk", name), value, "must be a number above 0, or 0 for no cap"))
		}
	}
	if in.HypervisorShutdown < 0 {
		errs = append(errs, field.Invalid(field.NewPath("hypervisorShutdown"), in.HypervisorShutdown.String(), "must not be negative"))
	}
	for i, key := range in.SSHKeys {
		errs = append(errs, form(field.NewPath("sshKeys").Index(i), key, sshKey, "must be a public key such as ssh-ed25519 AAAA... name")...)
	}
	errs = append(errs, checkMirrors(in.Mirrors, field.NewPath("mirrors"))...)
	errs = append(errs, checkMachine(in)...)
	slices.SortStableFunc(errs, func(a, b *field.Error) int { return strings.Compare(a.Field, b.Field) })
	return errs
}

func checkVersion(at *field.Path, value, oldest, example string) field.ErrorList {
	if value == "" {
		return nil
	}
	v, err := version.ParseSemantic(value)
	switch {
	case err != nil:
		return field.ErrorList{field.Invalid(at, value, "must be a full version such as "+example)}
	case !v.AtLeast(version.MustParseSemantic(oldest)):
		return field.ErrorList{field.Invalid(at, value, "must be at least "+oldest)}
	}
	return nil
}
