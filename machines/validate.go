package machines

import (
	"fmt"
	"math"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/loam-cloud/loam/fault"
)

// dnsLabel is a label of RFC 1123, section 2.1.
var dnsLabel = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// Validate reports everything that no driver could make a machine of, as one
// fault Invalid whose message has a line per problem; nil when there is none.
func (s Spec) Validate() error {
	p := &problems{}
	p.label("cluster", s.Cluster)
	p.label("name", s.Name)
	p.label("hostname", s.Hostname)
	if s.Image == "" {
		p.add("image: must not be empty")
	}
	p.ports(s.Ports)
	p.mounts(s.Mounts)
	if s.CPUs < 0 || math.IsNaN(s.CPUs) || math.IsInf(s.CPUs, 0) {
		p.add("cpus: %v must be a number of processors, or 0 for no bound", s.CPUs)
	}
	if s.MemoryBytes < 0 {
		p.add("memoryBytes: %d must not be negative", s.MemoryBytes)
	}
	for _, key := range sortedKeys(s.Environment) {
		if key == "" || strings.ContainsAny(key, "=\x00") || strings.Contains(s.Environment[key], "\x00") {
			p.add("environment[%q]: a name must not be empty nor hold =, neither name nor value a NUL", key)
		}
	}
	if _, empty := s.Labels[""]; empty {
		p.add("labels: a key must not be empty")
	}
	return p.err(fmt.Sprintf("machine %q of cluster %q", s.Name, s.Cluster))
}

// ValidateFiles reports everything that keeps the files from being placed in a
// machine, as one fault Invalid; nil when there is nothing.
func ValidateFiles(files []File) error {
	p := &problems{}
	for i, file := range files {
		switch {
		case !path.IsAbs(file.Path):
			p.add("files[%d].path: %q must be absolute", i, file.Path)
		case path.Clean(file.Path) != file.Path || file.Path == "/":
			p.add("files[%d].path: %q must name a file, without //, /. or /..", i, file.Path)
		case strings.Contains(file.Path, "\x00"):
			p.add("files[%d].path: %q must not hold a NUL", i, file.Path)
		}
		if file.Mode != file.Mode.Perm() {
			p.add("files[%d].mode: %v must hold permission bits only", i, file.Mode)
		}
	}
	return p.err("files")
}

// Validate reports everything that no driver could do, as one fault Invalid; nil
// when there is nothing.
func (r Replacement) Validate() error {
	p := &problems{}
	for i, kept := range r.Keep {
		if !path.IsAbs(kept) || path.Clean(kept) != kept || kept == "/" || Volatile(kept+"/") {
			p.add("keep[%d]: %q must be the absolute path of a file or folder on disk, without //, /. or /..", i, kept)
		}
	}
	for i, file := range r.Files {
		if Volatile(file.Path) {
			p.add("files[%d].path: %q would be lost when the machine starts", i, file.Path)
		}
	}
	if err := ValidateFiles(r.Files); err != nil {
		p.add("%v", err)
	}
	return p.err("replacement")
}

// Volatile tells whether a file of a machine is lost when the machine starts,
// because its folder lies in memory.
func Volatile(path string) bool {
	return slices.ContainsFunc([]string{"/run/", "/tmp/", "/var/run/"}, func(folder string) bool {
		return strings.HasPrefix(path, folder)
	})
}

// problems gathers what is wrong with one input.
type problems struct{ found []string }

func (p *problems) add(format string, args ...any) {
	p.found = append(p.found, fmt.Sprintf(format, args...))
}

func (p *problems) label(field, value string) {
	if !dnsLabel.MatchString(value) {
		p.add("%s: %q must be a DNS label: at most 63 of a-z, 0-9 and -, not beginning or ending with -", field, value)
	}
}

func (p *problems) ports(ports []Port) {
	type target struct {
		port     uint16
		protocol Protocol
		host     string
	}
	seen := map[target]int{}
	for i, port := range ports {
		if port.MachinePort == 0 {
			p.add("ports[%d].machinePort: must not be 0", i)
		}
		switch port.Protocol {
		case "", TCP, UDP, SCTP:
		default:
			p.add("ports[%d].protocol: %q must be one of TCP, UDP, SCTP", i, port.Protocol)
		}
		if port.HostPort == 0 {
			continue
		}
		protocol := port.Protocol
		if protocol == "" {
			protocol = TCP
		}
		key := target{port.HostPort, protocol, port.HostAddress.String()}
		if other, twice := seen[key]; twice {
			p.add("ports[%d].hostPort: %d/%s is published by ports[%d] already", i, port.HostPort, protocol, other)
		}
		seen[key] = i
	}
}

func (p *problems) mounts(mounts []Mount) {
	seen := map[string]int{}
	for i, mount := range mounts {
		if !path.IsAbs(mount.HostPath) {
			p.add("mounts[%d].hostPath: %q must be absolute", i, mount.HostPath)
		}
		if !path.IsAbs(mount.MachinePath) || path.Clean(mount.MachinePath) == "/" {
			p.add("mounts[%d].machinePath: %q must be absolute and not the root", i, mount.MachinePath)
		}
		switch mount.Propagation {
		case "", "None", "HostToContainer", "Bidirectional":
		default:
			p.add("mounts[%d].propagation: %q must be one of None, HostToContainer, Bidirectional", i, mount.Propagation)
		}
		if mount.SELinuxRelabel && strings.Contains(mount.HostPath+mount.MachinePath, ":") {
			p.add("mounts[%d]: %q and %q must not hold a colon to be relabelled", i, mount.HostPath, mount.MachinePath)
		}
		if other, twice := seen[path.Clean(mount.MachinePath)]; twice {
			p.add("mounts[%d].machinePath: %q is mounted by mounts[%d] already", i, mount.MachinePath, other)
		}
		seen[path.Clean(mount.MachinePath)] = i
	}
}

func (p *problems) err(subject string) error {
	if len(p.found) == 0 {
		return nil
	}
	return fault.New(fault.Invalid, "%s:\n  %s", subject, strings.Join(p.found, "\n  "))
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
